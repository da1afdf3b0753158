#include "rl/update.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rl/advantage.h"
#include "train/pack.h"
#include "train/schedule.h"

/* ---- advantages -------------------------------------------------------------------------------
 */

static double batch_std(const tlt_groups *g) {
  double mean = 0, squares = 0;
  int64_t n = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < g->n; i++)
      for (int s = 0; s < g->samples && !g->group[i].masked && !g->group[i].replaced; s++) {
        double r = g->group[i].answer[s].reward;
        if (pass == 0) mean += r, n++;
        else squares += (r - mean) * (r - mean);
      }
    if (pass == 0 && n) mean /= (double)n;
  }
  return n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

void tlt_groups_advantages(tlt_groups *g, const tlt_train_config *c) {
  const tlt_conf_algorithm *a = &c->algorithm;
  for (int i = 0; i < g->n; i++)
    for (int s = 0; s < g->samples; s++) {
      tlt_answer *x = &g->group[i].answer[s];
      x->reward = x->score + tlt_overlong_penalty(x->n_tokens, c->rollout.max_tokens, a->overlong,
                                                  a->overlong_scale);
    }
  double spread = a->scale == TLT_SCALE_BATCH ? batch_std(g) : 0;
  double reward[4096]; /* rollout.samples is at most this */
  float advantage[4096];
  for (int i = 0; i < g->n; i++) {
    tlt_group *group = &g->group[i];
    for (int s = 0; s < g->samples; s++) reward[s] = group->answer[s].reward;
    tlt_advantages((tlt_algorithm)a->name, (tlt_scale)a->scale, reward, g->samples, spread,
                   advantage);
    for (int s = 0; s < g->samples; s++)
      group->answer[s].advantage = group->masked ? 0.0f : advantage[s];
  }
}

/* ---- one group --------------------------------------------------------------------------------
 */

/* Buffers for the group at work, sized for the largest group of the step. */
typedef struct workspace {
  int32_t *tokens, *cu, *prompt, *length, *first;
  float *old, *entropy;
} workspace;

/* What one pass over one answer measured. */
typedef struct measured {
  tlt_loss_sums sums;
  double entropy;
} measured;

typedef struct pass {
  const tlt_update_job *job;
  const tlt_groups *groups;
  workspace *work;
  tlt_loss_options loss;
  bool known;            /* weights are those that sampled: rollout log-probabilities hold */
  float *reference;      /* [all answer tokens in order], or NULL */
  int64_t *reference_at; /* [groups * samples] first of each answer */
  measured *measured;    /* [groups * samples] */
  /* the micro-batch at work */
  const tlt_group *group;
  int group_index, sample0;
} pass;

static bool in_update(const tlt_group *g) {
  return !g->masked && !g->replaced;
}

static bool has_advantage(const tlt_group *g, int samples) {
  for (int s = 0; s < samples; s++)
    if (g->answer[s].advantage != 0) return true;
  return false;
}

static bool needs_gradient(const pass *p, const tlt_group *g) {
  return in_update(g) && (p->loss.kl != 0 || has_advantage(g, p->groups->samples));
}

/* Pack samples s0 .. s1-1 of a group into the workspace. */
static tlt_micro pack(const workspace *w, const tlt_group *g, int s0, int s1, float temperature) {
  int32_t at = 0, targets = 0;
  for (int s = s0; s < s1; s++) {
    const tlt_answer *a = &g->answer[s];
    w->cu[s - s0] = at;
    w->prompt[s - s0] = g->n_prompt;
    memcpy(w->tokens + at, g->prompt, (size_t)g->n_prompt * sizeof *w->tokens);
    memcpy(w->tokens + at + g->n_prompt, a->tokens, (size_t)a->n_tokens * sizeof *w->tokens);
    memcpy(w->old + targets, a->logprobs, (size_t)a->n_tokens * sizeof *w->old);
    at += g->n_prompt + a->n_tokens;
    targets += a->n_tokens;
  }
  w->cu[s1 - s0] = at;
  return (tlt_micro){.n_samples = s1 - s0,
                     .tokens = w->tokens,
                     .cu = w->cu,
                     .prompt = w->prompt,
                     .temperature = temperature};
}

