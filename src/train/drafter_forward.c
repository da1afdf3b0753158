/* Forward of one step of drafter training. */
#include <string.h>

#include "kernels/gemm_run.h"
#include "train/drafter_internal.h"

static void run_gemm(tlt_drafter_trainer *t, const tlt_packed *w, const void *x, int rows, float *y,
                     bool add) {
  tlt_gemm_run(t->base.pool, t->base.k, w, x, tlt_act_stride((size_t)w->k), rows, y, (size_t)w->n,
               add);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* Token read by a row, 0 where the sample has no further one. */
static int32_t token_of(const tlt_drafter_trainer *t, int step, int row) {
  int at = step ? t->chain_row[row] : row;
  const tlt_draft_sample *s = &t->sample[t->row_sample[at]];
  int next = at - s->first_row + step + 1;
  return next < s->rows ? t->micro.tokens[s->first_row + next] : 0;
}

static const void *true_hidden(const tlt_drafter_trainer *t, int row) {
  int s = t->row_sample[row];
  size_t stride = tlt_act_stride((size_t)t->base.dim.hidden) * t->base.k->act_size;
  return (const unsigned char *)t->micro.hidden[s] +
         (size_t)(row - t->sample[s].first_row) * stride;
}

static void pair_rows(void *context, int64_t block, int thread) {
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  int h = b->dim.hidden;
  size_t half = (size_t)h * b->k->act_size;
  float *row = tlt_scratch_at(b, thread);
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    unsigned char *pair = tlt_act_at(b, t->step[j->step].pair, r, 2 * h);
    b->k->embed(&t->d->weights.embed, token_of(t, j->step, r), row);
    b->k->to_act(row, (size_t)h, pair);
    memcpy(pair + half, j->step ? tlt_act_at(b, t->out, r, h) : true_hidden(t, r), half);
  }
}

static void round_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int h = t->base.dim.hidden;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int r = rows.first; r < rows.end; r++)
    tlt_act_row(&t->base, t->x + (size_t)r * (size_t)h, h,
                tlt_act_at(&t->base, t->step[j->step].h1, r, h));
}

void tlt_draft_input(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = tlt_draft_rows(t, step)};
  tlt_draft_run(&job, pair_rows);
  run_gemm(t, &t->d->fc, t->step[step].pair, job.rows, t->x, false);
  tlt_draft_run(&job, round_rows);
}

/* ---- queries, keys and values ---------------------------------------------------------------- */

/* Step 1 keeps its keys and values in KV blocks too, for the attention kernel. */
static void store_kv(tlt_drafter_trainer *t, int row, const float *key) {
  const tlt_trainer *b = &t->base;
  const tlt_kv_layout *kv = &b->forward.kv;
  const tlt_draft_sample *s = &t->sample[t->row_sample[row]];
  int at = row - s->first_row, d = b->dim.head_dim;
  unsigned char *block = b->kv + (size_t)(s->first_block + at / TLT_KV_BLOCK) * kv->block_bytes;
  for (int h = 0; h < b->dim.kv_heads; h++)
    b->k->kv_store(block + (size_t)h * kv->head_bytes, kv->k_bytes, d, at % TLT_KV_BLOCK,
                   key + h * d, key + b->dim.kv + h * d);
}

static void key_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    float *qkv = b->qkv + (size_t)r * (size_t)d->qkv;
    size_t angle = (size_t)tlt_draft_position(t, j->step, r) * (size_t)(d->head_dim / 2);
    for (int h = 0; h < d->heads + d->kv_heads; h++)
      b->k->rope(qkv + h * d->head_dim, b->forward.cosine + angle, b->forward.sine + angle,
                 d->head_dim);
    tlt_act_row(b, qkv + d->q, 2 * d->kv, tlt_act_at(b, t->step[j->step].slot.kv, r, 2 * d->kv));
    if (!j->step) store_kv(t, r, qkv + d->q);
  }
}

static void query_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_dims *d = &t->base.dim;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    int r = j->step ? c : t->chain_row[c];
    tlt_act_row(&t->base, t->base.qkv + (size_t)r * (size_t)d->qkv, d->q,
                tlt_act_at(&t->base, t->step[j->step].slot.q, c, d->q));
  }
}

void tlt_draft_qkv(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = tlt_draft_rows(t, step)};
  run_gemm(t, &t->base.w->layer->qkv, t->step[step].h1, job.rows, t->base.qkv, false);
  tlt_draft_run(&job, key_rows);
  job.rows = t->chains;
  tlt_draft_run(&job, query_rows);
}

/* ---- after attention ------------------------------------------------------------------------- */

static void residual_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  size_t h = (size_t)t->base.dim.hidden;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    size_t r = (size_t)(j->step ? c : t->chain_row[c]);
    memcpy(t->step[j->step].slot.x_mid + (size_t)c * h, t->x + r * h, h * sizeof *t->x);
  }
}

static void norm_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  int h = b->dim.hidden;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    const float *x = t->step[j->step].slot.x_mid + (size_t)c * (size_t)h;
    b->k->rmsnorm(x, b->w->layer->norm2, h, b->w->config.norm_eps, tlt_act_at(b, b->h2, c, h));
    memcpy(t->x_out + (size_t)c * (size_t)h, x, (size_t)h * sizeof *x);
  }
}

void tlt_draft_after_attention(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  tlt_slot *slot = &t->step[step].slot;
  tlt_draft_run(&job, residual_rows);
  run_gemm(t, &t->base.w->layer->o, slot->ctx, t->chains, slot->x_mid, true);
  tlt_draft_run(&job, norm_rows);
}

/* ---- MLP ------------------------------------------------------------------------------------- */

static void silu_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  int inter = b->dim.inter;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    const float *gu = b->gu + (size_t)c * 2 * (size_t)inter;
    b->k->silu_mul(gu, gu + inter, inter, tlt_act_at(b, b->m, c, inter));
    tlt_act_row(b, gu, 2 * inter, tlt_act_at(b, t->step[j->step].slot.gu, c, 2 * inter));
  }
}

static void output_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int h = t->base.dim.hidden;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++)
    tlt_act_row(&t->base, t->x_out + (size_t)c * (size_t)h, h, tlt_act_at(&t->base, t->out, c, h));
}

void tlt_draft_mlp(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  const tlt_layer_weights *w = t->base.w->layer;
  run_gemm(t, &w->gu, t->base.h2, t->chains, t->base.gu, false);
  tlt_draft_run(&job, silu_rows);
  run_gemm(t, &w->down, t->base.m, t->chains, t->x_out, true);
  tlt_draft_run(&job, output_rows);
}
