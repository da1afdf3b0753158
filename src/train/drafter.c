/* Life of a drafter trainer, and the phases of a micro-batch in order. */
#include "train/drafter.h"

#include <math.h>

#include "base/mem.h"
#include "train/drafter_internal.h"

tlt_drafter_options tlt_drafter_options_default(int max_sample) {
  return (tlt_drafter_options){.micro_tokens = 1024,
                               .max_sample = max_sample,
                               .unroll = 3,
                               .decay = 0.8f,
                               .hidden_weight = 1.0f,
                               .token_weight = 1.0f};
}

/* ---- life ------------------------------------------------------------------------------------ */

static void describe(tlt_drafter_trainer *t, const tlt_drafter *d, const tlt_kernels *k,
                     const tlt_drafter_options *o, int threads) {
  tlt_trainer_options base = {.micro_tokens = o->micro_tokens, .max_sample = o->max_sample};
  *t = (tlt_drafter_trainer){.d = (tlt_drafter *)d, .o = *o}; /* _bytes only reads */
  t->max_steps = o->eval_unroll > o->unroll ? o->eval_unroll : o->unroll;
  t->max_hot = o->max_hot > d->n_hot ? o->max_hot : d->n_hot;
  tlt_trainer_describe(&t->base, &d->weights, k, &base, threads);
  t->base.n_sites = TLT_SITES_PER_LAYER + 1;
}

static int positions(const tlt_drafter_trainer *t) {
  return t->base.rows + t->max_steps;
}

size_t tlt_drafter_trainer_bytes(const tlt_drafter *d, const tlt_kernels *k,
                                 const tlt_drafter_options *o, int threads) {
  tlt_drafter_trainer t;
  describe(&t, d, k, o, threads);
  return tlt_draft_carve(&t) + sizeof t +
         tlt_forward_bytes(&d->weights.config, threads, t.base.rows, positions(&t));
}

static tlt_status check_options(const tlt_kernels *k, const tlt_drafter_options *o, tlt_err *err) {
  if (o->micro_tokens < 1 || o->max_sample < 1)
    return tlt_fail(err, TLT_EUSAGE,
                    "drafter training: got micro_tokens %d and max_sample %d, expected at least 1",
                    o->micro_tokens, o->max_sample);
  if (o->unroll < 1 || o->unroll > TLT_UNROLL_MAX || o->eval_unroll > TLT_UNROLL_MAX)
    return tlt_fail(err, TLT_EUSAGE,
                    "drafter training: got %d steps and %d to evaluate, expected 1 to %d",
                    o->unroll, o->eval_unroll, TLT_UNROLL_MAX);
  if (!(o->decay > 0 && o->decay <= 1) || !(o->hidden_weight >= 0) || !(o->token_weight >= 0) ||
      !(o->hidden_weight + o->token_weight > 0))
    return tlt_fail(err, TLT_EUSAGE,
                    "drafter training: got decay %g and loss weights %g and %g, expected a decay "
                    "above 0 and at most 1, weights of at least 0 and one above it",
                    (double)o->decay, (double)o->hidden_weight, (double)o->token_weight);
  if (!tlt_backward_of(k))
    return tlt_fail(err, TLT_EUSAGE, "numerics %s has no training kernels; use portable",
                    tlt_numerics_name(k->numerics));
  return TLT_OK;
}

static tlt_status take_memory(tlt_drafter_trainer *t, tlt_err *err) {
  tlt_trainer *b = &t->base;
  b->region_bytes = tlt_draft_carve(t);
  b->region = tlt_pages_alloc(b->region_bytes);
  if (!b->region) return tlt_fail_nomem(err, "drafter training state", b->region_bytes);
  tlt_draft_carve(t);
  t->fc = &b->site[TLT_SITES_PER_LAYER];
  tlt_site_matrix(t->fc, &t->d->fc, tlt_sites_of_layer(b, 0, b->acc));
  tlt_status status = tlt_sites_map(b, err);
  if (status) return status;
  tlt_step_list_tasks(b);
  tlt_step_take_masters(b);
  return TLT_OK;
}

