#include "app/sft_config.h"

#include <stddef.h>

#define AT(type, field) offsetof(type, field)

static const tlt_yaml_row top_rows[] = {
    {.key = "model",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = AT(tlt_sft_config, common.model),
     .fallback = "null",
     .help = "Hugging Face directory; null: init"},
    {.key = "seed",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_sft_config, common.seed),
     .fallback = "1",
     .min = 0,
     .max = 4294967295.0,
     .help = "of the weights and of the order"},
    {.key = "numerics",
     .type = TLT_YAML_STRING,
     .offset = AT(tlt_sft_config, common.numerics),
     .fallback = "auto",
     .may_change = true,
     .help = "auto, portable, avx512bf16 or amx"},
    {.key = "threads",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_sft_config, common.threads),
     .fallback = "0",
     .min = 0,
     .max = 1024,
     .may_change = true,
     .help = "0: all cores"},
    {.key = "steps",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_sft_config, steps),
     .fallback = "0",
     .min = 0,
     .max = 1e9,
     .may_change = true,
     .help = "optimizer steps; 0: data.epochs"},
};

static const tlt_yaml_row init_rows[] = {
    {.key = "config",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = AT(tlt_conf_init, config),
     .fallback = "null",
     .help = "config.json of a model with random weights"},
    {.key = "tokenizer",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = AT(tlt_conf_init, tokenizer),
     .fallback = "null",
     .help = "directory; null: a tokenizer is trained on the data"},
    {.key = "vocab",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_init, vocab),
     .fallback = "512",
     .min = 260,
     .max = 1 << 20,
     .help = "entries of a trained tokenizer"},
    {.key = "texts",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_init, texts),
     .fallback = "20000",
     .min = 1,
     .max = 1 << 24,
     .help = "samples a new tokenizer learns from"},
};

static const tlt_yaml_row data_rows[] = {
    {.key = "file",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = AT(tlt_conf_sft_data, file),
     .fallback = "null",
     .help = "JSONL lines with prompt and completion"},
    {.key = "task",
     .type = TLT_YAML_STRING_OR_NULL,
     .offset = AT(tlt_conf_sft_data, task),
     .fallback = "null",
     .help = "worked traces of countdown or arithmetic"},
    {.key = "count",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_sft_data, count),
     .fallback = "10000",
     .min = 1,
     .max = 4294967295.0,
     .help = "traces of the task"},
    {.key = "seed",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_sft_data, seed),
     .fallback = "1",
     .min = 0,
     .max = 4294967295.0,
     .help = "of the task"},
    {.key = "options",
     .type = TLT_YAML_OPTIONS,
     .offset = AT(tlt_conf_sft_data, options),
     .fallback = "null",
     .help = "of the task"},
    {.key = "verifier",
     .type = TLT_YAML_STRING,
     .offset = AT(tlt_conf_sft_data, verifier),
     .fallback = "numeric",
     .help = "of eval.file: numeric, exact, countdown or math"},
    {.key = "chat",
     .type = TLT_YAML_BOOL,
     .offset = AT(tlt_conf_sft_data, chat),
     .fallback = "false",
     .help = "plain prompts become a user message of the chat template"},
    {.key = "epochs",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_sft_data, epochs),
     .fallback = "1",
     .min = 1,
     .max = 1e6},
    {.key = "batch",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_sft_data, batch),
     .fallback = "64",
     .min = 1,
     .max = 1 << 20,
     .help = "samples per optimizer step"},
    {.key = "max_tokens",
     .type = TLT_YAML_INT64,
     .offset = AT(tlt_conf_sft_data, max_tokens),
     .fallback = "2048",
     .min = 2,
     .max = 1 << 20,
     .help = "longer samples are left out"},
};

static const tlt_yaml_section sections[] = {
    TLT_YAML_SECTION("", top_rows, 0),
    TLT_YAML_SECTION("init", init_rows, AT(tlt_sft_config, init)),
    TLT_YAML_SECTION("data", data_rows, AT(tlt_sft_config, data)),
    TLT_YAML_SECTION("eval", tlt_rows_eval, AT(tlt_sft_config, eval)),
    TLT_YAML_SECTION("optimizer", tlt_rows_optimizer, AT(tlt_sft_config, optimizer)),
    TLT_YAML_SECTION("gradient", tlt_rows_gradient, AT(tlt_sft_config, gradient)),
    TLT_YAML_SECTION("checkpoint", tlt_rows_checkpoint, AT(tlt_sft_config, checkpoint)),
};

const tlt_yaml_schema tlt_sft_schema = {sections, sizeof sections / sizeof *sections};

static tlt_status check(const tlt_sft_config *c, const tlt_yaml_origin *origin, tlt_err *err) {
  if (!c->common.model == !c->init.config)
    return tlt_yaml_fail(origin, c->common.model ? "init.config" : "model", err,
                         "expected exactly one of model and init.config");
  if (!c->data.file == !c->data.task)
    return tlt_yaml_fail(origin, c->data.file ? "data.task" : "data.file", err,
                         "expected exactly one of data.file and data.task");
  if (c->data.chat && c->init.config && !c->init.tokenizer)
    return tlt_yaml_fail(origin, "data.chat", err,
                         "got true, but a newly trained tokenizer has no chat template");
  return TLT_OK;
}

tlt_status tlt_sft_config_load(const char *path, const char *const *sets, int n_sets,
                               tlt_sft_config *out, tlt_err *err) {
  tlt_yaml_origin *origin = NULL;
  tlt_status s = tlt_yaml_load(&tlt_sft_schema, path, sets, n_sets, out, &origin, err);
  if (s != TLT_OK) return s;
  s = check(out, origin, err);
  tlt_yaml_origin_free(origin);
  if (s != TLT_OK) tlt_sft_config_free(out);
  return s;
}

void tlt_sft_config_free(tlt_sft_config *c) {
  tlt_yaml_free(&tlt_sft_schema, c);
}
