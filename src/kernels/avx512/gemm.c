/* GEMM of the portable path: bf16 weights widened to fp32, two FMAs per pair of K. */
#include "kernels/lanes.h"

typedef uint64_t tlt_gemm_x; /* two fp32 */
typedef tlt_vf tlt_gemm_half;

#define TLT_GEMM tlt_gemm_f32_avx512
#define TLT_GEMM_TILES(X)                                                                          \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8) X(1, 9) X(1, 10) X(1, 11)        \
  X(1, 12) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(2, 6) X(2, 7) X(2, 8) X(2, 9) X(2, 10)        \
  X(2, 11) X(2, 12) X(4, 1) X(4, 2) X(4, 3) X(4, 4)
enum { HALVES = 2, TILE_PANELS = 2, TILE_ROWS = 12, WIDE_PANELS = 4, WIDE_ROWS = 4 };

#include "kernels/gemm_f32.inc.h"
