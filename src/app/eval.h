/* The job behind `tlt eval`: accuracy of a model on a file of problems. */
#ifndef TLT_APP_EVAL_H
#define TLT_APP_EVAL_H

#include "rl/evaluate.h"

enum { TLT_EVAL_KS = 8 };

typedef struct tlt_eval_options {
  const char *model, *data, *verifier, *numerics;
  int samples, max_tokens, batch, threads, limit; /* limit: first problems only; 0: all */
  float temperature, top_p, min_p;
  int top_k;
  uint32_t seed;
  bool chat;
} tlt_eval_options;

typedef struct tlt_eval_report {
  tlt_eval_result result;
  int n_k, k[TLT_EVAL_KS]; /* 1, 2, 4, ... up to samples */
  tlt_share pass[TLT_EVAL_KS];
} tlt_eval_report;

/* progress as in tlt_rollout_job (may be NULL). */
tlt_status tlt_eval_model(const tlt_eval_options *o,
                          void (*progress)(void *context, int64_t done, int64_t total,
                                           int64_t tokens),
                          tlt_eval_report *out, tlt_err *err);
void tlt_eval_report_free(tlt_eval_report *r);

#endif
