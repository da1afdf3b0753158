/* RUN/tensorboard: every number of metrics.jsonl as a scalar of the same name, the lengths of the
 * answers as a histogram, and some answers of a few steps, in event files that TensorBoard and
 * whatever else knows its format read (event_file.h, tensorboard.proto).
 *
 * Every start begins a file of its own with the event that tells readers to drop what earlier files
 * say about steps from last_step + 1 on; a start from the beginning removes earlier files. Values
 * are rounded to float, which is what the format holds; one that is null has no event. */
#ifndef TLT_REPORT_TENSORBOARD_H
#define TLT_REPORT_TENSORBOARD_H

#include "events/metrics.h"

extern const tlt_metrics_sink tlt_metrics_tensorboard;

#endif
