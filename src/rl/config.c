#include "rl/config.h"

#include <math.h>
#include <stddef.h>

#define AT(type, field) offsetof(type, field)

static const char *const algorithms[] = {"grpo", "dr-grpo", "rloo", "dapo", "gspo", NULL};
static const char *const estimators[] = {"k1", "k2", "k3", NULL};
static const char *const means[] = {"token-mean", "sequence-mean", "constant", NULL};
static const char *const scales[] = {"group", "batch", "none", NULL};
static const char *const too_longs[] = {"error", "drop", NULL};
static const char *const on_errors[] = {"abort", "mask", NULL};
static const char *const rollout_logs[] = {"none", "sample", "all", NULL};

static const tlt_yaml_row run_rows[] = {
    {.key = "steps", .type = TLT_YAML_INT64, .offset = AT(tlt_train_config, steps),
     .fallback = "100", .min = 1, .max = 1e9, .may_change = true},
};

static const tlt_yaml_row data_rows[] = {
    {.key = "task", .type = TLT_YAML_STRING_OR_NULL, .offset = AT(tlt_conf_data, task),
     .fallback = "null", .help = "generator: countdown, arithmetic"},
    {.key = "count", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_data, count),
     .fallback = "2000", .min = 1, .max = 1 << 26, .help = "problems to generate"},
    {.key = "seed", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_data, seed), .fallback = "1",
     .min = 0, .max = 4294967295.0, .help = "of the generator"},
    {.key = "options", .type = TLT_YAML_OPTIONS, .offset = AT(tlt_conf_data, options),
     .fallback = "null", .help = "of the generator"},
    {.key = "file", .type = TLT_YAML_STRING_OR_NULL, .offset = AT(tlt_conf_data, file),
     .fallback = "null", .help = "JSONL problems, instead of a task"},
    {.key = "verifier", .type = TLT_YAML_STRING, .offset = AT(tlt_conf_data, verifier),
     .fallback = "numeric", .help = "of a file: numeric, exact, countdown or math"},
    {.key = "chat", .type = TLT_YAML_BOOL, .offset = AT(tlt_conf_data, chat),
     .fallback = "false", .help = "plain prompts become a user message of the chat template"},
    {.key = "too_long", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_data, too_long),
     .fallback = "error", .choices = too_longs, .help = "prompts beyond the context"},
};

static const tlt_yaml_row reward_rows[] = {
    {.key = "command", .type = TLT_YAML_STRING_OR_NULL, .offset = AT(tlt_conf_reward, command),
     .fallback = "null", .help = "a program that speaks JSONL; null: the verifier"},
    {.key = "workers", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_reward, workers),
     .fallback = "2", .min = 1, .max = TLT_REWARD_WORKERS_MAX},
    {.key = "timeout_s", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_reward, timeout_s),
     .fallback = "30", .min = 0.001, .max = 86400},
    {.key = "on_error", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_reward, on_error),
     .fallback = "abort", .choices = on_errors, .help = "mask: leave the whole group out"},
    {.key = "mask_share", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_reward, mask_share),
     .fallback = "0.01", .min = 0, .max = 1, .help = "masked items above which the run ends"},
};

static const tlt_yaml_row rollout_rows[] = {
    {.key = "prompts", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, prompts),
     .fallback = "16", .min = 1, .max = 65536, .help = "per step"},
    {.key = "samples", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, samples),
     .fallback = "8", .min = 1, .max = 4096, .help = "answers per prompt"},
    {.key = "max_tokens", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, max_tokens),
     .fallback = "1024", .min = 1, .max = 1 << 20, .help = "of an answer"},
    {.key = "temperature", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_rollout, temperature),
     .fallback = "1.0", .min = 0, .max = 100},
    {.key = "top_p", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_rollout, top_p),
     .fallback = "1.0", .min = 1e-6, .max = 1},
    {.key = "top_k", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, top_k),
     .fallback = "0", .min = 0, .max = 1 << 22, .help = "0: off"},
    {.key = "min_p", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_rollout, min_p),
     .fallback = "0.0", .min = 0, .max = 1},
    {.key = "batch", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, batch),
     .fallback = "128", .min = 1, .max = 65536, .help = "sequences decoded at once"},
    {.key = "prefill_chunk", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_rollout, prefill_chunk),
     .fallback = "512", .min = 1, .max = 65536, .help = "prompt tokens of a sequence per pass"},
};

