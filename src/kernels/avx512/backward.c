#include "kernels/fix_add_avx512.inc.h"

typedef float tlt_unit;
#define TLT_PAIR 1
#define TLT_BACKWARD tlt_backward_avx512
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_n((const float *)(p) + (i), n)
#define TLT_MM_BLOCKS(f, b) f(b, 12) f(b, 4) f(b, 1)
#define TLT_MM_VECTORS 2
#include "kernels/backward_body.inc.h"

#include "kernels/backward_attention.inc.h"
