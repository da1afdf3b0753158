#include "kernels/kernels.h"

static size_t round64(size_t bytes) {
  return (bytes + 63) & ~(size_t)63;
}

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

size_t tlt_attn_scratch_floats(int head_dim) {
  size_t dp = ((size_t)head_dim + 15) & ~(size_t)15;
  /* per query: probabilities of a span in fp32 and bf16, span and running output, the query */
  return TLT_ATTN_QUERIES * (TLT_ATTN_SPAN + TLT_ATTN_SPAN / 2 + 3 * dp);
}
