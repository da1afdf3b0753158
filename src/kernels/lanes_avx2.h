/* Lanes in two 256-bit registers; meanings in lanes_scalar.h. Included by lanes.h only. */
#ifndef TLT_KERNELS_LANES_AVX2_H
#define TLT_KERNELS_LANES_AVX2_H

#include <immintrin.h>

typedef struct tlt_vf {
  __m256 a, b; /* lanes 0-7, 8-15 */
} tlt_vf;
typedef struct tlt_vi {
  __m256i a, b;
} tlt_vi;

#define TLT_FF(op, x, y) ((tlt_vf){op((x).a, (y).a), op((x).b, (y).b)})
#define TLT_II(op, x, y) ((tlt_vi){op((x).a, (y).a), op((x).b, (y).b)})

/* All ones in lanes first .. n-1 of eight lanes that start at `first`. */
TLT_INLINE __m256i tlt_mask8(int n, int first) {
  __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                  _mm256_set1_epi32(first));
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

TLT_INLINE tlt_vf tlt_vf_load(const float *p) {
  return (tlt_vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
TLT_INLINE tlt_vf tlt_vf_load_n(const float *p, int n) {
  return (tlt_vf){_mm256_maskload_ps(p, tlt_mask8(n, 0)), _mm256_maskload_ps(p + 8, tlt_mask8(n, 8))};
}
TLT_INLINE void tlt_vf_store(float *p, tlt_vf v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
TLT_INLINE void tlt_vf_store_n(float *p, int n, tlt_vf v) {
  _mm256_maskstore_ps(p, tlt_mask8(n, 0), v.a);
  _mm256_maskstore_ps(p + 8, tlt_mask8(n, 8), v.b);
}
TLT_INLINE __m256 tlt_widen8(const tlt_bf16 *p) {
  __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
TLT_INLINE tlt_vf tlt_vf_load_bf16(const tlt_bf16 *p) {
  return (tlt_vf){tlt_widen8(p), tlt_widen8(p + 8)};
}
TLT_INLINE tlt_vf tlt_vf_load_bf16_n(const tlt_bf16 *p, int n) {
  tlt_bf16 t[16] = {0};
  memcpy(t, p, (size_t)n * sizeof *p);
  return tlt_vf_load_bf16(t);
}
TLT_INLINE __m256i tlt_narrow8(__m256 x) { /* tlt_f32_to_bf16 in 32-bit lanes */
  __m256i u = _mm256_castps_si256(x), high = _mm256_srli_epi32(u, 16);
  __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  __m256i r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(_mm256_srli_epi32(r, 16), quiet, nan);
}
TLT_INLINE void tlt_vf_store_bf16_n(tlt_bf16 *p, int n, tlt_vf v) {
  __m256i both = _mm256_packus_epi32(tlt_narrow8(v.a), tlt_narrow8(v.b));
  both = _mm256_permute4x64_epi64(both, 0xd8);
  if (n == 16) {
    _mm256_storeu_si256((__m256i *)p, both);
    return;
  }
  tlt_bf16 t[16];
  _mm256_storeu_si256((__m256i *)t, both);
  memcpy(p, t, (size_t)n * sizeof *p);
}
TLT_INLINE tlt_vf tlt_vf_set(float x) { return (tlt_vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
TLT_INLINE tlt_vf tlt_vf_first_n(int n, tlt_vf x, tlt_vf y) {
  return (tlt_vf){_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(tlt_mask8(n, 0))),
                  _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(tlt_mask8(n, 8)))};
}

TLT_INLINE tlt_vf tlt_vf_add(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_add_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_sub(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_sub_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_mul(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_mul_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_div(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_div_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_max(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_max_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_min(tlt_vf x, tlt_vf y) { return TLT_FF(_mm256_min_ps, x, y); }
TLT_INLINE tlt_vf tlt_vf_fma(tlt_vf x, tlt_vf y, tlt_vf z) {
  return (tlt_vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
TLT_INLINE tlt_vf tlt_vf_rint(tlt_vf x) {
  return (tlt_vf){_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                  _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
TLT_INLINE tlt_vf tlt_vf_if_less(tlt_vf p, tlt_vf q, tlt_vf x, tlt_vf y) {
  return (tlt_vf){_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(p.a, q.a, _CMP_LT_OQ)),
                  _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(p.b, q.b, _CMP_LT_OQ))};
}
TLT_INLINE tlt_vf tlt_vf_if_nan(tlt_vf p, tlt_vf x, tlt_vf y) {
  return (tlt_vf){_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(p.a, p.a, _CMP_UNORD_Q)),
                  _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(p.b, p.b, _CMP_UNORD_Q))};
}

TLT_INLINE float tlt_vf_sum(tlt_vf x) {
  __m256 b = _mm256_add_ps(x.a, x.b);
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
TLT_INLINE float tlt_vf_hmax(tlt_vf x) {
  __m256 b = _mm256_max_ps(x.a, x.b);
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

TLT_INLINE tlt_vi tlt_vf_bits(tlt_vf x) {
  return (tlt_vi){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}
TLT_INLINE tlt_vf tlt_vi_as_float(tlt_vi x) {
  return (tlt_vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
TLT_INLINE tlt_vi tlt_vf_to_int(tlt_vf x) {
  return (tlt_vi){_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)};
}
TLT_INLINE tlt_vf tlt_vf_from_int(tlt_vi x) {
  return (tlt_vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
TLT_INLINE tlt_vi tlt_vi_set(uint32_t x) {
  return (tlt_vi){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)};
}
TLT_INLINE tlt_vi tlt_vi_load(const uint32_t *p) {
  return (tlt_vi){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)p + 1)};
}
TLT_INLINE void tlt_vi_store(uint32_t *p, tlt_vi x) {
  _mm256_storeu_si256((__m256i *)p, x.a);
  _mm256_storeu_si256((__m256i *)p + 1, x.b);
}
TLT_INLINE tlt_vi tlt_vi_add(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_add_epi32, x, y); }
TLT_INLINE tlt_vi tlt_vi_sub(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_sub_epi32, x, y); }
TLT_INLINE tlt_vi tlt_vi_and(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_and_si256, x, y); }
TLT_INLINE tlt_vi tlt_vi_or(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_or_si256, x, y); }
TLT_INLINE tlt_vi tlt_vi_xor(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_xor_si256, x, y); }
TLT_INLINE tlt_vi tlt_vi_sll(tlt_vi x, int n) {
  return (tlt_vi){_mm256_slli_epi32(x.a, n), _mm256_slli_epi32(x.b, n)};
}
TLT_INLINE tlt_vi tlt_vi_srl(tlt_vi x, int n) {
  return (tlt_vi){_mm256_srli_epi32(x.a, n), _mm256_srli_epi32(x.b, n)};
}
TLT_INLINE tlt_vi tlt_vi_sra(tlt_vi x, int n) {
  return (tlt_vi){_mm256_srai_epi32(x.a, n), _mm256_srai_epi32(x.b, n)};
}

TLT_INLINE uint32_t tlt_mask16(__m256 a, __m256 b) {
  return (uint32_t)_mm256_movemask_ps(a) | (uint32_t)_mm256_movemask_ps(b) << 8;
}
TLT_INLINE uint32_t tlt_vi_mask_le(tlt_vi x, tlt_vi y) {
  tlt_vi greater = TLT_II(_mm256_cmpgt_epi32, x, y);
  return ~tlt_mask16(_mm256_castsi256_ps(greater.a), _mm256_castsi256_ps(greater.b)) & 0xffff;
}
TLT_INLINE uint32_t tlt_vf_mask_ge(tlt_vf x, tlt_vf y) {
  return tlt_mask16(_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ));
}

TLT_INLINE tlt_vi tlt_vi_mul_even(tlt_vi x, tlt_vi y) { return TLT_II(_mm256_mul_epu32, x, y); }
TLT_INLINE tlt_vi tlt_vi_high_to_low(tlt_vi x) {
  return (tlt_vi){_mm256_srli_epi64(x.a, 32), _mm256_srli_epi64(x.b, 32)};
}
TLT_INLINE tlt_vi tlt_vi_low_to_high(tlt_vi x) {
  return (tlt_vi){_mm256_slli_epi64(x.a, 32), _mm256_slli_epi64(x.b, 32)};
}
TLT_INLINE tlt_vi tlt_vi_even_odd(tlt_vi x, tlt_vi y) {
  return (tlt_vi){_mm256_blend_epi32(x.a, y.a, 0xaa), _mm256_blend_epi32(x.b, y.b, 0xaa)};
}

TLT_INLINE void tlt_vi_transpose4(tlt_vi a[4]) {
  tlt_vi p = TLT_II(_mm256_unpacklo_epi32, a[0], a[1]);
  tlt_vi q = TLT_II(_mm256_unpackhi_epi32, a[0], a[1]);
  tlt_vi r = TLT_II(_mm256_unpacklo_epi32, a[2], a[3]);
  tlt_vi s = TLT_II(_mm256_unpackhi_epi32, a[2], a[3]);
  a[0] = TLT_II(_mm256_unpacklo_epi64, p, r);
  a[1] = TLT_II(_mm256_unpackhi_epi64, p, r);
  a[2] = TLT_II(_mm256_unpacklo_epi64, q, s);
  a[3] = TLT_II(_mm256_unpackhi_epi64, q, s);
}

#endif
