/* Attention of drafter training: the causal part by the attention kernels, the few keys of the own
 * chain by hand, merged by log-sum-exp:
 *   lse = ln(exp(lse_0) + sum exp(s_i)),  out = exp(lse_0 - lse) out_0 + sum exp(s_i - lse) v_i
 * over the keys i = 2 .. j of the chain, s_i = scale q . k_i. */
#include <math.h>
#include <string.h>

#include "base/fmath.h"
#include "train/drafter_internal.h"
#include "train/elementwise.h"

/* ---- causal part ----------------------------------------------------------------------------- */

/* Query heads of one KV head that share a kernel call, and chains in one call. */
static int call_heads(const tlt_dims *d) {
  int group = d->heads / d->kv_heads, splits = (group + TLT_ATTN_QUERIES - 1) / TLT_ATTN_QUERIES;
  return (group + splits - 1) / splits;
}

/* Panels of a sample's keys and values of one KV head, up to row `rows`. */
static void list_panels(const tlt_drafter_trainer *t, const tlt_draft_sample *s, int rows,
                        int kv_head, const unsigned char **panels) {
  const tlt_kv_layout *kv = &t->base.forward.kv;
  const unsigned char *first =
      t->base.kv + (size_t)s->first_block * kv->block_bytes + (size_t)kv_head * kv->head_bytes;
  for (int i = 0; i < (rows + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK; i++)
    panels[i] = first + (size_t)i * kv->block_bytes;
}

/* Chains c .. c+n-1 of one sample, query heads head .. head+heads-1. */
static void attend_call(tlt_drafter_trainer *t, const tlt_slot *slot, int c, int n, int head,
                        int heads, const unsigned char **panels, float *scratch) {
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  const void *q[TLT_ATTN_QUERIES];
  void *out[TLT_ATTN_QUERIES];
  int32_t visible[TLT_ATTN_QUERIES];
  float lse[TLT_ATTN_QUERIES];
  int first = tlt_chain_sample(t, c)->first_row;
  for (int i = 0; i < n * heads; i++) {
    int chain = c + i / heads;
    size_t at = (size_t)((head + i % heads) * d->head_dim) * b->k->act_size;
    q[i] = (const unsigned char *)tlt_act_at(b, slot->q, chain, d->q) + at;
    out[i] = (unsigned char *)tlt_act_at(b, slot->ctx, chain, d->q) + at;
    visible[i] = t->chain_row[chain] - first + 1;
  }
  tlt_attn call = {.n_q = n * heads,
                   .head_dim = d->head_dim,
                   .scale = b->scale,
                   .q = q,
                   .visible = visible,
                   .panels = panels,
                   .k_bytes = b->forward.kv.k_bytes,
                   .out = out,
                   .lse = lse,
                   .scratch = scratch};
  b->k->attention(&call);
  for (int i = 0; i < n * heads; i++)
    slot->lse[(size_t)(c + i / heads) * (size_t)d->heads + (size_t)(head + i % heads)] = lse[i];
}

/* Item: a block of chains and a KV head. */
static void attend(void *context, int64_t item, int thread) {
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_dims *d = &t->base.dim;
  int kv_head = (int)(item % d->kv_heads), group = d->heads / d->kv_heads, most = call_heads(d);
  float *scratch = tlt_scratch_at(&t->base, thread);
  const unsigned char **panels =
      (const unsigned char **)(void *)(scratch + tlt_attn_scratch_floats(d->head_dim));
  tlt_draft_range chains = tlt_draft_block(j, item / d->kv_heads);
  for (int c = chains.first, n; c < chains.end; c += n) {
    const tlt_draft_sample *s = tlt_chain_sample(t, c);
    int left = s->first_chain + s->chains - c;
    n = TLT_ATTN_QUERIES / most;
    if (n > left) n = left;
    if (n > chains.end - c) n = chains.end - c;
    list_panels(t, s, t->chain_row[c + n - 1] - s->first_row + 1, kv_head, panels);
    for (int h = 0; h < group; h += most)
      attend_call(t, &t->step[j->step].slot, c, n, kv_head * group + h,
                  group - h < most ? group - h : most, panels, scratch);
  }
}

/* ---- keys of the own chain ------------------------------------------------------------------- */

/* One chain's query, output and the keys and values of its steps 2 .. j as fp32. */
typedef struct own_keys {
  float *q, *out, *kv; /* [Q], [Q], [j - 1][2 kv_heads D] */
} own_keys;

static own_keys load_own(const tlt_draft_job *j, int c, int thread) {
  const tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  const tlt_slot *slot = &t->step[j->step].slot;
  own_keys own;
  own.q = tlt_scratch_at(b, thread);
  own.out = own.q + d->q;
  own.kv = own.out + d->q;
  b->k->from_act(tlt_act_at(b, slot->q, c, d->q), (size_t)d->q, own.q);
  b->k->from_act(tlt_act_at(b, slot->ctx, c, d->q), (size_t)d->q, own.out);
  for (int i = 1; i <= j->step; i++)
    b->k->from_act(tlt_act_at(b, t->step[i].slot.kv, c, 2 * d->kv), 2 * (size_t)d->kv,
                   own.kv + (i - 1) * 2 * d->kv);
  return own;
}

/* Head h of one chain. */
static void merge_head(const tlt_trainer *b, const own_keys *own, int keys, int h, float *lse) {
  const tlt_dims *d = &b->dim;
  int D = d->head_dim, kv_at = h / (d->heads / d->kv_heads) * D;
  float score[TLT_UNROLL_MAX], top = *lse, sum, *out = own->out + h * D;
  for (int i = 0; i < keys; i++) {
    score[i] = b->scale * tlt_dot(own->q + h * D, own->kv + i * 2 * d->kv + kv_at, D);
    if (score[i] > top) top = score[i];
  }
  sum = tlt_expf(*lse - top);
  for (int i = 0; i < keys; i++) sum += tlt_expf(score[i] - top);
  float total = top + tlt_logf(sum), first = tlt_expf(*lse - total);
  for (int x = 0; x < D; x++) out[x] *= first;
  for (int i = 0; i < keys; i++) {
    const float *value = own->kv + i * 2 * d->kv + d->kv + kv_at;
    float p = tlt_expf(score[i] - total);
    tlt_add_scaled(out, p, value, D);
  }
  *lse = total;
}

static void merge_rows(void *context, int64_t block, int thread) {
  const tlt_draft_job *j = context;
  const tlt_trainer *b = &j->t->base;
  const tlt_dims *d = &b->dim;
  const tlt_slot *slot = &j->t->step[j->step].slot;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    own_keys own = load_own(j, c, thread);
    for (int h = 0; h < d->heads; h++)
      merge_head(b, &own, j->step, h, slot->lse + (size_t)c * (size_t)d->heads + h);
    tlt_act_row(b, own.out, d->q, tlt_act_at(b, slot->ctx, c, d->q));
  }
}