/* Runs of samples that form micro-batches: a pure function of lengths. */
static int cut(const pass *p, const tlt_group *g) {
  for (int s = 0; s < p->groups->samples; s++)
    p->work->length[s] = g->n_prompt + g->answer[s].n_tokens;
  return tlt_pack_micro(p->work->length, NULL, p->groups->samples,
                        (int)p->job->config->gradient.micro_tokens, p->work->first);
}

static void policy_loss(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  pass *p = context;
  int64_t at = 0;
  (void)n;
  for (int i = 0; i < m->n_samples; i++) {
    int s = p->sample0 + i;
    int64_t slot = (int64_t)p->group_index * p->groups->samples + s;
    const tlt_answer *a = &p->group->answer[s];
    const float *ref = p->reference ? p->reference + p->reference_at[slot] : NULL;
    tlt_policy_loss(&p->loss, a->n_tokens, a->advantage, logp + at, a->logprobs, ref, dlogp + at,
                    &p->measured[slot].sums);
    at += a->n_tokens;
  }
}

static void keep_entropy(pass *p, int s0, int s1) {
  int64_t at = 0;
  for (int s = s0; s < s1; s++) {
    double sum = 0;
    int n = p->group->answer[s].n_tokens;
    for (int t = 0; t < n; t++) sum += p->work->entropy[at + t];
    p->measured[(int64_t)p->group_index * p->groups->samples + s].entropy = sum;
    at += n;
  }
}

static tlt_status check_finite(const pass *p, int s0, int s1, tlt_err *err) {
  for (int s = s0; s < s1; s++)
    if (!p->measured[(int64_t)p->group_index * p->groups->samples + s].sums.finite)
      return tlt_fail(err, TLT_ENUMERIC,
                      "loss: got a value that is not finite in rollout %u, sample %d, expected "
                      "finite numbers; weights are as before this step",
                      p->group->rollout, s);
  return TLT_OK;
}

/* Gradient of one group into the trainer's accumulators; entropy is wanted in the first pass. */
static tlt_status accumulate_group(pass *p, int index, bool entropy, tlt_err *err) {
  const tlt_group *g = &p->groups->group[index];
  workspace *w = p->work;
  int runs = cut(p, g);
  tlt_status s = TLT_OK;
  p->group = g;
  p->group_index = index;
  for (int r = 0; s == TLT_OK && r < runs; r++) {
    int s0 = w->first[r], s1 = w->first[r + 1];
    tlt_micro m = pack(w, g, s0, s1, (float)p->job->config->rollout.temperature);
    p->sample0 = s0;
    s = tlt_trainer_accumulate(p->job->trainer, &m, policy_loss, p, p->known ? w->old : NULL, NULL,
                               entropy ? w->entropy : NULL, err);
    if (s == TLT_OK) s = check_finite(p, s0, s1, err);
    if (s == TLT_OK && entropy) keep_entropy(p, s0, s1);
  }
  return s;
}

/* ---- reference ----------------------------------------------------------------------------------
 */

static tlt_status reference_group(pass *p, int index, tlt_err *err) {
  const tlt_group *g = &p->groups->group[index];
  workspace *w = p->work;
  int runs = cut(p, g);
  tlt_status s = TLT_OK;
  for (int r = 0; s == TLT_OK && r < runs; r++) {
    tlt_micro m =
        pack(w, g, w->first[r], w->first[r + 1], (float)p->job->config->rollout.temperature);
    int64_t slot = (int64_t)index * p->groups->samples + w->first[r];
    s = tlt_trainer_logprobs(p->job->reference, &m, p->reference + p->reference_at[slot], err);
  }
  return s;
}

static tlt_status reference_all(pass *p, tlt_err *err) {
  const tlt_groups *g = p->groups;
  int64_t total = 0;
  for (int i = 0; i < g->n; i++)
    for (int s = 0; s < g->samples; s++) {
      p->reference_at[(int64_t)i * g->samples + s] = total;
      total += g->group[i].answer[s].n_tokens;
    }
  p->reference = tlt_malloc((size_t)total * sizeof *p->reference + 1);
  if (!p->reference) return tlt_fail_nomem(err, "reference log-probabilities", (size_t)total * 4);
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < g->n; i++)
    if (in_update(&g->group[i])) s = reference_group(p, i, err);
  return s;
}

