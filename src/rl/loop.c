#include "rl/loop.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rl/rewards.h"
#include "rl/rollout_log.h"
#include "rl/step_metrics.h"
#include "rl/worker_metrics.h"

enum { EDGE_STEPS = 10 }; /* steps whose mean stands for the beginning and the end of a run */
#define SHOW_EVERY_S 0.2
#define BEAT_EVERY_S 30.0
#define WORK_WAIT_S 0.05  /* for other workers' gradients, between looks at progress */
#define LOAN_WAIT_S 0.005 /* the same until somebody borrows the cores */

/* ---- progress -----------------------------------------------------------------------------------
 */

static double estimate_left(const tlt_loop *l) {
  const tlt_train_summary *s = l->summary;
  if (s->steps_here == 0) return -1;
  double each = (tlt_now() - l->started) / (double)s->steps_here;
  return each * (double)(l->session->config->steps - l->state->step);
}

static void beat(tlt_loop *l) {
  double now = tlt_now();
  if (now - l->beat < BEAT_EVERY_S) return;
  l->beat = now;
  tlt_energy_poll(&l->session->energy);
  tlt_run_status status = {.state = "running",
                           .step = l->state->step,
                           .steps = l->session->config->steps,
                           .exit_code = -1};
  tlt_rundir_status(l->dir, &status, NULL); /* a missed heartbeat is not worth ending a run */
}

static void show(tlt_loop *l, int64_t done, int64_t total, int64_t tokens) {
  double now = tlt_now(), seconds = now - l->phase_started;
  if (!l->hooks->progress || (now - l->shown < SHOW_EVERY_S && done > 0)) return;
  if (l->session->unobserved) return;
  l->shown = now;
  tlt_train_progress p = {.phase = l->phase,
                          .step = l->at_work,
                          .steps = l->session->config->steps,
                          .done = done,
                          .total = total,
                          .tokens = tokens,
                          .seconds = seconds,
                          .rate = seconds > 0 ? (double)tokens / seconds : 0,
                          .left = estimate_left(l),
                          .eval_accuracy = -1};
  l->hooks->progress(l->hooks->context, &p);
}

static void on_work(void *context, int64_t done, int64_t total, int64_t tokens) {
  show(context, done, total, tokens);
  beat(context);
}

static void begin_phase(tlt_loop *l, tlt_phase phase) {
  static const tlt_stage stage[] = {[TLT_PHASE_ROLLOUT] = TLT_STAGE_ROLLOUT,
                                    [TLT_PHASE_UPDATE] = TLT_STAGE_UPDATE,
                                    [TLT_PHASE_EVAL] = TLT_STAGE_EVAL,
                                    [TLT_PHASE_SAVE] = TLT_STAGE_SAVING};
  tlt_account_stage(&l->session->account, stage[phase]);
  l->phase = phase;
  l->phase_started = tlt_now();
  show(l, 0, 0, 0);
}

/* ---- one step -----------------------------------------------------------------------------------
 */

/* What a step measured, for its line of metrics and for people. */
typedef struct step_record {
  tlt_groups groups;
  tlt_update work; /* gradients of the groups */
  tlt_rollout_stats rollout;
  tlt_spec_stats spec;
  tlt_update_result update;
  tlt_answers_summary answers;
  bool observed; /* else nothing is recorded (session.h) */
  bool evaluated;
  tlt_eval_result eval;
  tlt_share accuracy, pass_k;
  double seconds;
  char rollout_sha256[65];
} step_record;

static void record_free(step_record *r) {
  tlt_update_end(&r->work);
  tlt_groups_free(&r->groups);
  tlt_eval_result_free(&r->eval);
}

static tlt_rollout_job rollout_job(tlt_loop *l, bool evaluation) {
  const tlt_session *s = l->session;
  const tlt_train_config *c = s->config;
  return (tlt_rollout_job){
      .decode = tlt_session_decode_job(s, evaluation, (uint32_t)l->state->rollout),
      .crew = l->crew,
      .idle = &s->idle,
      .step = evaluation ? l->state->step : l->at_work,
      .prompts = (int)c->rollout.prompts,
      .max_gen = (int)c->algorithm.max_gen,
      .progress = on_work,
      .context = l};
}

