/* Cores that workers of a host lend each other (base/lending.h), through the pool that uses them.
 * Every worker is a forked process with a processor of its own.
 *
 * Run alone: build/tests/unit/base/test_lending */
#define _GNU_SOURCE
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pool.h"
#include "team.h"

enum { ITEMS = 2000, THREADS_MOST = 8 };

/* In a forked process a failed check is a return value. */
#define CHECK(x)                                                                     \
  do {                                                                               \
    if (!(x)) {                                                                      \
      fprintf(stderr, "worker %d: %s:%d: %s\n", team->rank, __FILE__, __LINE__, #x); \
      return 1;                                                                      \
    }                                                                                \
  } while (0)
#define MEET() CHECK(!team->barrier(team->context, NULL))

typedef struct counts {
  _Atomic int item[ITEMS], thread[THREADS_MOST], cpu[CPU_SETSIZE];
} counts;

static void count(void *context, int64_t item, int thread) {
  counts *c = context;
  atomic_fetch_add(&c->item[item], 1);
  atomic_fetch_add(&c->thread[thread], 1);
  atomic_fetch_add(&c->cpu[sched_getcpu()], 1);
  for (volatile int i = 0; i < 2000; i++) {
  }
}

/* Every item once. */
static bool runs_well(tlt_pool *pool, counts *c) {
  *c = (counts){0};
  tlt_pool_run(pool, count, c, ITEMS);
  for (int i = 0; i < ITEMS; i++)
    if (c->item[i] != 1) return false;
  return true;
}

static int usable(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
}

/* Bind to the n-th processor that may be used; its number. */
static int bind_to(int n) {
  cpu_set_t set, one;
  int cpu = 0;
  sched_getaffinity(0, sizeof set, &set);
  for (;; cpu++)
    if (CPU_ISSET(cpu, &set) && n-- == 0) break;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof one, &one);
  return cpu;
}

/* ---- two workers with a core each ---- */

static int lend_and_borrow(void *context, const tlt_team *team) {
  static counts c;
  tlt_pool *pool = NULL;
  bool lender = team->rank == 1;
  (void)context;
  int cpu = bind_to(team->rank);
  CHECK(tlt_pool_create_shared(1, team, &pool, NULL) == TLT_OK);
  CHECK(tlt_pool_threads(pool) == 2); /* room for scratch of the borrowed one */
  CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 1 && c.thread[1] == 0);
  MEET();
  if (lender) tlt_pool_lend(pool);
  CHECK(!tlt_pool_is_lent(pool));
  MEET();
  if (!lender) {
    CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 2);
    CHECK(c.thread[0] == c.cpu[cpu] && c.thread[1] == ITEMS - c.cpu[cpu]); /* each on its core */
  }
  MEET();
  if (lender) CHECK(tlt_pool_is_lent(pool));
  MEET();
  if (lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 1 && !tlt_pool_is_lent(pool));
  MEET();
  if (!lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 1);
  MEET();
  /* who waits may keep its cores: nobody has them, and whoever borrowed them lets go */
  if (lender) tlt_pool_lend(pool);
  MEET();
  if (!lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 2);
  MEET();
  if (lender) tlt_pool_keep(pool);
  MEET();
  if (!lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 1);
  MEET();
  if (lender) CHECK(!tlt_pool_is_lent(pool));
  MEET();
  /* who waits gives back what it borrowed, to whoever is at work then */
  if (lender) tlt_pool_lend(pool);
  MEET();
  if (!lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 2);
  if (!lender) tlt_pool_lend(pool);
  MEET();
  if (lender) CHECK(!tlt_pool_is_lent(pool));
  if (lender) CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 2);
  MEET();
  tlt_pool_free(pool); /* of one while it borrows and of one that lends */
  return 0;
}

static void cores_come_and_go(void **state) {
  (void)state;
  if (usable() < 2) skip(); /* needs two processors */
  assert_true(team_run(1, 2, lend_and_borrow, NULL));
}

/* ---- a storm: everybody lends and works at random ---- */

static int storm(void *context, const tlt_team *team) {
  static counts c;
  tlt_pool *pool = NULL;
  (void)context;
  bind_to(team->rank);
  CHECK(tlt_pool_create_shared(1, team, &pool, NULL) == TLT_OK);
  uint32_t x = 17u + (uint32_t)team->rank;
  for (int i = 0; i < 300; i++) {
    x = x * 1664525u + 1013904223u;
    if (x >> 30 == 0) {
      tlt_pool_lend(pool);
      usleep(x >> 20 & 1023);
    } else {
      CHECK(runs_well(pool, &c));
      CHECK(tlt_pool_active(pool) <= tlt_pool_threads(pool));
    }
  }
  tlt_pool_free(pool);
  return 0;
}

static void nothing_is_lost_in_a_storm(void **state) {
  (void)state;
  if (usable() < 2) skip(); /* needs two processors */
  assert_true(team_run(1, 2, storm, NULL));
}

/* ---- what is never lent ---- */

static int not_bound(void *context, const tlt_team *team) {
  static counts c;
  tlt_pool *pool = NULL;
  (void)context;
  CHECK(tlt_pool_create_shared(2, team, &pool, NULL) == TLT_OK);
  CHECK(tlt_pool_threads(pool) == 2);
  if (team && team->rank == 1) tlt_pool_lend(pool);
  MEET();
  CHECK(runs_well(pool, &c) && tlt_pool_active(pool) == 2);
  CHECK(!tlt_pool_is_lent(pool));
  tlt_pool_free(pool);
  return 0;
}

static void cores_of_several_workers_are_not_lent(void **state) {
  (void)state;
  assert_true(team_run(1, 3, not_bound, NULL));
}

static void alone_nothing_changes(void **state) {
  static counts c;
  tlt_pool *pool = NULL;
  (void)state;
  assert_int_equal(tlt_pool_create_shared(2, NULL, &pool, NULL), TLT_OK);
  assert_int_equal(tlt_pool_threads(pool), 2);
  tlt_pool_lend(pool);
  assert_false(tlt_pool_is_lent(pool));
  assert_true(runs_well(pool, &c));
  tlt_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cores_come_and_go),
      cmocka_unit_test(nothing_is_lost_in_a_storm),
      cmocka_unit_test(cores_of_several_workers_are_not_lent),
      cmocka_unit_test(alone_nothing_changes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