/* ---- minibatches
 * ---------------------------------------------------------------------------------- */

/* Sums over what had a gradient, for the result. */
typedef struct totals {
  double kl, old_kl, ratio, entropy;
  int64_t low, high, tokens, entropy_tokens;
} totals;

/* Add the groups [from, to) in order; returns the unnormalised loss. */
static double add_measured(const pass *p, int from, int to, bool first_pass, totals *t) {
  double loss = 0;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &p->groups->group[i];
    if (!needs_gradient(p, g)) continue;
    for (int s = 0; s < p->groups->samples; s++) {
      const measured *m = &p->measured[(int64_t)i * p->groups->samples + s];
      loss += m->sums.loss;
      t->kl += m->sums.kl;
      t->old_kl += m->sums.old_kl;
      t->ratio += m->sums.ratio;
      t->low += m->sums.low;
      t->high += m->sums.high;
      t->tokens += g->answer[s].n_tokens;
      if (!first_pass) continue;
      t->entropy += m->entropy;
      t->entropy_tokens += g->answer[s].n_tokens;
    }
  }
  return loss;
}

/* Divisor of groups [from, to): tokens and samples of skipped groups count. */
static float minibatch_scale(const pass *p, int from, int to) {
  int64_t tokens = 0, samples = 0;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &p->groups->group[i];
    if (!in_update(g)) continue;
    samples += p->groups->samples;
    for (int s = 0; s < p->groups->samples; s++) tokens += g->answer[s].n_tokens;
  }
  return tlt_loss_scale(p->loss.mean, tokens, samples, p->job->config->rollout.max_tokens);
}

static tlt_status optimizer_step(const tlt_update_job *job, float scale, tlt_update_result *r,
                                 tlt_err *err) {
  const tlt_conf_optimizer *o = &job->config->optimizer;
  tlt_adamw how = {.lr = tlt_schedule((tlt_schedule_kind)o->schedule, (float)o->lr,
                                      (long)tlt_trainer_steps(job->trainer), (long)o->warmup,
                                      (long)job->schedule_total),
                   .beta1 = (float)o->betas[0],
                   .beta2 = (float)o->betas[1],
                   .eps = (float)o->eps,
                   .weight_decay = (float)o->weight_decay,
                   .clip_norm = (float)o->clip_norm};
  tlt_step_result step;
  tlt_status s = tlt_trainer_step(job->trainer, scale, &how, &step, err);
  if (s != TLT_OK) return s;
  if (step.skipped)
    return tlt_fail(err, TLT_ENUMERIC,
                    "gradient of %s: got NaN, infinity or overflow, expected finite numbers; "
                    "weights are as before this step",
                    step.bad_param);
  r->lr = how.lr;
  r->grad_norm += step.grad_norm;
  r->steps++;
  return TLT_OK;
}

/* The kept groups' positions: minibatch m covers kept groups [m, m + 1) * kept / minibatches. */
static int kept_position(const tlt_groups *g, int64_t kept) {
  int i = 0;
  for (int64_t seen = 0; i < g->n; i++) {
    if (g->group[i].replaced) continue;
    if (seen++ == kept) break;
  }
  return i;
}

typedef struct work_done {
  int64_t groups, of, tokens;
} work_done;

static tlt_status minibatch(pass *p, int from, int to, bool first_pass, totals *t, work_done *done,
                            tlt_update_result *r, tlt_err *err) {
  tlt_status s = TLT_OK;
  for (int i = from; s == TLT_OK && i < to; i++) {
    const tlt_group *g = &p->groups->group[i];
    if (needs_gradient(p, g)) {
      s = accumulate_group(p, i, first_pass, err);
      for (int k = 0; k < p->groups->samples; k++) {
        done->tokens += g->answer[k].n_tokens;
        r->forward_tokens += g->answer[k].n_tokens + g->n_prompt;
      }
      r->groups += first_pass;
    }
    if (g->replaced) continue;
    done->groups++;
    if (s == TLT_OK && p->job->progress)
      p->job->progress(p->job->context, done->groups, done->of, done->tokens);
  }
  if (s != TLT_OK) {
    (void)tlt_trainer_clear(p->job->trainer, NULL);
    return s;
  }
  float scale = minibatch_scale(p, from, to);
  r->loss += add_measured(p, from, to, first_pass, t) * (double)scale;
  return optimizer_step(p->job, scale, r, err);
}

