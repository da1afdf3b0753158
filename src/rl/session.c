#include "rl/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/task.h"

/* ---- data -------------------------------------------------------------------------------------
 */

static tlt_status generate(const tlt_conf_data *d, tlt_split split, size_t count, tlt_dataset **out,
                           tlt_err *err) {
  tlt_task *task = NULL;
  tlt_status s =
      tlt_task_open_options(d->task, d->options, split, (uint32_t)d->seed, false, &task, err);
  if (s == TLT_OK) s = tlt_dataset_generate(task, count, out, err);
  tlt_task_close(task);
  return s;
}

static tlt_status load(const tlt_train_config *c, const char *path, tlt_dataset **out,
                       tlt_err *err) {
  tlt_verifier verifier = TLT_VERIFY_NUMERIC;
  tlt_status s = tlt_verifier_find(c->data.verifier, &verifier, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "data.verifier");
  tlt_dataset_need need = c->reward.command ? TLT_NEED_NOTHING : TLT_NEED_ANSWER;
  return tlt_dataset_load(path, need, verifier, out, err);
}

static tlt_status open_data(tlt_session *s, tlt_err *err) {
  const tlt_train_config *c = s->config;
  size_t held = (size_t)c->eval.count;
  bool evaluate = c->eval.every > 0;
  tlt_status status = c->data.task
                          ? generate(&c->data, TLT_SPLIT_RL, (size_t)c->data.count, &s->data, err)
                          : load(c, c->data.file, &s->data, err);
  if (status != TLT_OK || !evaluate) return status;
  if (c->eval.file) return load(c, c->eval.file, &s->held, err);
  if (c->data.task) return generate(&c->data, TLT_SPLIT_EVAL, held, &s->held, err);
  if (tlt_dataset_count(s->data) <= held)
    return tlt_fail(err, TLT_EDATA,
                    "%s: got %zu problems, expected more than the %zu held back for evaluation "
                    "(eval.count, or eval.file for a file of its own)",
                    c->data.file, tlt_dataset_count(s->data), held);
  return TLT_OK;
}

static tlt_status open_reward(tlt_session *s, tlt_verifier verifier, tlt_err *err) {
  const tlt_conf_reward *r = &s->config->reward;
  int sharing = s->cluster ? tlt_cluster_host_size(s->cluster) : 1;
  int each = ((int)r->workers + sharing - 1) / sharing;
  tlt_reward_options o = {.command = r->command,
                          .verifier = verifier,
                          .workers = each,
                          .timeout_s = r->timeout_s,
                          .on_error = (tlt_reward_on_error)r->on_error,
                          .mask_share = r->mask_share};
  return tlt_reward_open(&o, &s->reward, err);
}

tlt_status tlt_session_open(tlt_session *s, const tlt_train_config *config, tlt_cluster *cluster,
                            tlt_err *err) {
  *s = (tlt_session){.config = config, .cluster = cluster};
  tlt_status status = open_data(s, err);
  if (status == TLT_OK) status = open_reward(s, tlt_dataset_verifier(s->data), err);
  if (status == TLT_OK) status = tlt_tokenizer_open(config->common.model, &s->tokenizer, err);
  if (status == TLT_OK && config->data.chat && !tlt_tokenizer_has_template(s->tokenizer))
    status = tlt_fail(err, TLT_EDATA,
                      "%s: got a tokenizer without chat template, expected one for "
                      "data.chat: true",
                      config->common.model);
  return status;
}

/* ---- model --------------------------------------------------------------------------------------
 */

static const tlt_team *team_of(const tlt_session *s) {
  return s->cluster ? tlt_cluster_team(s->cluster) : NULL;
}

static tlt_status open_problems(tlt_session *s, tlt_err *err) {
  const tlt_train_config *c = s->config;
  bool evaluate = c->eval.every > 0, shared = evaluate && !s->held;
  size_t count = tlt_dataset_count(s->data), held = shared ? (size_t)c->eval.count : 0;
  tlt_problem_set_options o = {.to = count - held,
                               .chat = c->data.chat,
                               .max_positions = s->model->weights->config.max_positions,
                               .drop = c->data.too_long == TLT_TOO_LONG_DROP,
                               .name = c->data.file ? c->data.file : c->data.task};
  tlt_status status = tlt_problem_set_open(s->data, s->tokenizer, &o, &s->problems, err);
  if (status == TLT_OK && s->problems.dropped)
    tlt_log_write(TLT_LOG_WARN, "%s: %zu of %zu prompts are beyond the context and left out",
                  o.name, s->problems.dropped, o.to);
  if (status != TLT_OK || !evaluate) return status;
  const tlt_dataset *from = shared ? s->data : s->held;
  o.from = shared ? count - held : 0;
  o.to = tlt_dataset_count(from);
  if (!shared && o.to > (size_t)c->eval.count) o.to = (size_t)c->eval.count;
  if (c->eval.file) o.name = c->eval.file;
  return tlt_problem_set_open(from, s->tokenizer, &o, &s->held_back, err);
}

