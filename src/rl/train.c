#include "rl/train.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rl/evaluate.h"
#include "rl/follow.h"
#include "rl/loop.h"
#include "rl/machine_file.h"

tlt_status tlt_resume_find(const char *name, tlt_resume *out, tlt_err *err) {
  if (!name || !*name) *out = TLT_RESUME_YES;
  else if (!strcmp(name, "last-good")) *out = TLT_RESUME_LAST_GOOD;
  else if (!strcmp(name, "changed")) *out = TLT_RESUME_CHANGED;
  else
    return tlt_fail(err, TLT_EUSAGE, "--resume: got %s, expected nothing, last-good or changed",
                    name);
  return TLT_OK;
}

/* One call of tlt_train. */
typedef struct job {
  const tlt_train_options *options;
  tlt_train_hooks hooks;
  tlt_stop *stop;
  tlt_cluster *cluster; /* NULL: alone */
  bool leads;
  int threads;
  tlt_crew crew;
  tlt_train_summary summary;
  tlt_train_config config;
  bool configured, started; /* started: the run directory says so */
  tlt_rundir dir;
  tlt_ckpt_reader *checkpoint; /* to go on from; NULL: from the beginning */
  tlt_run_state state;
  tlt_session session;
  double from;
} job;

/* ---- before anything large ---------------------------------------------------------------------
 */

static tlt_status configure(job *j, tlt_err *err) {
  const tlt_train_options *o = j->options;
  tlt_status s = tlt_train_config_load(o->config, o->sets, o->n_sets, &j->config, err);
  if (s != TLT_OK) return s;
  j->configured = true;
  if (o->threads >= 0) j->config.common.threads = o->threads;
  if (o->numerics) {
    tlt_free(j->config.common.numerics);
    j->config.common.numerics = tlt_strdup(o->numerics);
    if (!j->config.common.numerics)
      return tlt_fail_nomem(err, "configuration", strlen(o->numerics));
  }
  return TLT_OK;
}

static tlt_status open_rundir(job *j, tlt_err *err) {
  const tlt_train_options *o = j->options;
  const tlt_conf_rollout *r = &j->config.rollout;
  char name[TLT_PATH_MAX];
  tlt_rundir_default(name, o->config);
  if (!j->leads) {
    tlt_rundir_name(&j->dir, o->run ? o->run : name);
    return TLT_OK;
  }
  if (j->cluster && tlt_cluster_size(j->cluster) > r->prompts)
    tlt_log_write(TLT_LOG_WARN, "%d workers for %lld prompts per step: some have nothing to decode",
                  tlt_cluster_size(j->cluster), (long long)r->prompts);
  if (r->top_p < 1 || r->top_k > 0 || r->min_p > 0)
    tlt_log_write(TLT_LOG_WARN,
                  "rollout.top_p, top_k or min_p is active: gradients are those of the "
                  "unfiltered distribution, not of the one sampled from");
  tlt_status s = tlt_rundir_open(&j->dir, o->run ? o->run : name, o->resume, err);
  if (s != TLT_OK) j->dir = (tlt_rundir){0};
  return s;
}

static tlt_status find_checkpoint(job *j, tlt_err *err) {
  tlt_resume resume = j->options->resume;
  if (!j->leads || !j->dir.used) return TLT_OK;
  tlt_status s = tlt_state_open(&j->dir, resume, &j->checkpoint, &j->state, err);
  if (s == TLT_OK && !j->checkpoint)
    tlt_log_write(TLT_LOG_INFO, "%s has no checkpoint yet: starting from the beginning",
                  j->dir.path);
  if (s == TLT_OK && j->checkpoint)
    s = tlt_state_check_config(j->checkpoint, &j->config, resume, err);
  return s;
}

static bool is_complete(const job *j) {
  return j->checkpoint && j->state.step >= j->config.steps && tlt_rundir_finished(&j->dir);
}

/* ---- workers -----------------------------------------------------------------------------------
 */