static tlt_status passes(pass *p, totals *t, tlt_update_result *r, tlt_err *err) {
  const tlt_conf_algorithm *a = &p->job->config->algorithm;
  int64_t prompts = p->job->config->rollout.prompts, size = prompts / a->minibatches;
  work_done done = {.of = a->updates * prompts};
  tlt_status s = TLT_OK;
  for (int64_t u = 0; s == TLT_OK && u < a->updates; u++)
    for (int64_t m = 0; s == TLT_OK && m < a->minibatches; m++) {
      p->known = r->steps == 0;
      s = minibatch(p, kept_position(p->groups, m * size), kept_position(p->groups, (m + 1) * size),
                    u == 0, t, &done, r, err);
    }
  return s;
}

/* ---- the phase ------------------------------------------------------------------------------ */

static void workspace_free(workspace *w) {
  tlt_free(w->tokens);
  tlt_free(w->cu);
  tlt_free(w->old);
  *w = (workspace){0};
}

static tlt_status workspace_make(const tlt_groups *g, workspace *w, tlt_err *err) {
  size_t most = 1, samples = (size_t)g->samples;
  for (int i = 0; i < g->n; i++) {
    size_t tokens = 0;
    for (int s = 0; s < g->samples; s++)
      tokens += (size_t)(g->group[i].n_prompt + g->group[i].answer[s].n_tokens);
    if (tokens > most) most = tokens;
  }
  w->tokens = tlt_malloc(most * sizeof *w->tokens);
  w->cu = tlt_calloc(4 * samples + 2, sizeof *w->cu);
  w->old = tlt_malloc(2 * most * sizeof *w->old);
  if (!w->tokens || !w->cu || !w->old) return tlt_fail_nomem(err, "update buffers", most * 12);
  w->prompt = w->cu + samples + 1;
  w->length = w->prompt + samples;
  w->first = w->length + samples;
  w->entropy = w->old + most;
  return TLT_OK;
}

static double share(double sum, int64_t n) {
  return n ? sum / (double)n : NAN;
}

static void conclude(const totals *t, tlt_update_result *r) {
  if (r->steps) {
    r->loss /= r->steps;
    r->grad_norm /= r->steps;
  }
  r->kl = share(t->kl, t->tokens);
  r->old_kl = share(t->old_kl, t->tokens);
  r->ratio = share(t->ratio, t->tokens);
  r->entropy = share(t->entropy, t->entropy_tokens);
  r->clip_low = share((double)t->low, t->tokens);
  r->clip_high = share((double)t->high, t->tokens);
  r->tokens = t->tokens;
}

tlt_status tlt_update_run(const tlt_update_job *job, tlt_groups *groups, tlt_update_result *result,
                          tlt_err *err) {
  const tlt_conf_algorithm *a = &job->config->algorithm;
  double from = tlt_now();
  *result = (tlt_update_result){0};
  size_t slots = (size_t)groups->n * (size_t)groups->samples;
  workspace work = {0};
  totals t = {0};
  pass p = {.job = job,
            .groups = groups,
            .work = &work,
            .loss = {.algorithm = (tlt_algorithm)a->name,
                     .mean = (tlt_loss_mean)a->loss,
                     .clip_low = (float)a->clip_low,
                     .clip_high = (float)a->clip_high,
                     .kl = (float)a->kl,
                     .kl_kind = (tlt_kl_kind)a->kl_estimator}};
  p.measured = tlt_calloc(slots, sizeof *p.measured);
  p.reference_at = tlt_calloc(slots, sizeof *p.reference_at);
  tlt_status s = workspace_make(groups, &work, err);
  if (s == TLT_OK && (!p.measured || !p.reference_at))
    s = tlt_fail_nomem(err, "update", slots * sizeof *p.measured);
  if (s == TLT_OK && job->reference) s = reference_all(&p, err);
  result->reference_seconds = tlt_now() - from;
  if (s == TLT_OK) s = passes(&p, &t, result, err);
  conclude(&t, result);
  result->seconds = tlt_now() - from;
  workspace_free(&work);
  tlt_free(p.measured);
  tlt_free(p.reference_at);
  tlt_free(p.reference);
  return s;
}
