/* GEMM of the avx512bf16 path: VDPBF16PS, one pair of K per step. */
#include <immintrin.h>

typedef unsigned tlt_gemm_x; /* two bf16 */
typedef __m512bh tlt_gemm_half;

#define TLT_GEMM tlt_gemm_bf16_avx512bf16
#define TLT_GEMM_TILES(X)                                                                          \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8) X(1, 9) X(1, 10) X(1, 11)        \
  X(1, 12) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(2, 6) X(2, 7) X(2, 8) X(2, 9) X(2, 10)        \
  X(2, 11) X(2, 12) X(4, 1) X(4, 2) X(4, 3) X(4, 4)
enum { HALVES = 1, TILE_PANELS = 2, TILE_ROWS = 12, WIDE_PANELS = 4, WIDE_ROWS = 4 };

static inline __attribute__((always_inline)) __m512bh gemm_weights(const char *p, int half) {
  (void)half;
  return (__m512bh)_mm512_loadu_si512(p);
}
static inline __attribute__((always_inline)) __m512bh gemm_input(const void *p, int half) {
  (void)half;
  return (__m512bh)_mm512_set1_epi32(*(const int *)p);
}
static inline __attribute__((always_inline)) __m512 gemm_step(__m512 c, __m512bh x, __m512bh w) {
  return _mm512_dpbf16_ps(c, x, w);
}

#include "kernels/gemm.inc.h"
