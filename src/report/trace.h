/* trace.json: what every worker did, in Chrome's trace format (Perfetto, chrome://tracing).
 *
 * Process 1 is the run; thread w + 1 is worker w; thread TLT_TRACE_STEPS holds the RL steps as
 * worker 0 saw them and, inside, their stages. Times are microseconds of the run: a resumed run
 * goes on where the kept part ends.
 *
 *   worker threads   X events named after states (events/spans.h), end to end, never overlapping;
 *                    args: detail (group or rollout, if any), count. At the end of the step an
 *                    instant "totals" whose args are the seconds per state, the same doubles as
 *                    workers/W/STATE of metrics.jsonl, and `folded`: how
 *                    much of the spans is wrong, by joining short ones or where clocks disagree.
 *   groups           async events b and e, id = rollout index: from hand-out until the last answer
 *                    is scored; args of b: worker, detail
 *   beside a worker  threads from TLT_TRACE_BESIDE on: reward process P of worker W has number
 *                    TLT_TRACE_BESIDE + W * TLT_TRACE_EACH + P, X events "reward" with args.detail
 *                    the group; P = TLT_TRACE_WRITER writes drafter checkpoints
 *   counters         "worker W sequences", "worker W accepted length", "worker W speed"
 *   every event      "step" beside the fields of the format
 *
 * The file is one line per event and a closing line that each put writes anew, so it is valid JSON
 * between puts; a kill inside one leaves a file without its end, which the next start mends.
 * Above TLT_TRACE_BYTES the file is thinned: spans and counters stay for every second step, then
 * for every fourth ... (otherData.detail_every), steps and totals for all until that passes 64. */
#ifndef TLT_REPORT_TRACE_H
#define TLT_REPORT_TRACE_H

#include "events/spans.h"

enum {
  TLT_TRACE_BYTES = 64 << 20,
  TLT_TRACE_WORKERS_MAX = 4096,
  TLT_TRACE_STEPS = 65536,
  TLT_TRACE_BESIDE = 131072,
  TLT_TRACE_EACH = 512,
  TLT_TRACE_WRITER = 256
};

/* RUN/trace.json. A damaged file is kept up to the damage, with a warning in the log: it never
 * stops a run. */
extern const tlt_trace_sink tlt_trace_json;

/* The start of tlt_trace_json with another limit in bytes. */
tlt_status tlt_trace_start(const char *run, int64_t last_step, uint64_t limit, void **state,
                           tlt_err *err);

#endif
