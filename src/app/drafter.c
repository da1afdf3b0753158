#include "app/drafter.h"

#include "app/task_prompts.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"
#include "train/hot.h"
#include "train/schedule.h"

enum { HOLD_EVERY = 16, SKIPS_MOST = 8 };

tlt_drafter_train_options tlt_drafter_train_default(void) {
  return (tlt_drafter_train_options){
      .count = 512,
      .record = {.samples = 4, .max_tokens = 512, .batch = 32, .temperature = 1},
      .buffer_mb = 1024,
      .hot = TLT_HOT_DEFAULT,
      .epochs = 4,
      .step_tokens = 1024,
      .lr = 3e-3f,
      .weight_decay = 0.01f,
      .train = tlt_drafter_options_default(0)};
}

typedef struct job {
  const tlt_drafter_train_options *o;
  const tlt_drafter_hooks *hooks;
  const tlt_stop *stop;
  tlt_drafter_summary *summary;
  tlt_tokenizer *tokenizer;
  tlt_model *model;
  tlt_prompts prompts;
  tlt_replay *replay;
  tlt_draft_record record;
  tlt_drafter *drafter;
  tlt_drafter_trainer *trainer;
  tlt_drafter_options train;
  int64_t total_tokens; /* over all epochs */
  int skips;            /* steps in a row whose gradient was not finite */
  tlt_draft_stats held; /* held-back answers after the newest epoch */
  double best;          /* chain length of held-back answers after the best epoch */
  double start;
} job;

/* ---- before training ------------------------------------------------------------------------- */

static tlt_status open_prompts(job *j, tlt_err *err) {
  const tlt_drafter_train_options *o = j->o;
  return o->task ? tlt_prompts_of_task(j->tokenizer, o->task, o->task_options, TLT_SPLIT_RL,
                                       o->seed, o->count, o->chat, &j->prompts, err)
                 : tlt_prompts_of_file(j->tokenizer, o->prompts, o->chat, &j->prompts, err);
}

static tlt_status open_drafter(job *j, tlt_err *err) {
  const tlt_weights *target = j->model->weights;
  if (j->o->init) return tlt_drafter_load(j->o->init, target, j->model->pool, &j->drafter, err);
  return tlt_drafter_create(target, j->o->inter, j->o->seed, &j->drafter, err);
}

static tlt_draft_record_options record_options(const job *j) {
  tlt_draft_record_options r = j->o->record;
  r.seed = j->o->seed;
  r.hold_every = j->prompts.count >= 2 * HOLD_EVERY ? HOLD_EVERY : j->prompts.count > 1 ? 2 : 0;
  return r;
}

static void tell_memory(job *j, const tlt_draft_record_options *r) {
  const tlt_model *m = j->model;
  if (!j->hooks->memory) return;
  j->hooks->memory(
      j->hooks->context, m->weights->bytes, tlt_draft_record_bytes(m, &j->prompts, r),
      (size_t)j->o->buffer_mb << 20,
      tlt_drafter_trainer_bytes(j->drafter, m->kernels, &j->train, tlt_pool_threads(m->pool)));
}

/* Longest sample that generation can leave: prompt and answer without its last token. */
static int longest_sample(const job *j) {
  int context = j->model->weights->config.max_positions;
  int64_t longest = (int64_t)j->prompts.longest + j->o->record.max_tokens;
  return longest < context ? (int)longest : context;
}

/* Everything that can be refused, before minutes of generating. */
static tlt_status open_parts(job *j, tlt_err *err) {
  const tlt_drafter_train_options *o = j->o;
  tlt_model_options mo = {.numerics = o->numerics, .threads = o->threads};
  tlt_status s = tlt_tokenizer_open(o->model, &j->tokenizer, err);
  if (s == TLT_OK) s = open_prompts(j, err);
  if (s == TLT_OK) s = tlt_model_open(o->model, &mo, &j->model, err);
  if (s == TLT_OK) s = open_drafter(j, err);
  if (s == TLT_OK) s = tlt_dir_make(o->out, err);
  if (s != TLT_OK) return s;
  const tlt_config *c = &j->model->weights->config;
  tlt_replay_options ro = {
      .bytes = (size_t)o->buffer_mb << 20,
      .row_bytes = tlt_act_stride((size_t)c->hidden) * j->model->kernels->act_size,
      .seed = o->seed};
  j->train = o->train;
  j->train.max_sample = longest_sample(j);
  j->train.max_hot = o->hot < c->vocab ? o->hot : c->vocab;
  return tlt_replay_create(&ro, &j->replay, err);
}