static tlt_status check_index(const tlt_loop *l, tlt_err *err) {
  int64_t most = tlt_session_groups_most(l->session, false);
  if (l->state->rollout + most <= TLT_ROLLOUT_MAX) return TLT_OK;
  return tlt_fail(err, TLT_EUSAGE,
                  "rollout index: got %lld prompts handed out, expected at most %lld in a run",
                  (long long)l->state->rollout, (long long)TLT_ROLLOUT_MAX);
}

static tlt_status begin_update(tlt_loop *l, step_record *r, tlt_err *err);

static tlt_status run_rollout(tlt_loop *l, step_record *r, tlt_err *err) {
  const tlt_train_config *c = l->session->config;
  tlt_rollout_job job = rollout_job(l, false);
  begin_phase(l, TLT_PHASE_ROLLOUT);
  tlt_status s = check_index(l, err);
  if (s == TLT_OK)
    s = tlt_groups_make((int)c->rollout.samples, tlt_session_groups_most(l->session, false),
                        &r->groups, err);
  if (s == TLT_OK) s = begin_update(l, r, err);
  if (s != TLT_OK) return s;
  tlt_session_before_rollout(l->session, false, l->at_work, job.decode.first);
  if (l->session->idle.gradients) job.update = &r->work;
  s = tlt_rollout_run(&job, &r->groups, &r->rollout, err);
  tlt_session_after_rollout(l->session);
  if (s != TLT_OK) return s;
  if (l->session->spec) tlt_spec_stats_get(l->session->spec, &r->spec);
  for (int w = 1; w < l->crew->size; w++)
    tlt_spec_stats_add(&r->spec, &l->crew->worker[w].sums.spec);
  tlt_groups_sha256(&r->groups, r->rollout_sha256);
  tlt_groups_advantages(&r->groups, c);
  l->summary->seconds_rollout += r->rollout.seconds;
  l->summary->seconds_reward += r->rollout.reward_seconds;
  l->summary->rollout_tokens += r->rollout.tokens;
  return tlt_answers_summarize(&r->groups, &r->answers, err);
}

/* Everything about a step that met a NaN, for whoever has to find out why. */
static void dump_failed(const tlt_loop *l, const step_record *r) {
  char name[64], path[TLT_PATH_MAX];
  snprintf(name, sizeof name, "failed-step-%lld.jsonl", (long long)l->at_work);
  tlt_path_join(path, l->dir->path, name);
  tlt_rollout_log(&r->groups, l->session->tokenizer, l->at_work, TLT_LOG_ALL, path, NULL);
}

static tlt_status optimize(void *context, float scale, const tlt_adamw *how,
                           tlt_step_result *result, tlt_err *err) {
  tlt_loop *l = context;
  tlt_work before = tlt_account_enter(l->session->idle.account, TLT_WORK_UPDATE);
  tlt_status s = tlt_crew_step(l->crew, l->session->trainer, scale, how, result, err);
  tlt_account_enter(l->session->idle.account, before);
  return s;
}

/* In the pauses of a gradient: results of others, tasks for them. */
static bool look(void *context) {
  tlt_loop *l = context;
  if (l->looked == TLT_OK) l->looked = tlt_crew_serve(l->crew, l->err);
  return true;
}

/* A task here while others do theirs, or a moment of waiting for them. */
static tlt_status work(void *context, tlt_err *err) {
  tlt_loop *l = context;
  const tlt_idle *idle = &l->session->idle;
  tlt_update *u = &l->record->work;
  tlt_status s = tlt_crew_serve(l->crew, err);
  int task = s == TLT_OK ? tlt_update_take(u) : -1;
  if (s != TLT_OK) return s;
  tlt_work before = tlt_account_enter(idle->account, TLT_WORK_WAITING);
  if (task >= 0) {
    tlt_account_enter_for(idle->account, TLT_WORK_GRADIENT, u->groups->group[task].rollout);
    l->looked = TLT_OK;
    l->err = err;
    if (l->crew->size > 1) tlt_pool_set_pause(idle->pool, look, l);
    s = tlt_update_do(u, task, err);
    tlt_pool_set_pause(idle->pool, NULL, NULL);
    if (s == TLT_OK) s = l->looked;
  } else if (u->given) {
    tlt_work state = tlt_idle_wait(idle, TLT_WORK_WAITING);
    tlt_account_enter(idle->account, state);
    s = tlt_crew_wait(l->crew, state == TLT_WORK_LENDING ? WORK_WAIT_S : LOAN_WAIT_S, err);
  }
  tlt_account_enter(idle->account, before);
  return s;
}

