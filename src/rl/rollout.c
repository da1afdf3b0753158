#include "rl/rollout.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { RESULTS_AT_ONCE = 64 };
#define REWARD_WAIT_S 0.1 /* between looks at progress while only scores are awaited */

typedef struct phase {
  const tlt_rollout_job *job;
  tlt_groups *groups;
  tlt_rollout_stats *stats;
  int64_t finished;  /* answers */
  int dull;          /* complete groups that are constant or masked */
  tlt_status status; /* first failure inside a callback */
  tlt_err *err;
} phase;

void tlt_groups_free(tlt_groups *g) {
  for (int i = 0; i < g->n; i++) {
    for (int s = 0; s < g->samples; s++) {
      tlt_free(g->group[i].answer[s].tokens);
      tlt_free(g->group[i].answer[s].text);
    }
    tlt_free(g->group[i].answer);
  }
  tlt_free(g->group);
  *g = (tlt_groups){0};
}

void tlt_groups_sha256(const tlt_groups *g, char hex[65]) {
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  for (int i = 0; i < g->n; i++)
    for (int s = 0; s < g->samples; s++) {
      const tlt_answer *a = &g->group[i].answer[s];
      uint32_t head[3] = {g->group[i].rollout, (uint32_t)s, (uint32_t)a->n_tokens};
      tlt_sha256_add(&h, head, sizeof head);
      tlt_sha256_add(&h, a->tokens, (size_t)a->n_tokens * sizeof *a->tokens);
      tlt_sha256_add(&h, a->logprobs, (size_t)a->n_tokens * sizeof *a->logprobs);
    }
  tlt_sha256_end(&h, hex);
}

/* ---- hand-out ------------------------------------------------------------------------------- */

/* The next index may go out: a pure function of what is known to be constant, so that the final set
 * does not depend on when that became known. */
static bool may_hand_out(const phase *p) {
  int most = p->job->max_gen * p->job->prompts;
  return p->groups->n < most &&
         p->groups->n - (p->job->max_gen > 1 ? p->dull : 0) < p->job->prompts;
}

static tlt_status hand_out(phase *p) {
  const tlt_rollout_job *job = p->job;
  tlt_group *g = &p->groups->group[p->groups->n];
  uint32_t rollout = job->first + (uint32_t)p->groups->n;
  size_t at = job->shuffle ? tlt_shuffle_at(job->shuffle, rollout) : rollout - job->first;
  const tlt_problem_set *set = job->problems;
  *g = (tlt_group){.rollout = rollout,
                   .problem = tlt_dataset_at(set->data, set->index[at]),
                   .prompt = set->tokens + set->first[at],
                   .n_prompt = (int)(set->first[at + 1] - set->first[at])};
  g->answer = tlt_calloc((size_t)job->samples, sizeof *g->answer);
  if (!g->answer)
    return tlt_fail_nomem(p->err, "answers", (size_t)job->samples * sizeof *g->answer);
  p->groups->n++;
  p->stats->prompt_tokens += g->n_prompt;
  tlt_request r = {.prompt = g->prompt,
                   .n_prompt = g->n_prompt,
                   .rollout = rollout,
                   .n_samples = job->samples,
                   .max_tokens = job->max_tokens,
                   .temperature = job->temperature,
                   .top_p = job->top_p,
                   .min_p = job->min_p,
                   .top_k = job->top_k};
  return tlt_engine_submit(job->engine, &r, p->err);
}

/* Keeps the engine fed with one group waiting beyond what it can start. */
static tlt_status hand_out_more(phase *p) {
  tlt_status s = TLT_OK;
  while (s == TLT_OK && may_hand_out(p) &&
         (tlt_engine_room(p->job->engine) > 0 || tlt_engine_pending(p->job->engine) == 0))
    s = hand_out(p);
  return s;
}

/* ---- answers and scores --------------------------------------------------------------------- */

static tlt_status keep(phase *p, tlt_answer *a, const tlt_sample *s) {
  size_t n = (size_t)s->n_tokens;
  a->tokens = tlt_malloc(n * (sizeof *a->tokens + sizeof *a->logprobs) + 1);
  if (!a->tokens) return tlt_fail_nomem(p->err, "answer", n * 8);
  a->logprobs = (float *)(a->tokens + n);
  memcpy(a->tokens, s->tokens, n * sizeof *a->tokens);
  memcpy(a->logprobs, s->logprobs, n * sizeof *a->logprobs);
  a->n_tokens = s->n_tokens;
  a->finish = s->finish;
  p->finished++;
  p->stats->tokens += s->n_tokens;
  return tlt_tokenizer_decode(p->job->tokenizer, a->tokens, n, true, &a->text, &a->n_text, p->err);
}

