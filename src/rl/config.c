#include "rl/config.h"

#include <string.h>

#include "rl/rows.h"
#include "spec/speculator.h"
#include "train/drafter.h"

static const char *const algorithms[] = {"grpo", "dr-grpo", "rloo", "dapo", "gspo", NULL};
static const char *const estimators[] = {"k1", "k2", "k3", NULL};
static const char *const means[] = {"token-mean", "sequence-mean", "constant", NULL};
static const char *const scales[] = {"group", "batch", "none", NULL};
static const char *const too_longs[] = {"error", "drop", NULL};
static const char *const on_errors[] = {"abort", "mask", NULL};
static const char *const drafts[] = {"off", "suffix", "eagle", "auto", NULL};
static const char *const drafter_trains[] = {"off", "idle", NULL};
static const char *const idle_works[] = {"gradient", "drafter", "lend", NULL};
static const char *const rollout_logs[] = {"none", "sample", "all", NULL};

static const tlt_yaml_row run_rows[] = {
    {TLT_ROW_INT(tlt_train_config, steps, "100", 1, 1e9, NULL), .may_change = true},
};

static const tlt_yaml_row data_rows[] = {
    {TLT_ROW_TEXT_OR_NULL(tlt_conf_data, task, "generator: countdown, arithmetic")},
    {TLT_ROW_INT(tlt_conf_data, count, "2000", 1, 1 << 26, "problems to generate")},
    {TLT_ROW_INT(tlt_conf_data, seed, "1", 0, 4294967295.0, "of the generator")},
    {TLT_ROW(TLT_YAML_OPTIONS, tlt_conf_data, options, .fallback = "null",
             .help = "of the generator")},
    {TLT_ROW_TEXT_OR_NULL(tlt_conf_data, file, "JSONL problems, instead of a task")},
    {TLT_ROW_TEXT(tlt_conf_data, verifier, "numeric",
                  "of a file: numeric, exact, countdown or math")},
    {TLT_ROW_BOOL(tlt_conf_data, chat, "false",
                  "plain prompts become a user message of the chat template")},
    {TLT_ROW_ENUM(tlt_conf_data, too_long, "error", too_longs, "prompts beyond the context")},
};

static const tlt_yaml_row reward_rows[] = {
    {TLT_ROW_TEXT_OR_NULL(tlt_conf_reward, command,
                          "a program that speaks JSONL; null: the verifier")},
    {TLT_ROW_INT(tlt_conf_reward, workers, "2", 1, TLT_REWARD_WORKERS_MAX, NULL)},
    {TLT_ROW_REAL(tlt_conf_reward, timeout_s, "30", 0.001, 86400, NULL)},
    {TLT_ROW_ENUM(tlt_conf_reward, on_error, "abort", on_errors,
                  "mask: leave the whole group out")},
    {TLT_ROW_REAL(tlt_conf_reward, mask_share, "0.01", 0, 1,
                  "masked items above which the run ends")},
};

static const tlt_yaml_row rollout_rows[] = {
    {TLT_ROW_INT(tlt_conf_rollout, prompts, "16", 1, 65536, "per step")},
    {TLT_ROW_INT(tlt_conf_rollout, samples, "8", 1, 4096, "answers per prompt")},
    {TLT_ROW_INT(tlt_conf_rollout, max_tokens, "1024", 1, 1 << 20, "of an answer")},
    {TLT_ROW_REAL(tlt_conf_rollout, temperature, "1.0", 0, 100, NULL)},
    {TLT_ROW_REAL(tlt_conf_rollout, top_p, "1.0", 1e-6, 1, NULL)},
    {TLT_ROW_INT(tlt_conf_rollout, top_k, "0", 0, 1 << 22, "0: off")},
    {TLT_ROW_REAL(tlt_conf_rollout, min_p, "0.0", 0, 1, NULL)},
    {TLT_ROW_INT(tlt_conf_rollout, batch, "128", 1, 65536, "sequences decoded at once")},
    {TLT_ROW_INT(tlt_conf_rollout, prefill_chunk, "512", 1, 65536,
                 "prompt tokens of a sequence per pass")},
};

