/* Attention and KV storage of the portable path: act = fp32. */
#include "kernels/kv_body.inc.h"

typedef float tlt_unit;
#define TLT_PAIR 1
#define TLT_STEP(acc, one, row) tlt_vf_fma(tlt_vf_set(one), tlt_vf_load(row), acc)
#define TLT_STORE_ACT(p, d, n, v) tlt_vf_store_n((float *)(p) + (d), n, v)
#define TLT_STORE_P(p, v) tlt_vf_store(p, v)
#include "kernels/attention_body.inc.h"

void TLT_KV_STORE(unsigned char *panel, size_t k_bytes, int head_dim, int slot, const float *key,
                  const float *value) {
  tlt_store_f32(panel, k_bytes, head_dim, slot, key, value);
}
