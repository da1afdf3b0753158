/* Sixteen lanes of fix_add; true when some lane was out of range. */
#include "kernels/backward.h"
#include "kernels/lanes.h"

/* rint of four scaled values as int64: below 2^24 by the conversion to int32, from there on the
 * value is an integer, its mantissa shifted left. */
TLT_INLINE __m256i fix_quad(__m128 v) {
  __m128i bits = _mm_castps_si128(v);
  __m128 size = _mm_andnot_ps(_mm_set1_ps(-0.0f), v);
  __m128 small = _mm_cmplt_ps(size, _mm_set1_ps(0x1p24f));
  __m256i narrow = _mm256_cvtepi32_epi64(_mm_cvtps_epi32(_mm_and_ps(v, small)));
  __m128i mantissa =
      _mm_or_si128(_mm_and_si128(bits, _mm_set1_epi32(0x7fffff)), _mm_set1_epi32(0x800000));
  mantissa = _mm_andnot_si128(_mm_castps_si128(small), mantissa);
  __m128i exponent = _mm_and_si128(_mm_srli_epi32(bits, 23), _mm_set1_epi32(255));
  __m256i shift = _mm256_cvtepi32_epi64(_mm_sub_epi32(exponent, _mm_set1_epi32(150)));
  __m256i wide = _mm256_sllv_epi64(_mm256_cvtepi32_epi64(mantissa), shift);
  __m256i sign = _mm256_cvtepi32_epi64(_mm_srai_epi32(bits, 31));
  wide = _mm256_sub_epi64(_mm256_xor_si256(wide, sign), sign);
  return _mm256_add_epi64(narrow, wide);
}

TLT_INLINE bool fix_add_lanes(int64_t *acc, tlt_vf x, int n) {
  __m256 limit = _mm256_set1_ps(TLT_FIX_LIMIT), sign = _mm256_set1_ps(-0.0f);
  __m256 a = _mm256_cmp_ps(_mm256_andnot_ps(sign, x.a), limit, _CMP_LT_OQ);
  __m256 b = _mm256_cmp_ps(_mm256_andnot_ps(sign, x.b), limit, _CMP_LT_OQ);
  __m256 scale = _mm256_set1_ps(TLT_FIX_SCALE);
  __m256 va = _mm256_and_ps(_mm256_mul_ps(x.a, scale), a);
  __m256 vb = _mm256_and_ps(_mm256_mul_ps(x.b, scale), b);
  __m256i q[4] = {fix_quad(_mm256_castps256_ps128(va)), fix_quad(_mm256_extractf128_ps(va, 1)),
                  fix_quad(_mm256_castps256_ps128(vb)), fix_quad(_mm256_extractf128_ps(vb, 1))};
  if (n == TLT_LANES) {
    for (int i = 0; i < 4; i++) {
      __m256i *to = (__m256i *)acc + i;
      _mm256_storeu_si256(to, _mm256_add_epi64(_mm256_loadu_si256(to), q[i]));
    }
  } else {
    int64_t add[TLT_LANES];
    memcpy(add, q, sizeof add);
    for (int i = 0; i < n; i++) acc[i] += add[i];
  }
  return (_mm256_movemask_ps(a) & _mm256_movemask_ps(b)) != 255; /* absent lanes are 0: in range */
}
