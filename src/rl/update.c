#include "rl/update.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rl/advantage.h"
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

static void set_rewards(tlt_group *g, int samples, const tlt_train_config *c) {
  const tlt_conf_algorithm *a = &c->algorithm;
  for (int s = 0; s < samples; s++) {
    tlt_answer *x = &g->answer[s];
    x->reward = x->score + tlt_overlong_penalty(x->n_tokens, c->rollout.max_tokens, a->overlong,
                                                a->overlong_scale);
  }
}

/* spread: standard deviation over the whole batch where the scale asks for it. */
static void set_advantages(tlt_group *g, int samples, double spread, const tlt_train_config *c) {
  double reward[4096] = {0}; /* rollout.samples is at most this */
  float advantage[4096];
  for (int s = 0; s < samples; s++) reward[s] = g->answer[s].reward;
  tlt_advantages((tlt_algorithm)c->algorithm.name, (tlt_scale)c->algorithm.scale, reward, samples,
                 spread, advantage);
  for (int s = 0; s < samples; s++) g->answer[s].advantage = g->masked ? 0.0f : advantage[s];
}

void tlt_groups_advantages(tlt_groups *g, const tlt_train_config *c) {
  for (int i = 0; i < g->n; i++) set_rewards(&g->group[i], g->samples, c);
  double spread = c->algorithm.scale == TLT_SCALE_BATCH ? batch_std(g) : 0;
  for (int i = 0; i < g->n; i++) set_advantages(&g->group[i], g->samples, spread, c);
}

/* ---- tasks ------------------------------------------------------------------------------------
 */

tlt_status tlt_update_begin(tlt_update *u, const tlt_update_job *job, tlt_groups *groups,
                            tlt_err *err) {
  size_t room = (size_t)groups->room, samples = (size_t)groups->samples;
  *u = (tlt_update){.job = *job, .groups = groups, .known = true, .first_pass = true};
  u->task = tlt_calloc(room, sizeof *u->task);
  u->measured = tlt_calloc(room * samples, sizeof *u->measured);
  if (!u->task || !u->measured)
    return tlt_fail_nomem(err, "update", room * samples * sizeof *u->measured);
  for (size_t i = 0; i < room; i++) u->task[i].measured = u->measured + i * samples;
  return tlt_gradient_open(&u->here, job->config, job->trainer, job->reference, err);
}

void tlt_update_end(tlt_update *u) {
  for (int i = 0; u->task && i < u->groups->room; i++) tlt_free(u->task[i].reference);
  tlt_free(u->task);
  tlt_free(u->measured);
  tlt_gradient_close(&u->here);
  *u = (tlt_update){0};
}

static bool in_update(const tlt_group *g) {
  return !g->masked && !g->replaced;
}

static bool has_advantage(const tlt_group *g, int samples) {
  for (int s = 0; s < samples; s++)
    if (g->answer[s].advantage != 0) return true;
  return false;
}

static bool needs_gradient(const tlt_update *u, const tlt_group *g) {
  return in_update(g) && (u->here.loss.kl != 0 || has_advantage(g, u->groups->samples));
}

static void make_waiting(tlt_update *u, int i) {
  u->task[i].state = TLT_TASK_WAITING;
  u->waiting++;
}

/* Groups replaced later only move a group to the front, so an index inside the first minibatch is
 * there for good; so is every group that cannot be replaced where there is one minibatch. */
static bool is_certain(const tlt_update *u, int i) {
  const tlt_conf_algorithm *a = &u->job.config->algorithm;
  const tlt_group *g = &u->groups->group[i];
  bool replaceable = a->max_gen > 1 && (g->constant || g->masked);
  if (replaceable || a->scale == TLT_SCALE_BATCH) return false;
  return a->minibatches == 1 || i < u->job.config->rollout.prompts / a->minibatches;
}

