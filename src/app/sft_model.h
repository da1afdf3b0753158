/* What an SFT run holds in memory. */
#ifndef TLT_APP_SFT_MODEL_H
#define TLT_APP_SFT_MODEL_H

#include "app/sft_data.h"
#include "model/model.h"
#include "rl/evaluate.h"
#include "train/trainer.h"

typedef struct tlt_sft_model {
  tlt_sft_source source;
  tlt_tokenizer *tokenizer;
  char tokenizer_dir[4096];
  tlt_model *model;
  tlt_trainer *trainer;
  char start_sha256[65]; /* of the weights before training */
  tlt_shuffle *order;
  tlt_sft_stream stream;
  /* evaluation; problems.n is 0 without */
  tlt_dataset *held;
  tlt_problem_set problems;
  tlt_reward *reward;
  tlt_engine *engine;
  int eval_max_tokens;
  tlt_train_memory memory;
} tlt_sft_model;

/* Data, tokenizer (trained into run/tokenizer where asked), weights (loaded or random), trainer,
 * evaluation. hook (may be NULL) hears the memory estimate before the large allocations. */
tlt_status tlt_sft_model_open(tlt_sft_model *m, const tlt_sft_config *c, const char *run,
                              const char *numerics, int threads,
                              void (*hook)(void *context, const tlt_train_memory *memory),
                              void *context, tlt_err *err);
void tlt_sft_model_close(tlt_sft_model *m); /* zeroed is harmless */

/* Accuracy on the held-back problems as configured. */
tlt_status tlt_sft_model_evaluate(tlt_sft_model *m, const tlt_sft_config *c, tlt_eval_result *out,
                                  tlt_err *err);

#endif
