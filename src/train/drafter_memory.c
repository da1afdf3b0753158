/* What drafter training takes from its one region of memory. */
#include "train/drafter_internal.h"

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Rows of hot logits handled at once. */
static int chunk_rows(const tlt_drafter_trainer *t) {
  int chunk = tlt_head_chunk(t->max_hot);
  return chunk < t->base.rows ? chunk : t->base.rows;
}

static size_t scratch_bytes(const tlt_drafter_trainer *t) {
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  size_t kv = 2 * (size_t)d->kv, h = (size_t)d->hidden;
  tlt_packed head = t->d->hot_head;
  head.n = t->max_hot;
  head.panels = (head.n + TLT_PANEL - 1) / TLT_PANEL;
  size_t merge = (3 * (size_t)d->q + (size_t)t->max_steps * kv) * sizeof(float);
  size_t attention = tlt_attn_scratch_floats(d->head_dim) * sizeof(float) +
                     ((size_t)b->rows / TLT_KV_BLOCK + 1) * sizeof(void *);
  size_t bytes = larger(tlt_layer_scratch(b), tlt_scratch_for(b, &t->d->fc, b->rows));
  bytes = larger(bytes, b->b->dx_scratch(&head, chunk_rows(t)));
  bytes = larger(bytes, larger(merge, attention));
  return larger(bytes, h * sizeof(float));
}

static void carve_micro(tlt_carver *c, tlt_drafter_trainer *t) {
  size_t rows = (size_t)t->base.rows;
  t->sample = tlt_carve(c, rows, sizeof *t->sample);
  t->row_sample = tlt_carve(c, rows, sizeof *t->row_sample);
  t->chain_row = tlt_carve(c, rows, sizeof *t->chain_row);
  t->chain_steps = tlt_carve(c, rows, sizeof *t->chain_steps);
  t->row = tlt_carve(c, rows, sizeof *t->row);
  /* every sample starts a block */
  t->base.kv = tlt_carve(c, rows, t->base.forward.kv.block_bytes);
}

static void carve_step(tlt_carver *c, tlt_drafter_trainer *t, tlt_draft_step *s) {
  const tlt_trainer *b = &t->base;
  size_t rows = (size_t)b->rows;
  tlt_carve_slot(c, b, &s->slot);
  s->pair = tlt_carve_act(c, b, b->rows, 2 * b->dim.hidden);
  s->h1 = tlt_carve_act(c, b, b->rows, b->dim.hidden);
  s->dout = tlt_carve(c, rows * (size_t)b->dim.hidden, sizeof(float));
  s->dkv = tlt_carve(c, rows * 2 * (size_t)b->dim.kv, sizeof(float));
}

static void carve_loss(tlt_carver *c, tlt_drafter_trainer *t) {
  const tlt_trainer *b = &t->base;
  size_t rows = (size_t)b->rows, hot = (size_t)t->max_hot, chunk = (size_t)chunk_rows(t);
  t->label = tlt_carve_act(c, b, b->rows, b->dim.hidden);
  t->teacher = tlt_carve(c, rows * hot, sizeof(float));
  t->entropy = tlt_carve(c, rows, sizeof(float));
  t->top = tlt_carve(c, rows, sizeof *t->top);
  t->logits = tlt_carve(c, chunk * hot, sizeof(float));
  t->dlogits = tlt_carve_act(c, b, chunk_rows(t), t->max_hot);
}

static void carve_work(tlt_carver *c, tlt_drafter_trainer *t) {
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  size_t rows = (size_t)b->rows, h = (size_t)d->hidden;
  t->x = tlt_carve(c, rows * h, sizeof(float));
  t->x_out = tlt_carve(c, rows * h, sizeof(float));
  t->out = tlt_carve_act(c, b, b->rows, d->hidden);
  t->dpair = tlt_carve(c, rows * 2 * h, sizeof(float));
  t->q_rows = tlt_carve_act(c, b, b->rows, d->q);
  t->ctx_rows = tlt_carve_act(c, b, b->rows, d->q);
  t->lse_rows = tlt_carve(c, rows * (size_t)d->heads, sizeof(float));
  t->dctx_rows = tlt_carve(c, rows * (size_t)d->q, sizeof(float));
  t->dq_rows = tlt_carve(c, rows * (size_t)d->q, sizeof(float));
  t->dkv_rows = tlt_carve(c, rows * 2 * (size_t)d->kv, sizeof(float));
}

size_t tlt_draft_carve(tlt_drafter_trainer *t) {
  tlt_carver c = {t->base.region, 0};
  tlt_carve_shared(&c, &t->base);
  tlt_carve_sites(&c, &t->base);
  carve_micro(&c, t);
  for (int j = 0; j < t->max_steps; j++) carve_step(&c, t, &t->step[j]);
  carve_loss(&c, t);
  carve_work(&c, t);
  t->base.inv = tlt_carve(&c, (size_t)t->base.rows, sizeof(float));
  tlt_carve_workspace(&c, &t->base, scratch_bytes(t));
  return c.used;
}
