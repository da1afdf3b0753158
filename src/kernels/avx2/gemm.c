/* GEMM of the portable path: bf16 weights widened to fp32, two FMAs per pair of K. A panel is two
 * registers wide, so six rows of one panel fill the register file. */
#include "kernels/lanes.h"

typedef uint64_t tlt_gemm_x; /* two fp32 */
typedef tlt_vf tlt_gemm_half;

#define TLT_GEMM tlt_gemm_f32_avx2
#define TLT_GEMM_TILES(X)                                                                          \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(2, 1) X(2, 2)
enum { HALVES = 2, TILE_PANELS = 1, TILE_ROWS = 6, WIDE_PANELS = 2, WIDE_ROWS = 2 };

#include "kernels/gemm_f32.inc.h"
