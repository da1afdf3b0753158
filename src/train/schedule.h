/* Learning-rate schedules as transformers defines them; own arithmetic, no libm. */
#ifndef TLT_TRAIN_SCHEDULE_H
#define TLT_TRAIN_SCHEDULE_H

typedef enum tlt_schedule_kind {
  TLT_SCHEDULE_CONSTANT,
  TLT_SCHEDULE_LINEAR,
  TLT_SCHEDULE_COSINE
} tlt_schedule_kind;

/* Learning rate of optimizer step `step` (0-based) of `total`: linear warm-up over `warmup` steps
 * (step < warmup: lr * step / warmup, so the first step has rate 0), then constant, linear to 0, or
 * half a cosine to 0. Equal to get_{constant,linear,cosine}_schedule_with_warmup. */
float tlt_schedule(tlt_schedule_kind kind, float lr, long step, long warmup, long total);

#endif
