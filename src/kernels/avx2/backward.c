#include "kernels/fix_add_avx2.inc.h"

#define TLT_BACKWARD tlt_backward_avx2
#define TLT_GEMM(name) name
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_n((const float *)(p) + (i), n)
#define TLT_MM_BLOCKS(f) f(6) f(2) f(1)
#define TLT_MM_VECTORS 1
#include "kernels/backward_body.inc.h"

#include "kernels/backward_gemm.inc.h"

#include "kernels/backward_attention.inc.h"
