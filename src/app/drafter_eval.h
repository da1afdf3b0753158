/* The job behind `tlt drafter eval`: what a learned drafter is worth on a target.
 *
 * Two passes over the same prompts. The first records the target's answers with their hidden states
 * and compares the two distributions at every place (sum of min(p, q), the most that one exact
 * draft can be accepted; p of argmax q, what an uncoupled argmax draft would get). The second
 * generates the same answers with speculation and counts what was accepted, and how right the
 * planner's probabilities were. */
#ifndef TLT_APP_DRAFTER_EVAL_H
#define TLT_APP_DRAFTER_EVAL_H

#include "app/draft_record.h"
#include "spec/speculator.h"
#include "train/drafter.h"

typedef struct tlt_drafter_eval_options {
  const char *model, *drafter;
  const char *task, *task_options, *prompts; /* a task's split `eval`, or a file */
  int count;                                 /* problems of the task */
  bool chat;
  tlt_draft_record_options record; /* its seed and hold_every are set here */
  int buffer_mb, unroll;           /* steps that the distributions are compared at */
  tlt_draft_kind draft;
  const char *policy;
  uint32_t seed;
  int threads;
  const char *numerics;
} tlt_drafter_eval_options;

tlt_drafter_eval_options tlt_drafter_eval_default(void);

typedef struct tlt_drafter_eval_report {
  int64_t answers, tokens;
  double nll;       /* mean -ln p of the drawn tokens: an estimate of the target's entropy, nats */
  double hot_share; /* of the drawn tokens that are hot */
  int n_hot, unroll;
  tlt_draft_stats match;
  tlt_spec_stats spec;
  double seconds_plain, seconds_spec; /* of the two passes of generation */
} tlt_drafter_eval_report;

tlt_status tlt_drafter_eval(const tlt_drafter_eval_options *o, tlt_record_progress progress,
                            void *context, const tlt_stop *stop, tlt_drafter_eval_report *out,
                            tlt_err *err);

#endif
