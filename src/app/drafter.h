/* The job behind `tlt drafter train`: answers of the target with their hidden states, then training
 * of the learned drafter on them. */
#ifndef TLT_APP_DRAFTER_H
#define TLT_APP_DRAFTER_H

#include "app/draft_record.h"
#include "train/drafter.h"

typedef struct tlt_drafter_train_options {
  const char *model, *out;
  const char *init; /* drafter directory to start from; NULL: random */
  /* prompts: either a task (problems of its split `rl`: what rollouts will ask, and disjoint from
   * held-back problems), or a file as `tlt generate` takes it */
  const char *task, *task_options, *prompts;
  int count; /* problems of the task */
  bool chat;
  tlt_draft_record_options record; /* its seed and hold_every are set here */
  int buffer_mb;
  int hot;                   /* most hot tokens: those drawn most often */
  int inter;                 /* width of the MLP; 0: the target's */
  int epochs, step_tokens;   /* tokens of one optimizer step, about */
  float lr, weight_decay;    /* half a cosine to 0 after a warm-up over 5 % */
  tlt_drafter_options train; /* max_sample and max_hot are set here */
  uint32_t seed;
  int threads;
  const char *numerics;
} tlt_drafter_train_options;

/* Defaults; model, out and prompts are unset. */
tlt_drafter_train_options tlt_drafter_train_default(void);

typedef struct tlt_drafter_progress {
  int epoch, epochs;
  int64_t step, tokens, total_tokens;
  double loss, rate, left;     /* mean loss of the last step; tokens per second; seconds */
  const tlt_draft_stats *held; /* of held-back answers, at the end of an epoch; else NULL */
} tlt_drafter_progress;

typedef struct tlt_drafter_hooks {
  void *context;
  tlt_record_progress generated;
  void (*trained)(void *context, const tlt_drafter_progress *p); /* once per optimizer step */
  void (*memory)(void *context, size_t weights, size_t recording, size_t buffer, size_t training);
} tlt_drafter_hooks;

typedef struct tlt_drafter_summary {
  int64_t answers, answer_tokens, kept, held;
  double seconds_generate, seconds_train;
  int hot;
  double hot_share; /* of all drawn tokens that are hot */
  int64_t steps, tokens;
  int unroll;                   /* steps that `first` and `last` look at */
  tlt_draft_stats first, last;  /* held-back answers before training and after the best epoch,
                                   whose drafter is the one that is saved */
  double loss_first, loss_last; /* of the first and the last step */
} tlt_drafter_summary;

/* Errors: TLT_EUSAGE and TLT_EDATA before anything is generated; TLT_ESTOPPED after a signal, with
 * a text that says what was saved; TLT_ENUMERIC for a gradient that is not finite. */
tlt_status tlt_drafter_train(const tlt_drafter_train_options *o, const tlt_drafter_hooks *hooks,
                             const tlt_stop *stop, tlt_drafter_summary *summary, tlt_err *err);

#endif
