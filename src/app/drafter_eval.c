#include "app/drafter_eval.h"

#include "app/generate.h"
#include "app/task_prompts.h"
#include "base/mem.h"

tlt_drafter_eval_options tlt_drafter_eval_default(void) {
  return (tlt_drafter_eval_options){
      .count = 64,
      .record = {.samples = 2, .max_tokens = 512, .batch = 1, .temperature = 1},
      .buffer_mb = 1024,
      .unroll = 4,
      .draft = TLT_DRAFT_EAGLE};
}

typedef struct job {
  const tlt_drafter_eval_options *o;
  tlt_drafter_eval_report *out;
  tlt_tokenizer *tokenizer;
  tlt_model *model;
  tlt_prompts prompts;
  tlt_drafter *drafter;
  tlt_replay *replay;
  tlt_draft_record record;
  double logprob;
} job;

static tlt_status open_parts(job *j, tlt_err *err) {
  const tlt_drafter_eval_options *o = j->o;
  tlt_model_options mo = {.numerics = o->numerics, .threads = o->threads};
  tlt_status s = tlt_tokenizer_open(o->model, &j->tokenizer, err);
  if (s == TLT_OK)
    s = o->task ? tlt_prompts_of_task(j->tokenizer, o->task, o->task_options, TLT_SPLIT_EVAL,
                                      o->seed, o->count, o->chat, &j->prompts, err)
                : tlt_prompts_of_file(j->tokenizer, o->prompts, o->chat, &j->prompts, err);
  if (s == TLT_OK) s = tlt_model_open(o->model, &mo, &j->model, err);
  if (s == TLT_OK)
    s = tlt_drafter_load(o->drafter, j->model->weights, j->model->pool, &j->drafter, err);
  if (s != TLT_OK) return s;
  size_t stride = tlt_act_stride((size_t)j->model->weights->config.hidden);
  tlt_replay_options ro = {.bytes = (size_t)o->buffer_mb << 20,
                           .row_bytes = stride * j->model->kernels->act_size,
                           .seed = o->seed};
  return tlt_replay_create(&ro, &j->replay, err);
}

/* ---- distributions -----------------------------------------------------------------------------
 */

static void count_hot(job *j) {
  int64_t hot = 0;
  for (int i = 0; i < j->drafter->n_hot; i++) hot += j->record.seen[j->drafter->hot[i]];
  j->out->n_hot = j->drafter->n_hot;
  j->out->hot_share = (double)hot / (double)j->record.tokens;
}

static tlt_status match(job *j, tlt_err *err) {
  const tlt_model *m = j->model;
  int longest = j->prompts.longest + j->o->record.max_tokens;
  if (longest > m->weights->config.max_positions) longest = m->weights->config.max_positions;
  tlt_drafter_options o = tlt_drafter_options_default(longest);
  tlt_drafter_trainer *trainer;
  tlt_draft_micro micro;
  int cursor = 0;
  o.unroll = 1;
  o.eval_unroll = j->out->unroll = j->o->unroll;
  tlt_status s = tlt_drafter_trainer_create(j->drafter, m->kernels, m->pool, &o, &trainer, err);
  while (s == TLT_OK &&
         tlt_replay_held(j->replay, 0, &cursor, o.micro_tokens, j->o->record.temperature, &micro))
    s = tlt_drafter_trainer_evaluate(trainer, &micro, &j->out->match, err);
  if (s == TLT_OK) tlt_drafter_trainer_free(trainer);
  return s;
}

/* ---- speculation -------------------------------------------------------------------------------
 */

static tlt_status keep_logprobs(void *context, const tlt_generated *g, tlt_err *err) {
  job *j = context;
  (void)err;
  for (int i = 0; i < g->n_tokens; i++) j->logprob += (double)g->logprobs[i];
  return TLT_OK;
}

static tlt_status speculate(job *j, tlt_err *err) {
  const tlt_drafter_eval_options *o = j->o;
  tlt_generate_options go = {.n = o->record.samples,
                             .max_tokens = o->record.max_tokens,
                             .batch = o->record.batch,
                             .temperature = o->record.temperature,
                             .top_p = 1,
                             .seed = o->seed,
                             .draft = o->draft,
                             .policy = o->policy,
                             .drafter = o->drafter};
  tlt_generate_hooks hooks = {.context = j, .sample = keep_logprobs};
  tlt_generate_stats stats;
  tlt_status s = tlt_generate(j->model, j->tokenizer, &j->prompts, &go, &hooks, &stats, err);
  if (s != TLT_OK) return s;
  if (stats.tokens != j->record.tokens)
    return tlt_fail(err, TLT_EINTERNAL,
                    "drafter eval: got %lld tokens with speculation, %lld without",
                    (long long)stats.tokens, (long long)j->record.tokens);
  j->out->nll = -j->logprob / (double)stats.tokens;
  j->out->spec = stats.spec;
  j->out->seconds_spec = stats.seconds;
  return TLT_OK;
}

tlt_status tlt_drafter_eval(const tlt_drafter_eval_options *o, tlt_record_progress progress,
                            void *context, const tlt_stop *stop, tlt_drafter_eval_report *out,
                            tlt_err *err) {
  job j = {.o = o, .out = out};
  tlt_draft_record_options r = o->record;
  r.seed = o->seed;
  r.hold_every = 1;
  *out = (tlt_drafter_eval_report){0};
  tlt_status s = open_parts(&j, err);
  if (s == TLT_OK)
    s = tlt_draft_record_run(j.model, j.tokenizer, &j.prompts, &r, progress, context, stop,
                             j.replay, &j.record, err);
  if (s == TLT_OK) {
    out->answers = j.record.answers;
    out->tokens = j.record.tokens;
    out->seconds_plain = j.record.seconds;
    count_hot(&j);
    s = match(&j, err);
  }
  if (s == TLT_OK) s = speculate(&j, err);
  tlt_drafter_free(j.drafter);
  tlt_draft_record_free(&j.record);
  tlt_replay_free(j.replay);
  tlt_prompts_free(&j.prompts);
  tlt_model_close(j.model);
  tlt_tokenizer_close(j.tokenizer);
  return s;
}
