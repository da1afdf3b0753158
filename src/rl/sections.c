#include "rl/sections.h"

#include "rl/rows.h"

const tlt_yaml_row tlt_rows_common[TLT_ROWS_COMMON] = {
    {TLT_ROW_TEXT(tlt_conf_common, model, NULL, "Hugging Face directory")},
    {TLT_ROW_INT(tlt_conf_common, seed, "1", 0, 4294967295.0,
                 "of sampling and of the order of problems")},
    {TLT_ROW_TEXT(tlt_conf_common, numerics, "auto", "auto, portable, avx512bf16 or amx"),
     .may_change = true},
    {TLT_ROW_INT(tlt_conf_common, threads, "0", 0, 1024, "0: all cores"), .may_change = true},
};

const tlt_yaml_row tlt_rows_eval[TLT_ROWS_EVAL] = {
    {TLT_ROW_INT(tlt_conf_eval, every, "10", 0, 1e9, "steps between evaluations; 0: never")},
    {TLT_ROW_INT(tlt_conf_eval, count, "200", 1, 1e6, "held-back problems")},
    {TLT_ROW_INT(tlt_conf_eval, samples, "1", 1, 1024, "answers per problem")},
    {TLT_ROW_REAL(tlt_conf_eval, temperature, "1.0", 0, 100, "0: the most likely token")},
    {TLT_ROW_INT(tlt_conf_eval, max_tokens, "0", 0, 1 << 20, "0: as in training")},
    {TLT_ROW_TEXT_OR_NULL(
        tlt_conf_eval, file,
        "held-back problems; null: the task's eval split, or the last lines of data.file")},
};

static const char *const schedules[] = {"constant", "linear", "cosine", NULL};

const tlt_yaml_row tlt_rows_optimizer[TLT_ROWS_OPTIMIZER] = {
    {TLT_ROW_REAL(tlt_conf_optimizer, lr, "1e-6", 0, 1, "peak learning rate")},
    {TLT_ROW_ENUM(tlt_conf_optimizer, schedule, "constant", schedules, NULL)},
    {TLT_ROW_INT(tlt_conf_optimizer, warmup, "0", 0, 1e9, "optimizer steps")},
    {TLT_ROW(TLT_YAML_DOUBLES, tlt_conf_optimizer, betas, .fallback = "[0.9, 0.95]", .min = 0,
             .max = 0.9999999, .items = 2)},
    {TLT_ROW_REAL(tlt_conf_optimizer, eps, "1e-8", 1e-30, 1, NULL)},
    {TLT_ROW_REAL(tlt_conf_optimizer, weight_decay, "0.0", 0, 10, "on matrices only")},
    {TLT_ROW_REAL(tlt_conf_optimizer, clip_norm, "1.0", 0, 1e6, "0: no clipping")},
};

const tlt_yaml_row tlt_rows_gradient[TLT_ROWS_GRADIENT] = {
    {TLT_ROW_INT(tlt_conf_gradient, micro_tokens, "2048", 1, 1 << 20,
                 "most tokens of a micro-batch")},
    {TLT_ROW_INT(tlt_conf_gradient, activation_mb, "1024", 1, 1 << 24,
                 "memory for stored activations; the rest is recomputed")},
};

const tlt_yaml_row tlt_rows_checkpoint[TLT_ROWS_CHECKPOINT] = {
    {TLT_ROW_INT(tlt_conf_checkpoint, every, "10", 0, 1e9,
                 "steps; 0: only at the end and when stopped"),
     .may_change = true},
    {TLT_ROW_INT(tlt_conf_checkpoint, keep, "2", 1, 1e6,
                 "newest checkpoints kept, beside the best one"),
     .may_change = true},
};
