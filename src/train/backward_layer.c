/* Backward of one layer, by the forward of model/forward.h read from its end:
 *   dm = dx Wd; dWd = dx^T m; [dg, du] = silu_mul'(dm, g, u)
 *   dh2 = [dg, du] Wgu; dWgu = [dg, du]^T h2; dx += rmsnorm'(dh2, x_mid)
 *   dctx = dx Wo; dWo = dx^T ctx; dq, dk, dv = attention'(dctx)
 *   inverse rope, QK-norm'; dh1 = dqkv Wqkv; dWqkv = dqkv^T h1; dx += rmsnorm'(dh1, x_in)
 * Row work runs in blocks of TLT_ROW_BLOCK rows; h1, h2, m and the pre-norm q and k of qwen3 are
 * recomputed from what is stored. */
#include <string.h>

#include "train/trainer_internal.h"

typedef struct layer_job {
  tlt_trainer *t;
  const tlt_layer_weights *w;
  tlt_site *site;
  int rows;
  const tlt_slot *slot;
  const float *x_in;
  const tlt_batch *batch; /* of the attention half */
  tlt_key_range keys;
} layer_job;

typedef struct row_range {
  int first, end;
} row_range;

static row_range block_rows(const layer_job *j, int64_t block) {
  int first = (int)block * TLT_ROW_BLOCK, end = first + TLT_ROW_BLOCK;
  return (row_range){first, end < j->rows ? end : j->rows};
}

static float *partial_at(const tlt_trainer *t, int64_t block) {
  return t->partial + (size_t)block * (size_t)tlt_partial_stride(&t->dim);
}

static void run_blocks(layer_job *j, tlt_pool_task task) {
  tlt_pool_run(j->t->pool, task, j, tlt_row_blocks(j->rows));
}

static void add_partials(layer_job *j, tlt_site *site, size_t offset) {
  tlt_trainer *t = j->t;
  tlt_backward_partials(t, site, t->partial + offset, tlt_row_blocks(j->rows),
                        (size_t)tlt_partial_stride(&t->dim));
}

/* ---- MLP ------------------------------------------------------------------------------------- */

/* act(dx); m again from gate and up; h2 and 1/rms again from x_mid. */
static void before_down(void *context, int64_t block, int thread) {
  layer_job *j = context;
  tlt_trainer *t = j->t;
  int h = t->dim.hidden, inter = t->dim.inter;
  float *gu = tlt_scratch_at(t, thread);
  row_range rows = block_rows(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    tlt_act_row(t, t->dx + (size_t)r * (size_t)h, h, tlt_act_at(t, t->dy, r, h));
    t->k->from_act(tlt_act_at(t, j->slot->gu, r, 2 * inter), 2 * (size_t)inter, gu);
    t->k->silu_mul(gu, gu + inter, inter, tlt_act_at(t, t->m, r, inter));
    t->inv[r] = t->k->rmsnorm(j->slot->x_mid + (size_t)r * (size_t)h, j->w->norm2, h,
                              t->w->config.norm_eps, tlt_act_at(t, t->h2, r, h));
  }
}

static void after_down(void *context, int64_t block, int thread) {
  layer_job *j = context;
  tlt_trainer *t = j->t;
  int inter = t->dim.inter;
  float *gu = tlt_scratch_at(t, thread);
  row_range rows = block_rows(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    const float *dm = t->gu + (size_t)r * (size_t)inter;
    t->k->from_act(tlt_act_at(t, j->slot->gu, r, 2 * inter), 2 * (size_t)inter, gu);
    t->b->silu_mul(dm, gu, gu + inter, inter, gu, gu + inter);
    tlt_act_row(t, gu, 2 * inter, tlt_act_at(t, t->dy, r, 2 * inter));
  }
}

/* dx += rmsnorm2'; then what the attention half needs: act(dx); h1 and 1/rms from x_in. */
static void after_gate_up(void *context, int64_t block, int thread) {
  (void)thread;
  layer_job *j = context;
  tlt_trainer *t = j->t;
  int h = t->dim.hidden;
  float *dgain = partial_at(t, block);
  memset(dgain, 0, (size_t)h * sizeof *dgain);
  row_range rows = block_rows(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    size_t at = (size_t)r * (size_t)h;
    t->b->rmsnorm(t->dh + at, j->slot->x_mid + at, j->w->norm2, t->inv[r], h, t->dx + at, dgain);
    tlt_act_row(t, t->dx + at, h, tlt_act_at(t, t->dy, r, h));
    if (!j->w->norm1) continue;
    t->inv[r] = t->k->rmsnorm(j->x_in + at, j->w->norm1, h, t->w->config.norm_eps,
                              tlt_act_at(t, t->h1, r, h));
  }
}

