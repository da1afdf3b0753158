/* Life, recording and training of the run's own drafter. */
#include "rl/drafting.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rl/drafting_internal.h"
#include "train/schedule.h"

enum {
  HOLD_EVERY = 16,
  MICRO_TOKENS = 1024,
  UNROLL_EVAL = 5,
  WARMUP = 20, /* optimizer steps */
  SKIPS_MOST = 8,
  /* Over the buffer in one RL step; an answer is in it for two. More brought nothing
   * (docs/performance.md), but to a drafter that knows little yet. */
  EPOCHS = 1,
  EPOCHS_YOUNG = 2,
  YOUNG = 1500, /* micro-steps of a new drafter */
};
#define YOUNG_FACTOR 12.0
#define OUTLIER 4.0 /* times what a piece usually takes */

bool tlt_drafting_wanted(const tlt_train_config *c) {
  return c->drafter.train == TLT_DRAFTER_IDLE && c->speculation.draft >= TLT_DRAFT_EAGLE;
}

static tlt_drafter_options train_options(const tlt_drafting_options *o) {
  tlt_drafter_options t = tlt_drafter_options_default(o->max_sample);
  int vocab = o->model->weights->config.vocab;
  t.micro_tokens = MICRO_TOKENS;
  t.max_hot = vocab < TLT_HOT_DEFAULT ? vocab : TLT_HOT_DEFAULT;
  t.eval_unroll = UNROLL_EVAL;
  t.unroll = (int)o->conf->unroll;
  t.hidden_weight = (float)o->conf->hidden_loss;
  t.token_weight = (float)o->conf->token_loss;
  return t;
}

static size_t row_bytes(const tlt_model *m) {
  return tlt_act_stride((size_t)m->weights->config.hidden) * m->kernels->act_size;
}

size_t tlt_drafting_bytes(const tlt_model *m, const tlt_drafting_options *o) {
  tlt_drafter_options t = train_options(o);
  tlt_drafter *d;
  size_t bytes = (size_t)o->conf->buffer_mb << 20;
  if (tlt_drafter_create(m->weights, 0, 0, &d, NULL) != TLT_OK) return bytes;
  bytes += 3 * d->weights.bytes + 12 * (size_t)d->weights.elements;
  bytes += tlt_drafter_trainer_bytes(d, m->kernels, &t, tlt_pool_threads(m->pool));
  tlt_drafter_free(d);
  return bytes;
}

/* ---- the replica ----------------------------------------------------------------------------- */

void tlt__drafting_end_with(tlt_drafting *d, const tlt_err *err) {
  if (!d->dead) tlt_log_write(TLT_LOG_WARN, "drafter training ends: %s", err->text);
  d->dead = true;
}

tlt_status tlt__drafting_replica(tlt_drafting *d, tlt_drafter *d2, tlt_err *err) {
  tlt_model *m = d->o.model;
  tlt_drafter_trainer *t = NULL;
  unsigned char *published = tlt_calloc_aligned(1, d2->weights.bytes);
  tlt_status s = published ? TLT_OK : tlt_fail_nomem(err, "drafter", d2->weights.bytes);
  if (s == TLT_OK) s = tlt_drafter_trainer_create(d2, m->kernels, m->pool, &d->train, &t, err);
  if (s != TLT_OK) {
    tlt_free(published);
    tlt_drafter_free(d2);
    return s;
  }
  tlt_drafter_trainer_free(d->trainer);
  tlt_drafter_free(d->drafter);
  tlt_free(d->published);
  d->trainer = t;
  d->drafter = d2;
  d->published = published;
  d->has_published = false;
  return TLT_OK;
}

tlt_status tlt__drafting_install(tlt_drafting *d, tlt_err *err) {
  memcpy(d->published, d->drafter->weights.memory, d->drafter->weights.bytes);
  d->has_published = true;
  return tlt_spec_set_drafter(d->o.spec, d->o.model, d->o.engine, d->drafter, err);
}

void tlt__drafting_revert(tlt_drafting *d) {
  float *masters = tlt_trainer_masters(tlt_drafter_trainer_state(d->trainer));
  const tlt_weights *w = &d->drafter->weights;
  if (!d->has_published) return;
  memcpy(w->memory, d->published, w->bytes);
  for (int i = 0; i < w->n_params; i++)
    tlt_param_get_rows(&w->param[i], 0, w->param[i].n, masters + w->param[i].offset);
}

void tlt__drafting_start_over(tlt_drafting *d) {
  tlt_trainer *t = tlt_drafter_trainer_state(d->trainer);
  size_t elements = (size_t)tlt_trainer_elements(t);
  tlt__drafting_revert(d);
  memset(tlt_trainer_moment1(t), 0, elements * sizeof(float));
  memset(tlt_trainer_moment2(t), 0, elements * sizeof(float));
  tlt_trainer_restored(t, 0, NULL); /* alone: cannot fail */
}