static tlt_status begin_update(tlt_loop *l, step_record *r, tlt_err *err) {
  const tlt_train_config *c = l->session->config;
  tlt_update_job job = {
      .config = c,
      .trainer = l->session->trainer,
      .reference = l->session->reference,
      .schedule_total = c->steps * c->algorithm.updates * c->algorithm.minibatches,
      .step = optimize,
      .work = work,
      .progress = on_work,
      .context = l};
  l->record = r;
  return tlt_update_begin(&r->work, &job, &r->groups, err);
}

static tlt_status run_update(tlt_loop *l, step_record *r, tlt_err *err) {
  begin_phase(l, TLT_PHASE_UPDATE);
  l->crew->update = &r->work;
  tlt_status s = tlt_update_run(&r->work, &r->update, err);
  l->crew->update = NULL;
  l->summary->seconds_update += r->update.seconds;
  l->summary->trained_tokens += r->update.forward_tokens;
  if (s == TLT_OK) tlt_trainer_sha256(l->session->trainer, l->state->weights_sha256);
  return s;
}

/* The drafter that the next rollouts draft with. */
static tlt_status publish(tlt_loop *l, tlt_err *err) {
  tlt_msg_publish m = {l->last_step};
  if (!tlt_drafting_wanted(l->session->config)) return TLT_OK;
  tlt_account_stage(&l->session->account, TLT_STAGE_DRAFTER);
  tlt_status s = tlt_crew_tell(l->crew, TLT_TAG_PUBLISH, &m, sizeof m, err);
  return s == TLT_OK ? tlt_session_publish(l->session, l->last_step, err) : s;
}

/* ---- evaluation ---------------------------------------------------------------------------------
 */

static bool eval_due(const tlt_loop *l) {
  const tlt_train_config *c = l->session->config;
  int64_t step = l->state->step;
  return c->eval.every > 0 && (step % c->eval.every == 0 || step == c->steps);
}

static tlt_status remember(const tlt_eval_result *e, tlt_eval_memory *m, tlt_err *err) {
  int32_t *right = tlt_malloc(e->problems * sizeof *right);
  if (!right) return tlt_fail_nomem(err, "evaluation", e->problems * sizeof *right);
  memcpy(right, e->right, e->problems * sizeof *right);
  tlt_free(m->right);
  *m = (tlt_eval_memory){right, e->problems, e->samples, e->mean_length};
  return TLT_OK;
}

static tlt_status run_eval(tlt_loop *l, step_record *r, tlt_err *err) {
  begin_phase(l, TLT_PHASE_EVAL);
  tlt_rollout_job job = rollout_job(l, true);
  if (l->state->step == 0 && l->stop) job.cancel = &l->stop->stop; /* nothing is lost by that */
  tlt_session_before_rollout(l->session, true, l->state->step, 0);
  tlt_status s = tlt_evaluate(&job, NULL, &r->eval, err);
  if (s != TLT_OK) return s;
  r->evaluated = true;
  r->accuracy = tlt_eval_pass(r->eval.right, r->eval.problems, r->eval.samples, 1);
  r->pass_k = tlt_eval_pass(r->eval.right, r->eval.problems, r->eval.samples, r->eval.samples);
  l->summary->seconds_eval += r->eval.seconds;
  if (l->state->step == 0) return remember(&r->eval, &l->state->first, err);
  if (l->state->best_step < 0 || r->accuracy.value > l->state->best_accuracy) {
    l->state->best_step = l->state->step;
    l->state->best_accuracy = r->accuracy.value;
  }
  return remember(&r->eval, &l->state->last, err);
}

/* ---- metrics ------------------------------------------------------------------------------------
 */

