/* Reading trace.json (report/trace.h): which steps have details, and the accounts of such a step as
 * the workers kept them. */
#ifndef TLT_REPORT_RUN_TRACE_H
#define TLT_REPORT_RUN_TRACE_H

#include "events/spans.h"
#include "report/notices.h"

enum { TLT_RUN_TRACE_STEPS = 1 << 20 }; /* most steps that are looked at */

/* Event lines of one step lie together in the file. */
typedef struct tlt_run_trace_step {
  int64_t step;
  uint64_t offset, bytes;
  long line;
} tlt_run_trace_step;

typedef struct tlt_run_trace tlt_run_trace;

/* One pass over the file that only looks at the head of each line. No file is a trace without
 * steps; faults become notices. TLT_ENOMEM. */
tlt_status tlt_run_trace_open(const char *run, tlt_run_trace **out, tlt_notices *notices,
                              tlt_err *err);
void tlt_run_trace_close(tlt_run_trace *t); /* NULL is harmless */

/* Steps with spans, ascending. */
int tlt_run_trace_count(const tlt_run_trace *t);
const tlt_run_trace_step *tlt_run_trace_at(const tlt_run_trace *t, int i);

/* Choose steps evenly, the last one among them, whose lines are at most `bytes` together: every
 * stride-th counted from the last. */
int tlt_run_trace_stride(const tlt_run_trace *t, uint64_t bytes);

/* The accounts of step i, one call per worker. In them begin is the step's begin in seconds of the
 * run, for every worker; spans and points count from there. Of points the numbers of steps,
 * sequences and tokens are those that the printed means stand for. */
typedef void (*tlt_run_trace_sink)(void *context, const tlt_account *a);
tlt_status tlt_run_trace_read(tlt_run_trace *t, int i, tlt_run_trace_sink sink, void *context,
                              tlt_notices *notices, tlt_err *err);

#endif
