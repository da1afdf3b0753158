#define _GNU_SOURCE
#include "base/pool.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/clock.h"
#include "base/lending.h"
#include "base/mem.h"

/* A thread on a core of another worker; asleep unless that core is borrowed. */
typedef struct guest {
  _Alignas(64) _Atomic uint32_t generation; /* of its own: a guest is not part of every run */
  _Atomic uint32_t asleep;
  int cpu; /* written by the owner before generation */
  pthread_t handle;
} guest;

/* Lock rules: `generation` is written by the owner only, after task, context, items, next, until
 * and pending are set; workers read those only after they saw the new generation (acquire). `pending`
 * counts workers that have not finished the current generation; the owner returns at 0. */
struct tlt_pool {
  int threads; /* own */
  int guests, active_guests;
  tlt_lending *lending; /* NULL: shares with nobody */
  guest *guest;
  tlt_pool_task task;
  void *context;
  int64_t items;
  double until; /* no item is handed out after this time; 0: no limit */
  _Alignas(64) _Atomic int64_t next;
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint32_t pending;
  _Atomic uint32_t sleepers;
  _Atomic bool stop;
  pthread_t *handles;
  /* pauses; the owner's alone */
  tlt_pool_hook hook;
  void *hook_context;
  double due; /* time of the next pause */
  bool pausing, abandoned;
};

typedef struct worker {
  tlt_pool *pool;
  int index; /* of the thread; guests follow own ones */
} worker;

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Wait until *word differs from seen; returns the new value. */
static uint32_t wait_change(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *sleepers) {
  double until = 0;
  for (uint32_t spin = 1;; spin++) {
    uint32_t now = atomic_load_explicit(word, memory_order_acquire);
    if (now != seen) return now;
    _mm_pause();
    if (spin % 32) continue;
    double t = tlt_now();
    if (until == 0) until = t + 20e-6;
    else if (t > until) break;
  }
  atomic_fetch_add(sleepers, 1);
  uint32_t now;
  while ((now = atomic_load(word)) == seen) futex_wait(word, seen);
  atomic_fetch_sub(sleepers, 1);
  return now;
}

static bool is_past(double until) { return until > 0 && tlt_now() >= until; }

static void run_items(tlt_pool *pool, int thread) {
  while (!is_past(pool->until)) {
    int64_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (i >= pool->items) return;
    pool->task(pool->context, i, thread);
  }
}

void tlt_fp_environment(void) { _mm_setcsr(0x1f80); }

static worker begin_thread(void *arg) {
  worker w = *(worker *)arg;
  tlt_free(arg);
  tlt_fp_environment();
  omp_set_num_threads(1);
  return w;
}

static void take_part(worker w) {
  run_items(w.pool, w.index);
  if (atomic_fetch_sub(&w.pool->pending, 1) == 1 && atomic_load(&w.pool->sleepers))
    futex_wake(&w.pool->pending, 1);
}

static void *worker_main(void *arg) {
  worker w = begin_thread(arg);
  uint32_t seen = 0;
  for (;;) {
    seen = wait_change(&w.pool->generation, seen, &w.pool->sleepers);
    if (atomic_load(&w.pool->stop)) return NULL;
    take_part(w);
  }
}

static void move_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set); /* else it runs on the owner's cores, only slower */
}

static void *guest_main(void *arg) {
  worker w = begin_thread(arg);
  guest *g = &w.pool->guest[w.index - w.pool->threads];
  uint32_t seen = 0;
  for (int cpu = -1;;) {
    seen = wait_change(&g->generation, seen, &g->asleep);
    if (atomic_load(&w.pool->stop)) return NULL;
    if (g->cpu != cpu) move_to(cpu = g->cpu);
    take_part(w);
  }
}