void tlt_update_offer(tlt_update *u, int i) {
  tlt_group *g = &u->groups->group[i];
  if (!is_certain(u, i)) return;
  set_rewards(g, u->groups->samples, u->job.config);
  set_advantages(g, u->groups->samples, 0, u->job.config);
  if (!needs_gradient(u, g)) return;
  u->task[i].early = true;
  make_waiting(u, i);
}

int tlt_update_take(tlt_update *u) {
  int64_t most = -1;
  int best = -1;
  for (int i = 0; u->waiting && i < u->groups->n; i++) {
    if (u->task[i].state != TLT_TASK_WAITING) continue;
    int64_t tokens = tlt_group_tokens(&u->groups->group[i], u->groups->samples);
    if (tokens <= most) continue;
    most = tokens;
    best = i;
  }
  if (best < 0) return -1;
  u->task[best].state = TLT_TASK_GIVEN;
  u->waiting--;
  u->given++;
  return best;
}

static void task_done(tlt_update *u, int i) {
  u->task[i].state = TLT_TASK_DONE;
  u->given--;
}

static tlt_status reference_of(tlt_gradient *here, const tlt_group *g, float **to, tlt_err *err) {
  if (!here->reference || *to) return TLT_OK;
  size_t n = (size_t)tlt_group_tokens(g, here->samples);
  *to = tlt_malloc(n * sizeof **to + 1);
  if (!*to) return tlt_fail_nomem(err, "reference log-probabilities", n * sizeof **to);
  return tlt_gradient_reference(here, g, *to, err);
}

tlt_status tlt_update_do(tlt_update *u, int i, tlt_err *err) {
  const tlt_group *g = &u->groups->group[i];
  tlt_update_task *t = &u->task[i];
  double from = tlt_now();
  tlt_status s = reference_of(&u->here, g, &t->reference, err);
  u->reference_seconds += tlt_now() - from;
  if (s == TLT_OK)
    s = tlt_gradient_group(&u->here, g, u->known, u->first_pass, t->reference, t->measured, err);
  task_done(u, i);
  return s;
}

/* ---- between workers --------------------------------------------------------------------------
 */

typedef struct packed_task {
  uint32_t rollout, first;
  int32_t known, entropy;
  uint64_t reference_bytes; /* follows; then the group */
} packed_task;

typedef struct packed_result {
  double reference_seconds;
  uint64_t reference_bytes; /* follows the measured answers */
} packed_result;

static size_t reference_bytes(const tlt_group *g, int samples, const float *reference) {
  return reference ? (size_t)tlt_group_tokens(g, samples) * sizeof *reference : 0;
}

tlt_status tlt_update_pack(const tlt_update *u, int i, void **bytes, size_t *n, tlt_err *err) {
  const tlt_group *g = &u->groups->group[i];
  const float *reference = u->task[i].reference;
  packed_task head = {.rollout = g->rollout,
                      .first = u->groups->group[0].rollout,
                      .known = u->known,
                      .entropy = u->first_pass,
                      .reference_bytes = reference_bytes(g, u->groups->samples, reference)};
  void *group = NULL;
  size_t n_group = 0, n_head = sizeof head + head.reference_bytes;
  *bytes = NULL;
  tlt_status s = tlt_group_pack(g, u->groups->samples, false, &group, &n_group, err);
  if (s != TLT_OK) return s;
  unsigned char *to = *bytes = tlt_malloc(*n = n_head + n_group);
  if (to) {
    memcpy(to, &head, sizeof head);
    if (reference) memcpy(to + sizeof head, reference, head.reference_bytes);
    memcpy(to + n_head, group, n_group);
  } else {
    s = tlt_fail_nomem(err, "gradient task", n_head + n_group);
  }
  tlt_free(group);
  return s;
}

