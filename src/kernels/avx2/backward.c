#include "kernels/fix_add_avx2.inc.h"

typedef float tlt_unit;
#define TLT_PAIR 1
#define TLT_BACKWARD tlt_backward_avx2
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_n((const float *)(p) + (i), n)
#define TLT_MM_BLOCKS(f, b) f(b, 6) f(b, 2) f(b, 1)
#define TLT_MM_VECTORS 1
#include "kernels/backward_body.inc.h"

#include "kernels/backward_attention.inc.h"