tlt_status tlt_session_load(tlt_session *s, const char *numerics, int threads, tlt_err *err) {
  const tlt_train_config *c = s->config;
  tlt_model_options o = {
      .numerics = numerics ? numerics : c->common.numerics, .threads = threads, .team = team_of(s)};
  tlt_status status = tlt_model_open(c->common.model, &o, &s->model, err);
  if (status == TLT_OK && tlt_tokenizer_vocab(s->tokenizer) > s->model->weights->config.vocab)
    status = tlt_fail(err, TLT_EDATA,
                      "%s: got a tokenizer with %d ids, expected at most the %d rows "
                      "of the embedding",
                      c->common.model, tlt_tokenizer_vocab(s->tokenizer),
                      s->model->weights->config.vocab);
  if (status == TLT_OK) status = open_problems(s, err);
  if (status == TLT_OK)
    status = tlt_shuffle_open(s->problems.n, (uint32_t)c->common.seed, &s->shuffle, err);
  if (status != TLT_OK) return status;
  s->eval_max_tokens = (int)(c->eval.max_tokens ? c->eval.max_tokens : c->rollout.max_tokens);
  snprintf(s->data_sha256, sizeof s->data_sha256, "%s", tlt_dataset_hash(s->data));
  snprintf(s->held_sha256, sizeof s->held_sha256, "%s",
           tlt_dataset_hash(s->held ? s->held : s->data));
  tlt_numerics_fingerprint(s->model->kernels, s->fingerprint);
  return tlt_weights_sha256(s->model->weights, s->model_sha256, err);
}

/* ---- the large allocations ----------------------------------------------------------------------
 */

static int at_most(int64_t x, int limit) {
  return x < limit ? (int)x : limit;
}

static tlt_trainer_options trainer_options(const tlt_session *s) {
  const tlt_train_config *c = s->config;
  int context = s->model->weights->config.max_positions;
  return (tlt_trainer_options){
      .team = team_of(s),
      .micro_tokens = (int)c->gradient.micro_tokens,
      .max_sample = at_most(s->problems.longest + c->rollout.max_tokens, context),
      .activation_mb = (size_t)c->gradient.activation_mb};
}

static tlt_spec_options spec_options(const tlt_session *s, const tlt_engine_options *e) {
  const tlt_train_config *c = s->config;
  return (tlt_spec_options){.draft = (tlt_draft_kind)c->speculation.draft,
                            .policy = c->speculation.policy,
                            .drafter = tlt_drafting_wanted(c) ? NULL : c->drafter.path,
                            .joins = tlt_drafting_wanted(c),
                            .max_depth = (int)c->speculation.max_depth,
                            .batch = e->batch,
                            .max_positions = e->max_positions,
                            .seed = e->seed,
                            .origins = c->log.rollouts != TLT_LOG_NONE};
}

static int64_t groups_of(const tlt_session *s, bool evaluation) {
  return evaluation ? (int64_t)s->held_back.n : s->config->rollout.prompts;
}

/* Sequences that a worker decodes at once: its share of the groups, where that is less than asked.
 */
static int64_t share_rows(const tlt_session *s, bool evaluation) {
  const tlt_train_config *c = s->config;
  int workers = s->cluster ? tlt_cluster_size(s->cluster) : 1;
  int64_t share = (groups_of(s, evaluation) + workers - 1) / workers;
  return share * (evaluation ? c->eval.samples : c->rollout.samples);
}

static tlt_engine_options engine_options(const tlt_session *s) {
  const tlt_train_config *c = s->config;
  int context = s->model->weights->config.max_positions;
  int train = at_most(s->problems.longest + c->rollout.max_tokens, context);
  int eval = at_most((int64_t)s->held_back.longest + s->eval_max_tokens, context);
  int64_t train_rows = share_rows(s, false), eval_rows = share_rows(s, true);
  int64_t rows = train_rows > eval_rows ? train_rows : eval_rows;
  return (tlt_engine_options){.batch = at_most(rows, (int)c->rollout.batch),
                              .max_positions = s->held_back.n && eval > train ? eval : train,
                              .prefill_chunk = (int)c->rollout.prefill_chunk,
                              .seed = (uint32_t)c->common.seed};
}

static tlt_drafting_options drafting_options(const tlt_session *s, const tlt_trainer_options *t) {
  const tlt_train_config *c = s->config;
  return (tlt_drafting_options){.model = s->model,
                                .engine = s->engine,
                                .spec = s->spec,
                                .conf = &c->drafter,
                                .samples = (int)c->rollout.samples,
                                .max_sample = t->max_sample,
                                .temperature = (float)c->rollout.temperature,
                                .keep = (int)c->checkpoint.keep,
                                .seed = (uint32_t)c->common.seed};
}

