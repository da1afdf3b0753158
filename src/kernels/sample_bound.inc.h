/* Which tokens can still win a draw, decided from their random words without noise or logarithms.
 *
 * A token wins only with s + g >= B, B the sum to beat. With u its uniform,
 * g = -ln(-ln(1 - u)) <= -ln u, so u <= exp(s - B) is necessary; and since u >= 2^-33, no token
 * with s < B - 22.88 can win. A random word is compared with a bound above exp(s - B) that costs
 * one FMA and two conversions. Included by the vector samplers. */
#include "kernels/lanes.h"
#include "kernels/sample.h"

#define NOISE_MAX 22.9 /* above -ln(2^-33) */
#define NOISE_MIN 2.82 /* above -(least noise) = ln(-ln 2^-24) */
#define SLACK 1e-4     /* covers rounding in noise and bounds, with SLACK_RELATIVE |B| */
#define SLACK_RELATIVE 0x1p-18
#define BOUND_BITS 30 /* words are compared by their upper bits, as signed integers */

typedef struct bound {
  double value;         /* no sum below it can win */
  float least;          /* no logit below it can */
  tlt_vf scale, offset; /* bits of the float 2^30 exp(l / T - value), nearly: l scale + offset */
} bound;

/* exp as the bits of a float: 2^f <= 1 + f on [0, 1], so linear interpolation of the mantissa is an
 * upper bound (Schraudolph 1999). floor: logits below it are out anyway. */
TLT_INLINE void set_bound(bound *b, double sum, float temperature, float floor) {
  const double log2e = 1.4426950408889634;
  b->value = sum - SLACK - SLACK_RELATIVE * fabs(sum);
  b->scale = tlt_vf_set((float)(log2e * 0x1p23 / (double)temperature));
  b->offset = tlt_vf_set((float)((127 + BOUND_BITS - b->value * log2e) * 0x1p23));
  b->least = (float)((b->value - NOISE_MAX) * (double)temperature);
  if (floor > b->least) b->least = floor;
}

/* Lanes whose word may let them win. */
TLT_INLINE uint32_t may_win(const bound *b, tlt_vf logits, tlt_vi words) {
  tlt_vf top = tlt_vf_set((float)(127 + BOUND_BITS) * 0x1p23f);
  tlt_vf t = tlt_vf_fma(logits, b->scale, b->offset);
  t = tlt_vf_min(tlt_vf_max(t, tlt_vf_set(0.0f)), top);
  tlt_vi limit = tlt_vf_to_int(tlt_vi_as_float(tlt_vf_to_int(t)));
  return tlt_vi_mask_le(tlt_vi_srl(words, 32 - BOUND_BITS), limit);
}
