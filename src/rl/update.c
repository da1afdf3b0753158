#include "rl/update.h"

#include <math.h>

#include "base/clock.h"
#include "rl/rewards.h"
#include "rl/update_internal.h"
#include "train/schedule.h"

/* ---- minibatches ------------------------------------------------------------------------------
 */

/* Sums over what had a gradient, for the result. */
typedef struct totals {
  double kl, old_kl, ratio, entropy;
  int64_t low, high, tokens, entropy_tokens;
} totals;

/* Add the groups [from, to) in order; returns the unnormalised loss. */
static double add_measured(const tlt_update *u, int from, int to, totals *t) {
  double loss = 0;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &u->groups->group[i];
    if (!tlt_update_needs(u, g)) continue;
    for (int s = 0; s < u->groups->samples; s++) {
      const tlt_measured *m = &u->task[i].measured[s];
      loss += m->sums.loss;
      t->kl += m->sums.kl;
      t->old_kl += m->sums.old_kl;
      t->ratio += m->sums.ratio;
      t->low += m->sums.low;
      t->high += m->sums.high;
      t->tokens += g->answer[s].n_tokens;
      if (!u->first_pass) continue;
      t->entropy += m->entropy;
      t->entropy_tokens += g->answer[s].n_tokens;
    }
  }
  return loss;
}

/* Divisor of groups [from, to): tokens and samples of skipped groups count. */
static float minibatch_scale(const tlt_update *u, int from, int to) {
  int64_t tokens = 0, samples = 0;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &u->groups->group[i];
    if (!tlt_update_includes(g)) continue;
    samples += u->groups->samples;
    tokens += tlt_group_tokens(g, u->groups->samples);
  }
  return tlt_loss_scale(u->here.loss.mean, tokens, samples, u->job.config->rollout.max_tokens);
}

static tlt_status optimizer_step(tlt_update *u, float scale, tlt_update_result *r, tlt_err *err) {
  const tlt_update_job *job = &u->job;
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
  tlt_status s = job->step(job->context, scale, &how, &step, err);
  if (s != TLT_OK) return s;
  if (step.skipped)
    return tlt_fail(err, TLT_ENUMERIC,
                    "gradient of %s: got NaN, infinity or overflow, expected finite numbers; "
                    "weights are as before this step",
                    step.bad_param);
  r->lr = how.lr;
  r->grad_norm += (double)step.grad_norm;
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

/* Groups [from, to) of this pass that are not waiting or at work any more. */
static void show(const tlt_update *u, int from, int to, const work_done *before) {
  work_done now = *before;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &u->groups->group[i];
    tlt_task_state state = u->task[i].state;
    if (g->replaced || state == TLT_TASK_WAITING || state == TLT_TASK_GIVEN) continue;
    now.groups++;
    if (state == TLT_TASK_DONE) now.tokens += tlt_group_tokens(g, u->groups->samples);
  }
  if (u->job.progress) u->job.progress(u->job.context, now.groups, now.of, now.tokens);
}

static tlt_status work_off(tlt_update *u, int from, int to, const work_done *before, tlt_err *err) {
  tlt_status s = TLT_OK;
  show(u, from, to, before);
  while (s == TLT_OK && u->waiting + u->given > 0) {
    if (u->job.work) s = u->job.work(u->job.context, err);
    else s = tlt_update_do(u, tlt_update_take(u), err);
    show(u, from, to, before);
  }
  return s;
}

static tlt_status minibatch(tlt_update *u, int from, int to, totals *t, work_done *done,
                            tlt_update_result *r, tlt_err *err) {
  work_done after = *done;
  for (int i = from; i < to; i++) {
    const tlt_group *g = &u->groups->group[i];
    tlt_update_task *task = &u->task[i];
    after.groups += !g->replaced;
    if (!tlt_update_needs(u, g)) continue;
    int64_t tokens = tlt_group_tokens(g, u->groups->samples);
    int64_t forward = tokens + (int64_t)u->groups->samples * g->n_prompt;
    after.tokens += tokens;
    r->forward_tokens += forward;
    r->groups += u->first_pass;
    if (task->early) r->early_tokens += forward;
    else tlt_update_make_waiting(u, i);
    task->early = false;
  }
  tlt_status s = work_off(u, from, to, done, err);
  *done = after;
  if (s != TLT_OK) return s;
  for (int i = from; i < to; i++) u->task[i].state = TLT_TASK_NONE;
  float scale = minibatch_scale(u, from, to);
  r->loss += add_measured(u, from, to, t) * (double)scale;
  return optimizer_step(u, scale, r, err);
}

static tlt_status passes(tlt_update *u, totals *t, tlt_update_result *r, tlt_err *err) {
  const tlt_conf_algorithm *a = &u->job.config->algorithm;
  int64_t prompts = u->job.config->rollout.prompts, size = prompts / a->minibatches;
  work_done done = {.of = a->updates * prompts};
  tlt_status s = TLT_OK;
  for (int64_t pass = 0; s == TLT_OK && pass < a->updates; pass++)
    for (int64_t m = 0; s == TLT_OK && m < a->minibatches; m++) {
      u->known = r->steps == 0;
      u->first_pass = pass == 0;
      s = minibatch(u, kept_position(u->groups, m * size), kept_position(u->groups, (m + 1) * size),
                    t, &done, r, err);
    }
  return s;
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

tlt_status tlt_update_run(tlt_update *u, tlt_update_result *result, tlt_err *err) {
  double from = tlt_now();
  totals t = {0};
  *result = (tlt_update_result){0};
  tlt_groups_advantages(u->groups, u->job.config);
  tlt_status s = passes(u, &t, result, err);
  conclude(&t, result);
  result->reference_seconds = u->reference_seconds;
  result->seconds = tlt_now() - from;
  return s;
}
