#include "kernels/kernels.h"

#include <string.h>

static size_t round64(size_t bytes) {
  return (bytes + 63) & ~(size_t)63;
}

tlt_kv_layout tlt_kv_layout_of(int layers, int kv_heads, int head_dim, size_t act_size) {
  size_t d = (size_t)head_dim, dp = (d + 15) & ~(size_t)15;
  size_t k_rows = act_size == 2 ? (d + 1) / 2 * 2 : d;
  tlt_kv_layout l = {
      .layers = layers, .kv_heads = kv_heads, .head_dim = head_dim, .act_size = act_size};
  l.k_bytes = round64(k_rows * TLT_KV_BLOCK * act_size);
  l.v_bytes = round64(dp * TLT_KV_BLOCK * act_size);
  l.head_bytes = l.k_bytes + l.v_bytes;
  l.layer_bytes = (size_t)kv_heads * l.head_bytes;
  l.block_bytes = (size_t)layers * l.layer_bytes;
  return l;
}

static void copy_f32(const tlt_kv_layout *l, unsigned char *to, int to_slot,
                     const unsigned char *from, int from_slot) {
  int dp = (l->head_dim + 15) & ~15;
  float *k = (float *)(void *)to + to_slot, *v = (float *)(void *)(to + l->k_bytes) + to_slot * dp;
  const float *old_k = (const float *)(const void *)from + from_slot;
  const float *old_v = (const float *)(const void *)(from + l->k_bytes) + from_slot * dp;
  for (int d = 0; d < l->head_dim; d++) k[d * TLT_KV_BLOCK] = old_k[d * TLT_KV_BLOCK];
  if (v != old_v) memcpy(v, old_v, (size_t)dp * sizeof *v);
}

/* Pairs as words: a K word is two elements of one position, a V word two positions of one element.
 */
static void copy_bf16(const tlt_kv_layout *l, unsigned char *to, int to_slot,
                      const unsigned char *from, int from_slot) {
  int dp = (l->head_dim + 15) & ~15, pairs = (l->head_dim + 1) / 2;
  uint32_t *k = (uint32_t *)(void *)to + to_slot;
  uint32_t *v = (uint32_t *)(void *)(to + l->k_bytes) + to_slot / 2 * dp;
  const uint32_t *old_k = (const uint32_t *)(const void *)from + from_slot;
  const uint32_t *old_v = (const uint32_t *)(const void *)(from + l->k_bytes) + from_slot / 2 * dp;
  int shift = to_slot % 2 * 16, old_shift = from_slot % 2 * 16;
  uint32_t kept = 0xffff0000u >> shift;
  for (int p = 0; p < pairs; p++) k[p * TLT_KV_BLOCK] = old_k[p * TLT_KV_BLOCK];
  for (int d = 0; d < dp; d++)
    v[d] = (v[d] & kept) | (((old_v[d] >> old_shift) & 0xffffu) << shift);
}

void tlt_kv_copy(const tlt_kv_layout *l, unsigned char *to, int to_slot, const unsigned char *from,
                 int from_slot) {
  (l->act_size == 2 ? copy_bf16 : copy_f32)(l, to, to_slot, from, from_slot);
}

size_t tlt_attn_scratch_floats(int head_dim) {
  size_t dp = ((size_t)head_dim + 15) & ~(size_t)15;
  /* per query: probabilities of a span in fp32 and bf16, span and running output, the query */
  return TLT_ATTN_QUERIES * (TLT_ATTN_SPAN + TLT_ATTN_SPAN / 2 + 3 * dp);
}
