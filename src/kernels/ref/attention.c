/* Attention by its definition, one query and one position at a time: the oracle of the vector code.
 *
 * The definition, for one query q with `visible` keys (Vaswani et al. 2017 with the online softmax
 * of Milakov and Gimelshein 2018 over fixed spans): span c holds positions 128 c .. 128 c + 127;
 * s_j = scale * (q . k_j) m_c = max s_j,  p_j = exp(s_j - m_c),  S_c = sum p_j,  o_c = sum p_j v_j
 * over visible j of c (M, S, O) folds spans in ascending order, the smaller maximum is scaled by
 * exp(difference) out = O / S,  lse = M + ln S Order of operations: q . k is one FMA chain over
 * ascending d; S_c runs over 16 strided lanes and the tree 8, 4, 2, 1; o_c[d] is one FMA chain over
 * ascending j, then + 0.0. With bf16, dot products step by pairs of d, o_c by pairs of positions,
 * p_j rounded to bf16, each pair as VDPBF16PS does it (dpbf16.h); a last position without a partner
 * is paired with zeros.
 *
 * So the result is a function of q, visible and the keys and values at positions below visible
 * only: not of the other queries, nor of what lies in slots from `visible` on, be it NaN. */
#include "kernels/dpbf16.h"
#include "kernels/kv_body.inc.h"
#include "kernels/table.h"

static float dot_f32(const float *q, const float *k, int head_dim, int slot) {
  float acc = 0;
  for (int d = 0; d < head_dim; d++) acc = fmaf(q[d], k[d * TLT_KV_BLOCK + slot], acc);
  return acc;
}

static float dot_bf16(const tlt_bf16 *q, const tlt_bf16 *k, int head_dim, int slot) {
  float acc = 0;
  for (int d = 0; d < head_dim; d += 2) {
    const tlt_bf16 *pair = k + (d / 2 * TLT_KV_BLOCK + slot) * 2;
    acc = tlt_dpbf16(acc, q[d], d + 1 < head_dim ? q[d + 1] : 0, pair[0], pair[1]);
  }
  return acc;
}

/* o[d] = sum over j < count of p[j] v[j][d]; panels are those of the span. */
static void values_f32(const tlt_attn *a, const unsigned char *const *panels, const float *p,
                       int count, float *o) {
  int dp = (a->head_dim + 15) & ~15;
  for (int d = 0; d < a->head_dim; d++) {
    float acc = 0;
    for (int j = 0; j < count; j++) {
      const float *v = (const float *)(panels[j / TLT_KV_BLOCK] + a->k_bytes);
      acc = fmaf(p[j], v[j % TLT_KV_BLOCK * dp + d], acc);
    }
    o[d] = acc + 0.0f;
  }
}

static void values_bf16(const tlt_attn *a, const unsigned char *const *panels, const float *p,
                        int count, float *o) {
  int dp = (a->head_dim + 15) & ~15;
  for (int d = 0; d < a->head_dim; d++) {
    float acc = 0;
    for (int j = 0; j < count; j += 2) {
      const tlt_bf16 *v = (const tlt_bf16 *)(panels[j / TLT_KV_BLOCK] + a->k_bytes);
      const tlt_bf16 *pair = v + (j % TLT_KV_BLOCK / 2 * dp + d) * 2;
      bool both = j + 1 < count;
      acc =
          tlt_dpbf16(acc, tlt_f32_to_bf16(tlt_flush(p[j])),
                     both ? tlt_f32_to_bf16(tlt_flush(p[j + 1])) : 0, pair[0], both ? pair[1] : 0);
    }
    o[d] = acc + 0.0f;
  }
}

/* s [count] becomes p = exp(s - max); returns max and the sum over 16 strided lanes. */
static void softmax(float *s, int count, float *max, float *sum) {
  float m = -INFINITY, lane[16] = {0};
  for (int j = 0; j < count; j++) m = s[j] > m ? s[j] : m;
  for (int j = 0; j < count; j++) {
    s[j] = tlt_expf(s[j] - m);
    lane[j % 16] += s[j];
  }
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) lane[i] += lane[i + w];
  *max = m;
  *sum = lane[0];
}

/* Fold a span (max, sum, o) into the running (m, s, out). */
static void fold(float max, float sum, const float *o, tlt_lse *run, float *out, int head_dim) {
  bool higher = max > run->max;
  float scale = higher ? tlt_expf(run->max - max) : tlt_expf(max - run->max);
  for (int d = 0; d < head_dim; d++)
    out[d] = higher ? fmaf(out[d], scale, o[d]) : fmaf(o[d], scale, out[d]);
  tlt_lse_fold(run, max, sum);
}

/* Panels from position `first` on, a multiple of TLT_ATTN_SPAN, as a query sees them. */
static const unsigned char *const *panels_of(const tlt_attn *a, int query, int first) {
  if (!a->n_groups || first < a->tail_first) return a->panels + first / TLT_KV_BLOCK;
  int g = 0;
  while (query >= a->group_end[g]) g++;
  return a->group_panels[g] + (first - a->tail_first) / TLT_KV_BLOCK;
}

static void one_query(const tlt_attn *a, int query, bool bf16) {
  float *p = a->scratch, *o = p + TLT_ATTN_SPAN, *run_o = o + a->head_dim;
  tlt_lse run = {-INFINITY, 0};
  for (int d = 0; d < a->head_dim; d++) run_o[d] = 0;
  for (int first = 0; first < a->visible[query]; first += TLT_ATTN_SPAN) {
    int left = a->visible[query] - first, count = left < TLT_ATTN_SPAN ? left : TLT_ATTN_SPAN;
    const unsigned char *const *panels = panels_of(a, query, first);
    for (int j = 0; j < count; j++) {
      const void *k = panels[j / TLT_KV_BLOCK];
      int slot = j % TLT_KV_BLOCK;
      p[j] = a->scale * (bf16 ? dot_bf16(a->q[query], k, a->head_dim, slot)
                              : dot_f32(a->q[query], k, a->head_dim, slot));
    }
    float max, sum;
    softmax(p, count, &max, &sum);
    (bf16 ? values_bf16 : values_f32)(a, panels, p, count, o);
    fold(max, sum, o, &run, run_o, a->head_dim);
  }
  for (int d = 0; d < a->head_dim; d++) {
    float y = run_o[d] / run.sum;
    if (bf16) ((tlt_bf16 *)a->out[query])[d] = tlt_f32_to_bf16(y);
    else ((float *)a->out[query])[d] = y;
  }
  if (a->lse) a->lse[query] = tlt_lse_value(&run);
}

void tlt_attention_scalar(const tlt_attn *a) {
  for (int i = 0; i < a->n_q; i++) one_query(a, i, false);
}

void tlt_attention_scalar_bf16(const tlt_attn *a) {
  for (int i = 0; i < a->n_q; i++) one_query(a, i, true);
}

void tlt_kv_store_scalar(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                         const float *key, const float *value) {
  tlt_store_f32(panel, k_bytes, head_dim, slot, key, value);
}

void tlt_kv_store_scalar_bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                              const float *key, const float *value) {
  tlt_store_bf16(panel, k_bytes, head_dim, slot, key, value);
}
