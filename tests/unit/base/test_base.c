/* Base: elementary functions against libm, Philox against its published vector, pool, arena.
 * Run alone: build/tests/unit/base/test_base */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/clock.h"
#include "base/fmath.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "base/sha256.h"
#include "base/shared_lock.h"
#include "base/team.h"

static void exp_and_log_match_libm(void **state) {
  (void)state;
  for (float x = -100; x < 88; x += 0.0137f) {
    double want = exp((double)x), got = tlt_expf(x);
    assert_true(fabs(got - want) <= 3e-7 * want + 1e-45);
  }
  for (double x = 1e-6; x < 1e6; x *= 1.0037) {
    float xf = (float)x;
    double want = log((double)xf);
    assert_true(fabs(tlt_logf(xf) - want) <= 2e-7 * fabs(want) + 1e-7);
    assert_true(fabs(tlt_log(x) - log(x)) <= 4e-15 * fmax(1, fabs(log(x))));
    assert_true(fabs(tlt_exp(log(x)) / x - 1) < 2e-14);
    double s, c;
    tlt_sincos(x, &s, &c);
    assert_true(fabs(s - sin(x)) < 1e-13 && fabs(c - cos(x)) < 1e-13);
  }
}

static void gumbel_matches_double(void **state) {
  (void)state;
  for (uint64_t x = 0; x < 1ull << 32; x += 65521 * 16) {
    double u = tlt_uniform((uint32_t)x), want = -log(-log1p(-u));
    assert_true(fabs(tlt_gumbel((uint32_t)x) - want) < 2e-6);
  }
  assert_true(isfinite(tlt_gumbel(0)) && isfinite(tlt_gumbel(UINT32_MAX)));
}

static void philox_known_answer(void **state) {
  (void)state;
  tlt_random4 r = tlt_philox(0xa4093822u, (tlt_purpose)0x299f31d0u, 0x243f6a88u, 0x85a308d3u,
                             0x13198a2eu, 0x03707344u);
  assert_int_equal(r.v[0], 0xd16cfe09u);
  assert_int_equal(r.v[1], 0x94fdccebu);
  assert_int_equal(r.v[2], 0x5001e420u);
  assert_int_equal(r.v[3], 0x24126ea1u);
}

static void count(void *context, int64_t item, int thread) {
  (void)thread;
  atomic_fetch_add((atomic_int *)context + item, 1);
}

/* ---- pausing pool ---- */

static void busy(double seconds) {
  double until = tlt_now() + seconds;
  while (tlt_now() < until) {
  }
}

typedef struct paused {
  tlt_pool *pool;
  int calls, stop_at; /* the call that abandons; 0: none */
  double last, longest;
  atomic_int at_work, nested;
  atomic_int seen[200];
  int order[200];
  atomic_int n;
} paused;

static void paused_item(void *context, int64_t i, int thread) {
  (void)thread;
  paused *p = context;
  atomic_fetch_add(&p->at_work, 1);
  p->order[atomic_fetch_add(&p->n, 1)] = (int)i;
  atomic_fetch_add(&p->seen[i], 1);
  busy(0.5e-3);
  atomic_fetch_sub(&p->at_work, 1);
}

static void nested_item(void *context, int64_t i, int thread) {
  (void)i, (void)thread;
  busy(0.1e-3);
  atomic_fetch_add(&((paused *)context)->nested, 1);
}

static bool pause_hook(void *context) {
  paused *p = context;
  double now = tlt_now();
  if (now - p->last > p->longest) p->longest = now - p->last;
  p->calls++;
  assert_int_equal(p->at_work, 0);
  tlt_free(tlt_malloc(64)); /* the guard of the run that pauses is set aside */
  tlt_pool_run(p->pool, nested_item, p, 100);
  assert_int_equal(p->nested, 100 * p->calls);
  p->last = tlt_now();
  return p->calls != p->stop_at;
}

static void pool_pauses(void **state) {
  (void)state;
  for (int threads = 1; threads <= 4; threads++) {
    static paused p;
    p = (paused){0};
    assert_int_equal(tlt_pool_create(threads, &p.pool, NULL), TLT_OK);
    p.last = tlt_now();
    tlt_pool_set_pause(p.pool, pause_hook, &p);
    tlt_alloc_guard_begin();
    tlt_pool_run(p.pool, paused_item, &p, 200);
    tlt_alloc_guard_end();
    for (int i = 0; i < 200; i++) assert_int_equal(p.seen[i], 1);
    for (int i = 0; i < 200; i++) assert_true(abs(p.order[i] - i) < threads);
    assert_true(p.calls >= 200 / threads / 2 / (TLT_POOL_SLICE_MS + 4));
    /* short runs pause too, in their midst or at their end */
    int calls = p.calls;
    for (int i = 0; i < 40; i++) {
      p.n = 0;
      tlt_pool_run(p.pool, paused_item, &p, 1);
    }
    assert_true(p.calls >= calls + 2);
    tlt_pool_set_pause(p.pool, NULL, NULL);
    calls = p.calls;
    p.n = 0;
    tlt_pool_run(p.pool, paused_item, &p, 100);
    assert_int_equal(p.calls, calls);
    tlt_pool_free(p.pool);
  }
}

