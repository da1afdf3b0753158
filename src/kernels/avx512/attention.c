#define TLT_ATTENTION tlt_attention_avx512
#define TLT_KV_STORE tlt_kv_store_avx512
#define TLT_SCORE_BLOCKS(f) f(12, 2) f(6, 4) f(3, 4) f(2, 4) f(1, 4)
#define TLT_VALUE_BLOCKS(f) f(6) f(3) f(2) f(1)
#define TLT_VALUE_VECTORS 4
#include "kernels/attention_f32.inc.h"
