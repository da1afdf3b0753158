/* Attention and KV storage with VDPBF16PS: act = bf16. */
#include "kernels/kv_body.inc.h"

#include <immintrin.h>

typedef uint32_t tlt_unit;
#define TLT_PAIR 2
#define TLT_ATTENTION tlt_attention_avx512bf16
#define TLT_STEP(acc, one, row) \
  _mm512_dpbf16_ps(acc, (__m512bh)_mm512_set1_epi32((int)(one)), (__m512bh)_mm512_loadu_si512(row))
#define TLT_STORE_ACT(p, d, n, v) tlt_vf_store_bf16_n((tlt_bf16 *)(p) + (d), n, v)
/* Rounds to nearest even, denormals to zero: p is then what VDPBF16PS would read anyway. */
#define TLT_STORE_P(p, v) _mm256_storeu_si256((__m256i *)(p), (__m256i)_mm512_cvtneps_pbh(v))
#define TLT_SCORE_BLOCKS(f) f(12, 2) f(6, 4) f(3, 4) f(2, 4) f(1, 4)
#define TLT_VALUE_BLOCKS(f) f(6) f(3) f(2) f(1)
#define TLT_VALUE_VECTORS 4
#include "kernels/attention_body.inc.h"

void tlt_kv_store_avx512bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                             const float *key, const float *value) {
  tlt_store_bf16(panel, k_bytes, head_dim, slot, key, value);
}