static void pool_abandons(void **state) {
  (void)state;
  for (int threads = 1; threads <= 3; threads += 2) {
    static paused p;
    p = (paused){.stop_at = 2};
    assert_int_equal(tlt_pool_create(threads, &p.pool, NULL), TLT_OK);
    tlt_pool_set_pause(p.pool, pause_hook, &p);
    assert_false(tlt_pool_abandoned(p.pool));
    tlt_pool_run(p.pool, paused_item, &p, 200);
    assert_true(tlt_pool_abandoned(p.pool));
    int done = p.n;
    assert_true(done < 200);
    tlt_pool_run(p.pool, paused_item, &p, 200 - done);
    assert_int_equal(p.n, done);
    assert_int_equal(p.calls, 2);
    tlt_pool_set_pause(p.pool, NULL, NULL);
    assert_false(tlt_pool_abandoned(p.pool));
    tlt_pool_run(p.pool, paused_item, &p, 5);
    assert_int_equal(p.n, done + 5);
    tlt_pool_free(p.pool);
  }
}

/* ---- between processes ---- */

typedef struct counted {
  tlt_shared_lock lock[3];
  int64_t count[3]; /* each under its lock, not atomic */
} counted;

static void locks_exclude_processes(void **state) {
  (void)state;
  enum { CHILDREN = 4, ROUNDS = 20000 };
  counted *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(c != MAP_FAILED);
  for (int child = 0; child < CHILDREN; child++) {
    if (fork() != 0) continue;
    for (int i = 0; i < ROUNDS; i++) {
      int k = (i + child) % 3;
      tlt_shared_lock_take(&c->lock[k]);
      volatile int64_t *count = &c->count[k];
      *count = *count + 1;
      if (i % 4096 == 0) usleep(200); /* the others have to sleep */
      tlt_shared_lock_drop(&c->lock[k]);
    }
    _exit(0);
  }
  for (int child = 0; child < CHILDREN; child++) {
    int status = -1;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
  assert_int_equal(c->count[0] + c->count[1] + c->count[2], CHILDREN * ROUNDS);
  tlt_shared_lock_take(NULL);
  tlt_shared_lock_drop(NULL);
  munmap(c, sizeof *c);
}

static void shares_cover_everything(void **state) {
  (void)state;
  for (int size = 1; size <= 7; size++) {
    tlt_team team = {.size = size};
    for (int64_t n = 0; n < 40; n++) {
      assert_int_equal(tlt_team_first(&team, 0, n), 0);
      assert_int_equal(tlt_team_first(&team, size, n), n);
      for (int r = 0; r < size; r++)
        assert_in_range(tlt_team_first(&team, r + 1, n) - tlt_team_first(&team, r, n), n / size,
                        n / size + 1);
    }
  }
  assert_int_equal(tlt_team_first(NULL, 0, 9), 0);
  assert_int_equal(tlt_team_first(NULL, 1, 9), 9);
}

static void pool_runs_every_item_once(void **state) {
  (void)state;
  for (int threads = 1; threads <= 5; threads += 2) {
    tlt_pool *pool;
    assert_int_equal(tlt_pool_create(threads, &pool, NULL), TLT_OK);
    atomic_int seen[97] = {0};
    for (int round = 0; round < 2000; round++) tlt_pool_run(pool, count, seen, 97);
    for (int i = 0; i < 97; i++) assert_int_equal(seen[i], 2000);
    tlt_pool_free(pool);
  }
}

static void sha256_known_answer(void **state) {
  (void)state;
  tlt_sha256 h;
  char hex[TLT_SHA256_HEX];
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, "abc", 3);
  tlt_sha256_end(&h, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(tlt_crc32(0, "123456789", 9), 0xcbf43926u);
}

static void clocks_of_hosts(void **state) {
  (void)state;
  tlt_clock_gap g = {0};
  assert_true(tlt_clock_ahead(&g) == 0);
  tlt_clock_gap_learn(&g, 100, 100.002, 100.004); /* may be the same clock, and is taken for it */
  assert_true(tlt_clock_ahead(&g) == 0);
  tlt_clock_gap_learn(&g, 101, 101.003, 101.001);
  assert_true(fabs(tlt_clock_ahead(&g) - 0.002) < 2e-4);
  g = (tlt_clock_gap){0};
  tlt_clock_gap_learn(&g, 100, -900, 110); /* started later; the answer took 10 s */
  assert_true(fabs(tlt_clock_ahead(&g) + 1005) < 1e-9);
  tlt_clock_gap_learn(&g, 120, -880.001, 120.002);
  assert_true(fabs(tlt_clock_ahead(&g) + 1000.002) < 1e-9);
  tlt_clock_gap_learn(&g, 200, -790, 220); /* tells nothing new */
  assert_true(fabs(tlt_clock_ahead(&g) + 1000.002) < 1e-9);
  assert_true(fabs(g.high - g.low - 0.002 - 2 * 2e-4 * 99.998) < 1e-6);
  tlt_clock_gap_learn(&g, 300, -900, 300.002); /* it was suspended for 200 s */
  assert_true(fabs(tlt_clock_ahead(&g) + 1200.001) < 1e-9);
}

static void error_text_is_one_line(void **state) {
  (void)state;
  tlt_err e = {0};
  assert_int_equal(tlt_fail(&e, TLT_EDATA, "a\nb %d", 7), TLT_EDATA);
  assert_int_equal(tlt_fail_prefix(&e, "file"), TLT_EDATA);
  assert_string_equal(e.text, "file: a b 7");
  assert_int_equal(tlt_status_exit_code(TLT_ENOMEM), 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exp_and_log_match_libm),  cmocka_unit_test(gumbel_matches_double),
      cmocka_unit_test(philox_known_answer),     cmocka_unit_test(pool_runs_every_item_once),
      cmocka_unit_test(sha256_known_answer),     cmocka_unit_test(error_text_is_one_line),
      cmocka_unit_test(pool_pauses),             cmocka_unit_test(pool_abandons),
      cmocka_unit_test(locks_exclude_processes), cmocka_unit_test(shares_cover_everything),
      cmocka_unit_test(clocks_of_hosts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
