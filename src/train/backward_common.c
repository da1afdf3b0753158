/* Pieces that every part of the backward uses: parallel GEMMs, accounting of partials, norm-gain
 * partials, embedding rows. */
#include <string.h>

#include "train/trainer_internal.h"

void tlt_act_row(const tlt_trainer *t, const float *from, int n, void *to) {
  t->k->to_act(from, (size_t)n, to);
  if (n % 2) memset((unsigned char *)to + (size_t)n * t->k->act_size, 0, t->k->act_size);
}

/* ---- accounting ------------------------------------------------------------------------------ */

void tlt_site_note(tlt_site *site, float max, bool bad) {
  if (bad) atomic_fetch_add_explicit(site->bad, 1, memory_order_relaxed);
  else atomic_fetch_add_explicit(site->total, (int64_t)ceilf(max), memory_order_relaxed);
}

void tlt_touch(tlt_trainer *t) {
  atomic_store_explicit(t->touched, 1, memory_order_relaxed);
}

static void see(tlt_trainer *t, int thread, float max, bool bad) {
  tlt_seen *s = &t->seen[thread];
  if (max > s->max) s->max = max;
  s->bad |= bad;
}

void tlt_site_collect(tlt_trainer *t, tlt_site *site) {
  float max = 0;
  bool bad = false;
  for (int i = 0; i < t->threads; i++) {
    if (t->seen[i].max > max) max = t->seen[i].max;
    bad |= t->seen[i].bad;
    t->seen[i] = (tlt_seen){0};
  }
  tlt_site_note(site, max, bad);
}

/* ---- GEMMs ----------------------------------------------------------------------------------- */

typedef struct gemm_job {
  tlt_trainer *t;
  const tlt_packed *w;
  tlt_site *site;
  const void *dy, *x;
  size_t ld_dy, ldx, ld_dx;
  float *dx;
  int rows, dx_tiles;
} gemm_job;

static void gemm_tile(void *context, int64_t item, int thread) {
  gemm_job *j = context;
  tlt_trainer *t = j->t;
  void *scratch = tlt_scratch_at(t, thread);
  if (item < j->dx_tiles) {
    t->b->dx(j->w, (int)item, j->dy, j->ld_dy, j->rows, j->dx, j->ld_dx, scratch);
    return;
  }
  float max = 0;
  bool bad = false;
  int tile = (int)item - j->dx_tiles;
  tlt_shared_lock *lock = j->site->lock ? j->site->lock + tile : NULL;
  t->b->dw(j->w->n, j->w->k, tile, j->dy, j->ld_dy, j->x, j->ldx, j->rows,
           j->site->acc, lock, &max, &bad, scratch);
  see(t, thread, max, bad);
}

void tlt_backward_gemm(tlt_trainer *t, const tlt_packed *w, tlt_site *site, const void *dy,
                       size_t ld_dy, const void *x, size_t ldx, int rows, float *dx, size_t ld_dx) {
  gemm_job job = {t, w, site, dy, x, ld_dy, ldx, ld_dx, dx, rows, dx ? t->b->dx_tiles(w) : 0};
  tlt_pool_run(t->pool, gemm_tile, &job, job.dx_tiles + (site ? t->b->dw_tiles(w->n, w->k) : 0));
  if (site) tlt_site_collect(t, site);
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Keys from key0 on whose products with all later queries of one KV head are few milliseconds. */
static int keys_of_item(const tlt_trainer *t, int longest, int key0) {
  enum { PRODUCTS = 1 << 28, GEMMS = 5 };
  int64_t key = (int64_t)(longest - key0) * (t->dim.heads / t->dim.kv_heads) * t->dim.head_dim;
  int64_t keys = PRODUCTS / (key * GEMMS) / TLT_ATTN_KEYS * TLT_ATTN_KEYS;
  if (keys < TLT_ATTN_KEYS) keys = TLT_ATTN_KEYS;
  return keys < longest - key0 ? (int)keys : longest - key0;
}

void tlt_backward_keys(tlt_trainer *t, tlt_key_range *range, int longest, tlt_pool_task task,
                       void *context, int64_t items) {
  for (int key0 = 0; key0 < longest; key0 = range->key1) {
    *range = (tlt_key_range){key0, key0 + keys_of_item(t, longest, key0)};
    tlt_pool_run(t->pool, task, context, items);
  }
}

/* ---- vectors --------------------------------------------------------------------------------- */

void tlt_backward_partials(tlt_trainer *t, tlt_site *site, const float *partial, int blocks,
                           size_t stride) {
  float *sum = tlt_scratch_at(t, 0);
  size_t n = (size_t)site->n;
  memcpy(sum, partial, n * sizeof *sum);
  for (int b = 1; b < blocks; b++)
    for (size_t i = 0; i < n; i++) sum[i] += partial[(size_t)b * stride + i];
  bool bad = false;
  tlt_shared_lock_take(site->lock);
  float max = t->b->fix_add(site->acc, sum, n, &bad);
  tlt_shared_lock_drop(site->lock);
  tlt_site_note(site, max, bad);
}

/* ---- embedding ------------------------------------------------------------------------------- */

typedef struct embed_job {
  tlt_trainer *t;
  const tlt_batch *batch;
} embed_job;

/* One distinct token: its rows summed in row order, then added once. */
static void embed_token(void *context, int64_t item, int thread) {
  embed_job *j = context;
  tlt_trainer *t = j->t;
  size_t h = (size_t)t->dim.hidden;
  float *sum = tlt_scratch_at(t, thread);
  int32_t token = t->distinct[item], row = t->chain_first[token];
  memcpy(sum, t->dx + (size_t)row * h, h * sizeof *sum);
  while ((row = t->chain_next[row]) >= 0)
    for (size_t i = 0; i < h; i++) sum[i] += t->dx[(size_t)row * h + i];
  bool bad = false;
  tlt_shared_lock *lock = t->embed->lock ? t->embed->lock + token / t->b->dw_rows : NULL;
  tlt_shared_lock_take(lock);
  float max = t->b->fix_add(t->embed->acc + (size_t)token * h, sum, h, &bad);
  tlt_shared_lock_drop(lock);
  see(t, thread, max, bad);
}

void tlt_backward_embedding(tlt_trainer *t, const tlt_batch *batch) {
  int distinct = 0;
  for (int r = batch->n_rows - 1; r >= 0; r--) {
    int32_t token = batch->token[r];
    if (t->chain_first[token] < 0) t->distinct[distinct++] = token;
    t->chain_next[r] = t->chain_first[token];
    t->chain_first[token] = r;
  }
  embed_job job = {t, batch};
  tlt_pool_run(t->pool, embed_token, &job, distinct);
  for (int i = 0; i < distinct; i++) t->chain_first[t->distinct[i]] = -1;
  tlt_site_collect(t, t->embed);
}
