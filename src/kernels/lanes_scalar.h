/* Lanes as arrays; this file is also the manual of the operations. Included by lanes.h only. */
#ifndef TLT_KERNELS_LANES_SCALAR_H
#define TLT_KERNELS_LANES_SCALAR_H

typedef struct tlt_vf {
  float v[16];
} tlt_vf;
typedef struct tlt_vi {
  uint32_t v[16];
} tlt_vi;

#define TLT_EACH_F(expr)                                                                           \
  tlt_vf out;                                                                                      \
  for (int i = 0; i < 16; i++) out.v[i] = (expr);                                                  \
  return out
#define TLT_EACH_I(expr)                                                                           \
  tlt_vi out;                                                                                      \
  for (int i = 0; i < 16; i++) out.v[i] = (expr);                                                  \
  return out

/* Memory. The forms with n touch elements 0 .. n-1 only; the other lanes load as zero. */
TLT_INLINE tlt_vf tlt_vf_load(const float *p) { TLT_EACH_F(p[i]); }
TLT_INLINE tlt_vf tlt_vf_load_n(const float *p, int n) { TLT_EACH_F(i < n ? p[i] : 0.0f); }
TLT_INLINE void tlt_vf_store(float *p, tlt_vf a) { memcpy(p, a.v, sizeof a.v); }
TLT_INLINE void tlt_vf_store_n(float *p, int n, tlt_vf a) {
  for (int i = 0; i < n; i++) p[i] = a.v[i];
}
TLT_INLINE tlt_vf tlt_vf_load_bf16(const tlt_bf16 *p) { TLT_EACH_F(tlt_bf16_to_f32(p[i])); }
TLT_INLINE tlt_vf tlt_vf_load_bf16_n(const tlt_bf16 *p, int n) {
  TLT_EACH_F(i < n ? tlt_bf16_to_f32(p[i]) : 0.0f);
}
TLT_INLINE void tlt_vf_store_bf16_n(tlt_bf16 *p, int n, tlt_vf a) { /* tlt_f32_to_bf16 */
  for (int i = 0; i < n; i++) p[i] = tlt_f32_to_bf16(a.v[i]);
}
TLT_INLINE tlt_vf tlt_vf_set(float x) { TLT_EACH_F(x); }
/* Lane i from a, lanes n .. 15 from b. */
TLT_INLINE tlt_vf tlt_vf_first_n(int n, tlt_vf a, tlt_vf b) { TLT_EACH_F(i < n ? a.v[i] : b.v[i]); }

