#include "rl/loss.h"

#include "base/fmath.h"

#define RATIO_CLAMP 20.0f
#define SEQUENCE_CLAMP 10.0f
#define KL_CLAMP 20.0f
#define K3_CLAMP 10.0f

/* The derivative of clamp is 0 outside its range, hence *inside. */
static float clamp(float x, float limit, bool *inside) {
  *inside = x >= -limit && x <= limit;
  return *inside ? x : x < 0 ? -limit : x > 0 ? limit : x;
}

typedef struct term {
  float value, derivative;
} term;

static term kl_term(tlt_kl_kind kind, float d) {
  bool inside, inside3;
  float minus = clamp(-d, KL_CLAMP, &inside);
  if (kind == TLT_KL_K1) return (term){d, 1.0f};
  if (kind == TLT_KL_K2) return (term){0.5f * d * d, d};
  float e = tlt_expf(minus);
  float k3 = clamp(e - 1.0f - minus, K3_CLAMP, &inside3);
  return (term){k3, inside && inside3 ? 1.0f - e : 0.0f};
}

typedef struct surrogate {
  float ratio, value, derivative;
  bool low, high;
} surrogate;

/* free: the ratio still depends on the log-probability (it was not clamped). */
static surrogate surrogate_of(const tlt_loss_options *o, float ratio, bool free, float advantage) {
  float least = 1.0f - o->clip_low, most = 1.0f + o->clip_high;
  float clipped = ratio < least ? least : ratio > most ? most : ratio;
  float plain = ratio * advantage, bounded = clipped * advantage;
  bool taken = plain <= bounded; /* equal inside the range, where both have the same derivative */
  surrogate s = {.ratio = ratio, .value = -(taken ? plain : bounded)};
  s.derivative = taken && free ? -plain : 0.0f;
  s.low = ratio < least && advantage < 0;
  s.high = ratio > most && advantage > 0;
  return s;
}

static float sequence_ratio(int n, const float *logp, const float *old_logp, bool *free) {
  double sum = 0;
  for (int t = 0; t < n; t++) sum += (double)logp[t] - old_logp[t];
  float mean = (float)(sum / n);
  *free = mean <= SEQUENCE_CLAMP;
  return tlt_expf(*free ? mean : SEQUENCE_CLAMP);
}

void tlt_policy_loss(const tlt_loss_options *o, int n, float advantage, const float *logp,
                     const float *old_logp, const float *ref, float *dlogp, tlt_loss_sums *sums) {
  bool whole = o->algorithm == TLT_ALG_GSPO, free = true;
  float shared = whole ? sequence_ratio(n, logp, old_logp, &free) : 0.0f;
  float weight = o->mean == TLT_LOSS_SEQUENCE_MEAN ? 1.0f / (float)n : 1.0f;
  *sums = (tlt_loss_sums){.finite = true};
  for (int t = 0; t < n; t++) {
    float difference = logp[t] - old_logp[t], ratio = shared;
    if (!whole) ratio = tlt_expf(clamp(difference, RATIO_CLAMP, &free));
    surrogate s = surrogate_of(o, ratio, free, advantage);
    float value = s.value, derivative = s.derivative;
    if (o->kl != 0) {
      term k = kl_term(o->kl_kind, logp[t] - ref[t]);
      value += o->kl * k.value;
      derivative += o->kl * k.derivative;
      sums->kl += k.value;
    }
    dlogp[t] = derivative * weight;
    sums->loss += (double)value * weight;
    sums->old_kl -= difference;
    sums->ratio += s.ratio;
    sums->low += s.low;
    sums->high += s.high;
    sums->finite = sums->finite && isfinite(value) && isfinite(dlogp[t]) && isfinite(logp[t]);
  }
}

float tlt_loss_scale(tlt_loss_mean mean, int64_t tokens, int64_t samples, int64_t max_tokens) {
  int64_t divisor = mean == TLT_LOSS_TOKEN_MEAN      ? tokens
                    : mean == TLT_LOSS_SEQUENCE_MEAN ? samples
                                                     : samples * max_tokens;
  return divisor > 0 ? 1.0f / (float)divisor : 0.0f;
}
