#include "kernels/attention.h"

static size_t round64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

tlt_kv_layout tlt_kv_layout_of(int layers, int kv_heads, int head_dim, size_t act_size) {
  size_t d = (size_t)head_dim, dp = (d + 15) & ~(size_t)15;
  size_t k_rows = act_size == 2 ? (d + 1) / 2 * 2 : d;
  tlt_kv_layout l = {.layers = layers, .kv_heads = kv_heads, .head_dim = head_dim};
  l.k_bytes = round64(k_rows * TLT_KV_BLOCK * act_size);
  l.v_bytes = round64(dp * TLT_KV_BLOCK * act_size);
  l.head_bytes = l.k_bytes + l.v_bytes;
  l.layer_bytes = (size_t)kv_heads * l.head_bytes;
  l.block_bytes = (size_t)layers * l.layer_bytes;
  return l;
}

void tlt_kv_store_f32(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                      const float *key, const float *value) {
  float *k = (float *)panel + slot;
  int dp = (head_dim + 15) & ~15;
  float *v = (float *)(panel + k_bytes) + slot * dp;
  for (int d = 0; d < head_dim; d++) {
    k[d * TLT_KV_BLOCK] = key[d];
    v[d] = value[d];
  }
}

void tlt_kv_store_bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                       const float *key, const float *value) {
  tlt_bf16 *k = (tlt_bf16 *)panel + slot * 2;
  int dp = (head_dim + 15) & ~15;
  tlt_bf16 *v = (tlt_bf16 *)(panel + k_bytes) + slot / 2 * dp * 2 + slot % 2;
  for (int d = 0; d < head_dim; d++) {
    k[d / 2 * TLT_KV_BLOCK * 2 + d % 2] = tlt_f32_to_bf16(key[d]);
    v[d * 2] = tlt_f32_to_bf16(value[d]);
  }
}
