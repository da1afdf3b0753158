/* The forward pass of the learned drafter. */
#include <string.h>

#include "base/mem.h"
#include "kernels/gemm_run.h"
#include "model/drafter.h"

enum { ROWS_PER_ITEM = 8 };

size_t tlt_draft_forward_bytes(const tlt_drafter *d, const tlt_kernels *k, int threads,
                               int max_rows, int max_positions) {
  const tlt_config *c = &d->weights.config;
  size_t pair = (size_t)max_rows * tlt_act_stride(2 * (size_t)c->hidden) * k->act_size;
  return tlt_forward_bytes(c, threads, max_rows, max_positions) +
         tlt_workspace_bytes(c, k->act_size, max_rows) + pair;
}

tlt_status tlt_draft_forward_init(tlt_draft_forward *f, const tlt_drafter *d, const tlt_kernels *k,
                                  tlt_pool *pool, int max_rows, int max_positions, tlt_err *err) {
  const tlt_config *c = &d->weights.config;
  size_t stride = tlt_act_stride(2 * (size_t)c->hidden) * k->act_size;
  *f = (tlt_draft_forward){.d = d, .max_rows = max_rows};
  tlt_status s = tlt_forward_init(&f->forward, k, &d->weights, pool, max_rows, max_positions, err);
  if (s == TLT_OK) s = tlt_workspace_init(&f->ws, c, k->act_size, max_rows, err);
  if (s == TLT_OK && !(f->pair = tlt_calloc_aligned((size_t)max_rows, stride)))
    s = tlt_fail_nomem(err, "drafter input", (size_t)max_rows * stride);
  if (s != TLT_OK) tlt_draft_forward_deinit(f);
  return s;
}

void tlt_draft_forward_deinit(tlt_draft_forward *f) {
  tlt_free(f->pair);
  tlt_workspace_deinit(&f->ws);
  tlt_forward_deinit(&f->forward);
  *f = (tlt_draft_forward){0};
}

typedef struct rows_pass {
  tlt_draft_forward *f;
  const tlt_batch *batch;
  const void *const *hidden;
  unsigned char *out;
} rows_pass;

/* Embedding and hidden state side by side; x holds the fp32 embedding for a moment. */
static void pair_item(void *context, int64_t item, int thread) {
  const rows_pass *p = context;
  const tlt_forward *f = &p->f->forward;
  size_t h = (size_t)f->w->config.hidden, act = f->k->act_size;
  int row = (int)item * ROWS_PER_ITEM, end = row + ROWS_PER_ITEM;
  (void)thread;
  for (; row < end && row < p->batch->n_rows; row++) {
    float *x = p->f->ws.x + (size_t)row * h;
    unsigned char *to = (unsigned char *)p->f->pair + (size_t)row * tlt_act_stride(2 * h) * act;
    f->k->embed(&f->w->embed, p->batch->token[row], x);
    f->k->to_act(x, h, to);
    memcpy(to + h * act, p->hidden[row], h * act);
  }
}

static void out_item(void *context, int64_t item, int thread) {
  const rows_pass *p = context;
  const tlt_forward *f = &p->f->forward;
  size_t h = (size_t)f->w->config.hidden;
  int row = (int)item * ROWS_PER_ITEM, end = row + ROWS_PER_ITEM;
  (void)thread;
  for (; row < end && row < p->batch->n_rows; row++)
    f->k->to_act(p->f->ws.x + (size_t)row * h, h,
                 p->out + (size_t)row * tlt_act_stride(h) * f->k->act_size);
}

void tlt_draft_forward_run(tlt_draft_forward *f, const tlt_batch *b, const void *const *hidden,
                           void *out) {
  tlt_forward *forward = &f->forward;
  int h = forward->w->config.hidden, rows = b->n_rows;
  rows_pass p = {.f = f, .batch = b, .hidden = hidden, .out = out};
  int64_t items = (rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM;
  tlt_pool_run(forward->pool, pair_item, &p, items);
  tlt_gemm_run(forward->pool, forward->k, &f->d->fc, f->pair, tlt_act_stride(2 * (size_t)h), rows,
               f->ws.x, (size_t)h, false);
  tlt_forward_layer(forward, 0, b, &f->ws.io);
  tlt_pool_run(forward->pool, out_item, &p, items);
}

void tlt_draft_forward_logits(tlt_draft_forward *f, const void *hidden, int rows, float *logits) {
  const tlt_drafter *d = f->d;
  tlt_gemm_run(f->forward.pool, f->forward.k, &d->hot_head, hidden,
               tlt_act_stride((size_t)d->weights.config.hidden), rows, logits, (size_t)d->n_hot,
               false);
}
