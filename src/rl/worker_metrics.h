/* Accounts of workers (events/spans.h) under the names that go into metrics.jsonl. */
#ifndef TLT_RL_WORKER_METRICS_H
#define TLT_RL_WORKER_METRICS_H

#include "events/metrics.h"
#include "events/spans.h"

enum { TLT_WORKER_KEYS_MAX = 8 }; /* more workers than that have no keys of their own */

/* all[n]: finished accounts of one step, by worker. step_seconds: time/step, the denominator of
 * workers/idle_fraction. Sums run in the order of workers. */
void tlt_metrics_workers(tlt_metrics *m, const tlt_account *all, int n, double step_seconds);

/* What a step is charged with. */
typedef struct tlt_step_cost {
  int64_t tokens;   /* of its answers */
  int64_t accepted; /* of these, drafted ones */
  int cores;        /* threads of all workers */
  double core_hour; /* price; 0: none is known */
} tlt_step_cost;

/* Under cost/. all[n] as above. */
void tlt_metrics_cost(tlt_metrics *m, const tlt_account *all, int n, const tlt_step_cost *c);

#endif
