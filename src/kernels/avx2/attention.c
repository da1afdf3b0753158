#include "kernels/table.h"

void tlt_attention_avx2(const tlt_attn *a) { tlt_attention_scalar(a); }

void tlt_kv_store_avx2(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                     const float *key, const float *value) {
  tlt_kv_store_scalar(panel, k_bytes, head_dim, slot, key, value);
}