static int usable_cores(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static bool start(tlt_pool *pool, int index, void *(*main)(void *), pthread_t *handle) {
  worker *w = tlt_malloc(sizeof *w);
  if (!w) return false;
  *w = (worker){pool, index};
  if (pthread_create(handle, NULL, main, w) == 0) return true;
  tlt_free(w);
  return false;
}

tlt_status tlt_pool_create(int threads, tlt_pool **out, tlt_err *err) {
  *out = NULL;
  if (threads <= 0) threads = usable_cores();
  tlt_fp_environment();
  omp_set_num_threads(1);
  tlt_pool *pool = tlt_calloc_aligned(1, sizeof *pool);
  if (!pool) return tlt_fail_nomem(err, "thread pool", sizeof *pool);
  pool->handles = tlt_calloc((size_t)threads, sizeof *pool->handles);
  pool->threads = 1;
  if (!pool->handles) {
    tlt_pool_free(pool);
    return tlt_fail_nomem(err, "thread pool", (size_t)threads * sizeof *pool->handles);
  }
  for (int i = 1; i < threads; i++) {
    if (!start(pool, i, worker_main, &pool->handles[i])) {
      tlt_pool_free(pool);
      return tlt_fail(err, TLT_EIO, "cannot start thread %d of %d", i + 1, threads);
    }
    pool->threads = i + 1;
  }
  *out = pool;
  return TLT_OK;
}

static tlt_status start_guests(tlt_pool *pool, tlt_err *err) {
  int n = tlt_lending_most(pool->lending);
  pool->guest = tlt_calloc_aligned((size_t)n + 1, sizeof *pool->guest);
  if (!pool->guest) return tlt_fail_nomem(err, "thread pool", (size_t)n * sizeof *pool->guest);
  for (int i = 0; i < n; i++) {
    if (!start(pool, pool->threads + i, guest_main, &pool->guest[i].handle))
      return tlt_fail(err, TLT_EIO, "cannot start thread %d of %d", pool->threads + i + 1,
                      pool->threads + n);
    pool->guests = i + 1;
  }
  return TLT_OK;
}

tlt_status tlt_pool_create_shared(int threads, const tlt_team *team, tlt_pool **out, tlt_err *err) {
  tlt_status s = tlt_team_agree(team, tlt_pool_create(threads, out, err), err);
  if (s == TLT_OK) s = tlt_lending_open(team, (*out)->threads, &(*out)->lending, err);
  if (s == TLT_OK && (*out)->lending) s = tlt_team_agree(team, start_guests(*out, err), err);
  if (s != TLT_OK) {
    tlt_pool_free(*out);
    *out = NULL;
  }
  return s;
}

static void stop_guest(guest *g) {
  atomic_fetch_add(&g->generation, 1);
  futex_wake(&g->generation, 1);
  pthread_join(g->handle, NULL);
}

void tlt_pool_free(tlt_pool *pool) {
  if (!pool) return;
  atomic_store(&pool->stop, true);
  atomic_fetch_add(&pool->generation, 1);
  futex_wake(&pool->generation, pool->threads);
  for (int i = 1; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
  for (int i = 0; i < pool->guests; i++) stop_guest(&pool->guest[i]);
  tlt_lending_close(pool->lending);
  tlt_free(pool->guest);
  tlt_free(pool->handles);
  tlt_free(pool);
}

int tlt_pool_threads(const tlt_pool *pool) { return pool->threads + pool->guests; }

int tlt_pool_own_threads(const tlt_pool *pool) { return pool->threads; }

int tlt_pool_active(const tlt_pool *pool) { return pool->threads + pool->active_guests; }

/* ---- lending ---- */

void tlt_pool_lend(tlt_pool *pool) {
  if (!pool->lending) return;
  tlt_lending_offer(pool->lending);
  pool->active_guests = 0;
}

void tlt_pool_keep(tlt_pool *pool) {
  if (pool->lending) tlt_lending_resume(pool->lending);
}

bool tlt_pool_is_lent(const tlt_pool *pool) {
  return pool->lending && tlt_lending_is_taken(pool->lending);
}

static void settle_loans(tlt_pool *pool) {
  pool->active_guests = tlt_lending_settle(pool->lending);
}

static void call_guests(tlt_pool *pool) {
  for (int i = 0; i < pool->guests; i++) {
    guest *g = &pool->guest[i];
    int cpu = tlt_lending_cpu(pool->lending, i);
    if (cpu < 0) continue;
    g->cpu = cpu;
    atomic_fetch_add(&g->generation, 1);
    if (atomic_load(&g->asleep)) futex_wake(&g->generation, 1);
  }
}

/* Items first .. items-1 until the time is up; returns the first one left. */
static int64_t run_slice(tlt_pool *pool, tlt_pool_task task, void *context, int64_t first,
                         int64_t items, double until) {
  if (pool->lending) settle_loans(pool);
  uint32_t others = (uint32_t)(pool->threads + pool->active_guests) - 1;
  if (others == 0 || items - first == 1) {
    for (; first < items && !is_past(until); first++) task(context, first, 0);
    return first;
  }
  pool->task = task;
  pool->context = context;
  pool->items = items;
  pool->until = until;
  atomic_store_explicit(&pool->next, first, memory_order_relaxed);
  atomic_store(&pool->pending, others);
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers)) futex_wake(&pool->generation, pool->threads);
  if (pool->active_guests) call_guests(pool);
  run_items(pool, 0);
  uint32_t left = atomic_load(&pool->pending);
  while (left) left = wait_change(&pool->pending, left, &pool->sleepers);
  int64_t next = atomic_load_explicit(&pool->next, memory_order_relaxed);
  return next < items ? next : items;
}

/* In one go, or where cores are lent so that those which come or go in the middle are noticed. */
static void run_in_slices(tlt_pool *pool, tlt_pool_task task, void *context, int64_t items) {
  for (int64_t first = 0; first < items;) {
    double until = pool->lending ? tlt_now() + TLT_POOL_SLICE_MS * 1e-3 : 0;
    first = run_slice(pool, task, context, first, items, until);
  }
}

/* ---- pauses ---- */

static void pause_run(tlt_pool *pool) {
  int guard = tlt_alloc_guard_suspend();
  pool->pausing = true;
  pool->abandoned = !pool->hook(pool->hook_context);
  pool->pausing = false;
  tlt_alloc_guard_resume(guard);
  pool->due = tlt_now() + TLT_POOL_SLICE_MS * 1e-3;
}

void tlt_pool_set_pause(tlt_pool *pool, tlt_pool_hook hook, void *context) {
  pool->hook = hook;
  pool->hook_context = context;
  pool->abandoned = false;
  pool->due = tlt_now() + TLT_POOL_SLICE_MS * 1e-3;
}

bool tlt_pool_abandoned(const tlt_pool *pool) { return pool->abandoned; }

void tlt_pool_run(tlt_pool *pool, tlt_pool_task task, void *context, int64_t items) {
  if (items <= 0) return;
  if (!pool->hook || pool->pausing) {
    run_in_slices(pool, task, context, items);
    return;
  }
  for (int64_t first = 0; first < items && !pool->abandoned;) {
    first = run_slice(pool, task, context, first, items, pool->due);
    if (tlt_now() >= pool->due) pause_run(pool);
  }
}
