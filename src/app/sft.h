/* The job behind `tlt sft`: supervised fine-tuning of a model, or of random initial weights.
 *
 * Writes a run directory like that of `tlt train`: config.yaml, metrics.jsonl (one line per
 * optimizer step), status.json, checkpoints/, final/, and tokenizer/ where one was trained. */
#ifndef TLT_APP_SFT_H
#define TLT_APP_SFT_H

#include "rl/train.h"

typedef struct tlt_sft_progress {
  int64_t step, steps, samples, tokens; /* so far, this process */
  double loss;                          /* nats per target of the last step */
  double rate;                          /* tokens per second, lately */
  double left;                          /* seconds */
  double eval_accuracy;                 /* below 0: not evaluated at this step */
  bool evaluating;
} tlt_sft_progress;

typedef struct tlt_sft_hooks {
  void *context;
  void (*progress)(void *context, const tlt_sft_progress *p); /* once per step */
  void (*memory)(void *context, const tlt_train_memory *m);
} tlt_sft_hooks;

typedef struct tlt_sft_summary {
  bool already_complete;
  int64_t steps, tokens, dropped; /* dropped: samples beyond data.max_tokens */
  double loss_first, loss_last;   /* mean of the first and last tenth of this process's steps */
  double seconds;
  bool has_eval;
  tlt_share accuracy;
  double eval_length, eval_cut, eval_parsed;
  char weights_sha256[65];
  char run[4096], final[4096];
} tlt_sft_summary;

/* options: as for tlt_train (config, run, sets, threads, numerics, resume). TLT_ESTOPPED after a
 * signal, with a text that says how to go on. */
tlt_status tlt_sft(const tlt_train_options *options, const tlt_sft_hooks *hooks,
                   const tlt_stop *stop, tlt_sft_summary *summary, tlt_err *err);

#endif
