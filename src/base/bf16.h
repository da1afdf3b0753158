/* bfloat16 as uint16_t. Rounding is to nearest even; NaN stays NaN (quiet). */
#ifndef TLT_BASE_BF16_H
#define TLT_BASE_BF16_H

#include "base/fmath.h"

typedef uint16_t tlt_bf16;

static inline float tlt_bf16_to_f32(tlt_bf16 h) { return tlt_f32_bits((uint32_t)h << 16); }

static inline tlt_bf16 tlt_f32_to_bf16(float x) {
  uint32_t u = tlt_bits_f32(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (tlt_bf16)(u >> 16 | 0x40);
  return (tlt_bf16)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

#endif