static void put_time(tlt_metrics *m, const tlt_loop *l, const step_record *r) {
  const tlt_rollout_stats *o = &r->rollout;
  const tlt_update_result *u = &r->update;
  double update = u->seconds - u->reference_seconds;
  tlt_metrics_real(m, "time/step", r->seconds);
  tlt_metrics_real(m, "time/rollout", o->seconds);
  tlt_metrics_real(m, "time/reward", o->reward_seconds);
  tlt_metrics_real(m, "time/update", u->seconds);
  tlt_metrics_real(m, "time/reference", u->reference_seconds);
  if (r->evaluated) tlt_metrics_real(m, "time/eval", r->eval.seconds);
  tlt_metrics_real(m, "time/save", l->last_save);
  tlt_metrics_real(m, "time/rollout_tokens_per_second", (double)o->tokens / o->seconds);
  tlt_metrics_real(m, "time/update_tokens_per_second", (double)u->forward_tokens / update);
  tlt_metrics_count(m, "workers/early_tokens", u->early_tokens);
}

static void put_drafting(tlt_metrics *m, const tlt_loop *l) {
  tlt_drafting_sums all = l->crew->worker[0].report.drafting;
  for (int w = 1; w < l->crew->size; w++)
    tlt_drafting_sums_add(&all, &l->crew->worker[w].report.drafting);
  tlt_drafting_metrics(l->session->drafting, &all, m);
}

static tlt_reward_stats rewards_of_all(const tlt_loop *l) {
  tlt_reward_stats sum = tlt_reward_totals(l->session->reward);
  for (int w = 1; w < l->crew->size; w++) {
    const tlt_reward_stats *x = &l->crew->worker[w].sums.reward;
    sum.items += x->items;
    sum.masked += x->masked;
    sum.timeouts += x->timeouts;
    sum.errors += x->errors;
    sum.restarts += x->restarts;
    sum.seconds_sum += x->seconds_sum;
    if (x->seconds_max > sum.seconds_max) sum.seconds_max = x->seconds_max;
  }
  return sum;
}

static void put_system(tlt_metrics *m, const tlt_loop *l) {
  tlt_reward_stats w = rewards_of_all(l);
  struct rusage usage;
  tlt_metrics_real(m, "sys/reward_latency_mean", w.items ? w.seconds_sum / (double)w.items : 0);
  tlt_metrics_real(m, "sys/reward_latency_max", w.seconds_max);
  tlt_metrics_count(m, "sys/reward_timeouts", (int64_t)w.timeouts);
  tlt_metrics_count(m, "sys/reward_errors", (int64_t)w.errors);
  tlt_metrics_count(m, "sys/reward_restarts", (int64_t)w.restarts);
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    tlt_metrics_real(m, "mem/peak_rss_mb", (double)usage.ru_maxrss / 1024);
}

static void put_cost(tlt_metrics *m, const tlt_loop *l, const step_record *r) {
  tlt_step_cost c = {.tokens = r->answers.tokens,
                     .accepted = tlt_spec_total(r->spec.accepted),
                     .cores = l->session->cores,
                     .core_hour = l->session->config->cost.core_hour};
  tlt_metrics_cost(m, l->crew->account, l->crew->size, &c);
}

/* A line for the state's step; step 0 has an evaluation only. */
static tlt_status put_metrics(tlt_loop *l, const step_record *r, tlt_err *err) {
  if (!l->hooks->metrics || !r->observed) return TLT_OK;
  tlt_metrics m = {.step = l->state->step};
  if (m.step > 0) {
    const tlt_session *s = l->session;
    tlt_metrics_real(&m, "epoch", (double)l->state->rollout / (double)s->problems.n);
    tlt_metrics_answers(&m, &r->groups, &r->answers, s->config->rollout.max_tokens);
    tlt_metrics_update(&m, &r->update);
  }
  if (r->evaluated) tlt_metrics_eval(&m, &r->eval, &r->accuracy, &r->pass_k);
  if (m.step > 0) tlt_metrics_text(&m, "rollout/sha256", r->rollout_sha256);
  tlt_metrics_text(&m, "weights/sha256", l->state->weights_sha256);
  if (m.step > 0 && l->session->spec) tlt_metrics_spec(&m, &r->spec);
  if (m.step > 0) put_drafting(&m, l);
  if (m.step > 0) put_time(&m, l, r);
  else if (r->evaluated) tlt_metrics_real(&m, "time/eval", r->eval.seconds);
  put_system(&m, l);
  const tlt_account *a = l->crew->account;
  if (m.step > 0) tlt_metrics_workers(&m, a, l->crew->size, a[0].end - a[0].begin);
  if (m.step > 0) put_cost(&m, l, r);
  return l->hooks->metrics->put(l->metrics, &m, err);
}