static const tlt_yaml_row speculation_rows[] = {
    {TLT_ROW_ENUM(tlt_conf_speculation, draft, "auto", drafts,
                  "changes speed only; auto: suffix, and eagle where there is a drafter"),
     .may_change = true},
    {TLT_ROW_TEXT(tlt_conf_speculation, policy, "planner",
                  "planner, beg-mab, eg, ucb1 or fixed:DEPTH_TOPK_VERIFY"),
     .may_change = true},
    {TLT_ROW_INT(tlt_conf_speculation, max_depth, "12", 1, TLT_DRAFT_DEPTH,
                 "longest path that the planner drafts"),
     .may_change = true},
};

static const tlt_yaml_row drafter_rows[] = {
    {TLT_ROW_TEXT_OR_NULL(tlt_conf_drafter, path,
                          "directory of a learned drafter to start from; null: none"),
     .may_change = true},
    {TLT_ROW_ENUM(tlt_conf_drafter, train, "idle", drafter_trains,
                  "off, or in idle time and in min_share of the step"),
     .may_change = true},
    {TLT_ROW(TLT_YAML_CHOICES, tlt_conf_drafter, idle_order,
             .fallback = "[gradient, drafter, lend]", .choices = idle_works,
             .items = TLT_IDLE_WORKS,
             .help = "what an idle worker does, first choice first; []: nothing"),
     .may_change = true},
    {TLT_ROW_INT(tlt_conf_drafter, buffer_mb, "512", 1, 1 << 24,
                 "hidden states of the last two steps"),
     .may_change = true},
    {TLT_ROW_REAL(tlt_conf_drafter, min_share, "0.03", 0, 1,
                  "of a step, spent on the drafter where idle time does not give as much"),
     .may_change = true},
    {TLT_ROW_REAL(tlt_conf_drafter, lr, "3e-4", 0, 1, "learning rate of the drafter"),
     .may_change = true},
    {TLT_ROW_INT(tlt_conf_drafter, unroll, "3", 1, TLT_UNROLL_MAX,
                 "steps on its own output that are trained"),
     .may_change = true},
    {TLT_ROW_REAL(tlt_conf_drafter, hidden_loss, "1", 0, 1e6,
                  "weight of the loss on hidden states"),
     .may_change = true},
    {TLT_ROW_REAL(tlt_conf_drafter, token_loss, "1", 0, 1e6, "weight of the loss on tokens"),
     .may_change = true},
};

static const tlt_yaml_row algorithm_rows[] = {
    {TLT_ROW_ENUM(tlt_conf_algorithm, name, "grpo", algorithms, NULL)},
    {TLT_ROW_REAL(tlt_conf_algorithm, clip_low, "0.2", 0, 1, "gspo: 3e-4")},
    {TLT_ROW_REAL(tlt_conf_algorithm, clip_high, "0.28", 0, 1e6, "dr-grpo, rloo: 0.2; gspo: 4e-4")},
    {TLT_ROW_REAL(tlt_conf_algorithm, kl, "0.0", 0, 1e3,
                  "weight of the KL term to the first model")},
    {TLT_ROW_ENUM(tlt_conf_algorithm, kl_estimator, "k3", estimators, NULL)},
    {TLT_ROW_ENUM(tlt_conf_algorithm, loss, "token-mean", means,
                  "dr-grpo: constant; gspo: sequence-mean")},
    {TLT_ROW_ENUM(tlt_conf_algorithm, scale, "group", scales, "dr-grpo, rloo: none")},
    {TLT_ROW_INT(tlt_conf_algorithm, updates, "1", 1, 1024, "passes over the answers of a step")},
    {TLT_ROW_INT(tlt_conf_algorithm, minibatches, "1", 1, 65536, "optimizer steps per pass")},
    {TLT_ROW_INT(tlt_conf_algorithm, max_gen, "1", 1, 1024,
                 "above 1: constant groups are replaced, up to max_gen * prompts; dapo: 4")},
    {TLT_ROW_INT(tlt_conf_algorithm, overlong, "0", 0, 1 << 20,
                 "last tokens before max_tokens that are penalised; dapo: a fifth of max_tokens")},
    {TLT_ROW_REAL(tlt_conf_algorithm, overlong_scale, "1.0", 0, 1e6, "penalty at max_tokens")},
};

static const tlt_yaml_row log_rows[] = {
    {TLT_ROW_BOOL(tlt_conf_log, tensorboard, "true", "event files for TensorBoard"),
     .may_change = true},
    {TLT_ROW_ENUM(tlt_conf_log, rollouts, "sample", rollout_logs,
                  "none, sample (8 per step) or all"),
     .may_change = true},
};

