/* Configuration of `tlt sft`: supervised fine-tuning on prompts and completions. Shares sections
 * with `tlt train` (rl/sections.h). */
#ifndef TLT_APP_SFT_CONFIG_H
#define TLT_APP_SFT_CONFIG_H

#include "io/yaml.h"
#include "rl/sections.h"

/* Random initial weights instead of a model. */
typedef struct tlt_conf_init {
  char *config;    /* config.json to build; NULL: start from `model` */
  char *tokenizer; /* directory of a tokenizer; NULL: one is trained on the data */
  int64_t vocab;   /* entries of a trained tokenizer; vocab_size of the config is set to its size */
  int64_t texts;   /* items of the data that a new tokenizer learns from */
} tlt_conf_init;

typedef struct tlt_conf_sft_data {
  char *file; /* JSONL {"prompt", "completion"}, or NULL; exactly one of file and task */
  char *task; /* generator of worked traces, made on the fly */
  int64_t count, seed;
  char *options;
  char *verifier; /* for evaluation problems of eval.file */
  bool chat;      /* prompts become a user message of the chat template */
  int64_t epochs;
  int64_t batch;      /* samples per optimizer step */
  int64_t max_tokens; /* longer samples (prompt and completion) are left out and counted */
} tlt_conf_sft_data;

typedef struct tlt_sft_config {
  tlt_conf_common common; /* model may be NULL with init.config */
  int64_t steps;          /* optimizer steps; 0: data.epochs over the data */
  tlt_conf_init init;
  tlt_conf_sft_data data;
  tlt_conf_eval eval;
  tlt_conf_optimizer optimizer;
  tlt_conf_gradient gradient;
  tlt_conf_checkpoint checkpoint;
} tlt_sft_config;

extern const tlt_yaml_schema tlt_sft_schema;

/* Read, apply sets, check rules over several keys (TLT_EUSAGE with file, line and rule). */
tlt_status tlt_sft_config_load(const char *path, const char *const *sets, int n_sets,
                               tlt_sft_config *out, tlt_err *err);
void tlt_sft_config_free(tlt_sft_config *c);

#endif
