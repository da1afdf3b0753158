/* What a trainer takes from its memory: a region of its own, and one that a team shares. */
#include "train/trainer_internal.h"

void *tlt_carve(tlt_carver *c, size_t count, size_t size) {
  void *p = c->base ? c->base + c->used : NULL;
  c->used += (count * size + 63) & ~(size_t)63;
  return p;
}

void *tlt_carve_act(tlt_carver *c, const tlt_trainer *t, int rows, int width) {
  return tlt_carve(c, (size_t)rows, tlt_act_stride((size_t)width) * t->k->act_size);
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

static int widest(const tlt_dims *d) {
  int w = 2 * d->inter > d->qkv ? 2 * d->inter : d->qkv;
  return w > d->hidden ? w : d->hidden;
}

static int chunk_rows(const tlt_trainer *t) {
  int chunk = tlt_head_chunk(t->dim.vocab);
  return chunk < t->rows ? chunk : t->rows;
}

void tlt_carve_slot(tlt_carver *c, const tlt_trainer *t, tlt_slot *s) {
  const tlt_dims *d = &t->dim;
  size_t rows = (size_t)t->rows;
  tlt_slot slot = {
      .x_mid = tlt_carve(c, rows * (size_t)d->hidden, sizeof(float)),
      .q = tlt_carve_act(c, t, t->rows, d->q),
      .kv = tlt_carve_act(c, t, t->rows, 2 * d->kv),
      .ctx = tlt_carve_act(c, t, t->rows, d->q),
      .lse = tlt_carve(c, rows * (size_t)d->heads, sizeof(float)),
      .gu = tlt_carve_act(c, t, t->rows, 2 * d->inter),
  };
  if (s) *s = slot;
}

/* As many layers as the budget allows beside the x of every layer; at least one. */
static int slots_in_budget(const tlt_trainer *t) {
  tlt_carver one = {0};
  tlt_carve_slot(&one, t, NULL);
  size_t x = ((size_t)t->dim.layers + 1) * (size_t)t->rows * (size_t)t->dim.hidden * sizeof(float);
  size_t left = t->activation_bytes > x ? t->activation_bytes - x : 0;
  size_t slots = left / one.used;
  if (slots < 1 || t->forward_only) return 1;
  return slots < (size_t)t->dim.layers ? (int)slots : t->dim.layers;
}

size_t tlt_scratch_for(const tlt_trainer *t, const tlt_packed *w, int rows) {
  return larger(t->b->dx_scratch(w, rows), t->b->dw_scratch(w->n, w->k, rows));
}

size_t tlt_layer_scratch(const tlt_trainer *t) {
  const tlt_dims *d = &t->dim;
  const tlt_layer_weights *l = t->w->layer;
  const tlt_packed *all[] = {&l->qkv, &l->o, &l->gu, &l->down};
  size_t bytes = larger((size_t)widest(d), TLT_NORM_BLOCK) * sizeof(float);
  for (int i = 0; i < 4; i++) bytes = larger(bytes, tlt_scratch_for(t, all[i], t->rows));
  return larger(bytes, t->b->attention_scratch(t->rows, d->heads / d->kv_heads, d->head_dim));
}

static size_t scratch_bytes(const tlt_trainer *t) {
  if (t->forward_only) return (size_t)widest(&t->dim) * sizeof(float);
  return larger(tlt_layer_scratch(t), tlt_scratch_for(t, &t->w->head, chunk_rows(t)));
}

void tlt_carve_shared(tlt_carver *c, tlt_trainer *t) {
  size_t n = t->w->elements, sites = (size_t)t->n_sites;
  t->sum_count = n + 2 * sites + 1;
  t->acc = tlt_carve(c, t->sum_count, sizeof *t->acc);
  if (t->acc) {
    t->total = (_Atomic int64_t *)(t->acc + n);
    t->bad = t->total + sites;
    t->touched = t->bad + sites;
  }
  t->master = tlt_carve(c, n, sizeof(float));
  t->moment1 = tlt_carve(c, n, sizeof(float));
  t->moment2 = tlt_carve(c, n, sizeof(float));
  t->norm_sum = tlt_carve(c, n / TLT_NORM_BLOCK + 1, sizeof *t->norm_sum);
  if (tlt_team_shares(t->team)) t->lock = tlt_carve(c, tlt_sites_locks(t), sizeof *t->lock);
}

void tlt_carve_sites(tlt_carver *c, tlt_trainer *t) {
  size_t params = (size_t)t->w->n_params;
  t->site = tlt_carve(c, (size_t)t->n_sites, sizeof *t->site);
  t->param_site = tlt_carve(c, params, sizeof *t->param_site);
  t->param_acc = tlt_carve(c, params, sizeof *t->param_acc);
  t->param_task = tlt_carve(c, params + 1, sizeof *t->param_task);
}

static void carve_micro(tlt_carver *c, tlt_trainer *t) {
  size_t rows = (size_t)t->rows, vocab = (size_t)t->dim.vocab;
  t->seq = tlt_carve(c, rows, sizeof *t->seq);
  t->identity = tlt_carve(c, rows + rows / TLT_KV_BLOCK + 1, sizeof *t->identity);
  t->kv = tlt_carve(c, rows, t->forward.kv.block_bytes);
  t->position = tlt_carve(c, rows, sizeof(int32_t));
  t->target_row = tlt_carve(c, rows, sizeof(int32_t));
  t->target = tlt_carve(c, rows, sizeof(int32_t));
  t->chain_first = tlt_carve(c, vocab, sizeof(int32_t));
  t->chain_next = tlt_carve(c, rows, sizeof(int32_t));
  t->distinct = tlt_carve(c, rows, sizeof(int32_t));
}

static void carve_head(tlt_carver *c, tlt_trainer *t) {
  size_t rows = (size_t)t->rows;
  int chunk = chunk_rows(t);
  t->hidden = tlt_carve_act(c, t, t->rows, t->dim.hidden);
  t->logits = tlt_carve(c, (size_t)chunk * (size_t)t->dim.vocab, sizeof(float));
  t->logp = tlt_carve(c, rows, sizeof(float));
  t->dlogp = tlt_carve(c, rows, sizeof(float));
  t->lse = tlt_carve(c, rows, sizeof(float));
  t->inv = tlt_carve(c, rows, sizeof(float));
  if (!t->forward_only) t->dlogits = tlt_carve_act(c, t, chunk, t->dim.vocab);
}

void tlt_carve_workspace(tlt_carver *c, tlt_trainer *t, size_t scratch_bytes) {
  const tlt_dims *d = &t->dim;
  size_t rows = (size_t)t->rows, h = (size_t)d->hidden;
  t->h1 = tlt_carve_act(c, t, t->rows, d->hidden);
  t->h2 = tlt_carve_act(c, t, t->rows, d->hidden);
  t->m = tlt_carve_act(c, t, t->rows, d->inter);
  t->qkv = tlt_carve(c, rows * (size_t)d->qkv, sizeof(float));
  t->gu = tlt_carve(c, rows * 2 * (size_t)d->inter, sizeof(float));
  t->scratch_stride = (scratch_bytes + 63) & ~(size_t)63;
  t->scratch = tlt_carve(c, (size_t)t->threads, t->scratch_stride);
  if (t->forward_only) return;
  if (t->w->config.qk_norm) t->qkv_pre = tlt_carve(c, rows * (size_t)d->qkv, sizeof(float));
  t->dx = tlt_carve(c, rows * h, sizeof(float));
  t->dh = tlt_carve(c, rows * larger(h, (size_t)d->q), sizeof(float));
  t->dy = tlt_carve_act(c, t, t->rows, widest(d));
  t->block_hash = tlt_carve(c, tlt_hash_blocks(t->w->elements), sizeof *t->block_hash);
  t->partial =
      tlt_carve(c, (size_t)tlt_row_blocks(t->rows) * (size_t)tlt_partial_stride(d), sizeof(float));
  t->seen = tlt_carve(c, (size_t)t->threads, sizeof *t->seen);
}

void tlt_carve_trainer(tlt_trainer *t) {
  tlt_carver c = {t->region, 0}, shared = {t->shared, 0};
  if (!t->forward_only) {
    tlt_carve_shared(&shared, t);
    tlt_carve_sites(&c, t);
  }
  carve_micro(&c, t);
  int xs = t->forward_only ? 1 : t->dim.layers + 1;
  t->x = tlt_carve(&c, (size_t)xs * (size_t)t->rows * (size_t)t->dim.hidden, sizeof(float));
  t->slots = slots_in_budget(t);
  t->slot = tlt_carve(&c, (size_t)t->slots, sizeof *t->slot);
  for (int i = 0; i < t->slots; i++) tlt_carve_slot(&c, t, t->slot ? &t->slot[i] : NULL);
  carve_head(&c, t);
  tlt_carve_workspace(&c, t, scratch_bytes(t));
  t->region_bytes = c.used;
  t->shared_bytes = shared.used;
}
