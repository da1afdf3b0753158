#include "kernels/table.h"

void tlt_attention_avx512bf16(const tlt_attn *a) { tlt_attention_scalar_bf16(a); }

void tlt_kv_store_avx512bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                     const float *key, const float *value) {
  tlt_kv_store_scalar_bf16(panel, k_bytes, head_dim, slot, key, value);
}