static void mlp(layer_job *j) {
  tlt_trainer *t = j->t;
  size_t h = (size_t)t->dim.hidden, inter = (size_t)t->dim.inter;
  run_blocks(j, before_down);
  tlt_backward_gemm(t, &j->w->down, &j->site[TLT_SITE_DOWN], t->dy, tlt_act_stride(h), t->m,
                    tlt_act_stride(inter), j->rows, t->gu, inter);
  run_blocks(j, after_down);
  tlt_backward_gemm(t, &j->w->gu, &j->site[TLT_SITE_GU], t->dy, tlt_act_stride(2 * inter), t->h2,
                    tlt_act_stride(h), j->rows, t->dh, h);
  run_blocks(j, after_gate_up);
  add_partials(j, &j->site[TLT_SITE_NORM2], 0);
}

void tlt_backward_mlp(tlt_trainer *t, int layer, int rows, const tlt_slot *slot,
                      const float *x_in) {
  layer_job job = {.t = t,
                   .w = &t->w->layer[layer],
                   .site = t->site + (size_t)layer * TLT_SITES_PER_LAYER,
                   .rows = rows,
                   .slot = slot,
                   .x_in = x_in};
  mlp(&job);
}

/* ---- attention ------------------------------------------------------------------------------- */

/* One sequence and KV head; dq, dk, dv side by side in t->qkv as the fused matrix has them. */
static void attend(void *context, int64_t item, int thread) {
  layer_job *j = context;
  tlt_trainer *t = j->t;
  const tlt_dims *d = &t->dim;
  const tlt_seq_rows *seq = &j->batch->seq[item / d->kv_heads];
  int key0 = j->keys.key0, key1 = j->keys.key1 < seq->n_rows ? j->keys.key1 : seq->n_rows;
  if (key0 >= key1) return;
  int head = (int)(item % d->kv_heads), group = d->heads / d->kv_heads, D = d->head_dim;
  size_t act = t->k->act_size, r0 = (size_t)seq->row0, q_at = (size_t)head * (size_t)(group * D);
  size_t q_ld = tlt_act_stride((size_t)d->q), kv_ld = tlt_act_stride(2 * (size_t)d->kv);
  const unsigned char *q = (const unsigned char *)j->slot->q + (r0 * q_ld + q_at) * act;
  const unsigned char *out = (const unsigned char *)j->slot->ctx + (r0 * q_ld + q_at) * act;
  const unsigned char *k =
      (const unsigned char *)j->slot->kv + (r0 * kv_ld + (size_t)(head * D)) * act;
  float *dqkv = t->qkv + r0 * (size_t)d->qkv;
  t->b->attention(seq->n_rows, key0, key1, group, D, t->scale, q, q_ld, k, k + (size_t)d->kv * act, kv_ld,
                  j->slot->lse + r0 * (size_t)d->heads + (size_t)(head * group), (size_t)d->heads,
                  out, q_ld, t->dh + r0 * (size_t)d->q + q_at, (size_t)d->q, dqkv + q_at,
                  (size_t)d->qkv, dqkv + d->q + head * D, dqkv + d->q + d->kv + head * D,
                  (size_t)d->qkv, tlt_scratch_at(t, thread));
}

/* QK-norm': replaces the gradient of one normed head by that of its input. */
static void head_norm(const tlt_trainer *t, const float *pre, const float *gain, float *dx,
                      float *dgain, float *scratch) {
  int D = t->dim.head_dim;
  float inv = t->k->rmsnorm_f32(pre, gain, D, t->w->config.norm_eps, scratch);
  memset(scratch, 0, (size_t)D * sizeof *scratch);
  t->b->rmsnorm(dx, pre, gain, inv, D, scratch, dgain);
  memcpy(dx, scratch, (size_t)D * sizeof *dx);
}

static void q_k_row(layer_job *j, int row, float *dqkv, float *dgain, float *scratch) {
  tlt_trainer *t = j->t;
  const tlt_dims *d = &t->dim;
  int D = d->head_dim;
  size_t angle = (size_t)t->position[row] * (size_t)(D / 2);
  for (int h = 0; h < d->heads + d->kv_heads; h++) {
    t->b->rope(dqkv + h * D, t->forward.cosine + angle, t->forward.sine + angle, D);
    if (!j->w->q_norm) continue;
    bool is_k = h >= d->heads;
    head_norm(t, t->qkv_pre + (size_t)row * (size_t)d->qkv + h * D,
              is_k ? j->w->k_norm : j->w->q_norm, dqkv + h * D, dgain + (is_k ? D : 0), scratch);
  }
}

