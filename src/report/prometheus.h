/* The newest step of a run as Prometheus text (exposition format 0.0.4).
 *
 * Every numeric key of metrics.jsonl is a gauge: "tlt_" and the key with "_" for what a name may
 * not hold. Parts of a key that count something are labels:
 *   workers/W/STATE              tlt_worker_seconds{worker="W",state="STATE"}
 *   spec/drafted/SOURCE/DEPTH    tlt_spec_drafted_by{source="SOURCE",depth="DEPTH"}, accepted alike
 *   completions/length_le/N      tlt_completions_length_le{tokens="N"}
 * Beside these: tlt_run_info, tlt_run_step, tlt_run_steps, tlt_run_phase{phase}, tlt_phase_done,
 * tlt_phase_total, tlt_phase_tokens_per_second, tlt_run_seconds_left. */
#ifndef TLT_REPORT_PROMETHEUS_H
#define TLT_REPORT_PROMETHEUS_H

#include "report/watch_feed.h"

typedef struct tlt_prometheus {
  const char *run, *program; /* directory, version */
  const char *step;          /* line of metrics.jsonl, n bytes; 0: none yet */
  size_t n;
  const tlt_feed_progress *progress; /* NULL: none yet */
} tlt_prometheus;

/* Append the text. TLT_EDATA: step is no JSON object; TLT_ENOMEM. */
tlt_status tlt_prometheus_write(const tlt_prometheus *p, tlt_text *to, tlt_err *err);

#endif