/* From where the workers start, as the leader knows it. */
typedef struct start_point {
  int64_t step; /* of the checkpoint, -1: none */
  int32_t complete;
  char numerics[16]; /* path of the checkpoint to follow; "" as configured */
} start_point;

static void lost(void *context, int rank, const char *text) {
  job *j = context;
  (void)rank;
  tlt_log_write(TLT_LOG_WARN, "%s", text);
  if (!j->dir.path[0]) return;
  tlt_run_status status = {.state = "failed",
                           .step = j->state.step,
                           .steps = j->config.steps,
                           .exit_code = tlt_status_exit_code(TLT_EWORKER),
                           .reason = text};
  tlt_rundir_status(&j->dir, &status, NULL);
}

static tlt_status open_cluster(job *j, tlt_err *err) {
  j->leads = true;
  if (!tlt_cluster_launched()) return TLT_OK;
  tlt_cluster_options o = {.lost = lost, .lost_context = j};
  tlt_status s = tlt_cluster_open(&o, &j->cluster, err);
  if (s != TLT_OK) return s;
  j->leads = tlt_cluster_rank(j->cluster) == 0;
  tlt_log_mute(!j->leads);
  if (!j->leads) j->hooks.memory = NULL;
  int size = tlt_cluster_size(j->cluster), asked = j->options->workers;
  if (asked > 0 && asked != size)
    return tlt_fail(err, TLT_EUSAGE, "--workers: got %d under a launcher that started %d", asked,
                    size);
  if (size > 1) return TLT_OK;
  tlt_cluster_close(j->cluster);
  j->cluster = NULL;
  return TLT_OK;
}

/* All go on or all fail. */
static tlt_status agree(job *j, tlt_status mine, tlt_err *err) {
  return j->cluster ? tlt_cluster_agree_status(j->cluster, mine, err) : mine;
}

static tlt_status share_start(job *j, start_point *at, tlt_err *err) {
  return j->cluster ? tlt_cluster_bcast(j->cluster, 0, at, sizeof *at, err) : TLT_OK;
}