static void answer_done(void *context, const tlt_sample *sample) {
  phase *p = context;
  if (p->status != TLT_OK) return;
  tlt_group *g = &p->groups->group[sample->rollout - p->job->first];
  tlt_answer *a = &g->answer[sample->sample];
  uint64_t id = (uint64_t)g->rollout * (uint64_t)p->job->samples + sample->sample;
  if (p->job->answered) p->job->answered(p->job->answered_context, sample);
  p->status = keep(p, a, sample);
  if (p->status == TLT_OK)
    p->status = tlt_reward_submit(p->job->reward, id, g->problem, a->text, a->n_text, p->err);
}

static bool scores_equal(const tlt_group *g, int samples) {
  for (int s = 1; s < samples; s++)
    if (g->answer[s].score != g->answer[0].score) return false;
  return true;
}

static void take_score(phase *p, const tlt_reward_result *r) {
  int samples = p->job->samples;
  tlt_group *g = &p->groups->group[r->id / (uint64_t)samples - p->job->first];
  tlt_answer *a = &g->answer[r->id % (uint64_t)samples];
  a->score = a->reward = r->reward;
  a->parsed = r->parsed;
  g->masked = g->masked || r->masked;
  if (!p->job->keep_text) {
    tlt_free(a->text);
    a->text = NULL;
    a->n_text = 0;
  }
  if (++g->scored < samples) return;
  g->constant = scores_equal(g, samples);
  if (g->constant || g->masked) p->dull++;
}

static tlt_status take_scores(phase *p, double wait) {
  tlt_reward_result r[RESULTS_AT_ONCE];
  size_t n = 0;
  do {
    tlt_status s = tlt_reward_poll(p->job->reward, wait, r, RESULTS_AT_ONCE, &n, p->err);
    if (s != TLT_OK) return s;
    for (size_t i = 0; i < n; i++) take_score(p, &r[i]);
    wait = 0;
  } while (n == RESULTS_AT_ONCE);
  return TLT_OK;
}

/* ---- the phase ------------------------------------------------------------------------------ */

static tlt_status advance(phase *p) {
  const tlt_rollout_job *job = p->job;
  if (tlt_engine_pending(job->engine) > 0) {
    tlt_status s = tlt_engine_step(job->engine, answer_done, p, p->err);
    if (s == TLT_OK) s = p->status;
    return s == TLT_OK ? take_scores(p, 0) : s;
  }
  double from = tlt_now();
  tlt_status s = take_scores(p, REWARD_WAIT_S);
  p->stats->reward_seconds += tlt_now() - from;
  return s;
}

/* Every index beyond the first `prompts` replaced a constant group: those lowest in index go, so
 * that `prompts` groups remain. */
static void mark_replaced(phase *p) {
  int excess = p->groups->n - p->job->prompts;
  for (int i = 0; i < p->groups->n && excess > 0; i++) {
    tlt_group *g = &p->groups->group[i];
    if (!g->constant && !g->masked) continue;
    g->replaced = true;
    excess--;
  }
}

static tlt_status run(phase *p) {
  const tlt_rollout_job *job = p->job;
  for (;;) {
    tlt_status s = hand_out_more(p);
    if (s == TLT_OK && tlt_engine_pending(job->engine) == 0 && tlt_reward_pending(job->reward) == 0)
      return TLT_OK; /* nothing could be handed out either */
    if (s == TLT_OK && job->cancel && *job->cancel)
      s = tlt_fail(p->err, TLT_ESTOPPED, "stopped by signal %d", (int)*job->cancel);
    if (s == TLT_OK) s = advance(p);
    if (s != TLT_OK) return s;
    if (job->progress)
      job->progress(job->context, p->finished, (int64_t)p->groups->n * job->samples,
                    p->stats->tokens);
  }
}

tlt_status tlt_rollout_run(const tlt_rollout_job *job, tlt_groups *out, tlt_rollout_stats *stats,
                           tlt_err *err) {
  double from = tlt_now();
  *stats = (tlt_rollout_stats){0};
  *out = (tlt_groups){.samples = job->samples, .room = job->prompts * job->max_gen};
  out->group = tlt_calloc((size_t)out->room, sizeof *out->group);
  if (!out->group) return tlt_fail_nomem(err, "groups", (size_t)out->room * sizeof *out->group);
  phase p = {.job = job, .groups = out, .stats = stats, .err = err};
  tlt_status s = run(&p);
  if (s == TLT_OK) {
    mark_replaced(&p);
  } else {
    tlt_engine_clear(job->engine);
    tlt_groups_free(out);
  }
  stats->seconds = tlt_now() - from;
  return s;
}