static tlt_status pack_result(const tlt_gradient *here, const tlt_group *g, const float *reference,
                              double seconds, const tlt_measured *measured, void **result,
                              size_t *n, tlt_err *err) {
  size_t n_measured = (size_t)here->samples * sizeof *measured;
  packed_result head = {seconds, reference_bytes(g, here->samples, reference)};
  unsigned char *to = *result = tlt_malloc(*n = sizeof head + n_measured + head.reference_bytes);
  if (!to) return tlt_fail_nomem(err, "gradient result", *n);
  memcpy(to, &head, sizeof head);
  memcpy(to + sizeof head, measured, n_measured);
  if (reference) memcpy(to + sizeof head + n_measured, reference, head.reference_bytes);
  return TLT_OK;
}

tlt_status tlt_update_serve(tlt_gradient *here, const tlt_update_source *from, const void *task,
                            size_t n, void **result, size_t *n_result, tlt_err *err) {
  packed_task head;
  *result = NULL;
  if (n < sizeof head) return tlt_fail(err, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  memcpy(&head, task, sizeof head);
  const unsigned char *at = (const unsigned char *)task + sizeof head;
  if (head.reference_bytes > n - sizeof head)
    return tlt_fail(err, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  tlt_group g = tlt_group_of(from->problems, from->shuffle, head.first, head.rollout);
  tlt_status s = tlt_group_unpack(at + head.reference_bytes, n - sizeof head - head.reference_bytes,
                                  &g, here->samples, err);
  tlt_measured *measured = tlt_calloc((size_t)here->samples, sizeof *measured);
  float *reference = head.reference_bytes ? tlt_malloc(head.reference_bytes) : NULL;
  if (s == TLT_OK && (!measured || (head.reference_bytes && !reference)))
    s = tlt_fail_nomem(err, "gradient task", head.reference_bytes);
  if (s == TLT_OK && reference) memcpy(reference, at, head.reference_bytes);
  double start = tlt_now();
  if (s == TLT_OK) s = reference_of(here, &g, &reference, err);
  double seconds = tlt_now() - start;
  if (s == TLT_OK)
    s = tlt_gradient_group(here, &g, head.known, head.entropy, reference, measured, err);
  if (s == TLT_OK) s = pack_result(here, &g, reference, seconds, measured, result, n_result, err);
  tlt_group_free(&g, here->samples);
  tlt_free(measured);
  tlt_free(reference);
  return s;
}

tlt_status tlt_update_receive(tlt_update *u, int i, const void *bytes, size_t n, tlt_err *err) {
  packed_result head;
  const unsigned char *at = bytes;
  size_t n_measured = (size_t)u->groups->samples * sizeof(tlt_measured);
  if (n < sizeof head + n_measured)
    return tlt_fail(err, TLT_EINTERNAL, "gradient result: got %zu bytes", n);
  memcpy(&head, at, sizeof head);
  if (head.reference_bytes != n - sizeof head - n_measured)
    return tlt_fail(err, TLT_EINTERNAL, "gradient result: got %zu bytes", n);
  tlt_update_task *t = &u->task[i];
  memcpy(t->measured, at + sizeof head, n_measured);
  u->reference_seconds += head.reference_seconds;
  if (head.reference_bytes && !t->reference) {
    t->reference = tlt_malloc(head.reference_bytes);
    if (!t->reference)
      return tlt_fail_nomem(err, "reference log-probabilities", head.reference_bytes);
    memcpy(t->reference, at + sizeof head + n_measured, head.reference_bytes);
  }
  task_done(u, i);
  return TLT_OK;
}

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
    if (!needs_gradient(u, g)) continue;
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
    if (!in_update(g)) continue;
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
    if (!needs_gradient(u, g)) continue;
    int64_t tokens = tlt_group_tokens(g, u->groups->samples);
    int64_t forward = tokens + (int64_t)u->groups->samples * g->n_prompt;
    after.tokens += tokens;
    r->forward_tokens += forward;
    r->groups += u->first_pass;
    if (task->early) r->early_tokens += forward;
    else make_waiting(u, i);
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
