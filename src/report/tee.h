/* Several sinks as one: what a run measures goes to each of them, in the order in which they were
 * added. A failure of a needed one is the run's. Any other that fails is closed, with one warning
 * in the log, and the run goes on without it: observing never ends a run.
 *
 * The caller owns the tee, zeroed at first; it stays where it is while its sinks are in use. */
#ifndef TLT_REPORT_TEE_H
#define TLT_REPORT_TEE_H

#include <stdbool.h>

#include "events/metrics.h"
#include "events/spans.h"

enum { TLT_TEE_MAX = 8 };

/* Exactly one of metrics and trace is set. */
typedef struct tlt_tee_part {
  const char *name; /* for the warning; borrowed */
  bool needed;
  const tlt_metrics_sink *metrics;
  const tlt_trace_sink *trace;
  bool running; /* private: started and not failed */
  void *state;
} tlt_tee_part;

typedef struct tlt_tee {
  int n;
  tlt_tee_part part[TLT_TEE_MAX];
} tlt_tee;

/* Before the sinks of the tee are started. Beyond TLT_TEE_MAX is a bug and ends the program. */
void tlt_tee_add(tlt_tee *tee, const tlt_tee_part *part);

/* The parts of one kind as one sink. */
tlt_metrics_sink tlt_tee_metrics(tlt_tee *tee);
tlt_trace_sink tlt_tee_trace(tlt_tee *tee);

#endif
