/* kv_store of kernels.h for both act types; compiled by every instruction set with its own flags.
 */
#include "kernels/kernels.h"

static inline void tlt_store_f32(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                                 const float *key, const float *value) {
  float *k = (float *)panel + slot;
  int dp = (head_dim + 15) & ~15;
  float *v = (float *)(panel + k_bytes) + slot * dp;
  for (int d = 0; d < head_dim; d++) {
    k[d * TLT_KV_BLOCK] = key[d];
    v[d] = value[d];
  }
}

static inline void tlt_store_bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                                  const float *key, const float *value) {
  tlt_bf16 *k = (tlt_bf16 *)panel + slot * 2;
  int dp = (head_dim + 15) & ~15;
  tlt_bf16 *v = (tlt_bf16 *)(panel + k_bytes) + slot / 2 * dp * 2 + slot % 2;
  for (int d = 0; d < head_dim; d++) {
    k[d / 2 * TLT_KV_BLOCK * 2 + d % 2] = tlt_f32_to_bf16(key[d]);
    v[d * 2] = tlt_f32_to_bf16(value[d]);
  }
}