/* Arithmetic. max: a > b ? a : b; min: a < b ? a : b (a NaN in a is dropped). */
TLT_INLINE tlt_vf tlt_vf_add(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] + b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_sub(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] - b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_mul(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] * b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_div(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] / b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_fma(tlt_vf a, tlt_vf b, tlt_vf c) {
  TLT_EACH_F(fmaf(a.v[i], b.v[i], c.v[i]));
}
TLT_INLINE tlt_vf tlt_vf_max(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_min(tlt_vf a, tlt_vf b) { TLT_EACH_F(a.v[i] < b.v[i] ? a.v[i] : b.v[i]); }
TLT_INLINE tlt_vf tlt_vf_rint(tlt_vf a) { TLT_EACH_F(rintf(a.v[i])); }

/* Choice: a < b ? x : y; a is NaN ? x : y. */
TLT_INLINE tlt_vf tlt_vf_if_less(tlt_vf a, tlt_vf b, tlt_vf x, tlt_vf y) {
  TLT_EACH_F(a.v[i] < b.v[i] ? x.v[i] : y.v[i]);
}
TLT_INLINE tlt_vf tlt_vf_if_nan(tlt_vf a, tlt_vf x, tlt_vf y) {
  TLT_EACH_F(a.v[i] != a.v[i] ? x.v[i] : y.v[i]);
}

/* Reductions over the tree i + 8, i + 4, i + 2, i + 1. */
TLT_INLINE float tlt_vf_sum(tlt_vf a) {
  for (int h = 8; h; h /= 2) {
    for (int i = 0; i < h; i++) a.v[i] = a.v[i] + a.v[i + h];
  }
  return a.v[0];
}
TLT_INLINE float tlt_vf_hmax(tlt_vf a) {
  for (int h = 8; h; h /= 2) {
    for (int i = 0; i < h; i++) a.v[i] = a.v[i] > a.v[i + h] ? a.v[i] : a.v[i + h];
  }
  return a.v[0];
}

/* Bits and integers. to_int truncates and needs |a| < 2^31; sra is the arithmetic shift. */
TLT_INLINE tlt_vi tlt_vf_bits(tlt_vf a) { TLT_EACH_I(tlt_bits_f32(a.v[i])); }
TLT_INLINE tlt_vf tlt_vi_as_float(tlt_vi a) { TLT_EACH_F(tlt_f32_bits(a.v[i])); }
TLT_INLINE tlt_vi tlt_vf_to_int(tlt_vf a) { TLT_EACH_I((uint32_t)(int32_t)a.v[i]); }
TLT_INLINE tlt_vf tlt_vf_from_int(tlt_vi a) { TLT_EACH_F((float)(int32_t)a.v[i]); }
TLT_INLINE tlt_vi tlt_vi_set(uint32_t x) { TLT_EACH_I(x); }
TLT_INLINE tlt_vi tlt_vi_load(const uint32_t *p) { TLT_EACH_I(p[i]); }
TLT_INLINE void tlt_vi_store(uint32_t *p, tlt_vi a) { memcpy(p, a.v, sizeof a.v); }
TLT_INLINE tlt_vi tlt_vi_add(tlt_vi a, tlt_vi b) { TLT_EACH_I(a.v[i] + b.v[i]); }
TLT_INLINE tlt_vi tlt_vi_sub(tlt_vi a, tlt_vi b) { TLT_EACH_I(a.v[i] - b.v[i]); }
TLT_INLINE tlt_vi tlt_vi_and(tlt_vi a, tlt_vi b) { TLT_EACH_I(a.v[i] & b.v[i]); }
TLT_INLINE tlt_vi tlt_vi_or(tlt_vi a, tlt_vi b) { TLT_EACH_I(a.v[i] | b.v[i]); }
TLT_INLINE tlt_vi tlt_vi_xor(tlt_vi a, tlt_vi b) { TLT_EACH_I(a.v[i] ^ b.v[i]); }
TLT_INLINE tlt_vi tlt_vi_sll(tlt_vi a, int n) { TLT_EACH_I(a.v[i] << n); }
TLT_INLINE tlt_vi tlt_vi_srl(tlt_vi a, int n) { TLT_EACH_I(a.v[i] >> n); }
TLT_INLINE tlt_vi tlt_vi_sra(tlt_vi a, int n) { TLT_EACH_I((uint32_t)((int32_t)a.v[i] >> n)); }

/* Masks: lane i is a <= b as signed integers; lane i is a >= b as floats (false for NaN). */
TLT_INLINE uint32_t tlt_vi_mask_le(tlt_vi a, tlt_vi b) {
  uint32_t m = 0;
  for (int i = 0; i < 16; i++) m |= (uint32_t)((int32_t)a.v[i] <= (int32_t)b.v[i]) << i;
  return m;
}
TLT_INLINE uint32_t tlt_vf_mask_ge(tlt_vf a, tlt_vf b) {
  uint32_t m = 0;
  for (int i = 0; i < 16; i++) m |= (uint32_t)(a.v[i] >= b.v[i]) << i;
  return m;
}

/* Lanes 2 i and 2 i + 1 as one 64-bit number, the even lane its low half: product of the low halves,
 * shift right and left by 32; and even lanes of a, odd lanes of b. */
TLT_INLINE tlt_vi tlt_vi_mul_even(tlt_vi a, tlt_vi b) {
  for (int i = 0; i < 16; i += 2) {
    uint64_t p = (uint64_t)a.v[i] * b.v[i];
    a.v[i] = (uint32_t)p, a.v[i + 1] = (uint32_t)(p >> 32);
  }
  return a;
}
TLT_INLINE tlt_vi tlt_vi_high_to_low(tlt_vi a) { TLT_EACH_I(i % 2 ? 0 : a.v[i + 1]); }
TLT_INLINE tlt_vi tlt_vi_low_to_high(tlt_vi a) { TLT_EACH_I(i % 2 ? a.v[i - 1] : 0); }
TLT_INLINE tlt_vi tlt_vi_even_odd(tlt_vi a, tlt_vi b) { TLT_EACH_I(i % 2 ? b.v[i] : a.v[i]); }

/* Transpose the 4 x 4 matrices that lanes 4 t .. 4 t + 3 of a[0 .. 3] form, for each t. */
TLT_INLINE void tlt_vi_transpose4(tlt_vi a[4]) {
  for (int t = 0; t < 16; t += 4) {
    for (int i = 0; i < 4; i++) {
      for (int j = i + 1; j < 4; j++) {
        uint32_t x = a[i].v[t + j];
        a[i].v[t + j] = a[j].v[t + i];
        a[j].v[t + i] = x;
      }
    }
  }
}

#undef TLT_EACH_F
#undef TLT_EACH_I

#endif