/* ---- hot tokens ------------------------------------------------------------------------------ */

static tlt_status choose_hot(job *j, tlt_err *err) {
  int vocab = j->model->weights->config.vocab, n = 0;
  int32_t *hot = tlt_malloc((size_t)j->train.max_hot * sizeof *hot);
  if (!hot) return tlt_fail_nomem(err, "hot tokens", (size_t)j->train.max_hot * sizeof *hot);
  tlt_status s = tlt_hot_choose(j->record.seen, vocab, j->train.max_hot, hot, &n, err);
  if (s == TLT_OK) s = tlt_drafter_set_hot(j->drafter, j->model->weights, hot, n, err);
  j->summary->hot = n;
  j->summary->hot_share = tlt_hot_share(hot, n, j->record.seen, vocab);
  tlt_free(hot);
  return s;
}

/* ---- training -------------------------------------------------------------------------------- */

static tlt_status evaluate(job *j, tlt_draft_stats *out, tlt_err *err) {
  int cursor = 0;
  tlt_draft_micro m;
  *out = (tlt_draft_stats){.rows = {0}};
  while (
      tlt_replay_held(j->replay, 0, &cursor, j->train.micro_tokens, j->o->record.temperature, &m)) {
    tlt_status s = tlt_drafter_trainer_evaluate(j->trainer, &m, out, err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

typedef struct step_state {
  tlt_draft_stats stats; /* of the step that is being filled */
  int64_t tokens, pending;
  int epoch;
} step_state;

static tlt_status optimize(job *j, step_state *st, tlt_err *err) {
  int64_t warmup = j->total_tokens / 20;
  /* the step's own middle, so that the first one has a rate */
  int64_t at = st->tokens - st->pending / 2;
  tlt_adamw how = {.lr = tlt_schedule(TLT_SCHEDULE_COSINE, j->o->lr, (long)at, (long)warmup,
                                      (long)j->total_tokens),
                   .beta1 = 0.9f,
                   .beta2 = 0.95f,
                   .eps = 1e-8f,
                   .weight_decay = j->o->weight_decay,
                   .clip_norm = 1.0f};
  tlt_step_result result;
  tlt_status s = tlt_drafter_trainer_step(j->trainer, &how, &result, err);
  if (s != TLT_OK) return s;
  j->summary->steps++;
  j->skips = result.skipped ? j->skips + 1 : 0;
  if (j->skips > SKIPS_MOST)
    return tlt_fail(err, TLT_ENUMERIC, "drafter step %lld: %s: gradient is not finite",
                    (long long)j->summary->steps, result.bad_param);
  return TLT_OK;
}

static void tell_step(job *j, const step_state *st, double loss, const tlt_draft_stats *held) {
  double seconds = tlt_now() - j->start, rate = (double)st->tokens / seconds;
  if (j->summary->steps <= 1) j->summary->loss_first = loss;
  j->summary->loss_last = loss;
  j->summary->tokens = st->tokens;
  tlt_drafter_progress p = {.epoch = st->epoch,
                            .epochs = j->o->epochs,
                            .step = j->summary->steps,
                            .tokens = st->tokens,
                            .total_tokens = j->total_tokens,
                            .loss = loss,
                            .rate = rate,
                            .left = (double)(j->total_tokens - st->tokens) / rate,
                            .held = held};
  if (j->hooks->trained) j->hooks->trained(j->hooks->context, &p);
}

/* The drafter of the best epoch is what lies on the disk. */
static tlt_status finish_epoch(job *j, tlt_err *err) {
  tlt_status s = evaluate(j, &j->held, err);
  double length = tlt_drafter_chain_length(&j->held, j->summary->unroll);
  if (s != TLT_OK || !(length >= j->best)) return s;
  j->best = length;
  j->summary->last = j->held;
  return tlt_drafter_save(j->drafter, j->o->out, err);
}

/* One optimizer step over what was accumulated, and the held-back answers at the end of an epoch.
 */
static tlt_status finish_step(job *j, step_state *st, bool epoch_end, tlt_err *err) {
  double loss = tlt_drafter_mean_loss(&j->train, &st->stats);
  tlt_status s = st->pending ? optimize(j, st, err) : TLT_OK;
  st->stats = (tlt_draft_stats){.rows = {0}};
  st->pending = 0;
  if (s == TLT_OK && epoch_end) s = finish_epoch(j, err);
  if (s == TLT_OK) tell_step(j, st, loss, epoch_end ? &j->held : NULL);
  return s;
}

static tlt_status stopped(job *j, tlt_err *err) {
  tlt_status s = tlt_drafter_save(j->drafter, j->o->out, err);
  if (s != TLT_OK) return s;
  return tlt_fail(err, TLT_ESTOPPED,
                  "stopped after %lld of %lld training tokens; the drafter as it is lies in %s "
                  "(go on from it with --init %s)",
                  (long long)j->summary->tokens, (long long)j->total_tokens, j->o->out, j->o->out);
}

static tlt_status train_epoch(job *j, step_state *st, int64_t epoch_tokens, tlt_err *err) {
  tlt_draft_micro m;
  int64_t end = st->tokens + epoch_tokens;
  while (st->tokens < end) {
    if (!tlt_replay_draw(j->replay, j->train.micro_tokens, j->o->record.temperature, &m)) break;
    tlt_status s = tlt_drafter_trainer_accumulate(j->trainer, &m, &st->stats, err);
    int tokens = m.cu[m.n_samples];
    st->tokens += tokens;
    st->pending += tokens;
    bool full = st->pending + tokens / 2 > j->o->step_tokens; /* nearer than one more would be */
    if (s == TLT_OK && full && st->tokens < end) s = finish_step(j, st, false, err);
    if (s != TLT_OK) return s;
    if (j->stop && j->stop->stop) return stopped(j, err);
  }
  st->epoch++;
  return finish_step(j, st, true, err);
}

static tlt_status train(job *j, tlt_err *err) {
  int64_t epoch_tokens = tlt_replay_counts(j->replay).tokens;
  step_state st = {.tokens = 0};
  j->total_tokens = epoch_tokens * j->o->epochs;
  tlt_status s = evaluate(j, &j->summary->first, err);
  j->summary->last = j->summary->first;
  j->start = tlt_now();
  for (int e = 0; s == TLT_OK && e < j->o->epochs; e++) s = train_epoch(j, &st, epoch_tokens, err);
  j->summary->seconds_train = tlt_now() - j->start;
  return s;
}

/* ---- the job --------------------------------------------------------------------------------- */

static tlt_status record(job *j, tlt_err *err) {
  tlt_draft_record_options r = record_options(j);
  tell_memory(j, &r);
  tlt_status s = tlt_draft_record_run(j->model, j->tokenizer, &j->prompts, &r, j->hooks->generated,
                                      j->hooks->context, j->stop, j->replay, &j->record, err);
  if (s == TLT_ESTOPPED) tlt_fail_prefix(err, "nothing was trained or saved");
  tlt_replay_count count = tlt_replay_counts(j->replay);
  j->summary->answers = j->record.answers;
  j->summary->answer_tokens = j->record.tokens;
  j->summary->seconds_generate = j->record.seconds;
  j->summary->kept = count.samples;
  j->summary->held = count.held;
  if (s == TLT_OK && !count.samples)
    return tlt_fail(err, TLT_EDATA,
                    "drafter training: got no answer of at least 2 tokens that fits into %d MB",
                    j->o->buffer_mb);
  return s;
}

static tlt_status work(job *j, tlt_err *err) {
  tlt_status s = open_parts(j, err);
  if (s == TLT_OK) s = record(j, err);
  if (s == TLT_OK) s = choose_hot(j, err);
  if (s == TLT_OK)
    s = tlt_drafter_trainer_create(j->drafter, j->model->kernels, j->model->pool, &j->train,
                                   &j->trainer, err);
  return s == TLT_OK ? train(j, err) : s;
}

tlt_status tlt_drafter_train(const tlt_drafter_train_options *o, const tlt_drafter_hooks *hooks,
                             const tlt_stop *stop, tlt_drafter_summary *summary, tlt_err *err) {
  job j = {.o = o, .hooks = hooks, .stop = stop, .summary = summary};
  *summary = (tlt_drafter_summary){.answers = 0};
  summary->unroll = o->train.eval_unroll > o->train.unroll ? o->train.eval_unroll : o->train.unroll;
  tlt_status s = work(&j, err);
  tlt_drafter_trainer_free(j.trainer);
  tlt_drafter_free(j.drafter);
  tlt_draft_record_free(&j.record);
  tlt_replay_free(j.replay);
  tlt_prompts_free(&j.prompts);
  tlt_model_close(j.model);
  tlt_tokenizer_close(j.tokenizer);
  return s;
}
