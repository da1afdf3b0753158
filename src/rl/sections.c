#include "rl/sections.h"

#include <math.h>
#include <stddef.h>

#define AT(type, field) offsetof(type, field)

const tlt_yaml_row tlt_rows_common[TLT_ROWS_COMMON] = {
    {.key = "model", .type = TLT_YAML_STRING, .offset = AT(tlt_conf_common, model),
     .help = "Hugging Face directory"},
    {.key = "seed", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_common, seed), .fallback = "1",
     .min = 0, .max = 4294967295.0, .help = "of sampling and of the order of problems"},
    {.key = "numerics", .type = TLT_YAML_STRING, .offset = AT(tlt_conf_common, numerics),
     .fallback = "auto", .may_change = true, .help = "auto, portable, avx512bf16 or amx"},
    {.key = "threads", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_common, threads),
     .fallback = "0", .min = 0, .max = 1024, .may_change = true, .help = "0: all cores"},
};

const tlt_yaml_row tlt_rows_eval[TLT_ROWS_EVAL] = {
    {.key = "every", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_eval, every), .fallback = "10",
     .min = 0, .max = 1e9, .help = "steps between evaluations; 0: never"},
    {.key = "count", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_eval, count), .fallback = "200",
     .min = 1, .max = 1e6, .help = "held-back problems"},
    {.key = "samples", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_eval, samples),
     .fallback = "1", .min = 1, .max = 1024, .help = "answers per problem"},
    {.key = "temperature", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_eval, temperature),
     .fallback = "1.0", .min = 0, .max = 100, .help = "0: the most likely token"},
    {.key = "max_tokens", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_eval, max_tokens),
     .fallback = "0", .min = 0, .max = 1 << 20, .help = "0: as in training"},
    {.key = "file", .type = TLT_YAML_STRING_OR_NULL, .offset = AT(tlt_conf_eval, file),
     .fallback = "null",
     .help = "held-back problems; null: the task's eval split, or the last lines of data.file"},
};

static const char *const schedules[] = {"constant", "linear", "cosine", NULL};

const tlt_yaml_row tlt_rows_optimizer[TLT_ROWS_OPTIMIZER] = {
    {.key = "lr", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_optimizer, lr),
     .fallback = "1e-6", .min = 0, .max = 1, .help = "peak learning rate"},
    {.key = "schedule", .type = TLT_YAML_ENUM, .offset = AT(tlt_conf_optimizer, schedule),
     .fallback = "constant", .choices = schedules},
    {.key = "warmup", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_optimizer, warmup),
     .fallback = "0", .min = 0, .max = 1e9, .help = "optimizer steps"},
    {.key = "betas", .type = TLT_YAML_DOUBLES, .offset = AT(tlt_conf_optimizer, betas),
     .fallback = "[0.9, 0.95]", .min = 0, .max = 0.9999999, .items = 2},
    {.key = "eps", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_optimizer, eps),
     .fallback = "1e-8", .min = 1e-30, .max = 1},
    {.key = "weight_decay", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_optimizer, weight_decay),
     .fallback = "0.0", .min = 0, .max = 10, .help = "on matrices only"},
    {.key = "clip_norm", .type = TLT_YAML_DOUBLE, .offset = AT(tlt_conf_optimizer, clip_norm),
     .fallback = "1.0", .min = 0, .max = 1e6, .help = "0: no clipping"},
};

const tlt_yaml_row tlt_rows_gradient[TLT_ROWS_GRADIENT] = {
    {.key = "micro_tokens", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_gradient, micro_tokens),
     .fallback = "2048", .min = 1, .max = 1 << 20, .help = "most tokens of a micro-batch"},
    {.key = "activation_mb", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_gradient, activation_mb),
     .fallback = "1024", .min = 1, .max = 1 << 24,
     .help = "memory for stored activations; the rest is recomputed"},
};

const tlt_yaml_row tlt_rows_checkpoint[TLT_ROWS_CHECKPOINT] = {
    {.key = "every", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_checkpoint, every),
     .fallback = "10", .min = 0, .max = 1e9, .may_change = true,
     .help = "steps; 0: only at the end and when stopped"},
    {.key = "keep", .type = TLT_YAML_INT64, .offset = AT(tlt_conf_checkpoint, keep),
     .fallback = "2", .min = 1, .max = 1e6, .may_change = true,
     .help = "newest checkpoints kept, beside the best one"},
};
