/* Memory, sites and state of a trainer. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "train/trainer_internal.h"

/* ---- size ------------------------------------------------------------------------------------ */

void tlt_trainer_describe(tlt_trainer *t, const tlt_weights *w, const tlt_kernels *k,
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
  tlt_trainer_describe(&t, w, k, o, threads);
  return tlt_carve_trainer(&t) + sizeof t + tlt_forward_bytes(&w->config, threads, t.rows, t.rows);
}

/* ---- life ------------------------------------------------------------------------------------ */

static tlt_status fill(tlt_trainer *t, tlt_err *err) {
  for (int i = 0; i < t->rows + t->rows / TLT_KV_BLOCK + 1; i++) t->identity[i] = i;
  for (int i = 0; i < t->dim.vocab; i++) t->chain_first[i] = -1;
  if (t->forward_only) return TLT_OK;
  tlt_sites_of_target(t);
  tlt_status status = tlt_sites_map(t, err);
  if (status) return status;
  tlt_step_list_tasks(t);
  tlt_masters_from_weights(t);
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
  tlt_trainer_describe(t, w, k, o, tlt_pool_threads(pool));
  t->pool = pool;
  tlt_status status = tlt_forward_init(&t->forward, k, w, pool, t->rows, t->rows, err);
  /* One layer's KV, which every layer overwrites: keys are only read in the layer that wrote them.
   */
  t->forward.kv = tlt_kv_layout_of(1, t->dim.kv_heads, t->dim.head_dim, k->act_size);
  t->forward.kv.layer_bytes = 0;
  if (!status) {
    t->region_bytes = tlt_carve_trainer(t);
    t->region = tlt_pages_alloc(t->region_bytes);
    if (!t->region) status = tlt_fail_nomem(err, "training state", t->region_bytes);
  }
  if (!status) {
    tlt_carve_trainer(t);
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