tlt_status tlt_drafter_trainer_create(tlt_drafter *d, const tlt_kernels *k, tlt_pool *pool,
                                      const tlt_drafter_options *o, tlt_drafter_trainer **out,
                                      tlt_err *err) {
  *out = NULL;
  tlt_status status = check_options(k, o, err);
  if (status) return status;
  tlt_drafter_trainer *t = tlt_calloc_aligned(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "drafter trainer", sizeof *t);
  describe(t, d, k, o, tlt_pool_threads(pool));
  t->base.pool = pool;
  status =
      tlt_forward_init(&t->base.forward, k, &d->weights, pool, t->base.rows, positions(t), err);
  if (!status) status = take_memory(t, err);
  if (status) {
    tlt_drafter_trainer_free(t);
    return status;
  }
  *out = t;
  return TLT_OK;
}

void tlt_drafter_trainer_free(tlt_drafter_trainer *t) {
  if (!t) return;
  tlt_forward_deinit(&t->base.forward);
  tlt_pages_free(t->base.region, t->base.region_bytes);
  tlt_free(t);
}

tlt_trainer *tlt_drafter_trainer_state(tlt_drafter_trainer *t) {
  return &t->base;
}

/* ---- a micro-batch --------------------------------------------------------------------------- */

static const tlt_draft_phase forward_phases[] = {
    tlt_draft_input,           tlt_draft_qkv, tlt_draft_attention,
    tlt_draft_after_attention, tlt_draft_mlp, tlt_draft_loss,
};
static const tlt_draft_phase backward_phases[] = {
    tlt_draft_backward_mlp,
    tlt_draft_backward_attention,
    tlt_draft_backward_input,
};

enum {
  FORWARD_PHASES = sizeof forward_phases / sizeof *forward_phases,
  BACKWARD_PHASES = sizeof backward_phases / sizeof *backward_phases,
};

static void run_phase(tlt_drafter_trainer *t, tlt_draft_phase phase, int step) {
  if (!tlt_pool_abandoned(t->base.pool)) phase(t, step);
}

static void run_phases(tlt_drafter_trainer *t) {
  tlt_draft_teacher(t, 0);
  for (int j = 0; j < t->steps; j++)
    for (int i = 0; i < FORWARD_PHASES; i++) run_phase(t, forward_phases[i], j);
  for (int j = t->steps - 1; t->train && j >= 0; j--)
    for (int i = 0; i < BACKWARD_PHASES; i++) run_phase(t, backward_phases[i], j);
}

static void add_sums(tlt_draft_stats *to, const tlt_draft_stats *s) {
  for (int j = 0; j < TLT_UNROLL_MAX; j++) {
    to->rows[j] += s->rows[j];
    to->hidden[j] += s->hidden[j];
    to->token[j] += s->token[j];
    to->entropy[j] += s->entropy[j];
    to->overlap[j] += s->overlap[j];
    to->agree[j] += s->agree[j];
    to->top_p[j] += s->top_p[j];
  }
}

static tlt_status run_micro(tlt_drafter_trainer *t, const tlt_draft_micro *m, bool train,
                            tlt_draft_stats *stats, tlt_err *err) {
  tlt_status status = tlt_draft_prepare(t, m, err);
  if (status || !t->chains) return status;
  t->train = train;
  t->steps = train ? t->o.unroll : t->max_steps;
  t->sums = (tlt_draft_stats){0};
  if (train) tlt_touch(&t->base);
  tlt_alloc_guard_begin();
  run_phases(t);
  tlt_alloc_guard_end();
  if (tlt_pool_abandoned(t->base.pool)) return tlt_fail(err, TLT_ESTOPPED, "work abandoned");
  if (stats) add_sums(stats, &t->sums);
  return TLT_OK;
}

tlt_status tlt_drafter_trainer_accumulate(tlt_drafter_trainer *t, const tlt_draft_micro *m,
                                          tlt_draft_stats *stats, tlt_err *err) {
  return run_micro(t, m, true, stats, err);
}

tlt_status tlt_drafter_trainer_evaluate(tlt_drafter_trainer *t, const tlt_draft_micro *m,
                                        tlt_draft_stats *stats, tlt_err *err) {
  return run_micro(t, m, false, stats, err);
}

/* ---- optimizer ------------------------------------------------------------------------------- */

tlt_status tlt_drafter_trainer_step(tlt_drafter_trainer *t, const tlt_adamw *how,
                                    tlt_step_result *result, tlt_err *err) {
  float scale = t->weight > 0 ? (float)(1.0 / t->weight) : 1.0f;
  t->weight = 0;
  return tlt_trainer_step(&t->base, scale, how, result, err);
}

void tlt_drafter_trainer_clear(tlt_drafter_trainer *t) {
  t->weight = 0;
  (void)tlt_trainer_clear(&t->base, NULL); /* only a team could fail */
}