/* Of all workers of this host: what they share is there once, unless they could not share. */
static void announce(const tlt_session *s, const tlt_trainer_options *t,
                     const tlt_trainer_options *f, const tlt_engine_options *e,
                     const tlt_spec_options *o, const tlt_train_hooks *hooks) {
  const tlt_model *m = s->model;
  const tlt_team *team = team_of(s);
  int threads = tlt_pool_threads(m->pool);
  size_t workers = s->cluster ? (size_t)tlt_cluster_host_size(s->cluster) : 1;
  size_t copies = workers / (team ? (size_t)team->size : 1);
  size_t shared = tlt_trainer_host_bytes(m->weights, m->kernels, t);
  size_t own = tlt_trainer_bytes(m->weights, m->kernels, t, threads) - shared;
  tlt_train_memory memory = {.weights = copies * m->weights->bytes,
                             .training = copies * shared + workers * own,
                             .engine = workers * tlt_engine_bytes(m, e),
                             .speculation = workers * tlt_spec_bytes(m, o)};
  if (s->config->algorithm.kl != 0)
    memory.reference = copies * m->weights->bytes +
                       workers * tlt_trainer_bytes(m->weights, m->kernels, f, threads);
  tlt_drafting_options d = drafting_options(s, t);
  if (tlt_drafting_wanted(s->config)) memory.drafting = workers * tlt_drafting_bytes(m, &d);
  memory.total = memory.weights + memory.training + memory.engine + memory.reference +
                 memory.speculation + memory.drafting;
  if (hooks->memory) hooks->memory(hooks->context, &memory);
}

static tlt_status allocate(tlt_session *s, const tlt_train_hooks *hooks, tlt_err *err) {
  const tlt_model *m = s->model;
  tlt_trainer_options t = trainer_options(s), frozen = t;
  tlt_engine_options e = engine_options(s);
  tlt_spec_options d = spec_options(s, &e);
  e.draft_rows = tlt_spec_draft_rows(&d);
  frozen.forward_only = true;
  announce(s, &t, &frozen, &e, &d, hooks);
  tlt_status status = tlt_trainer_create(m->weights, m->kernels, m->pool, &t, &s->trainer, err);
  if (status == TLT_OK && s->config->algorithm.kl != 0) {
    status = tlt_weights_load_shared(s->config->common.model, m->pool, team_of(s),
                                     &s->reference_weights, err);
    if (status == TLT_OK)
      status = tlt_trainer_create(s->reference_weights, m->kernels, m->pool, &frozen, &s->reference,
                                  err);
  }
  if (status == TLT_OK) status = tlt_engine_create(s->model, s->tokenizer, &e, &s->engine, err);
  if (status != TLT_OK || d.draft == TLT_DRAFT_OFF) return status;
  status = tlt_spec_create(s->model, &d, &s->spec, err);
  if (status == TLT_OK) status = tlt_spec_attach(s->spec, s->engine, err);
  if (status != TLT_OK || !tlt_drafting_wanted(s->config)) return status;
  tlt_drafting_options train = drafting_options(s, &t);
  return tlt_drafting_open(&train, &s->drafting, err);
}

static bool micro_step(void *context) {
  return tlt_drafting_piece(context) != TLT_PIECE_NOTHING;
}

/* Place in the order; TLT_IDLE_WORKS: not in it. */
static int idle_place(const tlt_session *s, tlt_idle_work work) {
  const int *order = s->config->drafter.idle_order;
  int i = 0;
  while (i < TLT_IDLE_WORKS && order[i] != (int)work) i++;
  return i;
}

/* Lending is over only when something is to be done: what stands behind it is never reached. */
static bool is_idle_work(const tlt_session *s, tlt_idle_work work) {
  int place = idle_place(s, work);
  return place < TLT_IDLE_WORKS && place <= idle_place(s, TLT_IDLE_LEND);
}

static bool is_before(const tlt_session *s, tlt_idle_work a, tlt_idle_work b) {
  return idle_place(s, a) < idle_place(s, b);
}

static tlt_idle idle_work(tlt_session *s) {
  bool draft = s->drafting && is_idle_work(s, TLT_IDLE_DRAFTER);
  const char *toggle = getenv("TLT_IDLE_TOGGLE"); /* bench/idle_work.py */
  return (tlt_idle){.pool = s->model->pool,
                    .account = &s->account,
                    .gradients = is_idle_work(s, TLT_IDLE_GRADIENT),
                    .drafter_first = is_before(s, TLT_IDLE_DRAFTER, TLT_IDLE_GRADIENT),
                    .lend = is_idle_work(s, TLT_IDLE_LEND),
                    .micro_step = draft ? micro_step : NULL,
                    .context = s->drafting,
                    .toggle_s = toggle ? atof(toggle) : 0};
}