/* Accounts of all workers end here; what comes until the next step's rollout, such as saving, is
 * the next one's. */
static tlt_status settle_accounts(tlt_loop *l, tlt_err *err) {
  tlt_account *own = &l->session->account;
  int64_t step;
  double from, to;
  if (tlt_drafting_saved(l->session->drafting, &step, &from, &to))
    tlt_account_aside(own, TLT_ASIDE_WRITING, 0, step, from, to);
  tlt_account_enter(own, TLT_WORK_WAITING);
  tlt_session_finish_account(l->session);
  tlt_msg_report report = {.drafting = tlt_drafting_take(l->session->drafting)};
  tlt_status s = tlt_crew_report(l->crew, own, &report, err);
  bool observed = !l->session->unobserved;
  tlt_session_begin_account(l->session, l->state->step + 1, 0, TLT_WORK_OTHER);
  for (int w = 0; s == TLT_OK && observed && l->hooks->trace && w < l->crew->size; w++)
    s = l->hooks->trace->put(l->trace, &l->crew->account[w], err);
  return s;
}

static void show_step(tlt_loop *l, const step_record *r) {
  tlt_train_summary *s = l->summary;
  int64_t i = s->steps_here++;
  if (i < EDGE_STEPS) {
    l->first_reward += r->answers.reward_mean;
    l->first_length += r->answers.length_mean;
    s->reward_first = l->first_reward / (double)(i + 1);
    s->length_first = l->first_length / (double)(i + 1);
  }
  l->recent_reward[i % EDGE_STEPS] = r->answers.reward_mean;
  l->recent_length[i % EDGE_STEPS] = r->answers.length_mean;
  if (!l->hooks->progress || !r->observed) return;
  tlt_train_progress p = {.phase = TLT_PHASE_STEP_DONE,
                          .step = l->state->step,
                          .steps = l->session->config->steps,
                          .done = r->answers.answers,
                          .total = r->answers.answers,
                          .tokens = r->rollout.tokens,
                          .seconds = r->seconds,
                          .rate = (double)r->rollout.tokens / r->rollout.seconds,
                          .left = estimate_left(l),
                          .reward_mean = r->answers.reward_mean,
                          .loss = r->update.loss,
                          .grad_norm = r->update.grad_norm,
                          .mean_length = r->answers.length_mean,
                          .clipped_ratio = r->answers.cut_share,
                          .has_loss = r->update.groups > 0,
                          .eval_accuracy = r->evaluated ? r->accuracy.value : -1};
  l->hooks->progress(l->hooks->context, &p);
}

/* ---- saving -------------------------------------------------------------------------------------
 */

static tlt_status save(tlt_loop *l, tlt_err *err) {
  if (l->saved == l->state->step) return TLT_OK;
  begin_phase(l, TLT_PHASE_SAVE);
  tlt_work before = tlt_account_enter(&l->session->account, TLT_WORK_SAVING);
  tlt_status s = TLT_OK;
  if (l->hooks->metrics) s = l->hooks->metrics->sync(l->metrics, err);
  if (s == TLT_OK && l->hooks->trace) s = l->hooks->trace->sync(l->trace, err);
  tlt_spec_log_sync(l->spec_log);
  if (s == TLT_OK) s = tlt_rundir_sync_rollouts(l->dir, l->saved + 1, l->state->step, err);
  if (s == TLT_OK) s = tlt_state_save(l->dir, l->state, l->session, err);
  tlt_account_enter(&l->session->account, before);
  l->last_save = tlt_now() - l->phase_started;
  l->summary->seconds_save += l->last_save;
  if (s == TLT_OK) tlt_drafting_save(l->session->drafting, l->state->step);
  if (s == TLT_OK) l->saved = l->state->step;
  return s;
}