/* Inverse rope, QK-norm', act(dqkv). Partial of the block: QK-norm gains [2 D], bias [N]. */
static void after_attention(void *context, int64_t block, int thread) {
  layer_job *j = context;
  tlt_trainer *t = j->t;
  int n = t->dim.qkv, D = t->dim.head_dim;
  float *dgain = partial_at(t, block), *dbias = dgain + 2 * D;
  memset(dgain, 0, (size_t)(2 * D + n) * sizeof *dgain);
  row_range rows = block_rows(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    float *dqkv = t->qkv + (size_t)r * (size_t)n;
    q_k_row(j, r, dqkv, dgain, tlt_scratch_at(t, thread));
    if (j->w->qkv_bias)
      for (int i = 0; i < n; i++) dbias[i] += dqkv[i];
    tlt_act_row(t, dqkv, n, tlt_act_at(t, t->dy, r, n));
  }
}

static void after_qkv(void *context, int64_t block, int thread) {
  (void)thread;
  layer_job *j = context;
  tlt_trainer *t = j->t;
  int h = t->dim.hidden;
  float *dgain = partial_at(t, block);
  memset(dgain, 0, (size_t)h * sizeof *dgain);
  row_range rows = block_rows(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    size_t at = (size_t)r * (size_t)h;
    t->b->rmsnorm(t->dh + at, j->x_in + at, j->w->norm1, t->inv[r], h, t->dx + at, dgain);
  }
}

/* q and k as they were before QK-norm: the same GEMM as in the forward. One item is a panel. */
static void pre_norm_panel(void *context, int64_t panel, int thread) {
  (void)thread;
  layer_job *j = context;
  tlt_trainer *t = j->t;
  t->k->gemm(&j->w->qkv, (int)panel, (int)panel + 1, t->h1, tlt_act_stride((size_t)t->dim.hidden),
             j->rows, t->qkv_pre, (size_t)t->dim.qkv, false);
}

static int longest_sequence(const tlt_batch *b) {
  int rows = 0;
  for (int s = 0; s < b->n_seqs; s++) rows = b->seq[s].n_rows > rows ? b->seq[s].n_rows : rows;
  return rows;
}

static void attention(layer_job *j) {
  tlt_trainer *t = j->t;
  const tlt_dims *d = &t->dim;
  tlt_site *site = j->site;
  int rows = j->rows, q_and_k = d->q + d->kv;
  size_t h = (size_t)d->hidden, q = (size_t)d->q, n = (size_t)d->qkv;
  tlt_backward_gemm(t, &j->w->o, &site[TLT_SITE_O], t->dy, tlt_act_stride(h), j->slot->ctx,
                    tlt_act_stride(q), rows, t->dh, q);
  if (j->w->q_norm) tlt_pool_run(t->pool, pre_norm_panel, j, (q_and_k + TLT_PANEL - 1) / TLT_PANEL);
  tlt_backward_keys(t, &j->keys, longest_sequence(j->batch), attend, j,
                    (int64_t)j->batch->n_seqs * d->kv_heads);
  run_blocks(j, after_attention);
  if (j->w->q_norm) {
    add_partials(j, &site[TLT_SITE_Q_NORM], 0);
    add_partials(j, &site[TLT_SITE_K_NORM], (size_t)d->head_dim);
  }
  if (j->w->qkv_bias) add_partials(j, &site[TLT_SITE_QKV_BIAS], 2 * (size_t)d->head_dim);
  tlt_backward_gemm(t, &j->w->qkv, &site[TLT_SITE_QKV], t->dy, tlt_act_stride(n), t->h1,
                    tlt_act_stride(h), rows, t->dh, h);
  run_blocks(j, after_qkv);
  add_partials(j, &site[TLT_SITE_NORM1], 0);
}

void tlt_backward_layer(tlt_trainer *t, const tlt_batch *batch, int layer, const tlt_slot *slot) {
  layer_job job = {.t = t,
                   .w = &t->w->layer[layer],
                   .site = t->site + (size_t)layer * TLT_SITES_PER_LAYER,
                   .rows = batch->n_rows,
                   .slot = slot,
                   .x_in = tlt_x_at(t, layer),
                   .batch = batch};
  mlp(&job);
  attention(&job);
}