void tlt_draft_attention(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  tlt_pool_run(t->base.pool, attend, &job,
               (int64_t)tlt_row_blocks(t->chains) * t->base.dim.kv_heads);
  if (step) tlt_draft_run(&job, merge_rows);
}

/* ---- backward of the causal part ------------------------------------------------------------- */

/* Query, output, lse and gradient of the output of one KV head's group to the rows of a sample,
 * where prompts have none: q and lse such that they have no probability anywhere. */
static void place_queries(tlt_drafter_trainer *t, const tlt_slot *slot, const tlt_draft_sample *s,
                          int head, int heads) {
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  size_t width = (size_t)(heads * d->head_dim), act = b->k->act_size;
  size_t at = (size_t)(head * d->head_dim), n_heads = (size_t)d->heads;
  for (int i = 0; i < s->rows; i++) {
    int c = s->first_chain + i - s->start;
    size_t row = (size_t)(s->first_row + i), from = (size_t)c;
    unsigned char *q = (unsigned char *)tlt_act_at(b, t->q_rows, (int)row, d->q) + at * act;
    unsigned char *out = (unsigned char *)tlt_act_at(b, t->ctx_rows, (int)row, d->q) + at * act;
    float *dout = t->dctx_rows + row * (size_t)d->q + at, *lse = t->lse_rows + row * n_heads + head;
    if (i < s->start || i >= s->start + s->chains) {
      memset(q, 0, width * act);
      memset(out, 0, width * act);
      memset(dout, 0, width * sizeof *dout);
      for (int h = 0; h < heads; h++) lse[h] = INFINITY;
      continue;
    }
    memcpy(q, (unsigned char *)tlt_act_at(b, slot->q, c, d->q) + at * act, width * act);
    memcpy(out, (unsigned char *)tlt_act_at(b, slot->ctx, c, d->q) + at * act, width * act);
    memcpy(dout, b->dh + from * (size_t)d->q + at, width * sizeof *dout);
    memcpy(lse, slot->lse + from * n_heads + head, (size_t)heads * sizeof *lse);
  }
}

