/* Typed metrics of one step, between who measures (rl, app) and who writes (report). No code of its
 * own beyond filling the list; keys are documented in docs/metrics.md.
 *
 * Keys under time/ spec/ drafter/ workers/ mem/ cost/ sys/ may depend on timing; every other value
 * must be a pure function of model, configuration, seed and numerics path. */
#ifndef TLT_EVENTS_METRICS_H
#define TLT_EVENTS_METRICS_H

#include <stdint.h>

#include "tlt/status.h"

enum { TLT_METRICS_MAX = 512 };

typedef enum tlt_metric_kind { TLT_METRIC_REAL, TLT_METRIC_COUNT, TLT_METRIC_TEXT } tlt_metric_kind;

/* key and text are borrowed until the sink returns. A real that is not finite means "no value" and
 * is written as null. */
typedef struct tlt_metric {
  const char *key;
  tlt_metric_kind kind;
  double real;
  int64_t count;
  const char *text;
} tlt_metric;

/* In the order in which they were put; more than TLT_METRICS_MAX sets `overflow`, which the sink
 * reports as TLT_EINTERNAL. */
typedef struct tlt_metrics {
  int64_t step;
  int n;
  int overflow;
  tlt_metric item[TLT_METRICS_MAX];
} tlt_metrics;

void tlt_metrics_real(tlt_metrics *m, const char *key, double value);
void tlt_metrics_count(tlt_metrics *m, const char *key, int64_t value);
void tlt_metrics_text(tlt_metrics *m, const char *key, const char *value);

/* Where the metrics of a run go. Called from the training thread, steps ascending; state is what
 * start made. The training loop knows only this table; report/metrics.h has the file behind it. */
typedef struct tlt_metrics_sink {
  /* Continue the metrics of a run directory behind last_step: later ones are dropped (-1: all). */
  tlt_status (*start)(void *context, const char *run, int64_t last_step, void **state,
                      tlt_err *err);
  tlt_status (*put)(void *state, const tlt_metrics *m, tlt_err *err);
  /* Everything put so far is on the disk when this returns: called before a checkpoint is
   * published. */
  tlt_status (*sync)(void *state, tlt_err *err);
  tlt_status (*close)(void *state, tlt_err *err); /* NULL state is harmless */
  void *context;                                  /* given to start; mostly NULL */
} tlt_metrics_sink;

#endif
