/* What the definition of sampling is made of, shared by the reference and the vector samplers.
 *
 * s_v = logits[v] / T, T >= 1e-3. NaN never wins and takes no part in anything; when all are NaN the
 * answer is 0. m = max s, weight w_v = exp(s_v - m), with w_v = 1 where s_v = m (m may be infinite).
 * Filters in the order of transformers:
 *   top-k: the k largest s stay; ties go to the lowest id.
 *   top-p: weights of what is left as integers q = trunc(w 2^40), Z their sum, R = trunc((1 - p) Z);
 *          from the smallest s up (of equal s the highest id first) tokens go while the sum of q so
 *          far, their own included, is at most R. The largest stays always.
 *   min-p: tokens with w < min_p go.
 * Then the argmax of s_v + gumbel_v over what is left, lowest id on ties. Integer sums make the
 * filters independent of the order of addition. */
#ifndef TLT_KERNELS_SAMPLE_H
#define TLT_KERNELS_SAMPLE_H

#include "base/philox.h"
#include "kernels/kernels.h"

#define TLT_GREEDY_BELOW 1e-3f
#define TLT_WEIGHT_UNIT 0x1p40f /* V 2^40 < 2^63 for any vocabulary below 8 million */

enum { TLT_SAMPLE_CHUNK = 64 }; /* tokens that the vector sampler visits or skips together */

static inline size_t tlt_sample_chunks(int vocab) {
  return ((size_t)vocab + TLT_SAMPLE_CHUNK - 1) / TLT_SAMPLE_CHUNK;
}

static inline float tlt_sample_weight(float s, float m) {
  return s == m ? 1.0f : tlt_expf(s - m);
}

static inline uint64_t tlt_sample_units(float s, float m) {
  return (uint64_t)(tlt_sample_weight(s, m) * TLT_WEIGHT_UNIT);
}

/* R of top-p: units that may go. */
static inline uint64_t tlt_sample_cut(float top_p, uint64_t total) {
  return (uint64_t)((1.0 - (double)top_p) * (double)total);
}

static inline bool tlt_sample_filters(const tlt_sampling *how) {
  return how->top_k > 0 || how->top_p < 1.0f || how->min_p > 0.0f;
}

/* The largest token stays at any min_p. */
static inline float tlt_sample_min_p(const tlt_sampling *how) {
  return how->min_p > 1.0f ? 1.0f : how->min_p;
}

/* The noise of token v >= 0 in draw d. Draft sources rank by it too. */
static inline float tlt_sample_noise(const tlt_draw *d, int v) {
  tlt_random4 r = tlt_philox(d->seed, TLT_PURPOSE_SAMPLE, d->rollout, d->sample, d->position,
                             (uint32_t)v / 4);
  return tlt_gumbel(r.v[v % 4]);
}

#endif
