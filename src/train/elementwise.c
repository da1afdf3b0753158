#include "train/elementwise.h"

#include <math.h>

#include "kernels/kernels.h"

/* Compiled once per instruction set; contraction is off, so all versions give the same bits. The
 * sanitizers do not support the resolver that picks one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { LANES = 16 };

/* tlt_expf without branches for -104 <= x <= 88; beyond, and for NaN, that of the nearest end. */
static inline float exp_clamped(float x) {
  float y = x > -104.0f ? x : -104.0f;
  y = y < 88.0f ? y : 88.0f;
  float n = rintf(y * 1.44269504088896341f);
  float r = fmaf(n, -0.693359375f, y);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  int k = (int)n, half = k >> 1;
  return p * tlt_exp2i(half) * tlt_exp2i(k - half);
}

static inline double fold(const float *lane) {
  float a[LANES];
  for (int i = 0; i < LANES; i++) a[i] = lane[i];
  for (int w = LANES / 2; w; w /= 2)
    for (int i = 0; i < w; i++) a[i] += a[i + w];
  return (double)a[0];
}

CLONES float tlt_entropy(const float *logits, int n, float temperature, float lse) {
  float t = temperature < 1e-3f ? 1.0f : temperature;
  double sum = 0;
  for (int c = 0; c < n; c += TLT_VOCAB_CHUNK) {
    int end = c + TLT_VOCAB_CHUNK < n ? c + TLT_VOCAB_CHUNK : n, i = c;
    float lane[LANES] = {0};
    for (; i + LANES <= end; i += LANES)
      for (int l = 0; l < LANES; l++) {
        float z = logits[i + l] / t - lse;
        lane[l] = fmaf(exp_clamped(z), -z, lane[l]);
      }
    for (int l = 0; i < end; i++, l++) {
      float z = logits[i] / t - lse;
      lane[l] = fmaf(exp_clamped(z), -z, lane[l]);
    }
    sum += fold(lane);
  }
  return (float)sum;
}

CLONES float tlt_dot(const float *a, const float *b, int n) {
  float lane[LANES] = {0};
  int i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] = fmaf(a[i + l], b[i + l], lane[l]);
  for (int l = 0; i < n; i++, l++) lane[l] = fmaf(a[i], b[i], lane[l]);
  return (float)fold(lane);
}

CLONES void tlt_add_scaled(float *restrict to, float by, const float *restrict x, int n) {
  for (int i = 0; i < n; i++) to[i] = fmaf(by, x[i], to[i]);
}

CLONES int32_t tlt_argmax(const float *x, int n) {
  float lane[LANES];
  int i = 0;
  for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  for (int l = 0; i < n; i++, l++) lane[l] = x[i] > lane[l] ? x[i] : lane[l];
  for (int l = 1; l < LANES; l++) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
  for (i = 0; i < n; i++)
    if (x[i] == lane[0]) return i;
  return 0;
}

CLONES float tlt_softmax(float *x, int n, float temperature, float lse) {
  float t = temperature < 1e-3f ? 1.0f : temperature;
  float entropy = tlt_entropy(x, n, temperature, lse);
  for (int i = 0; i < n; i++) x[i] = exp_clamped(x[i] / t - lse);
  return entropy;
}

/* Constants of one row of the soft cross-entropy, and its two sums over lanes. */
typedef struct soft_row {
  float t, lse, by; /* by: weight / T */
  float loss[LANES], overlap[LANES];
} soft_row;

static inline void soft_element(soft_row *r, int lane, float p, float *logit) {
  float z = *logit / r->t - r->lse, q = exp_clamped(z);
  r->loss[lane] = fmaf(p, -z, r->loss[lane]);
  r->overlap[lane] += p < q ? p : q;
  *logit = (q - p) * r->by;
}

CLONES float tlt_soft_cross_entropy(const float *p, float *logits, int n, float temperature,
                                    float lse, float weight, float *overlap) {
  float t = temperature < 1e-3f ? 1.0f : temperature;
  double loss = 0, common = 0;
  for (int c = 0; c < n; c += TLT_VOCAB_CHUNK) {
    int end = c + TLT_VOCAB_CHUNK < n ? c + TLT_VOCAB_CHUNK : n, i = c;
    soft_row r = {.t = t, .lse = lse, .by = weight / t};
    for (; i + LANES <= end; i += LANES)
      for (int l = 0; l < LANES; l++) soft_element(&r, l, p[i + l], &logits[i + l]);
    for (int l = 0; i < end; i++, l++) soft_element(&r, l, p[i], &logits[i]);
    loss += fold(r.loss);
    common += fold(r.overlap);
  }
  *overlap = (float)common;
  return (float)loss;
}

/* Smooth-L1 with beta 1 is size^2 / 2 below 1, size - 1 / 2 beyond: with c the size cut at 1,
 * c (size - c / 2). */
static inline float smooth_l1(float x, float y, float *slope) {
  float d = x - y, size = fabsf(d), cut = size > 1.0f ? 1.0f : size;
  *slope = d < -1.0f ? -1.0f : d > 1.0f ? 1.0f : d;
  return cut * (size - 0.5f * cut);
}

CLONES float tlt_smooth_l1(const float *restrict x, const float *restrict y, int n, float scale,
                           float *restrict dx) {
  float lane[LANES] = {0}, slope;
  int i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) {
      lane[l] += smooth_l1(x[i + l], y[i + l], &slope);
      dx[i + l] = fmaf(scale, slope, dx[i + l]);
    }
  for (int l = 0; i < n; i++, l++) {
    lane[l] += smooth_l1(x[i], y[i], &slope);
    dx[i] = fmaf(scale, slope, dx[i]);
  }
  return (float)fold(lane);
}

CLONES void tlt_grad_scale(const int64_t *acc, size_t n, float factor, float *to) {
  for (size_t i = 0; i < n; i++) to[i] = (float)acc[i] * factor;
}

CLONES double tlt_sum_squares(const float *x, size_t n) {
  double lane[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + (size_t)l] * (double)x[i + (size_t)l];
  for (int l = 0; i < n; i++, l++) lane[l] += (double)x[i] * (double)x[i];
  for (int w = LANES / 2; w; w /= 2)
    for (int l = 0; l < w; l++) lane[l] += lane[l + w];
  return lane[0];
}

/* torch.optim.AdamW: decay, lerp of the first moment, second moment, p -= step m / (sqrt(v) / root
 * + eps). */
CLONES void tlt_adamw_elements(const tlt_adamw_constants *c, size_t n, int64_t *restrict acc,
                               float *restrict master, float *restrict moment1,
                               float *restrict moment2) {
  const tlt_adamw_constants k = *c;
  for (size_t i = 0; i < n; i++) {
    float g = (float)acc[i] * k.factor * k.clip;
    float m = moment1[i] + (g - moment1[i]) * k.one_beta1;
    float v = moment2[i] * k.beta2 + g * g * k.one_beta2;
    float p = master[i] * k.keep;
    master[i] = p - k.step_size * (m / (sqrtf(v) / k.root_correction + k.eps));
    moment1[i] = m;
    moment2[i] = v;
    acc[i] = 0;
  }
}