/* ---- life ------------------------------------------------------------------------------------ */

static tlt_status open_buffer(tlt_drafting *d, tlt_err *err) {
  const tlt_model *m = d->o.model;
  tlt_replay_options ro = {
      .bytes = (size_t)d->o.conf->buffer_mb << 20, .row_bytes = row_bytes(m), .seed = d->o.seed};
  tlt_recorder_options co = {.row_bytes = ro.row_bytes,
                             .samples = d->o.samples,
                             .hold_every = HOLD_EVERY,
                             .vocab = m->weights->config.vocab};
  size_t seen = (size_t)co.vocab * (sizeof *d->seen + sizeof(float) + sizeof(int32_t));
  d->seen = tlt_malloc(seen);
  if (!d->seen) return tlt_fail_nomem(err, "drafting", seen);
  tlt_status s = tlt_replay_create(&ro, &d->replay, err);
  return s == TLT_OK ? tlt_recorder_create(&co, d->replay, &d->recorder, err) : s;
}

static tlt_status open_replica(tlt_drafting *d, tlt_err *err) {
  const tlt_model *m = d->o.model;
  const char *path = d->o.conf->path;
  tlt_drafter *first;
  tlt_status s = path ? tlt_drafter_load(path, m->weights, m->pool, &first, err)
                      : tlt_drafter_create(m->weights, 0, d->o.seed, &first, err);
  if (s == TLT_OK) s = tlt__drafting_replica(d, first, err);
  if (s != TLT_OK) return s;
  d->total_steps = path ? YOUNG : 0;
  d->ready = path || d->drafter->n_hot == m->weights->config.vocab;
  return path ? tlt__drafting_install(d, err) : TLT_OK;
}

tlt_status tlt_drafting_open(const tlt_drafting_options *o, tlt_drafting **out, tlt_err *err) {
  tlt_drafting *d = *out = tlt_calloc(1, sizeof *d);
  if (!d) return tlt_fail_nomem(err, "drafting", sizeof *d);
  d->o = *o;
  d->train = train_options(o);
  d->counts.before = d->counts.after = NAN;
  d->caution = 1;
  tlt_status s = open_buffer(d, err);
  if (s == TLT_OK) s = open_replica(d, err);
  if (s == TLT_OK) return TLT_OK;
  tlt_drafting_close(d);
  *out = NULL;
  return s;
}

void tlt_drafting_close(tlt_drafting *d) {
  if (!d) return;
  tlt_drafting_writer_close(&d->writer);
  tlt_recorder_free(d->recorder);
  tlt_replay_free(d->replay);
  tlt_drafter_trainer_free(d->trainer);
  tlt_drafter_free(d->drafter);
  tlt_free(d->published);
  tlt_free(d->seen);
  tlt_free(d);
}

/* ---- recording ------------------------------------------------------------------------------- */

void tlt_drafting_begin(tlt_drafting *d, int64_t step, uint32_t first, int groups) {
  tlt_err err;
  if (!d || d->dead) return;
  d->version = step;
  d->step_tokens = 0;
  tlt_replay_drop(d->replay, step - 1);
  tlt_drafter_refresh(d->drafter, d->o.model->weights);
  if (tlt_recorder_begin(d->recorder, step, first, groups, &err) != TLT_OK) {
    tlt__drafting_end_with(d, &err);
    return;
  }
  tlt_hidden_sink sink = tlt_recorder_sink(d->recorder);
  tlt_engine_set_sink(d->o.engine, &sink);
}

void tlt_drafting_answered(tlt_drafting *d, const tlt_sample *sample) {
  if (d && !d->dead) tlt_recorder_answered(d->recorder, sample);
}

void tlt_drafting_end(tlt_drafting *d) {
  if (!d) return;
  tlt_engine_set_sink(d->o.engine, NULL);
  tlt_recorder_end(d->recorder);
}

/* ---- training -------------------------------------------------------------------------------- */

/* Warm-up, then constant, since the target never stands still, but for what publications say of it
 * (drafting_publish.c). A drafter that began as nothing is far from its target and learns faster
 * first. */
float tlt__drafting_rate(const tlt_drafting *d) {
  long step = (long)tlt_trainer_steps(tlt_drafter_trainer_state(d->trainer)) + 1;
  double young = 1 - (double)d->total_steps / YOUNG, lr = d->o.conf->lr * d->caution;
  if (young > 0) lr *= 1 + (YOUNG_FACTOR - 1) * young;
  return tlt_schedule(TLT_SCHEDULE_CONSTANT, (float)lr, step, WARMUP, step + WARMUP);
}