static const tlt_yaml_row cost_rows[] = {
    {TLT_ROW_REAL(tlt_conf_cost, core_hour, "0.0", 0, 1e9,
                  "price of a core for an hour; 0: not known"),
     .may_change = true},
    {TLT_ROW_TEXT(tlt_conf_cost, currency, "EUR", "of that price"), .may_change = true},
};

static const tlt_yaml_section sections[] = {
    TLT_YAML_SECTION("", tlt_rows_common, offsetof(tlt_train_config, common)),
    TLT_YAML_SECTION("", run_rows, 0),
    TLT_YAML_SECTION("data", data_rows, offsetof(tlt_train_config, data)),
    TLT_YAML_SECTION("eval", tlt_rows_eval, offsetof(tlt_train_config, eval)),
    TLT_YAML_SECTION("reward", reward_rows, offsetof(tlt_train_config, reward)),
    TLT_YAML_SECTION("rollout", rollout_rows, offsetof(tlt_train_config, rollout)),
    TLT_YAML_SECTION("speculation", speculation_rows, offsetof(tlt_train_config, speculation)),
    TLT_YAML_SECTION("drafter", drafter_rows, offsetof(tlt_train_config, drafter)),
    TLT_YAML_SECTION("algorithm", algorithm_rows, offsetof(tlt_train_config, algorithm)),
    TLT_YAML_SECTION("optimizer", tlt_rows_optimizer, offsetof(tlt_train_config, optimizer)),
    TLT_YAML_SECTION("gradient", tlt_rows_gradient, offsetof(tlt_train_config, gradient)),
    TLT_YAML_SECTION("checkpoint", tlt_rows_checkpoint, offsetof(tlt_train_config, checkpoint)),
    TLT_YAML_SECTION("log", log_rows, offsetof(tlt_train_config, log)),
    TLT_YAML_SECTION("cost", cost_rows, offsetof(tlt_train_config, cost)),
};

const tlt_yaml_schema tlt_train_schema = {sections, sizeof sections / sizeof *sections};

/* ---- what the algorithm decides where nobody else does --------------------------------------- */

typedef struct preset {
  double clip_low, clip_high;
  int loss, scale;
  int64_t max_gen, overlong_part; /* overlong = max_tokens / overlong_part; 0: none */
} preset;

static const preset presets[] = {
    [TLT_ALG_GRPO] = {0.2, 0.28, TLT_LOSS_TOKEN_MEAN, TLT_SCALE_GROUP, 1, 0},
    [TLT_ALG_DR_GRPO] = {0.2, 0.2, TLT_LOSS_CONSTANT, TLT_SCALE_NONE, 1, 0},
    [TLT_ALG_RLOO] = {0.2, 0.2, TLT_LOSS_TOKEN_MEAN, TLT_SCALE_NONE, 1, 0},
    [TLT_ALG_DAPO] = {0.2, 0.28, TLT_LOSS_TOKEN_MEAN, TLT_SCALE_GROUP, 4, 5},
    [TLT_ALG_GSPO] = {3e-4, 4e-4, TLT_LOSS_SEQUENCE_MEAN, TLT_SCALE_GROUP, 1, 0},
};

static void fill_presets(tlt_train_config *c, const tlt_yaml_origin *origin) {
  tlt_conf_algorithm *a = &c->algorithm;
  const preset *p = &presets[a->name];
  if (!tlt_yaml_given(origin, "algorithm.clip_low")) a->clip_low = p->clip_low;
  if (!tlt_yaml_given(origin, "algorithm.clip_high")) a->clip_high = p->clip_high;
  if (!tlt_yaml_given(origin, "algorithm.loss")) a->loss = p->loss;
  if (!tlt_yaml_given(origin, "algorithm.scale")) a->scale = p->scale;
  if (!tlt_yaml_given(origin, "algorithm.max_gen")) a->max_gen = p->max_gen;
  if (!tlt_yaml_given(origin, "algorithm.overlong"))
    a->overlong = p->overlong_part ? c->rollout.max_tokens / p->overlong_part : 0;
}

/* ---- rules over several keys ------------------------------------------------------------------
 */

