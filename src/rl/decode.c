#include "rl/decode.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { RESULTS_AT_ONCE = 64 };

tlt_status tlt_decode_begin(tlt_decode *d, const tlt_decode_job *job, int groups, tlt_err *err) {
  *d = (tlt_decode){.job = *job, .room = groups, .complete = d->complete, .context = d->context};
  d->open = tlt_calloc((size_t)groups, sizeof *d->open);
  d->opened_at = tlt_calloc((size_t)groups, sizeof *d->opened_at);
  if (!d->open || !d->opened_at)
    return tlt_fail_nomem(err, "groups", (size_t)groups * sizeof *d->open);
  return TLT_OK;
}

void tlt_decode_end(tlt_decode *d) {
  if (d->n_open) tlt_engine_clear(d->job.engine);
  for (int i = 0; i < d->n_open; i++) tlt_group_free(&d->open[i], d->job.samples);
  tlt_free(d->open);
  tlt_free(d->opened_at);
  d->open = NULL;
  d->opened_at = NULL;
  d->n_open = d->room = 0;
}

bool tlt_decode_wants(const tlt_decode *d) {
  return d->n_open < d->room &&
         (tlt_engine_room(d->job.engine) > 0 || tlt_engine_pending(d->job.engine) == 0);
}

bool tlt_decode_busy(const tlt_decode *d) {
  return tlt_engine_pending(d->job.engine) > 0;
}

bool tlt_decode_scoring(const tlt_decode *d) {
  return tlt_reward_pending(d->job.reward) > 0;
}

/* ---- hand-out ------------------------------------------------------------------------------- */

tlt_status tlt_decode_take(tlt_decode *d, uint32_t rollout, tlt_err *err) {
  const tlt_decode_job *job = &d->job;
  if (d->n_open == d->room)
    return tlt_fail(err, TLT_EINTERNAL, "group %u: got more than %d open groups", rollout, d->room);
  tlt_group *g = &d->open[d->n_open];
  *g = tlt_group_of(job->problems, job->shuffle, job->first, rollout);
  g->answer = tlt_calloc((size_t)job->samples, sizeof *g->answer);
  if (!g->answer) return tlt_fail_nomem(err, "answers", (size_t)job->samples * sizeof *g->answer);
  d->opened_at[d->n_open++] = tlt_now();
  d->prompt_tokens += g->n_prompt;
  tlt_request r = {.prompt = g->prompt,
                   .n_prompt = g->n_prompt,
                   .rollout = rollout,
                   .n_samples = job->samples,
                   .max_tokens = job->max_tokens,
                   .temperature = job->temperature,
                   .top_p = job->top_p,
                   .min_p = job->min_p,
                   .top_k = job->top_k};
  return tlt_engine_submit(job->engine, &r, err);
}

/* ---- answers and scores --------------------------------------------------------------------- */

static int find(const tlt_decode *d, uint32_t rollout) {
  for (int i = 0; i < d->n_open; i++)
    if (d->open[i].rollout == rollout) return i;
  return -1;
}

static tlt_status keep(tlt_decode *d, tlt_answer *a, const tlt_sample *s) {
  size_t n = (size_t)s->n_tokens;
  tlt_status status = tlt_answer_make(a, s->n_tokens, d->job.spec != NULL, d->err);
  if (status != TLT_OK) return status;
  memcpy(a->tokens, s->tokens, n * sizeof *a->tokens);
  memcpy(a->logprobs, s->logprobs, n * sizeof *a->logprobs);
  if (a->origins) tlt_spec_origins(d->job.spec, s->rollout, s->sample, s->n_tokens, a->origins);
  a->finish = s->finish;
  d->answers++;
  d->tokens += s->n_tokens;
  return tlt_tokenizer_decode(d->job.tokenizer, a->tokens, n, true, &a->text, &a->n_text, d->err);
}

static void answer_done(void *context, const tlt_sample *sample) {
  tlt_decode *d = context;
  int i = find(d, sample->rollout);
  if (d->status != TLT_OK || i < 0) return;
  tlt_group *g = &d->open[i];
  tlt_answer *a = &g->answer[sample->sample];
  uint64_t id = (uint64_t)g->rollout * (uint64_t)d->job.samples + sample->sample;
  if (d->job.answered) d->job.answered(d->job.answered_context, sample);
  d->status = keep(d, a, sample);
  if (d->status == TLT_OK)
    d->status = tlt_reward_submit(d->job.reward, id, g->problem, a->text, a->n_text, d->err);
}

static bool scores_equal(const tlt_group *g, int samples) {
  for (int s = 1; s < samples; s++)
    if (g->answer[s].score != g->answer[0].score) return false;
  return true;
}

static tlt_status complete(tlt_decode *d, int i, tlt_err *err) {
  tlt_group g = d->open[i];
  g.constant = scores_equal(&g, d->job.samples);
  tlt_account_aside(d->job.account, TLT_ASIDE_GROUP, 0, g.rollout, d->opened_at[i], tlt_now());
  d->open[i] = d->open[--d->n_open];
  d->opened_at[i] = d->opened_at[d->n_open];
  return d->complete(d->context, &g, err);
}

static tlt_status take_score(tlt_decode *d, const tlt_reward_result *r, tlt_err *err) {
  uint64_t samples = (uint64_t)d->job.samples;
  int i = find(d, (uint32_t)(r->id / samples));
  if (i < 0) return tlt_fail(err, TLT_EINTERNAL, "score of a group that is not open");
  tlt_group *g = &d->open[i];
  tlt_answer *a = &g->answer[r->id % samples];
  if (r->ended > 0)
    tlt_account_aside(d->job.account, TLT_ASIDE_SCORING, r->child, g->rollout, r->began, r->ended);
  a->score = a->reward = r->reward;
  a->parsed = r->parsed;
  g->masked = g->masked || r->masked;
  if (!d->job.keep_text) {
    tlt_free(a->text);
    a->text = NULL;
    a->n_text = 0;
  }
  return ++g->scored < d->job.samples ? TLT_OK : complete(d, i, err);
}

static tlt_status take_scores(tlt_decode *d, double wait, tlt_err *err) {
  tlt_reward_result r[RESULTS_AT_ONCE];
  size_t n = 0;
  do {
    tlt_status s = tlt_reward_poll(d->job.reward, wait, r, RESULTS_AT_ONCE, &n, err);
    for (size_t i = 0; s == TLT_OK && i < n; i++) s = take_score(d, &r[i], err);
    if (s != TLT_OK) return s;
    wait = 0;
  } while (n == RESULTS_AT_ONCE);
  return TLT_OK;
}

static tlt_status engine_step(tlt_decode *d, tlt_err *err) {
  tlt_engine_stats before, after;
  tlt_engine_stats_get(d->job.engine, &before);
  tlt_status s = tlt_engine_step(d->job.engine, answer_done, d, err);
  tlt_engine_stats_get(d->job.engine, &after);
  d->drawn = after.decode_tokens - before.decode_tokens;
  d->sequences = d->drawn - (after.accepted_tokens - before.accepted_tokens);
  return s == TLT_OK ? d->status : s;
}

tlt_status tlt_decode_step(tlt_decode *d, double wait, tlt_err *err) {
  d->err = err;
  if (!tlt_decode_busy(d)) return take_scores(d, wait, err);
  tlt_status s = engine_step(d, err);
  return s == TLT_OK ? take_scores(d, 0, err) : s;
}
