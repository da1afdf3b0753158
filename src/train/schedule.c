#include "train/schedule.h"

#include "base/fmath.h"

static const double PI = 3.14159265358979323846;

static double after_warmup(tlt_schedule_kind kind, long step, long warmup, long total) {
  if (kind == TLT_SCHEDULE_CONSTANT) return 1.0;
  long span = total > warmup ? total - warmup : 1;
  if (kind == TLT_SCHEDULE_LINEAR)
    return step < total ? (double)(total - step) / (double)span : 0.0;
  double sine, cosine;
  tlt_sincos(PI * (double)(step - warmup) / (double)span, &sine, &cosine);
  return step < total ? 0.5 * (1.0 + cosine) : 0.0;
}

float tlt_schedule(tlt_schedule_kind kind, float lr, long step, long warmup, long total) {
  double factor =
      step < warmup ? (double)step / (double)warmup : after_warmup(kind, step, warmup, total);
  return (float)((double)lr * factor);
}