static tlt_status check_algorithm(const tlt_train_config *c, const tlt_yaml_origin *origin,
                                  tlt_err *err) {
  const tlt_conf_algorithm *a = &c->algorithm;
  const tlt_conf_rollout *r = &c->rollout;
  if (r->samples < 2)
    return tlt_yaml_fail(origin, "rollout.samples", err,
                         "got %lld, expected at least 2: the advantage compares answers of a group",
                         (long long)r->samples);
  if (r->prompts % a->minibatches != 0)
    return tlt_yaml_fail(origin, "algorithm.minibatches", err,
                         "got %lld, expected a divisor of rollout.prompts (%lld)",
                         (long long)a->minibatches, (long long)r->prompts);
  if (r->temperature < 1e-3)
    return tlt_yaml_fail(origin, "rollout.temperature", err,
                         "got %g, expected above 0: greedy answers of a group are all equal",
                         r->temperature);
  if (a->overlong >= r->max_tokens)
    return tlt_yaml_fail(origin, "algorithm.overlong", err,
                         "got %lld, expected below rollout.max_tokens (%lld)",
                         (long long)a->overlong, (long long)r->max_tokens);
  bool unscaled = a->name == TLT_ALG_DR_GRPO || a->name == TLT_ALG_RLOO;
  if (unscaled && a->scale != TLT_SCALE_NONE)
    return tlt_yaml_fail(origin, "algorithm.scale", err, "got %s, expected none with %s",
                         scales[a->scale], algorithms[a->name]);
  return TLT_OK;
}

static tlt_status check_speculation(const tlt_train_config *c, const tlt_yaml_origin *origin,
                                    tlt_err *err) {
  const tlt_conf_speculation *s = &c->speculation;
  const tlt_conf_drafter *d = &c->drafter;
  tlt_err why;
  tlt_spec_options o = {.draft = (tlt_draft_kind)s->draft,
                        .policy = s->policy,
                        .drafter = c->drafter.path,
                        .joins = c->drafter.train == TLT_DRAFTER_IDLE,
                        .max_depth = (int)s->max_depth};
  if (d->hidden_loss == 0 && d->token_loss == 0)
    return tlt_yaml_fail(origin, "drafter.token_loss", err,
                         "got 0, expected drafter.hidden_loss or drafter.token_loss above 0");
  if (s->draft == TLT_DRAFT_EAGLE && !c->drafter.path && !o.joins)
    return tlt_yaml_fail(
        origin, "speculation.draft", err,
        "got eagle, expected drafter.path to name a drafter for it, or drafter.train: idle");
  if (tlt_spec_check(&o, &why) != TLT_OK)
    return tlt_yaml_fail(origin, "speculation.policy", err, "%s", strchr(why.text, ' ') + 1);
  return TLT_OK;
}

static tlt_status check(const tlt_train_config *c, const tlt_yaml_origin *origin, tlt_err *err) {
  const tlt_conf_data *d = &c->data;
  if (!d->task == !d->file)
    return tlt_yaml_fail(origin, d->task ? "data.file" : "data.task", err,
                         "got %s, expected exactly one of data.task and data.file",
                         d->task ? "both" : "neither");
  if (d->options && !d->task)
    return tlt_yaml_fail(origin, "data.options", err,
                         "got options, expected none without data.task");
  if (d->task && tlt_yaml_given(origin, "data.verifier"))
    return tlt_yaml_fail(origin, "data.verifier", err,
                         "got %s, expected none with data.task, which has its own", d->verifier);
  if (c->optimizer.schedule != 0 &&
      c->optimizer.warmup > c->steps * c->algorithm.updates * c->algorithm.minibatches)
    return tlt_yaml_fail(origin, "optimizer.warmup", err,
                         "got %lld, expected at most the number of optimizer steps",
                         (long long)c->optimizer.warmup);
  tlt_status s = check_speculation(c, origin, err);
  return s == TLT_OK ? check_algorithm(c, origin, err) : s;
}

tlt_status tlt_train_config_load(const char *path, const char *const *sets, int n_sets,
                                 tlt_train_config *out, tlt_err *err) {
  tlt_yaml_origin *origin = NULL;
  tlt_status s = tlt_yaml_load(&tlt_train_schema, path, sets, n_sets, out, &origin, err);
  if (s != TLT_OK) return s;
  fill_presets(out, origin);
  s = check(out, origin, err);
  tlt_yaml_origin_free(origin);
  if (s != TLT_OK) tlt_train_config_free(out);
  return s;
}

void tlt_train_config_free(tlt_train_config *c) {
  tlt_yaml_free(&tlt_train_schema, c);
}
