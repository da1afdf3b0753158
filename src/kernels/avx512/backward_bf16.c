/* Backward with act = bf16: products of activations and weights by oneDNN, the rest in fp32. */
#include "kernels/fix_add_avx512.inc.h"
#include "kernels/onednn/backward.h"

#define TLT_BACKWARD tlt_backward_avx512bf16
#define TLT_GEMM(name) tlt_onednn_##name
#define TLT_LOAD_ACT(p, i, n) tlt_vf_load_bf16_n((const tlt_bf16 *)(p) + (i), n)
#define TLT_MM_BLOCKS(f) f(12) f(4) f(1)
#define TLT_MM_VECTORS 2
#include "kernels/backward_body.inc.h"

#include "kernels/backward_attention.inc.h"
