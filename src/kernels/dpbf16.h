/* One lane of VDPBF16PS in scalar code: the oracle of every bf16 dot product. */
#ifndef TLT_KERNELS_DPBF16_H
#define TLT_KERNELS_DPBF16_H

#include "base/bf16.h"

/* Denormals to zero, sign kept. */
static inline float tlt_flush(float x) {
  uint32_t u = tlt_bits_f32(x);
  return u & 0x7f800000u ? x : tlt_f32_bits(u & 0x80000000u);
}

/* acc + x1 y1 + x0 y0: two FMAs, the odd element first, each rounded to nearest even with denormal
 * inputs and results flushed whatever MXCSR says (Intel SDM, VDPBF16PS; AMD agrees). */
static inline float tlt_dpbf16(float acc, tlt_bf16 x0, tlt_bf16 x1, tlt_bf16 y0, tlt_bf16 y1) {
  float a0 = tlt_flush(tlt_bf16_to_f32(x0)), a1 = tlt_flush(tlt_bf16_to_f32(x1));
  float b0 = tlt_flush(tlt_bf16_to_f32(y0)), b1 = tlt_flush(tlt_bf16_to_f32(y1));
  return tlt_flush(fmaf(a0, b0, tlt_flush(fmaf(a1, b1, tlt_flush(acc)))));
}

#endif
