/* Evaluation: sample answers to held-back problems and count the right ones. */
#ifndef TLT_RL_EVALUATE_H
#define TLT_RL_EVALUATE_H

#include "rl/intervals.h"
#include "rl/rollout.h"

/* Rollout indexes of evaluation start here, so that its noise is never that of training. */
#define TLT_EVAL_FIRST UINT32_C(0x80000000)

/* An answer is right when its score is above this. */
#define TLT_EVAL_RIGHT 0.5

typedef struct tlt_eval_result {
  size_t problems;
  int samples;
  int32_t *right; /* [problems] right answers; owned */
  double score_mean;
  double mean_length; /* tokens of an answer */
  double cut_share;   /* answers that hit max_tokens */
  double parsed_share;
  int64_t tokens;
  int64_t masked; /* problems without a score (counted as wrong) */
  double seconds;
} tlt_eval_result;

/* Run every problem of the set. job: engine, tokenizer, reward, problems, samples, max_tokens,
 * sampling parameters, progress; the rest is set here. groups (may be NULL) receives the answers,
 * caller frees with tlt_groups_free. */
tlt_status tlt_evaluate(const tlt_rollout_job *job, tlt_groups *groups, tlt_eval_result *out,
                        tlt_err *err);
void tlt_eval_result_free(tlt_eval_result *r); /* zeroed is harmless */

#endif