static bool counts_energy(const tlt_session *s) {
  return !s->cluster || tlt_cluster_host_rank(s->cluster) == 0;
}

tlt_status tlt_session_allocate(tlt_session *s, const tlt_train_hooks *hooks, tlt_err *err) {
  tlt_status status = allocate(s, hooks, err);
  if (status != TLT_OK) return status;
  s->idle = idle_work(s);
  if (counts_energy(s)) tlt_energy_open(&s->energy, getenv("TLT_POWERCAP")); /* for tests */
  s->observe = getenv("TLT_OBSERVE");
  return TLT_OK;
}

void tlt_session_begin_account(tlt_session *s, int64_t step, int worker, tlt_work state) {
  tlt_account_begin(&s->account, step, worker, state);
  s->unobserved = s->observe && (step % 2 == 0) != !strcmp(s->observe, "even");
  if (s->unobserved) tlt_account_finish(&s->account);
}

void tlt_session_finish_account(tlt_session *s) {
  if (s->unobserved) return;
  tlt_account_finish(&s->account);
  s->account.joules = counts_energy(s) ? tlt_energy_take(&s->energy) : 0;
}

void tlt_session_close(tlt_session *s) {
  tlt_drafting_close(s->drafting);
  tlt_engine_free(s->engine);
  tlt_spec_free(s->spec);
  tlt_trainer_free(s->reference);
  tlt_trainer_free(s->trainer);
  tlt_weights_free(s->reference_weights);
  tlt_shuffle_close(s->shuffle);
  tlt_problem_set_free(&s->held_back);
  tlt_problem_set_free(&s->problems);
  tlt_model_close(s->model);
  tlt_tokenizer_close(s->tokenizer);
  tlt_dataset_close(s->held);
  tlt_dataset_close(s->data);
  tlt_reward_close(s->reward);
  *s = (tlt_session){0};
}

/* ---- rollouts ----------------------------------------------------------------------------------
 */

static void on_answer(void *context, const tlt_sample *sample) {
  tlt_drafting_answered(context, sample);
}

tlt_decode_job tlt_session_decode_job(const tlt_session *s, bool evaluation, uint32_t first) {
  const tlt_conf_rollout *c = &s->config->rollout;
  const tlt_conf_eval *e = &s->config->eval;
  bool record = !evaluation && !s->unobserved && s->config->log.rollouts != TLT_LOG_NONE;
  return (tlt_decode_job){.engine = s->engine,
                          .tokenizer = s->tokenizer,
                          .reward = s->reward,
                          .problems = evaluation ? &s->held_back : &s->problems,
                          .shuffle = evaluation ? NULL : s->shuffle,
                          .first = first,
                          .samples = (int)(evaluation ? e->samples : c->samples),
                          .max_tokens = evaluation ? s->eval_max_tokens : (int)c->max_tokens,
                          .temperature = (float)(evaluation ? e->temperature : c->temperature),
                          .top_p = (float)c->top_p,
                          .min_p = (float)c->min_p,
                          .top_k = (int)c->top_k,
                          .keep_text = !evaluation,
                          .spec = record ? s->spec : NULL,
                          .account = s->idle.account,
                          .answered = evaluation ? NULL : on_answer,
                          .answered_context = s->drafting};
}

int tlt_session_groups_most(const tlt_session *s, bool evaluation) {
  return (int)(groups_of(s, evaluation) * (evaluation ? 1 : s->config->algorithm.max_gen));
}

void tlt_session_before_rollout(tlt_session *s, bool evaluation, int64_t step, uint32_t first) {
  if (s->spec) tlt_spec_refresh(s->spec);
  if (evaluation) return;
  if (s->spec) tlt_spec_stats_reset(s->spec);
  tlt_drafting_begin(s->drafting, step, first, tlt_session_groups_most(s, false));
}

void tlt_session_after_rollout(tlt_session *s) {
  tlt_drafting_end(s->drafting);
}

static tlt_status sum_of_workers(void *context, float *x, size_t n, tlt_err *err) {
  return tlt_cluster_sum_f32(context, x, n, err);
}

tlt_status tlt_session_publish(tlt_session *s, double seconds, tlt_err *err) {
  tlt_work before = tlt_account_enter(&s->account, TLT_WORK_DRAFTER);
  tlt_drafting_peers peers = {.context = s->cluster, .sum = sum_of_workers};
  if (s->cluster) peers.workers = tlt_cluster_size(s->cluster);
  tlt_drafting_keep_alive(s->drafting, seconds);
  tlt_status status = tlt_drafting_publish(s->drafting, s->cluster ? &peers : NULL, err);
  tlt_account_enter(&s->account, before);
  return status;
}
