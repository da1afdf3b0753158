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
  t->team = o->forward_only ? NULL : o->team;
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
  tlt_carve_trainer(&t);
  return t.region_bytes + t.shared_bytes + sizeof t +
         tlt_forward_bytes(&w->config, threads, t.rows, t.rows);
}

size_t tlt_trainer_host_bytes(const tlt_weights *w, const tlt_kernels *k,
                              const tlt_trainer_options *o) {
  tlt_trainer t;
  tlt_trainer_describe(&t, w, k, o, 1);
  tlt_carve_trainer(&t);
  return t.shared_bytes;
}

/* ---- life ------------------------------------------------------------------------------------ */

static tlt_status check(const tlt_weights *w, const tlt_kernels *k, const tlt_trainer_options *o,
                        tlt_err *err) {
  if (o->micro_tokens < 1 || o->max_sample < 1)
    return tlt_fail(err, TLT_EUSAGE,
                    "trainer: got micro_tokens %d and max_sample %d, expected at "
                    "least 1",
                    o->micro_tokens, o->max_sample);
  if (!tlt_backward_of(k))
    return tlt_fail(err, TLT_EUSAGE, "numerics %s has no training kernels; use portable",
                    tlt_numerics_name(k->numerics));
  if (!o->forward_only && tlt_team_shares(o->team) && w->team != o->team)
    return tlt_fail(err, TLT_EINTERNAL, "trainer: the weights are not its team's");
  return TLT_OK;
}

/* What no other process sees. */
static tlt_status create_own(tlt_weights *w, const tlt_kernels *k, tlt_pool *pool,
                             const tlt_trainer_options *o, tlt_trainer **out, tlt_err *err) {
  tlt_status status = check(w, k, o, err);
  if (status) return status;
  tlt_trainer *t = tlt_calloc_aligned(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "trainer", sizeof *t);
  *out = t;
  tlt_trainer_describe(t, w, k, o, tlt_pool_threads(pool));
  t->pool = pool;
  status = tlt_forward_init(&t->forward, k, w, pool, t->rows, t->rows, err);
  if (status) return status;
  /* One layer's KV, which every layer overwrites: keys are only read in the layer that wrote them.
   */
  t->forward.kv = tlt_kv_layout_of(1, t->dim.kv_heads, t->dim.head_dim, k->act_size);
  t->forward.kv.layer_bytes = 0;
  tlt_carve_trainer(t);
  t->region = tlt_pages_alloc(t->region_bytes);
  return t->region ? TLT_OK : tlt_fail_nomem(err, "training state", t->region_bytes);
}

static tlt_status take_shared(tlt_trainer *t, tlt_err *err) {
  void *memory = NULL;
  if (t->team) {
    tlt_status status = t->team->share(t->team->context, t->shared_bytes, &memory, err);
    if (status) return status;
  } else if (!(memory = tlt_pages_alloc(t->shared_bytes))) {
    return tlt_fail_nomem(err, "optimizer state", t->shared_bytes);
  }
  t->shared = memory;
  return TLT_OK;
}

static tlt_status fill(tlt_trainer *t, tlt_err *err) {
  tlt_status status = t->forward_only ? TLT_OK : take_shared(t, err);
  if (status) return status;
  tlt_carve_trainer(t);
  for (int i = 0; i < t->rows + t->rows / TLT_KV_BLOCK + 1; i++) t->identity[i] = i;
  for (int i = 0; i < t->dim.vocab; i++) t->chain_first[i] = -1;
  if (t->forward_only) return TLT_OK;
  tlt_sites_of_target(t);
  if ((status = tlt_sites_map(t, err))) return status;
  tlt_step_list_tasks(t);
  tlt_step_take_masters(t);
  return tlt_step_barrier(t, err);
}

tlt_status tlt_trainer_create(tlt_weights *w, const tlt_kernels *k, tlt_pool *pool,
                              const tlt_trainer_options *o, tlt_trainer **out, tlt_err *err) {
  *out = NULL;
  tlt_trainer *t = NULL;
  tlt_status status = create_own(w, k, pool, o, &t, err);
  if (!o->forward_only) status = tlt_team_agree(o->team, status, err);
  if (!status) status = fill(t, err);
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
  if (t->team) t->team->unshare(t->team->context, t->shared, t->shared_bytes);
  else tlt_pages_free(t->shared, t->shared_bytes);
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

static void hash_block(void *context, int64_t block, int thread) {
  tlt_trainer *t = context;
  uint64_t from = (uint64_t)block * TLT_HASH_BLOCK, n = t->w->elements - from;
  tlt_sha256 h;
  (void)thread;
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, t->master + from, (n < TLT_HASH_BLOCK ? n : TLT_HASH_BLOCK) * sizeof(float));
  tlt_sha256_end(&h, t->block_hash[block]);
}

void tlt_trainer_sha256(tlt_trainer *t, char hex[65]) {
  int64_t blocks = (int64_t)tlt_hash_blocks(t->w->elements);
  tlt_sha256 h;
  tlt_pool_run(t->pool, hash_block, t, blocks);
  tlt_sha256_begin(&h);
  for (int64_t b = 0; b < blocks; b++) tlt_sha256_add(&h, t->block_hash[b], TLT_SHA256_HEX - 1);
  tlt_sha256_end(&h, hex);
}

void tlt_trainer_gradient(const tlt_trainer *t, const tlt_param *p, float *to) {
  const int64_t *acc = t->param_acc[p - t->w->param];
  for (size_t i = 0; i < (size_t)p->n * (size_t)p->k; i++) to[i] = (float)acc[i] / TLT_FIX_SCALE;
}
