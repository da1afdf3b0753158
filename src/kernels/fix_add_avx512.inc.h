/* Sixteen lanes of fix_add; true when some lane was out of range. Needs AVX512DQ. */
#include "kernels/backward.h"
#include "kernels/lanes.h"

TLT_INLINE bool fix_add_lanes(int64_t *acc, tlt_vf x, int n) {
  __mmask16 in = (__mmask16)((1u << n) - 1);
  __mmask16 good =
      _mm512_mask_cmp_ps_mask(in, _mm512_abs_ps(x), _mm512_set1_ps(TLT_FIX_LIMIT), _CMP_LT_OQ);
  __m512 scaled = _mm512_maskz_mul_ps(good, x, _mm512_set1_ps(TLT_FIX_SCALE));
  __m512i low = _mm512_cvt_roundps_epi64(_mm512_castps512_ps256(scaled),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512i high = _mm512_cvt_roundps_epi64(_mm512_extractf32x8_ps(scaled, 1),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __mmask8 m0 = (__mmask8)in, m1 = (__mmask8)(in >> 8);
  __m512i a = _mm512_maskz_loadu_epi64(m0, acc), b = _mm512_maskz_loadu_epi64(m1, acc + 8);
  _mm512_mask_storeu_epi64(acc, m0, _mm512_add_epi64(a, low));
  _mm512_mask_storeu_epi64(acc + 8, m1, _mm512_add_epi64(b, high));
  return good != in;
}
