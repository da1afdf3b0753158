/* Publishing: hot tokens, averaging over workers, measuring on held-back answers, swapping in. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rl/drafting_internal.h"
#include "train/hot.h"

enum { EVAL_TOKENS = 2048, SWAP_BYTES = 4096 };
#define WORTH 2.0    /* training time per measuring time */
#define USED 0.01    /* share of sequence steps with nodes of the drafter: it is in use */
#define ASTRAY 0.9   /* of the published chain length: training starts over from that drafter */
#define WORSE 0.995  /* the same: the rate was too high */
#define BETTER 1.005 /* the same: the rate may rise again */
#define SLOWER 0.5   /* what the rate is multiplied by then, */
#define FASTER 1.2
#define SLOWEST 0.06   /* down to this */
#define UNCOVERED 0.01 /* share of drawn tokens that other hot tokens would cover in addition */

static tlt_status sum(const tlt_drafting_peers *p, float *x, size_t n, tlt_err *err) {
  return p && p->workers > 1 ? p->sum(p->context, x, n, err) : TLT_OK;
}

/* ---- hot tokens ------------------------------------------------------------------------------ */

/* Counts of all workers. */
static tlt_status seen_by_all(tlt_drafting *d, const tlt_drafting_peers *p, float *x, int64_t *seen,
                              tlt_err *err) {
  int vocab = d->o.model->weights->config.vocab;
  const int64_t *own = tlt_recorder_seen(d->recorder);
  for (int i = 0; i < vocab; i++) x[i] = (float)own[i];
  tlt_status s = sum(p, x, (size_t)vocab, err);
  for (int i = 0; i < vocab; i++) seen[i] = (int64_t)x[i];
  return s;
}

/* Another choice, where there is none yet or the present one has fallen behind. */
static tlt_status choose_hot(tlt_drafting *d, const int64_t *seen, int32_t *hot, tlt_err *err) {
  const tlt_weights *target = d->o.model->weights;
  int vocab = target->config.vocab, n;
  tlt_status s = tlt_hot_choose(seen, vocab, d->train.max_hot, hot, &n, err);
  if (s != TLT_OK || n == 0) return s;
  double now = tlt_hot_share(d->drafter->hot, d->drafter->n_hot, seen, vocab);
  if (d->ready && tlt_hot_share(hot, n, seen, vocab) - now < UNCOVERED) return TLT_OK;
  d->ready = true;
  return tlt_drafter_set_hot(d->drafter, target, hot, n, err);
}

static tlt_status update_hot(tlt_drafting *d, const tlt_drafting_peers *p, tlt_err *err) {
  size_t vocab = (size_t)d->o.model->weights->config.vocab;
  if ((int)vocab <= d->train.max_hot) return TLT_OK;
  int64_t *seen = d->seen;
  float *x = (float *)(seen + vocab);
  tlt_err why;
  tlt_status s = seen_by_all(d, p, x, seen, err);
  if (s == TLT_OK && choose_hot(d, seen, (int32_t *)(x + vocab), &why) != TLT_OK)
    tlt__drafting_end_with(d, &why);
  return s;
}

/* ---- averaging ------------------------------------------------------------------------------- */

/* What the workers did since the last publication, summed over them. */
enum {
  STEPS,      /* micro-steps */
  SECONDS,    /* that they took */
  EVALUATION, /* seconds of the last measurement */
  DRAFTED,    /* nodes of the drafter behind the last token of a sequence */
  SEQUENCES,  /* sequence steps of the rollout */
  TOTALS
};

static void own_totals(const tlt_drafting *d, float all[TOTALS]) {
  tlt_spec_stats s;
  tlt_spec_stats_get(d->o.spec, &s);
  all[STEPS] = d->dead ? 0 : (float)d->new_steps;
  all[SECONDS] = (float)d->new_seconds;
  all[EVALUATION] = (float)d->evaluation;
  all[DRAFTED] = (float)(s.drafted[TLT_EDGE_EAGLE][0] + s.drafted[TLT_EDGE_BOTH][0]);
  all[SEQUENCES] = (float)s.sequence_steps;
}

static tlt_status average_array(const tlt_drafting_peers *p, float *x, size_t n, float share,
                                tlt_err *err) {
  for (size_t i = 0; i < n; i++) x[i] *= share;
  return sum(p, x, n, err);
}

