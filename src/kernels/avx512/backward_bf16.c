/* Backward with act = bf16. */
#include "kernels/fix_add_avx512.inc.h"

typedef uint32_t tlt_unit;
#define TLT_PAIR 2
#define TLT_BACKWARD tlt_backward_avx512bf16
#define TLT_STEP(acc, one, row)                                                                    \
  _mm512_dpbf16_ps(acc, (__m512bh)_mm512_set1_epi32((int)(one)),                                   \
                   (__m512bh)_mm512_loadu_si512(row))
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_bf16_n((const tlt_bf16 *)(p) + (i), n)
#define TLT_MM_BLOCKS(f, b) f(b, 12) f(b, 4) f(b, 1)
#define TLT_MM_VECTORS 2
#include "kernels/backward_body.inc.h"

#include "kernels/backward_attention.inc.h"