/* What the kernel left: dq to the chains, dk and dv added to step 1's. */
static void take_gradients(tlt_drafter_trainer *t, const tlt_draft_sample *s, int kv_head, int head,
                           int heads) {
  const tlt_dims *d = &t->base.dim;
  size_t D = (size_t)d->head_dim, kv = 2 * (size_t)d->kv, at = (size_t)head * D;
  for (int i = 0; i < s->chains; i++)
    memcpy(t->base.qkv + (size_t)(s->first_chain + i) * (size_t)d->qkv + at,
           t->dq_rows + (size_t)(s->first_row + s->start + i) * (size_t)d->q + at,
           (size_t)heads * D * sizeof(float));
  for (int i = 0; i < s->rows; i++) {
    size_t row = (size_t)(s->first_row + i) * kv + (size_t)kv_head * D;
    float *dk = t->step[0].dkv + row, *more = t->dkv_rows + row;
    tlt_add_scaled(dk, 1.0f, more, (int)D);
    tlt_add_scaled(dk + d->kv, 1.0f, more + d->kv, (int)D);
  }
}

/* Item: a sample and a KV head. */
static void causal_backward(void *context, int64_t item, int thread) {
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  const tlt_draft_sample *s = &t->sample[item / d->kv_heads];
  int kv_head = (int)(item % d->kv_heads), heads = d->heads / d->kv_heads, head = kv_head * heads;
  size_t act = b->k->act_size, at = (size_t)(head * d->head_dim),
         q_ld = tlt_act_stride((size_t)d->q);
  size_t kv_ld = tlt_act_stride(2 * (size_t)d->kv), row = (size_t)s->first_row;
  size_t kv_at = (size_t)(kv_head * d->head_dim), kv = 2 * (size_t)d->kv, q = (size_t)d->q;
  int key0 = j->keys.key0, key1 = j->keys.key1 < s->rows ? j->keys.key1 : s->rows;
  if (!s->chains || key0 >= key1) return;
  if (!key0) place_queries(t, &t->step[j->step].slot, s, head, heads);
  const unsigned char *k = (const unsigned char *)t->step[0].slot.kv + (row * kv_ld + kv_at) * act;
  float *dk = t->dkv_rows + row * kv + kv_at;
  b->b->attention(s->rows, key0, key1, heads, d->head_dim, b->scale,
                  (const unsigned char *)t->q_rows + (row * q_ld + at) * act, q_ld, k,
                  k + (size_t)d->kv * act, kv_ld, t->lse_rows + row * (size_t)d->heads + head,
                  (size_t)d->heads, (const unsigned char *)t->ctx_rows + (row * q_ld + at) * act,
                  q_ld, t->dctx_rows + row * q + at, q, t->dq_rows + row * q + at, q, dk,
                  dk + d->kv, kv, tlt_scratch_at(b, thread));
  if (key1 == s->rows) take_gradients(t, s, kv_head, head, heads);
}

/* ---- backward of the own keys ---------------------------------------------------------------- */

/* Head h of one chain: p_i = exp(s_i - lse), dv_i += p_i dout, ds_i = scale p_i (dout . v_i - dout
 * . out), dq += ds_i k_i, dk_i += ds_i q. */
static void own_head(const tlt_draft_job *j, const own_keys *own, int c, int h) {
  const tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  int D = d->head_dim, kv_at = h / (d->heads / d->kv_heads) * D;
  const float *q = own->q + h * D, *dout = b->dh + (size_t)c * (size_t)d->q + h * D;
  float *dq = b->qkv + (size_t)c * (size_t)d->qkv + h * D;
  float lse = t->step[j->step].slot.lse[(size_t)c * (size_t)d->heads + (size_t)h];
  float delta = tlt_dot(dout, own->out + h * D, D);
  for (int i = 1; i <= j->step; i++) {
    const float *key = own->kv + (i - 1) * 2 * d->kv + kv_at, *value = key + d->kv;
    float *dk = t->step[i].dkv + (size_t)c * 2 * (size_t)d->kv + kv_at, *dv = dk + d->kv;
    float p = tlt_expf(b->scale * tlt_dot(q, key, D) - lse);
    float ds = b->scale * p * (tlt_dot(dout, value, D) - delta);
    tlt_add_scaled(dv, p, dout, D);
    tlt_add_scaled(dk, ds, q, D);
    tlt_add_scaled(dq, ds, key, D);
  }
}

static void own_rows(void *context, int64_t block, int thread) {
  const tlt_draft_job *j = context;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    own_keys own = load_own(j, c, thread);
    for (int h = 0; h < j->t->base.dim.heads; h++) own_head(j, &own, c, h);
  }
}

void tlt_draft_attention_backward(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  int longest = 0;
  for (int s = 0; s < t->micro.n_samples; s++)
    longest = t->sample[s].rows > longest ? t->sample[s].rows : longest;
  tlt_backward_keys(&t->base, &job.keys, longest, causal_backward, &job,
                    (int64_t)t->micro.n_samples * t->base.dim.kv_heads);
  if (step) tlt_draft_run(&job, own_rows);
}
