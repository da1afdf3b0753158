/* metrics.jsonl: one JSON object per step, {"step": N, key: value, ...}, keys in the order given.
 * Doubles are printed so that they read back to the same bits; no value is null. */
#ifndef TLT_REPORT_METRICS_H
#define TLT_REPORT_METRICS_H

#include "events/metrics.h"

typedef struct tlt_metrics_writer tlt_metrics_writer;

/* Cut a file of JSON lines back to those whose "step" is at most last_step (a torn last line goes
 * too). Missing file: nothing to do. A line that is not an object with an integer "step" before the
 * last one: TLT_ECHECKPOINT with its line. */
tlt_status tlt_metrics_cut(const char *path, int64_t last_step, tlt_err *err);

/* Opens for appending. */
tlt_status tlt_metrics_writer_open(const char *path, tlt_metrics_writer **out, tlt_err *err);

/* One line, handed to the system at once. */
tlt_status tlt_metrics_writer_put(tlt_metrics_writer *w, const tlt_metrics *m, tlt_err *err);

/* On the disk, before a checkpoint that follows these lines is published. */
tlt_status tlt_metrics_writer_sync(tlt_metrics_writer *w, tlt_err *err);
tlt_status tlt_metrics_writer_close(tlt_metrics_writer *w, tlt_err *err); /* NULL is harmless */

/* A sink that puts into w. */
tlt_metrics_sink tlt_metrics_writer_sink(tlt_metrics_writer *w);

#endif