static const tlt_yaml_row algorithm_rows[] = {
    {.key = "name", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_algorithm, name),
     .fallback = "grpo", .choices = algorithms},
    {.key = "clip_low", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_algorithm, clip_low),
     .fallback = "0.2", .min = 0, .max = 1, .help = "gspo: 3e-4"},
    {.key = "clip_high", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_algorithm, clip_high),
     .fallback = "0.28", .min = 0, .max = 1e6, .help = "dr-grpo, rloo: 0.2; gspo: 4e-4"},
    {.key = "kl", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_algorithm, kl),
     .fallback = "0.0", .min = 0, .max = 1e3, .help = "weight of the KL term to the first model"},
    {.key = "kl_estimator", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_algorithm, kl_estimator),
     .fallback = "k3", .choices = estimators},
    {.key = "loss", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_algorithm, loss),
     .fallback = "token-mean", .choices = means, .help = "dr-grpo: constant; gspo: sequence-mean"},
    {.key = "scale", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_algorithm, scale),
     .fallback = "group", .choices = scales, .help = "dr-grpo, rloo: none"},
    {.key = "updates", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_algorithm, updates),
     .fallback = "1", .min = 1, .max = 1024, .help = "passes over the answers of a step"},
    {.key = "minibatches", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_algorithm, minibatches),
     .fallback = "1", .min = 1, .max = 65536, .help = "optimizer steps per pass"},
    {.key = "max_gen", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_algorithm, max_gen),
     .fallback = "1", .min = 1, .max = 1024,
     .help = "above 1: constant groups are replaced, up to max_gen * prompts; dapo: 4"},
    {.key = "overlong", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_algorithm, overlong),
     .fallback = "0", .min = 0, .max = 1 << 20,
     .help = "last tokens before max_tokens that are penalised; dapo: a fifth of max_tokens"},
    {.key = "overlong_scale", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_algorithm, overlong_scale),
     .fallback = "1.0", .min = 0, .max = 1e6, .help = "penalty at max_tokens"},
};

static const tlt_yaml_row log_rows[] = {
    {.key = "rollouts", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_log, rollouts),
     .fallback = "sample", .choices = rollout_logs, .may_change = true,
     .help = "none, sample (8 per step) or all"},
};

static const tlt_yaml_section sections[] = {
    TLT_YAML_SECTION("", tlt_rows_common, AT(tlt_train_config, common)),
    TLT_YAML_SECTION("", run_rows, 0),
    TLT_YAML_SECTION("data", data_rows, AT(tlt_train_config, data)),
    TLT_YAML_SECTION("eval", tlt_rows_eval, AT(tlt_train_config, eval)),
    TLT_YAML_SECTION("reward", reward_rows, AT(tlt_train_config, reward)),
    TLT_YAML_SECTION("rollout", rollout_rows, AT(tlt_train_config, rollout)),
    TLT_YAML_SECTION("algorithm", algorithm_rows, AT(tlt_train_config, algorithm)),
    TLT_YAML_SECTION("optimizer", tlt_rows_optimizer, AT(tlt_train_config, optimizer)),
    TLT_YAML_SECTION("gradient", tlt_rows_gradient, AT(tlt_train_config, gradient)),
    TLT_YAML_SECTION("checkpoint", tlt_rows_checkpoint, AT(tlt_train_config, checkpoint)),
    TLT_YAML_SECTION("log", log_rows, AT(tlt_train_config, log)),
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

/* ---- rules over several keys ------------------------------------------------------------------ */

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

static tlt_status check(const tlt_train_config *c, const tlt_yaml_origin *origin, tlt_err *err) {
  const tlt_conf_data *d = &c->data;
  if (!d->task == !d->file)
    return tlt_yaml_fail(origin, d->task ? "data.file" : "data.task", err,
                         "got %s, expected exactly one of data.task and data.file",
                         d->task ? "both" : "neither");
  if (d->options && !d->task)
    return tlt_yaml_fail(origin, "data.options", err, "got options, expected none without data.task");
  if (d->task && tlt_yaml_given(origin, "data.verifier"))
    return tlt_yaml_fail(origin, "data.verifier", err,
                         "got %s, expected none with data.task, which has its own", d->verifier);
  if (c->optimizer.schedule != 0 && c->optimizer.warmup > c->steps * c->algorithm.updates *
                                                              c->algorithm.minibatches)
    return tlt_yaml_fail(origin, "optimizer.warmup", err,
                         "got %lld, expected at most the number of optimizer steps",
                         (long long)c->optimizer.warmup);
  return check_algorithm(c, origin, err);
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

void tlt_train_config_free(tlt_train_config *c) { tlt_yaml_free(&tlt_train_schema, c); }
