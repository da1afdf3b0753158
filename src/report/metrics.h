/* metrics.jsonl: one JSON object per step, {"step": N, key: value, ...}, keys in the order given.
 * Doubles are printed so that they read back to the same bits; no value is null. */
#ifndef TLT_REPORT_METRICS_H
#define TLT_REPORT_METRICS_H

#include "events/metrics.h"
#include "io/text.h"

/* RUN/metrics.jsonl. Starting cuts it back to lines whose "step" is at most last_step, together
 * with a line torn by a kill; a whole line that is not an object with an integer "step" is
 * TLT_ECHECKPOINT with its number. Each put is handed to the system at once. */
extern const tlt_metrics_sink tlt_metrics_jsonl;

/* One line of it without its end, instead of what `line` holds. TLT_EINTERNAL: more values than a
 * step may have; TLT_ENOMEM. */
tlt_status tlt_metrics_line(const tlt_metrics *m, tlt_json_writer *line, tlt_err *err);

#endif
