/* Sixteen fp32 or uint32 lanes on every instruction set: one AVX-512 register, two AVX2 registers or
 * plain arrays. A body written on these operations gives the same bits everywhere, since each
 * operation is one IEEE or integer operation per lane.
 *
 * tlt_vf: 16 floats. tlt_vi: 16 uint32. Suffix of a comparison's result: a 16-bit mask, bit = lane.
 * Every header defines the same set; a function's meaning is given in lanes_scalar.h. */
#ifndef TLT_KERNELS_LANES_H
#define TLT_KERNELS_LANES_H

#include "base/bf16.h"

#define TLT_INLINE static inline __attribute__((always_inline, unused))
#define TLT_LANES 16

#if defined(__AVX512F__)
#include "kernels/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/lanes_avx2.h"
#else
#include "kernels/lanes_scalar.h"
#endif

/* Lanes 0 .. n-1 valid when n < 16, all 16 from there on. */
TLT_INLINE int tlt_lanes_of(size_t left) { return left < TLT_LANES ? (int)left : TLT_LANES; }

/* tlt_expf of every lane. */
TLT_INLINE tlt_vf tlt_vexp(tlt_vf x) {
  tlt_vf one = tlt_vf_set(1.0f);
  tlt_vf lo = tlt_vf_set(-104.0f), hi = tlt_vf_set(88.72283f);
  tlt_vf y = tlt_vf_min(tlt_vf_max(x, lo), hi); /* NaN becomes -104 and is put back below */
  tlt_vf n = tlt_vf_rint(tlt_vf_mul(y, tlt_vf_set(1.44269504088896341f)));
  tlt_vf r = tlt_vf_fma(n, tlt_vf_set(-0.693359375f), y);
  r = tlt_vf_fma(n, tlt_vf_set(2.12194440e-4f), r);
  tlt_vf p = tlt_vf_set(1.9875691500e-4f);
  p = tlt_vf_fma(p, r, tlt_vf_set(1.3981999507e-3f));
  p = tlt_vf_fma(p, r, tlt_vf_set(8.3334519073e-3f));
  p = tlt_vf_fma(p, r, tlt_vf_set(4.1665795894e-2f));
  p = tlt_vf_fma(p, r, tlt_vf_set(1.6666665459e-1f));
  p = tlt_vf_fma(p, r, tlt_vf_set(5.0000001201e-1f));
  p = tlt_vf_add(tlt_vf_fma(p, tlt_vf_mul(r, r), r), one);
  tlt_vi k = tlt_vf_to_int(n), half = tlt_vi_sra(k, 1), bias = tlt_vi_set(127);
  tlt_vf s0 = tlt_vi_as_float(tlt_vi_sll(tlt_vi_add(half, bias), 23));
  tlt_vf s1 = tlt_vi_as_float(tlt_vi_sll(tlt_vi_add(tlt_vi_sub(k, half), bias), 23));
  tlt_vf e = tlt_vf_mul(tlt_vf_mul(p, s0), s1);
  e = tlt_vf_if_less(x, lo, tlt_vf_set(0.0f), e);
  e = tlt_vf_if_less(hi, x, tlt_vf_set(INFINITY), e);
  return tlt_vf_if_nan(x, x, e);
}

/* tlt_logf of every lane. */
TLT_INLINE tlt_vf tlt_vlog(tlt_vf x) {
  tlt_vi u = tlt_vf_bits(x);
  tlt_vi e = tlt_vi_sub(tlt_vi_srl(u, 23), tlt_vi_set(126));
  tlt_vf m = tlt_vi_as_float(
      tlt_vi_or(tlt_vi_and(u, tlt_vi_set(0x007fffffu)), tlt_vi_set(0x3f000000u)));
  tlt_vf root = tlt_vf_set(0.70710678118654752440f);
  tlt_vf en = tlt_vf_from_int(e);
  en = tlt_vf_if_less(m, root, tlt_vf_sub(en, tlt_vf_set(1.0f)), en);
  m = tlt_vf_if_less(m, root, tlt_vf_add(m, m), m);
  tlt_vf f = tlt_vf_sub(m, tlt_vf_set(1.0f)), z = tlt_vf_mul(f, f);
  tlt_vf y = tlt_vf_set(7.0376836292e-2f);
  y = tlt_vf_fma(y, f, tlt_vf_set(-1.1514610310e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(1.1676998740e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(-1.2420140846e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(1.4249322787e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(-1.6668057665e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(2.0000714765e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(-2.4999993993e-1f));
  y = tlt_vf_fma(y, f, tlt_vf_set(3.3333331174e-1f));
  y = tlt_vf_mul(y, tlt_vf_mul(f, z));
  y = tlt_vf_fma(en, tlt_vf_set(-2.12194440e-4f), y);
  y = tlt_vf_fma(z, tlt_vf_set(-0.5f), y);
  return tlt_vf_fma(en, tlt_vf_set(0.693359375f), tlt_vf_add(f, y));
}

#endif
