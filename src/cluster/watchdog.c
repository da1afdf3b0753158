/* Each process of a team shows that it lives and looks whether the others do. A dead process is
 * noticed by mpirun; this is for one that is stopped or hangs outside of the program.
 *
 * Silence is counted in the watcher's own intervals, not in seconds: when a whole machine or all
 * workers were suspended, nobody has been silent. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cluster/internal.h"

enum { DEFAULT_SECONDS = 20, EXIT_CODE = 8 };
static const double longest_interval = 0.5, shortest_part = 8;

/* One process of the host tells the user; the others give it time and go. */
static _Noreturn void give_up(tlt_cluster *c, int member, double seconds) {
  uint32_t nobody = 0;
  if (atomic_compare_exchange_strong(&c->control->lost, &nobody, 1)) {
    char text[128];
    int rank = c->control->member[member].rank;
    snprintf(text, sizeof text, "worker %d has not shown any sign of life for %.3g s", rank,
             seconds);
    if (c->options.lost) c->options.lost(c->options.lost_context, rank, text);
  } else {
    sleep(2);
  }
  _exit(EXIT_CODE);
}

/* Count silent intervals of member i; whether its time is over. */
static bool silent_too_long(tlt_cluster *c, int i) {
  tlt__watchdog *w = &c->watchdog;
  tlt__member *m = &c->control->member[i];
  uint32_t beats = atomic_load(&m->beats);
  if (beats != w->seen[i] || atomic_load(&m->gone)) w->silent[i] = 0;
  else w->silent[i]++;
  w->seen[i] = beats;
  return w->silent[i] >= w->patience;
}

static void *watch(void *arg) {
  tlt_cluster *c = arg;
  tlt__watchdog *w = &c->watchdog;
  const struct timespec pause = {(time_t)w->interval,
                                 (long)(1e9 * (w->interval - (double)(time_t)w->interval))};
  while (!atomic_load(&w->stop)) {
    atomic_fetch_add(&c->control->member[c->team.rank].beats, 1);
    for (int i = 0; i < c->team.size; i++)
      if (i != c->team.rank && silent_too_long(c, i)) give_up(c, i, w->interval * w->patience);
    syscall(SYS_futex, &w->stop, FUTEX_WAIT_PRIVATE, 0, &pause, NULL, 0);
  }
  return NULL;
}

tlt_status tlt__watchdog_start(tlt_cluster *c, tlt_err *err) {
  tlt__watchdog *w = &c->watchdog;
  if (!c->control) return TLT_OK;
  double seconds = c->options.watchdog_seconds > 0 ? c->options.watchdog_seconds : DEFAULT_SECONDS;
  w->interval =
      seconds / shortest_part < longest_interval ? seconds / shortest_part : longest_interval;
  w->patience = (uint32_t)(seconds / w->interval);
  w->seen = tlt_calloc((size_t)c->team.size, sizeof *w->seen);
  w->silent = tlt_calloc((size_t)c->team.size, sizeof *w->silent);
  if (!w->seen || !w->silent)
    return tlt_fail_nomem(err, "watchdog", 2 * (size_t)c->team.size * sizeof *w->seen);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the main thread's */
  w->running = pthread_create(&w->thread, NULL, watch, c) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return w->running ? TLT_OK : tlt_fail(err, TLT_EIO, "cannot start the watchdog's thread");
}

void tlt__watchdog_stop(tlt_cluster *c) {
  tlt__watchdog *w = &c->watchdog;
  if (w->running) {
    atomic_store(&c->control->member[c->team.rank].gone, 1);
    atomic_store(&w->stop, 1);
    syscall(SYS_futex, &w->stop, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    pthread_join(w->thread, NULL);
    w->running = false;
  }
  tlt_free(w->seen);
  tlt_free(w->silent);
  w->seen = w->silent = NULL;
}
