/* Memory, sites and state of a trainer. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "train/trainer_internal.h"

/* ---- memory ---------------------------------------------------------------------------------- */

/* Hands out 64-aligned pieces of a region; with base NULL it only counts. */
typedef struct carver {
  unsigned char *base;
  size_t used;
} carver;

static void *carve(carver *c, size_t count, size_t size) {
  void *p = c->base ? c->base + c->used : NULL;
  c->used += (count * size + 63) & ~(size_t)63;
  return p;
}

static void *carve_act(carver *c, const tlt_trainer *t, int rows, int width) {
  return carve(c, (size_t)rows, tlt_act_stride((size_t)width) * t->k->act_size);
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

static void carve_slot(carver *c, const tlt_trainer *t, tlt_slot *s) {
  const tlt_dims *d = &t->dim;
  size_t rows = (size_t)t->rows;
  tlt_slot slot = {
      .x_mid = carve(c, rows * (size_t)d->hidden, sizeof(float)),
      .q = carve_act(c, t, t->rows, d->q),
      .kv = carve_act(c, t, t->rows, 2 * d->kv),
      .ctx = carve_act(c, t, t->rows, d->q),
      .lse = carve(c, rows * (size_t)d->heads, sizeof(float)),
      .gu = carve_act(c, t, t->rows, 2 * d->inter),
  };
  if (s) *s = slot;
}

/* As many layers as the budget allows beside the x of every layer; at least one. */
static int slots_in_budget(const tlt_trainer *t) {
  carver one = {0};
  carve_slot(&one, t, NULL);
  size_t x = ((size_t)t->dim.layers + 1) * (size_t)t->rows * (size_t)t->dim.hidden * sizeof(float);
  size_t left = t->activation_bytes > x ? t->activation_bytes - x : 0;
  size_t slots = left / one.used;
  if (slots < 1 || t->forward_only) return 1;
  return slots < (size_t)t->dim.layers ? (int)slots : t->dim.layers;
}

static size_t scratch_bytes(const tlt_trainer *t) {
  const tlt_dims *d = &t->dim;
  size_t bytes = (size_t)widest(d) * sizeof(float);
  if (t->forward_only) return (bytes + 63) & ~(size_t)63;
  bytes = larger(bytes, TLT_NORM_BLOCK * sizeof(float));
  const tlt_layer_weights *l = t->w->layer;
  const tlt_packed *all[] = {&l->qkv, &l->o, &l->gu, &l->down, &t->w->head};
  for (int i = 0; i < 5; i++) {
    int rows = i == 4 ? chunk_rows(t) : t->rows;
    bytes = larger(bytes, t->b->dx_scratch(all[i], rows));
    bytes = larger(bytes, t->b->dw_scratch(all[i]->n, all[i]->k, rows));
  }
  bytes = larger(bytes, t->b->attention_scratch(t->rows, d->heads / d->kv_heads, d->head_dim));
  return (bytes + 63) & ~(size_t)63;
}

static void carve_optimizer(carver *c, tlt_trainer *t) {
  size_t n = t->w->elements, params = (size_t)t->w->n_params;
  t->acc = carve(c, n, sizeof *t->acc);
  t->master = carve(c, n, sizeof(float));
  t->moment1 = carve(c, n, sizeof(float));
  t->moment2 = carve(c, n, sizeof(float));
  t->site = carve(c, (size_t)t->n_sites, sizeof *t->site);
  t->param_site = carve(c, params, sizeof *t->param_site);
  t->param_acc = carve(c, params, sizeof *t->param_acc);
  t->param_task = carve(c, params + 1, sizeof *t->param_task);
  t->norm_sum = carve(c, n / TLT_NORM_BLOCK + 1, sizeof *t->norm_sum);
}

static void carve_micro(carver *c, tlt_trainer *t) {
  size_t rows = (size_t)t->rows, vocab = (size_t)t->dim.vocab;
  t->seq = carve(c, rows, sizeof *t->seq);
  t->identity = carve(c, rows + rows / TLT_KV_BLOCK + 1, sizeof *t->identity);
  t->kv = carve(c, rows, t->forward.kv.block_bytes);
  t->position = carve(c, rows, sizeof(int32_t));
  t->target_row = carve(c, rows, sizeof(int32_t));
  t->target = carve(c, rows, sizeof(int32_t));
  t->chain_first = carve(c, vocab, sizeof(int32_t));
  t->chain_next = carve(c, rows, sizeof(int32_t));
  t->distinct = carve(c, rows, sizeof(int32_t));
}

static void carve_head(carver *c, tlt_trainer *t) {
  size_t rows = (size_t)t->rows;
  int chunk = chunk_rows(t);
  t->hidden = carve_act(c, t, t->rows, t->dim.hidden);
  t->logits = carve(c, (size_t)chunk * (size_t)t->dim.vocab, sizeof(float));
  t->logp = carve(c, rows, sizeof(float));
  t->dlogp = carve(c, rows, sizeof(float));
  t->lse = carve(c, rows, sizeof(float));
  t->inv = carve(c, rows, sizeof(float));
  if (!t->forward_only) t->dlogits = carve_act(c, t, chunk, t->dim.vocab);
}

static void carve_workspace(carver *c, tlt_trainer *t) {
  const tlt_dims *d = &t->dim;
  size_t rows = (size_t)t->rows, h = (size_t)d->hidden;
  t->h1 = carve_act(c, t, t->rows, d->hidden);
  t->h2 = carve_act(c, t, t->rows, d->hidden);
  t->m = carve_act(c, t, t->rows, d->inter);
  t->qkv = carve(c, rows * (size_t)d->qkv, sizeof(float));
  t->gu = carve(c, rows * 2 * (size_t)d->inter, sizeof(float));
  t->scratch_stride = scratch_bytes(t);
  t->scratch = carve(c, (size_t)t->threads, t->scratch_stride);
  if (t->forward_only) return;
  if (t->w->config.qk_norm) t->qkv_pre = carve(c, rows * (size_t)d->qkv, sizeof(float));
  t->dx = carve(c, rows * h, sizeof(float));
  t->dh = carve(c, rows * larger(h, (size_t)d->q), sizeof(float));
  t->dy = carve_act(c, t, t->rows, widest(d));
  t->partial =
      carve(c, (size_t)tlt_row_blocks(t->rows) * (size_t)tlt_partial_stride(d), sizeof(float));
  t->seen = carve(c, (size_t)t->threads, sizeof *t->seen);
}

/* Everything below t->region; the first call (region NULL) counts. */
static size_t carve_all(tlt_trainer *t) {
  carver c = {t->region, 0};
  if (!t->forward_only) carve_optimizer(&c, t);
  carve_micro(&c, t);
  int xs = t->forward_only ? 1 : t->dim.layers + 1;
  t->x = carve(&c, (size_t)xs * (size_t)t->rows * (size_t)t->dim.hidden, sizeof(float));
  t->slots = slots_in_budget(t);
  t->slot = carve(&c, (size_t)t->slots, sizeof *t->slot);
  for (int i = 0; i < t->slots; i++) carve_slot(&c, t, t->slot ? &t->slot[i] : NULL);
  carve_head(&c, t);
  carve_workspace(&c, t);
  return c.used;
}

static void describe(tlt_trainer *t, const tlt_weights *w, const tlt_kernels *k,
                     const tlt_trainer_options *o, int threads) {
  const tlt_config *c = &w->config;
  *t = (tlt_trainer){.k = k, .b = tlt_backward_of(k), .threads = threads};
  t->w = (tlt_weights *)w; /* tlt_trainer_bytes only reads */
  t->forward_only = o->forward_only;
  t->rows = o->micro_tokens > o->max_sample ? o->micro_tokens : o->max_sample;
  t->activation_bytes = o->activation_mb << 20;
  t->scale = 1.0f / sqrtf((float)c->head_dim);
  t->dim = (tlt_dims){c->hidden,
                      c->layers,
                      c->heads,
                      c->kv_heads,
                      c->head_dim,
                      c->inter,
                      c->vocab,
                      c->heads * c->head_dim,
                      c->kv_heads * c->head_dim,
                      (c->heads + 2 * c->kv_heads) * c->head_dim};
  t->n_sites = c->layers * TLT_SITES_PER_LAYER + 3;
  t->forward.kv = tlt_kv_layout_of(1, c->kv_heads, c->head_dim, k->act_size);
}

size_t tlt_trainer_bytes(const tlt_weights *w, const tlt_kernels *k, const tlt_trainer_options *o,
                         int threads) {
  tlt_trainer t;
  describe(&t, w, k, o, threads);
  return carve_all(&t) + sizeof t + tlt_forward_bytes(&w->config, threads, t.rows, t.rows);
}

/* ---- sites ----------------------------------------------------------------------------------- */

static int64_t *add_matrix(tlt_site *s, const tlt_packed *w, int64_t *acc) {
  *s = (tlt_site){.acc = acc, .n = w->n, .k = w->k, .matrix = w};
  return acc + (size_t)w->n * (size_t)w->k;
}

static int64_t *add_vector(tlt_site *s, const float *v, int n, int64_t *acc) {
  if (!v) return acc;
  *s = (tlt_site){.acc = acc, .n = n, .k = 1, .vector = v};
  return acc + n;
}

static void list_sites(tlt_trainer *t) {
  const tlt_dims *d = &t->dim;
  int64_t *acc = t->acc;
  for (int l = 0; l < d->layers; l++) {
    const tlt_layer_weights *w = &t->w->layer[l];
    tlt_site *s = &t->site[l * TLT_SITES_PER_LAYER];
    acc = add_matrix(&s[TLT_SITE_QKV], &w->qkv, acc);
    acc = add_matrix(&s[TLT_SITE_O], &w->o, acc);
    acc = add_matrix(&s[TLT_SITE_GU], &w->gu, acc);
    acc = add_matrix(&s[TLT_SITE_DOWN], &w->down, acc);
    acc = add_vector(&s[TLT_SITE_NORM1], w->norm1, d->hidden, acc);
    acc = add_vector(&s[TLT_SITE_NORM2], w->norm2, d->hidden, acc);
    acc = add_vector(&s[TLT_SITE_QKV_BIAS], w->qkv_bias, d->qkv, acc);
    acc = add_vector(&s[TLT_SITE_Q_NORM], w->q_norm, d->head_dim, acc);
    acc = add_vector(&s[TLT_SITE_K_NORM], w->k_norm, d->head_dim, acc);
  }
  t->embed = &t->site[d->layers * TLT_SITES_PER_LAYER];
  t->head = t->w->config.tied ? t->embed : t->embed + 1;
  t->final_norm = t->embed + 2;
  acc = add_matrix(t->embed, &t->w->embed, acc);
  if (t->head != t->embed) acc = add_matrix(t->head, &t->w->head, acc);
  add_vector(t->final_norm, t->w->final_norm, d->hidden, acc);
}

/* First element of p inside site s, or -1. */
static int64_t place_in_site(const tlt_param *p, const tlt_site *s) {
  if (!s->acc) return -1;
  if (p->matrix) return p->matrix == s->matrix ? (int64_t)p->row0 * s->k : -1;
  return s->vector && p->vector >= s->vector && p->vector < s->vector + s->n ? p->vector - s->vector
                                                                             : -1;
}

static tlt_status map_params(tlt_trainer *t, tlt_err *err) {
  for (int p = 0; p < t->w->n_params; p++) {
    int64_t place = -1;
    for (int s = 0; s < t->n_sites && place < 0; s++) {
      place = place_in_site(&t->w->param[p], &t->site[s]);
      if (place < 0) continue;
      t->param_site[p] = s;
      t->param_acc[p] = t->site[s].acc + place;
    }
    if (place < 0)
      return tlt_fail(err, TLT_EINTERNAL, "parameter %s belongs to no weight of the model",
                      t->w->param[p].name);
  }
  return TLT_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void get_param(void *context, int64_t p, int thread) {
  (void)thread;
  tlt_trainer *t = context;
  tlt_param_get(&t->w->param[p], t->master + t->w->param[p].offset);
}

static tlt_status fill(tlt_trainer *t, tlt_err *err) {
  for (int i = 0; i < t->rows + t->rows / TLT_KV_BLOCK + 1; i++) t->identity[i] = i;
  for (int i = 0; i < t->dim.vocab; i++) t->chain_first[i] = -1;
  if (t->forward_only) return TLT_OK;
  list_sites(t);
  tlt_status status = map_params(t, err);
  if (status) return status;
  tlt_step_list_tasks(t);
  tlt_pool_run(t->pool, get_param, t, t->w->n_params);
  return TLT_OK;
}

tlt_status tlt_trainer_create(tlt_weights *w, const tlt_kernels *k, tlt_pool *pool,
                              const tlt_trainer_options *o, tlt_trainer **out, tlt_err *err) {
  *out = NULL;
  if (o->micro_tokens < 1 || o->max_sample < 1)
    return tlt_fail(err, TLT_EUSAGE,
                    "trainer: got micro_tokens %d and max_sample %d, expected at "
                    "least 1",
                    o->micro_tokens, o->max_sample);
  if (!tlt_backward_of(k))
    return tlt_fail(err, TLT_EUSAGE, "numerics %s has no training kernels; use portable",
                    tlt_numerics_name(k->numerics));
  tlt_trainer *t = tlt_calloc_aligned(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "trainer", sizeof *t);
  describe(t, w, k, o, tlt_pool_threads(pool));
  t->pool = pool;
  tlt_status status = tlt_forward_init(&t->forward, k, w, pool, t->rows, t->rows, err);
  /* One layer's KV, which every layer overwrites: keys are only read in the layer that wrote them.
   */
  t->forward.kv = tlt_kv_layout_of(1, t->dim.kv_heads, t->dim.head_dim, k->act_size);
  t->forward.kv.layer_bytes = 0;
  if (!status) {
    t->region_bytes = carve_all(t);
    t->region = tlt_pages_alloc(t->region_bytes);
    if (!t->region) status = tlt_fail_nomem(err, "training state", t->region_bytes);
  }
  if (!status) {
    carve_all(t);
    status = fill(t, err);
  }
  if (status) {
    tlt_trainer_free(t);
    return status;
  }
  *out = t;
  return TLT_OK;
}

void tlt_trainer_free(tlt_trainer *t) {
  if (!t) return;
  tlt_forward_deinit(&t->forward);
  tlt_pages_free(t->region, t->region_bytes);
  tlt_free(t);
}

/* ---- state ----------------------------------------------------------------------------------- */

float *tlt_trainer_masters(tlt_trainer *t) {
  return t->master;
}
float *tlt_trainer_moment1(tlt_trainer *t) {
  return t->moment1;
}
float *tlt_trainer_moment2(tlt_trainer *t) {
  return t->moment2;
}
uint64_t tlt_trainer_elements(const tlt_trainer *t) {
  return t->w->elements;
}
int64_t tlt_trainer_steps(const tlt_trainer *t) {
  return t->steps;
}

void tlt_trainer_sha256(tlt_trainer *t, char hex[65]) {
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, t->master, t->w->elements * sizeof *t->master);
  tlt_sha256_end(&h, hex);
}

void tlt_trainer_gradient(const tlt_trainer *t, const tlt_param *p, float *to) {
  const int64_t *acc = t->param_acc[p - t->w->param];
  for (size_t i = 0; i < (size_t)p->n * (size_t)p->k; i++) to[i] = (float)acc[i] / TLT_FIX_SCALE;
}
