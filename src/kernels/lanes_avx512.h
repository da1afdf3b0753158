/* Lanes in one 512-bit register; meanings in lanes_scalar.h. Included by lanes.h only. */
#ifndef TLT_KERNELS_LANES_AVX512_H
#define TLT_KERNELS_LANES_AVX512_H

#include <immintrin.h>

typedef __m512 tlt_vf;
typedef __m512i tlt_vi;

#define TLT_MASK_N(n) ((__mmask16)((1u << (n)) - 1))

TLT_INLINE tlt_vf tlt_vf_load(const float *p) { return _mm512_loadu_ps(p); }
TLT_INLINE tlt_vf tlt_vf_load_n(const float *p, int n) {
  return _mm512_maskz_loadu_ps(TLT_MASK_N(n), p);
}
TLT_INLINE void tlt_vf_store(float *p, tlt_vf a) { _mm512_storeu_ps(p, a); }
TLT_INLINE void tlt_vf_store_n(float *p, int n, tlt_vf a) {
  _mm512_mask_storeu_ps(p, TLT_MASK_N(n), a);
}
TLT_INLINE tlt_vf tlt_vf_widen(__m256i h) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
TLT_INLINE tlt_vf tlt_vf_load_bf16(const tlt_bf16 *p) {
  return tlt_vf_widen(_mm256_loadu_si256((const __m256i *)p));
}
TLT_INLINE tlt_vf tlt_vf_load_bf16_n(const tlt_bf16 *p, int n) {
  return tlt_vf_widen(_mm256_maskz_loadu_epi16(TLT_MASK_N(n), p));
}
TLT_INLINE void tlt_vf_store_bf16_n(tlt_bf16 *p, int n, tlt_vf a) {
  __m512i u = _mm512_castps_si512(a), high = _mm512_srli_epi32(u, 16);
  __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(_mm512_srli_epi32(r, 16), nan, high, _mm512_set1_epi32(0x40));
  _mm256_mask_storeu_epi16(p, TLT_MASK_N(n), _mm512_cvtepi32_epi16(r));
}
TLT_INLINE tlt_vf tlt_vf_set(float x) { return _mm512_set1_ps(x); }
TLT_INLINE tlt_vf tlt_vf_first_n(int n, tlt_vf a, tlt_vf b) {
  return _mm512_mask_blend_ps(TLT_MASK_N(n), b, a);
}

TLT_INLINE tlt_vf tlt_vf_add(tlt_vf a, tlt_vf b) { return _mm512_add_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_sub(tlt_vf a, tlt_vf b) { return _mm512_sub_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_mul(tlt_vf a, tlt_vf b) { return _mm512_mul_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_div(tlt_vf a, tlt_vf b) { return _mm512_div_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_fma(tlt_vf a, tlt_vf b, tlt_vf c) { return _mm512_fmadd_ps(a, b, c); }
TLT_INLINE tlt_vf tlt_vf_max(tlt_vf a, tlt_vf b) { return _mm512_max_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_min(tlt_vf a, tlt_vf b) { return _mm512_min_ps(a, b); }
TLT_INLINE tlt_vf tlt_vf_rint(tlt_vf a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TLT_INLINE tlt_vf tlt_vf_if_less(tlt_vf a, tlt_vf b, tlt_vf x, tlt_vf y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
TLT_INLINE tlt_vf tlt_vf_if_nan(tlt_vf a, tlt_vf x, tlt_vf y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), y, x);
}

TLT_INLINE float tlt_vf_sum(tlt_vf a) {
  __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
TLT_INLINE float tlt_vf_hmax(tlt_vf a) {
  __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

TLT_INLINE tlt_vi tlt_vf_bits(tlt_vf a) { return _mm512_castps_si512(a); }
TLT_INLINE tlt_vf tlt_vi_as_float(tlt_vi a) { return _mm512_castsi512_ps(a); }
TLT_INLINE tlt_vi tlt_vf_to_int(tlt_vf a) { return _mm512_cvttps_epi32(a); }
TLT_INLINE tlt_vf tlt_vf_from_int(tlt_vi a) { return _mm512_cvtepi32_ps(a); }
TLT_INLINE tlt_vi tlt_vi_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
TLT_INLINE tlt_vi tlt_vi_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
TLT_INLINE void tlt_vi_store(uint32_t *p, tlt_vi a) { _mm512_storeu_si512(p, a); }
TLT_INLINE tlt_vi tlt_vi_add(tlt_vi a, tlt_vi b) { return _mm512_add_epi32(a, b); }
TLT_INLINE tlt_vi tlt_vi_sub(tlt_vi a, tlt_vi b) { return _mm512_sub_epi32(a, b); }
TLT_INLINE tlt_vi tlt_vi_and(tlt_vi a, tlt_vi b) { return _mm512_and_si512(a, b); }
TLT_INLINE tlt_vi tlt_vi_or(tlt_vi a, tlt_vi b) { return _mm512_or_si512(a, b); }
TLT_INLINE tlt_vi tlt_vi_xor(tlt_vi a, tlt_vi b) { return _mm512_xor_si512(a, b); }
TLT_INLINE tlt_vi tlt_vi_sll(tlt_vi a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
TLT_INLINE tlt_vi tlt_vi_srl(tlt_vi a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
TLT_INLINE tlt_vi tlt_vi_sra(tlt_vi a, int n) { return _mm512_srai_epi32(a, (unsigned)n); }

TLT_INLINE uint32_t tlt_vi_mask_le(tlt_vi a, tlt_vi b) { return _mm512_cmple_epi32_mask(a, b); }
TLT_INLINE uint32_t tlt_vf_mask_ge(tlt_vf a, tlt_vf b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

TLT_INLINE tlt_vi tlt_vi_mul_even(tlt_vi a, tlt_vi b) { return _mm512_mul_epu32(a, b); }
TLT_INLINE tlt_vi tlt_vi_high_to_low(tlt_vi a) { return _mm512_srli_epi64(a, 32); }
TLT_INLINE tlt_vi tlt_vi_low_to_high(tlt_vi a) { return _mm512_slli_epi64(a, 32); }
TLT_INLINE tlt_vi tlt_vi_even_odd(tlt_vi a, tlt_vi b) {
  return _mm512_mask_blend_epi32(0xaaaa, a, b);
}

TLT_INLINE void tlt_vi_transpose4(tlt_vi a[4]) {
  __m512i p = _mm512_unpacklo_epi32(a[0], a[1]), q = _mm512_unpackhi_epi32(a[0], a[1]);
  __m512i r = _mm512_unpacklo_epi32(a[2], a[3]), s = _mm512_unpackhi_epi32(a[2], a[3]);
  a[0] = _mm512_unpacklo_epi64(p, r);
  a[1] = _mm512_unpackhi_epi64(p, r);
  a[2] = _mm512_unpacklo_epi64(q, s);
  a[3] = _mm512_unpackhi_epi64(q, s);
}

#endif