/* The same program, model and data everywhere. */
static tlt_status agree_identity(job *j, tlt_err *err) {
  const tlt_session *s = &j->session;
  tlt_text config = {0};
  if (!j->cluster) return TLT_OK;
  char config_sha256[TLT_SHA256_HEX] = "";
  tlt_yaml_write(&tlt_train_schema, &j->config, true, &config);
  tlt_status status = agree(j, tlt_text_check(&config, err), err);
  if (status == TLT_OK) {
    tlt_sha256 h;
    tlt_sha256_begin(&h);
    tlt_sha256_add(&h, config.data, config.n);
    tlt_sha256_end(&h, config_sha256);
    const char *const what[] = {"program version",     "configuration",      "model",
                                "training problems",   "held-back problems", "numerics path",
                                "numerics fingerprint"};
    const char *const value[] = {
        j->options->program, config_sha256,  s->model_sha256,
        s->data_sha256,      s->held_sha256, tlt_numerics_name(s->model->kernels->numerics),
        s->fingerprint};
    status = tlt_cluster_agree(j->cluster, what, value, sizeof what / sizeof *what, err);
  }
  tlt_text_free(&config);
  return status;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

/* `auto` means the checkpoint's path where the processor has it. */
static tlt_status load_model(job *j, const start_point *at, tlt_err *err) {
  const char *path = at->numerics[0] ? at->numerics : NULL;
  const tlt_kernels *kernels;
  if (path && tlt_kernels_choose(path, &kernels, NULL) != TLT_OK) {
    if (j->options->resume != TLT_RESUME_CHANGED)
      return agree(j,
                   tlt_fail(err, TLT_ECHECKPOINT,
                            "resume: got a processor without the checkpoint's numerics path %s "
                            "(--resume=changed goes on with another)",
                            path),
                   err);
    path = NULL;
  }
  tlt_status s = agree(j, TLT_OK, err);
  if (s == TLT_OK) s = tlt_session_load(&j->session, path, j->threads, err);
  return agree(j, s, err);
}

/* Every host reads the checkpoint into what its workers share. */
static tlt_status restore(job *j, const start_point *at, tlt_err *err) {
  const tlt_team *team = j->cluster ? tlt_cluster_team(j->cluster) : NULL;
  tlt_ckpt_reader *reader = j->checkpoint;
  tlt_status s = TLT_OK;
  int64_t steps = 0;
  if (!j->leads && team->rank == 0) s = tlt_ckpt_open(j->dir.checkpoints, at->step, &reader, err);
  if (s == TLT_OK && reader) s = tlt_state_read_trainer(reader, j->session.trainer, &steps, err);
  if (!j->leads) tlt_ckpt_close(reader);
  s = agree(j, s, err);
  if (s == TLT_OK && j->cluster) s = tlt_cluster_bcast(j->cluster, 0, &steps, sizeof steps, err);
  if (s == TLT_OK) s = tlt_trainer_restored(j->session.trainer, steps, err);
  if (s == TLT_OK && j->leads)
    tlt_log_write(TLT_LOG_INFO, "going on after step %lld of %lld", (long long)j->state.step,
                  (long long)j->config.steps);
  return s;
}

/* Where training of the drafter begins, from files that every host reads for itself. */
static tlt_status attach_drafter(job *j, const start_point *at, tlt_err *err) {
  char hash[TLT_SHA256_HEX] = "";
  const char *const what = "drafter", *const value = hash;
  tlt_drafting_attach(j->session.drafting, j->dir.drafter, at->step, j->leads);
  if (!j->cluster) return TLT_OK;
  tlt_status s = agree(j, tlt_drafting_sha256(j->session.drafting, hash, err), err);
  return s == TLT_OK ? tlt_cluster_agree(j->cluster, &what, &value, 1, err) : s;
}

static tlt_status count_cores(job *j, tlt_err *err) {
  float threads = (float)tlt_pool_own_threads(j->session.model->pool);
  tlt_status s = j->cluster ? tlt_cluster_sum_f32(j->cluster, &threads, 1, err) : TLT_OK;
  j->session.cores = (int)threads;
  return s;
}

static tlt_status open_all(job *j, const start_point *at, tlt_err *err) {
  tlt_status s = tlt_session_open(&j->session, &j->config, j->cluster, err);
  s = agree(j, s, err);
  if (s == TLT_OK) s = load_model(j, at, err);
  if (s == TLT_OK) s = agree_identity(j, err);
  if (s == TLT_OK && j->checkpoint)
    s = tlt_state_check_identity(j->checkpoint, &j->session, j->options->resume, err);
  s = agree(j, s, err);
  if (s == TLT_OK) s = tlt_session_allocate(&j->session, &j->hooks, err);
  s = agree(j, s, err);
  if (s == TLT_OK) s = count_cores(j, err);
  return s == TLT_OK && at->step >= 0 ? restore(j, at, err) : s;
}

/* From here on the directory is a run. */
static tlt_status start(job *j, void **metrics, void **trace, tlt_err *err) {
  int64_t last = j->checkpoint ? j->state.step : -1;
  tlt_text text = {0};
  tlt_yaml_write(&tlt_train_schema, &j->config, true, &text);
  tlt_status s = tlt_text_check(&text, err);
  if (s == TLT_OK) {
    j->started = true;
    s = tlt_rundir_begin(&j->dir, text.data, text.n, last, err);
  }
  tlt_text_free(&text);
  if (s == TLT_OK) s = tlt_machine_file_write(&j->dir, &j->session, j->options->program, last, err);
  if (s == TLT_OK && j->hooks.configured) j->hooks.configured(j->hooks.context, &j->config);
  const tlt_metrics_sink *m = j->hooks.metrics;
  const tlt_trace_sink *t = j->hooks.trace;
  if (s == TLT_OK && m) s = m->start(m->context, j->dir.path, last, metrics, err);
  if (s == TLT_OK && t) s = t->start(t->context, j->dir.path, last, trace, err);
  return s;
}

/* ---- the end
 * ------------------------------------------------------------------------------------- */

static void summarize_eval(job *j) {
  const tlt_eval_memory *a = &j->state.first, *b = &j->state.last;
  tlt_train_summary *s = &j->summary;
  s->best_step = j->state.best_step;
  s->best_accuracy = j->state.best_accuracy;
  s->has_eval = a->right && b->right && a->n == b->n && a->samples == b->samples;
  if (!s->has_eval) return;
  s->accuracy_first = tlt_eval_pass(a->right, a->n, a->samples, 1);
  s->accuracy_last = tlt_eval_pass(b->right, b->n, b->samples, 1);
  s->gain = tlt_eval_gain(a->right, b->right, a->n, a->samples);
  s->eval_length_first = a->mean_length;
  s->eval_length_last = b->mean_length;
  s->eval_problems = (int64_t)a->n;
  s->eval_samples = a->samples;
}

static void summarize(job *j, tlt_status status) {
  tlt_train_summary *s = &j->summary;
  summarize_eval(j);
  s->steps_done = j->state.step;
  s->steps_total = j->config.steps;
  s->seconds_total = tlt_now() - j->from;
  memcpy(s->weights_sha256, j->state.weights_sha256, sizeof s->weights_sha256);
  snprintf(s->run, sizeof s->run, "%s", j->dir.path);
  if (status == TLT_OK) snprintf(s->final, sizeof s->final, "%s", j->dir.final);
}

static tlt_status save_final(job *j, tlt_err *err) {
  double from = tlt_now();
  tlt_status s = tlt_dir_make(j->dir.final, err);
  if (s == TLT_OK)
    s = tlt_weights_save(j->session.model->weights, j->dir.final, j->config.common.model, err);
  j->summary.seconds_save += tlt_now() - from;
  return s;
}

static tlt_status run(job *j, tlt_err *err) {
  void *metrics = NULL, *trace = NULL;
  tlt_status s = start(j, &metrics, &trace, err);
  tlt_spec_log *spec_log = NULL;
  if (s == TLT_OK && j->session.spec)
    spec_log = tlt_spec_log_open(j->dir.path, j->checkpoint ? j->state.step : -1,
                                 (tlt_log_rollouts)j->config.log.rollouts);
  tlt_loop loop = {.session = &j->session,
                   .crew = &j->crew,
                   .dir = &j->dir,
                   .state = &j->state,
                   .hooks = &j->hooks,
                   .metrics = metrics,
                   .trace = trace,
                   .spec_log = spec_log,
                   .stop = j->stop,
                   .summary = &j->summary,
                   .saved = j->checkpoint ? j->state.step : -1};
  j->summary.seconds_load = tlt_now() - j->from;
  if (s == TLT_OK) s = tlt_loop_run(&loop, err);
  tlt_spec_log_close(spec_log);
  if (j->hooks.metrics) {
    tlt_status closed = j->hooks.metrics->close(metrics, s == TLT_OK ? err : NULL);
    if (s == TLT_OK) s = closed;
  }
  if (j->hooks.trace) {
    tlt_status closed = j->hooks.trace->close(trace, s == TLT_OK ? err : NULL);
    if (s == TLT_OK) s = closed;
  }
  return s == TLT_OK ? save_final(j, err) : s;
}

/* status.json of a run that has come to an end; a failure to write it is no new failure. */
static void record_end(const job *j, tlt_status s, const tlt_err *err) {
  tlt_run_status status = {.state = s == TLT_OK         ? "finished"
                                    : s == TLT_ESTOPPED ? "stopped"
                                                        : "failed",
                           .step = j->state.step,
                           .steps = j->config.steps,
                           .exit_code = tlt_status_exit_code(s),
                           .reason = s == TLT_OK ? NULL : err->text};
  tlt_rundir_status(&j->dir, &status, NULL);
}

static tlt_status lead(job *j, tlt_err *err) {
  tlt_status s = tlt_crew_open(&j->crew, j->cluster, err);
  if (s == TLT_OK) s = run(j, err);
  tlt_crew_stop(&j->crew);
  if (s != TLT_ESTOPPED) return s;
  char text[TLT_ERR_TEXT];
  snprintf(text, sizeof text, "%s", err->text);
  return tlt_fail(err, s, "%.400s; go on with: tlt train %.200s --run %.200s --resume", text,
                  j->options->config, j->dir.path);
}

/* What can be wrong before anything large is read, on every worker. */
static tlt_status prepare(job *j, start_point *at, tlt_err *err) {
  *at = (start_point){.step = -1};
  tlt_status s = configure(j, err);
  if (s == TLT_OK && j->leads && j->hooks.leading) s = j->hooks.leading(j->hooks.context, err);
  s = agree(j, s, err);
  if (s == TLT_OK) s = agree(j, open_rundir(j, err), err);
  if (s == TLT_OK) s = agree(j, find_checkpoint(j, err), err);
  if (s != TLT_OK) return s;
  if (j->checkpoint) {
    at->step = j->state.step;
    at->complete = is_complete(j);
    if (!strcmp(j->config.common.numerics, "auto"))
      snprintf(at->numerics, sizeof at->numerics, "%s", tlt_state_numerics(j->checkpoint));
  }
  j->threads = (int)j->config.common.threads;
  s = share_start(j, at, err);
  if (s == TLT_OK && j->cluster) s = tlt_cluster_bind(j->cluster, j->threads, &j->threads, err);
  return s;
}

static tlt_status work(job *j, tlt_err *err) {
  start_point at;
  tlt_status s = prepare(j, &at, err);
  if (s == TLT_OK && at.complete) {
    j->summary.already_complete = true;
    return TLT_OK;
  }
  if (s == TLT_OK) s = open_all(j, &at, err);
  if (s == TLT_OK) s = attach_drafter(j, &at, err);
  if (s != TLT_OK) return s;
  tlt_log_mute(false);
  if (j->leads) return lead(j, err);
  s = tlt_follow(&j->session, at.step < 0 ? 0 : at.step, err);
  if (tlt_cluster_broken()) tlt_fail_prefix(err, "worker %d", tlt_cluster_rank(j->cluster));
  return s;
}

static void close_all(job *j) {
  tlt_crew_close(&j->crew);
  tlt_session_close(&j->session);
  tlt_ckpt_close(j->checkpoint);
  tlt_run_state_free(&j->state);
  if (j->leads) tlt_rundir_close(&j->dir);
  if (j->configured) tlt_train_config_free(&j->config);
  tlt_cluster_close(j->cluster);
}

tlt_status tlt_train(const tlt_train_options *options, const tlt_train_hooks *hooks, tlt_stop *stop,
                     tlt_train_summary *summary, tlt_err *err) {
  tlt_err own = {0};
  if (!err) err = &own;
  job *j = tlt_calloc(1, sizeof *j);
  if (!j) return tlt_fail_nomem(err, "training", sizeof *j);
  *j = (job){.options = options, .stop = stop, .from = tlt_now(), .state.best_step = -1};
  j->summary.best_step = -1;
  if (hooks) j->hooks = *hooks;
  tlt_status s = open_cluster(j, err);
  if (s == TLT_OK) s = work(j, err);
  if (j->started) record_end(j, s, err);
  if (s != TLT_OK && !j->started && j->leads) tlt_rundir_discard(&j->dir);
  if (s == TLT_OK || s == TLT_ESTOPPED) summarize(j, s);
  j->summary.follower = !j->leads && !tlt_cluster_broken();
  j->summary.workers = j->cluster ? tlt_cluster_size(j->cluster) : 1;
  if (summary) *summary = j->summary;
  close_all(j);
  tlt_free(j);
  return s;
}