static tlt_status average(tlt_drafting *d, const tlt_drafting_peers *p, const float all[TOTALS],
                          tlt_err *err) {
  tlt_trainer *t = tlt_drafter_trainer_state(d->trainer);
  float *array[] = {tlt_trainer_masters(t), tlt_trainer_moment1(t), tlt_trainer_moment2(t)};
  float share = (d->dead ? 0 : (float)d->new_steps) / all[STEPS];
  float steps = share * (float)tlt_trainer_steps(t);
  if (!p || p->workers < 2) return TLT_OK;
  tlt_status s = sum(p, &steps, 1, err);
  for (int i = 0; s == TLT_OK && i < 3; i++)
    s = average_array(p, array[i], (size_t)tlt_trainer_elements(t), share, err);
  if (s == TLT_OK) s = tlt_trainer_restored(t, (int64_t)(steps + 0.5f), err);
  return s;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static tlt_status evaluate(tlt_drafting *d, int64_t version, tlt_draft_stats *out, tlt_err *err) {
  int cursor = 0, tokens = 0;
  tlt_draft_micro m;
  while (tokens < EVAL_TOKENS && tlt_replay_held(d->replay, version, &cursor, d->train.micro_tokens,
                                                 d->o.temperature, &m)) {
    tlt_status s = tlt_drafter_trainer_evaluate(d->trainer, &m, out, err);
    if (s != TLT_OK) return s;
    tokens += m.cu[m.n_samples];
  }
  return TLT_OK;
}

/* Chain length on the newest held-back answers of all workers; NAN where there are none. */
static tlt_status measure(tlt_drafting *d, const tlt_drafting_peers *p, double *length,
                          tlt_err *err) {
  tlt_draft_stats s = {.rows = {0}};
  float x[2 * TLT_UNROLL_MAX];
  tlt_err why;
  if (!d->dead && evaluate(d, d->version, &s, &why) != TLT_OK) tlt__drafting_end_with(d, &why);
  if (!d->dead && !s.rows[0] && evaluate(d, 0, &s, &why) != TLT_OK) tlt__drafting_end_with(d, &why);
  for (int i = 0; i < TLT_UNROLL_MAX; i++) {
    x[i] = (float)s.rows[i];
    x[TLT_UNROLL_MAX + i] = (float)s.overlap[i];
  }
  tlt_status status = sum(p, x, 2 * TLT_UNROLL_MAX, err);
  for (int i = 0; i < TLT_UNROLL_MAX; i++) {
    s.rows[i] = (int64_t)x[i];
    s.overlap[i] = (double)x[TLT_UNROLL_MAX + i];
  }
  *length = s.rows[0] ? tlt_drafter_chain_length(&s, d->train.eval_unroll) : NAN;
  return status;
}

/* Exchange the replica's weights with the published ones. */
static void swap_weights(tlt_drafting *d) {
  unsigned char keep[SWAP_BYTES], *a = d->drafter->weights.memory, *b = d->published;
  for (size_t at = 0, left = d->drafter->weights.bytes; left;) {
    size_t n = left < SWAP_BYTES ? left : SWAP_BYTES;
    memcpy(keep, a + at, n);
    memcpy(a + at, b + at, n);
    memcpy(b + at, keep, n);
    at += n;
    left -= n;
  }
}

static tlt_status measure_published(tlt_drafting *d, const tlt_drafting_peers *p, tlt_err *err) {
  d->counts.before = 1; /* no drafter: one token per step */
  if (!d->has_published) return TLT_OK;
  swap_weights(d);
  tlt_status s = measure(d, p, &d->counts.before, err);
  swap_weights(d);
  return s;
}

/* ---- publishing ------------------------------------------------------------------------------ */

/* A rate that is right for a drafter far from its target shakes one that is near it: minimum and
 * noise are found by trying. Whether this publication tells what training is worth. */
static bool judge_rate(tlt_drafting *d) {
  const tlt_drafting_counts *c = &d->counts;
  bool slowest = d->caution <= SLOWEST;
  if (c->after > BETTER * c->before) d->caution = fmin(1, d->caution * FASTER);
  if (c->after >= WORSE * c->before) return true;
  d->caution = fmax(SLOWEST, d->caution * SLOWER);
  tlt__drafting_revert(d);
  return slowest;
}

static void decide(tlt_drafting *d, bool used) {
  tlt_drafting_counts *c = &d->counts;
  tlt_err err;
  if (!isfinite(c->after)) return;
  if (c->after >= c->before) {
    c->published = true;
    if (tlt__drafting_install(d, &err) != TLT_OK) tlt__drafting_end_with(d, &err);
  } else if (c->after < ASTRAY * c->before) {
    tlt_log_write(TLT_LOG_WARN,
                  "drafter training went astray: it starts over from the drafter "
                  "published last");
    tlt__drafting_start_over(d);
  }
  if (judge_rate(d)) tlt_share_published(&d->share, c->before, c->after, used);
}

static tlt_status compare(tlt_drafting *d, const tlt_drafting_peers *p, bool used, tlt_err *err) {
  double from = tlt_now();
  tlt_status s = measure(d, p, &d->counts.after, err);
  if (s == TLT_OK) s = measure_published(d, p, err);
  d->evaluation = tlt_now() - from;
  d->counts.eval_seconds += d->evaluation;
  d->owed -= d->evaluation;
  d->new_steps = 0;
  d->new_seconds = 0;
  if (s == TLT_OK) decide(d, used);
  return s;
}

/* Training at rest wants to know whether the policy has moved away. */
static tlt_status look(tlt_drafting *d, const tlt_drafting_peers *p, tlt_err *err) {
  double from = tlt_now();
  tlt_status s = measure_published(d, p, err);
  d->counts.eval_seconds += tlt_now() - from;
  if (s == TLT_OK && isfinite(d->counts.before)) tlt_share_seen(&d->share, d->counts.before);
  return s;
}

tlt_status tlt_drafting_publish(tlt_drafting *d, const tlt_drafting_peers *p, tlt_err *err) {
  float all[TOTALS];
  if (!d || (d->dead && (!p || p->workers < 2))) return TLT_OK;
  tlt_share_step(&d->share);
  own_totals(d, all);
  tlt_status s = sum(p, all, TOTALS, err);
  if (s == TLT_OK) s = update_hot(d, p, err);
  if (s != TLT_OK) return s;
  bool worth = (double)all[SECONDS] >= WORTH * (double)all[EVALUATION];
  if (all[STEPS] > 0 && worth) {
    s = average(d, p, all, err);
    bool used = (double)all[DRAFTED] >= USED * (double)all[SEQUENCES];
    return s == TLT_OK ? compare(d, p, used, err) : s;
  }
  return tlt_share_looks(&d->share) ? look(d, p, err) : TLT_OK;
}
