/* Writes trace.json and metrics.jsonl of made-up steps for tests/py/test_trace.py.
 * Alone: trace_tool DIR WORKERS AFTER LAST LIMIT  (continues behind step AFTER, -1: from nothing)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "report/metrics.h"
#include "report/trace.h"
#include "rl/worker_metrics.h"

enum { WORKERS_MAX = 16, MOVES = 60 };

static tlt_account account[WORKERS_MAX];

/* Groups one after another; three reward processes; now and then a checkpoint, begun long ago. */
static void beside(tlt_account *a, int64_t step, int i, uint32_t seed) {
  double now = tlt_now(), before = now - 1e-6 * (seed >> 20);
  int64_t group = (step * WORKERS_MAX + a->worker) * MOVES + i;
  if (i % 4 == 0) tlt_account_aside(a, TLT_ASIDE_GROUP, 0, group, now - 1e-5, now);
  tlt_account_aside(a, TLT_ASIDE_SCORING, i % 3, group, before, now);
  if (seed >> 27 == 0) tlt_account_aside(a, TLT_ASIDE_WRITING, 0, step, now - 0.5, now);
}

static void work(tlt_account *a, int64_t step, int worker, uint32_t *seed) {
  tlt_account_begin(a, step, worker, TLT_WORK_OTHER);
  for (int i = 0; i < MOVES; i++) {
    *seed = *seed * 1664525u + 1013904223u;
    tlt_account_enter_for(a, (tlt_work)(*seed >> 20) % TLT_WORK_STATES,
                          *seed >> 31 ? (int64_t)(*seed >> 28) : TLT_NO_DETAIL);
    for (double until = tlt_now() + 1e-9 * (*seed >> 14 & 0x3fff); tlt_now() < until;) continue;
    tlt_account_decoded(a, *seed >> 24 & 7, *seed >> 22 & 31);
    if (worker == 0) tlt_account_stage(a, (tlt_stage)(*seed >> 29) % TLT_STAGES);
    beside(a, step, i, *seed);
  }
  tlt_account_finish(a);
}

static tlt_status put(void *metrics, void *trace, int64_t step, int workers, tlt_err *err) {
  static unsigned char bytes[TLT_ACCOUNT_BYTES_MAX];
  static uint32_t seed = 1;
  static tlt_account received;
  tlt_metrics m = {.step = step};
  double from = tlt_now();
  tlt_status s = TLT_OK;
  for (int w = 0; w < workers; w++) work(&account[w], step, w, &seed);
  tlt_metrics_workers(&m, account, workers, tlt_now() - from);
  for (int w = 0; s == TLT_OK && w < workers; w++) {
    size_t n = tlt_account_pack(&account[w], bytes);
    s = tlt_account_unpack(&received, bytes, n, err);
    if (s == TLT_OK) s = tlt_trace_json.put(trace, &received, err);
  }
  return s == TLT_OK ? tlt_metrics_jsonl.put(metrics, &m, err) : s;
}

int main(int argc, char **argv) {
  tlt_err err = {0};
  void *metrics = NULL, *trace = NULL;
  if (argc != 6 || atoi(argv[2]) > WORKERS_MAX) return 2;
  int workers = atoi(argv[2]);
  int64_t after = atoll(argv[3]), last = atoll(argv[4]);
  tlt_status s = tlt_metrics_jsonl.start(NULL, argv[1], after, &metrics, &err);
  if (s == TLT_OK) s = tlt_trace_start(argv[1], after, strtoull(argv[5], NULL, 10), &trace, &err);
  for (int64_t step = after + 1; s == TLT_OK && step <= last; step++)
    s = put(metrics, trace, step, workers, &err);
  tlt_metrics_jsonl.close(metrics, NULL);
  tlt_trace_json.close(trace, NULL);
  if (s != TLT_OK) fprintf(stderr, "%s\n", err.text);
  return s == TLT_OK ? 0 : 1;
}