static void optimize(tlt_drafting *d, tlt_err *err) {
  tlt_adamw how = {.lr = tlt__drafting_rate(d),
                   .beta1 = 0.9f,
                   .beta2 = 0.95f,
                   .eps = 1e-8f,
                   .weight_decay = 0.01f,
                   .clip_norm = 1.0f};
  tlt_step_result result;
  if (tlt_drafter_trainer_step(d->trainer, &how, &result, err) != TLT_OK) {
    tlt__drafting_end_with(d, err);
    return;
  }
  if (tlt_pool_abandoned(d->o.model->pool)) return; /* its norm may mean nothing */
  d->skips = result.skipped ? d->skips + 1 : 0;
  if (d->skips <= SKIPS_MOST) return;
  tlt_fail(err, TLT_ENUMERIC, "%s: gradient is not finite", result.bad_param);
  tlt__drafting_end_with(d, err);
}

/* An abandoned pool skips everything, clearing too: what is left of the gradient goes before the
 * next piece. False when that one is abandoned as early as here. */
static bool clear_stale(tlt_drafting *d) {
  if (d->stale) tlt_drafter_trainer_clear(d->trainer);
  d->stale = d->stale && tlt_pool_abandoned(d->o.model->pool);
  return !d->stale;
}

/* An optimizer step that is cut short leaves the gradient of some rows to the next one, which does
 * no harm here. */
static tlt_piece train_micro(tlt_drafting *d, const tlt_draft_micro *m) {
  tlt_err err;
  tlt_status s = TLT_ESTOPPED;
  if (clear_stale(d)) {
    tlt_recorder_hold(d->recorder, true);
    s = tlt_drafter_trainer_accumulate(d->trainer, m, &d->counts.loss, &err);
    tlt_recorder_hold(d->recorder, false);
  }
  if (s == TLT_OK) optimize(d, &err);
  else if (s != TLT_ESTOPPED) tlt__drafting_end_with(d, &err);
  d->stale = tlt_pool_abandoned(d->o.model->pool);
  if (d->stale) {
    d->counts.dropped++;
    return TLT_PIECE_DROPPED;
  }
  return d->dead ? TLT_PIECE_NOTHING : TLT_PIECE_DONE;
}

/* Seconds of a piece as the share counts them. A process that was stopped for a while, or a machine
 * busy with something else, must not use up the share of many steps. */
static double counted(tlt_drafting *d, tlt_piece piece, double seconds) {
  if (d->piece > 0) seconds = fmin(seconds, OUTLIER * d->piece);
  if (piece == TLT_PIECE_DONE) d->piece += (d->piece > 0 ? 0.25 : 1) * (seconds - d->piece);
  return seconds;
}

static bool may_train(const tlt_drafting *d) {
  if (d->dead || !d->ready || tlt_share_rests(&d->share)) return false;
  int epochs = d->total_steps < YOUNG ? EPOCHS_YOUNG : EPOCHS;
  return d->step_tokens < epochs * tlt_replay_counts(d->replay).tokens;
}

tlt_piece tlt_drafting_piece(tlt_drafting *d) {
  tlt_draft_micro m;
  double from = tlt_now();
  if (!d || !may_train(d) ||
      !tlt_replay_draw(d->replay, d->train.micro_tokens, d->o.temperature, &m))
    return TLT_PIECE_NOTHING;
  int tokens = m.cu[m.n_samples];
  tlt_piece piece = train_micro(d, &m);
  double seconds = counted(d, piece, tlt_now() - from);
  d->counts.seconds += seconds;
  d->new_seconds += seconds;
  d->idle_seconds += seconds;
  if (piece != TLT_PIECE_DONE) return piece;
  d->new_steps++;
  d->total_steps++;
  d->total_tokens += tokens;
  d->step_tokens += tokens;
  d->counts.steps++;
  d->counts.tokens += tokens;
  return piece;
}

/* What idle time already gave is not owed. */
void tlt_drafting_keep_alive(tlt_drafting *d, double seconds) {
  if (!d || d->dead) return;
  double share = d->o.conf->min_share * seconds, most = 2 * fmax(share, d->piece);
  d->owed = fmax(fmin(d->owed + share - d->idle_seconds, most), -most);
  if (tlt_share_rests(&d->share)) d->owed = fmin(d->owed, 0);
  while (d->owed > 0 && d->owed >= 0.5 * d->piece) {
    double before = d->counts.seconds;
    if (tlt_drafting_piece(d) != TLT_PIECE_DONE) break;
    d->owed -= d->counts.seconds - before;
    d->counts.kept_seconds += d->counts.seconds - before;
  }
  d->idle_seconds = 0;
}
