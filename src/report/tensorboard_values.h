/* What TensorBoard shows besides scalars: the lengths of a step's answers as a histogram, and some
 * of the answers themselves. */
#ifndef TLT_REPORT_TENSORBOARD_VALUES_H
#define TLT_REPORT_TENSORBOARD_VALUES_H

#include <stdbool.h>

#include "events/metrics.h"
#include "io/text.h"
#include "tensorboard.pb-c.h"

enum { TLT_TB_BUCKETS = 64, TLT_TB_ANSWERS = 4 };

typedef struct tlt_tb_histogram {
  Tlt__Histogram histogram;
  double limit[TLT_TB_BUCKETS], count[TLT_TB_BUCKETS];
} tlt_tb_histogram;

/* From completions/length_le/N and the lengths beside it; false where the step has none. The value
 * refers to *h. */
bool tlt_tb_lengths(const tlt_metrics *m, tlt_tb_histogram *h, Tlt__Summary__Value *value);

typedef struct tlt_tb_text {
  tlt_text text;
  Tlt__Tensor tensor;
  Tlt__Tensor__Shape shape;
  Tlt__Metadata metadata;
  Tlt__Metadata__Plugin plugin;
  ProtobufCBinaryData bytes;
} tlt_tb_text;

/* Up to TLT_TB_ANSWERS answers of a step from RUN/rollouts, spread evenly, as Markdown that shows
 * them literally; false where there are none or they cannot be had. Only for steps that are powers
 * of two: a few, of the whole run. The value refers to *t, whose text the caller frees. */
bool tlt_tb_answers(const char *run, int64_t step, tlt_tb_text *t, Tlt__Summary__Value *value);

#endif
