#define TLT_ATTENTION tlt_attention_avx2
#define TLT_KV_STORE tlt_kv_store_avx2
#define TLT_SCORE_BLOCKS(f) f(6, 1) f(3, 2) f(2, 2) f(1, 4)
#define TLT_VALUE_BLOCKS(f) f(3) f(2) f(1)
#define TLT_VALUE_VECTORS 2
#include "kernels/attention_f32.inc.h"
