#include "kernels/fix_add_avx512.inc.h"

#define TLT_BACKWARD tlt_backward_avx512
#define TLT_GEMM(name) name
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_n((const float *)(p) + (i), n)
#define TLT_MM_BLOCKS(f) f(12) f(4) f(1)
#define TLT_MM_VECTORS 2
#include "kernels/backward_body.inc.h"

#include "kernels/backward_gemm.inc.h"

#include "kernels/backward_attention.inc.h"