static bool save_due(tlt_loop *l) {
  const tlt_train_config *c = l->session->config;
  int64_t step = l->state->step;
  bool asked = l->stop && l->stop->save;
  if (asked) l->stop->save = 0; /* before saving: a signal during it asks for the next one */
  return asked || (c->checkpoint.every > 0 && step % c->checkpoint.every == 0) ||
         step == c->steps || step == l->state->best_step;
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

static tlt_status log_answers(tlt_loop *l, const step_record *r, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_rundir_rollout_path(l->dir, l->state->step, path);
  tlt_status s = tlt_rollout_log(&r->groups, l->session->tokenizer, l->state->step,
                                 (tlt_log_rollouts)l->session->config->log.rollouts, path, err);
  tlt_spec_log_put(l->spec_log, &r->groups, l->session->tokenizer, l->state->step);
  return s;
}

static tlt_status step(tlt_loop *l, tlt_err *err) {
  step_record r = {.observed = !l->session->unobserved};
  double from = tlt_now(), cpu = tlt_cpu();
  l->at_work = l->state->step + 1;
  tlt_status s = run_rollout(l, &r, err);
  if (s == TLT_OK) s = run_update(l, &r, err);
  if (s == TLT_OK) s = publish(l, err);
  if (s == TLT_ENUMERIC) {
    if (l->phase == TLT_PHASE_UPDATE) dump_failed(l, &r);
    s = tlt_fail_prefix(err, "step %lld", (long long)l->at_work);
  }
  if (s == TLT_OK) {
    l->state->step++;
    l->state->rollout += r.groups.n;
  }
  if (s == TLT_OK && r.observed) s = log_answers(l, &r, err);
  if (s == TLT_OK && eval_due(l)) s = run_eval(l, &r, err);
  r.seconds = l->last_step = tlt_now() - from;
  if (s == TLT_OK) s = settle_accounts(l, err);
  if (s == TLT_OK) s = put_metrics(l, &r, err);
  if (s == TLT_OK) show_step(l, &r);
  record_free(&r);
  if (l->session->observe)
    tlt_log_write(TLT_LOG_INFO, "step %lld: %s, %.6f s, %.6f s of processor",
                  (long long)l->state->step, r.observed ? "observed" : "unobserved",
                  tlt_now() - from, tlt_cpu() - cpu);
  if (s == TLT_OK && save_due(l)) s = save(l, err);
  return s;
}

static tlt_status first_eval(tlt_loop *l, tlt_err *err) {
  step_record r = {.observed = !l->session->unobserved};
  tlt_trainer_sha256(l->session->trainer, l->state->weights_sha256);
  tlt_status s = run_eval(l, &r, err);
  if (s == TLT_OK) s = settle_accounts(l, err);
  if (s == TLT_OK) s = put_metrics(l, &r, err);
  record_free(&r);
  return s;
}

static void conclude(tlt_loop *l) {
  tlt_train_summary *s = l->summary;
  int64_t n = s->steps_here < EDGE_STEPS ? s->steps_here : EDGE_STEPS;
  s->reward_last = s->length_last = 0;
  for (int64_t i = 0; i < n; i++) {
    s->reward_last += l->recent_reward[i] / (double)n;
    s->length_last += l->recent_length[i] / (double)n;
  }
  if (s->seconds_rollout > 0) s->rollout_rate = (double)s->rollout_tokens / s->seconds_rollout;
  if (s->seconds_update > 0) s->update_rate = (double)s->trained_tokens / s->seconds_update;
}

tlt_status tlt_loop_run(tlt_loop *l, tlt_err *err) {
  const tlt_train_config *c = l->session->config;
  tlt_status s = TLT_OK;
  l->started = tlt_now();
  l->beat = -BEAT_EVERY_S;
  beat(l);
  bool evaluate = l->state->step == 0 && c->eval.every > 0 && !(l->stop && l->stop->stop);
  tlt_session_begin_account(l->session, l->state->step + !evaluate, 0, TLT_WORK_OTHER);
  if (evaluate) s = first_eval(l, err);
  while (s == TLT_OK && l->state->step < c->steps && !(l->stop && l->stop->stop)) s = step(l, err);
  if (s == TLT_OK && l->state->step > 0) s = save(l, err); /* stopped between two that were due */
  if (s == TLT_OK) tlt_drafting_finish(l->session->drafting, l->state->step);
  conclude(l);
  if (s != TLT_OK) return s;
  if (l->state->step < c->steps)
    return tlt_fail(err, TLT_ESTOPPED, "stopped by signal %d after step %lld of %lld",
                    (int)l->stop->stop, (long long)l->state->step, (long long)c->steps);
  return TLT_OK;
}
