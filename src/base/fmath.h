/* Elementary functions with one fixed sequence of IEEE operations, so that every processor gives
 * the same bits. glibc's exp and log are dispatched by processor and must not be used in kernels,
 * sampler, losses, advantages, schedules or optimizer. Vector kernels repeat these sequences
 * lane by lane (src/kernels/<isa>/); tests compare them bit for bit. */
#ifndef TLT_BASE_FMATH_H
#define TLT_BASE_FMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t tlt_bits_f32(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline float tlt_f32_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* 2^n for -126 <= n <= 127. */
static inline float tlt_exp2i(int n) { return tlt_f32_bits((uint32_t)(n + 127) << 23); }

/* e^x, relative error below 2e-7 where the result is normal. Below -104: 0. Above 88.72: inf.
 * Range reduction by ln 2 in two parts, degree-6 polynomial (Cephes coefficients), scaling in two
 * factors so that denormal results round once. */
static inline float tlt_expf(float x) {
  if (x != x) return x;
  if (x < -104.0f) return 0.0f;
  if (x > 88.72283f) return INFINITY;
  float n = rintf(x * 1.44269504088896341f);
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  int k = (int)n, half = k >> 1; /* arithmetic shift: floor */
  return p * tlt_exp2i(half) * tlt_exp2i(k - half);
}

/* ln x for normal positive x, error below 1 ulp or 1e-7. Cephes polynomial on [sqrt 1/2, sqrt 2). */
static inline float tlt_logf(float x) {
  uint32_t u = tlt_bits_f32(x);
  int e = (int)(u >> 23) - 126;
  float m = tlt_f32_bits((u & 0x007fffffu) | 0x3f000000u); /* [0.5, 1) */
  if (m < 0.70710678118654752440f) {
    e -= 1;
    m = m + m;
  }
  float f = m - 1.0f, z = f * f, en = (float)e;
  float y = 7.0376836292e-2f;
  y = fmaf(y, f, -1.1514610310e-1f);
  y = fmaf(y, f, 1.1676998740e-1f);
  y = fmaf(y, f, -1.2420140846e-1f);
  y = fmaf(y, f, 1.4249322787e-1f);
  y = fmaf(y, f, -1.6668057665e-1f);
  y = fmaf(y, f, 2.0000714765e-1f);
  y = fmaf(y, f, -2.4999993993e-1f);
  y = fmaf(y, f, 3.3333331174e-1f);
  y = y * (f * z);
  y = fmaf(en, -2.12194440e-4f, y);
  y = fmaf(z, -0.5f, y);
  return fmaf(en, 0.693359375f, f + y);
}

/* -ln(1 - u) for 0 < u < 1: an Exp(1) variable for uniform u, accurate for tiny u.
 * w = 1 - u rounds; the rounding error (1 - w) - u is put back to first order. */
static inline float tlt_exponential_of_uniform(float u) {
  float w = 1.0f - u;
  float lost = (1.0f - w) - u;
  return -(tlt_logf(w) + lost / w);
}

/* The uniform of a 32-bit random word: (x + 0.5) 2^-32 rounded to fp32, capped at 1 - 2^-24. */
static inline float tlt_uniform(uint32_t x) {
  float u = (float)(((double)x + 0.5) * 0x1p-32);
  return u > 0x1.fffffep-1f ? 0x1.fffffep-1f : u;
}

/* Standard Gumbel variable of a random word: -ln(-ln(1 - u)). */
static inline float tlt_gumbel(uint32_t x) {
  return -tlt_logf(tlt_exponential_of_uniform(tlt_uniform(x)));
}

/* Double precision, error below 4e-15 relative (sin and cos: 1e-15 absolute for |x| < 1e6).
 * tlt_log: x > 0, normal. tlt_pow: x > 0. */
double tlt_exp(double x);
double tlt_log(double x);
double tlt_pow(double x, double y);
void tlt_sincos(double x, double *sine, double *cosine);

#endif
