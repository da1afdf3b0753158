/* Numbers of one step under the names that go into metrics.jsonl (docs/metrics.md). */
#ifndef TLT_RL_STEP_METRICS_H
#define TLT_RL_STEP_METRICS_H

#include "events/metrics.h"
#include "rl/evaluate.h"
#include "rl/update.h"
#include "spec/speculator.h"

/* Lengths at which answers are counted: powers of two and their 1.5-folds, from 1 to 2^20. */
enum { TLT_LENGTH_STEPS = 40 };

/* Summary of the answers of a step: all groups handed out, masked ones without reward. */
typedef struct tlt_answers_summary {
  int64_t answers, tokens, scored; /* scored: answers not masked */
  double reward_mean, reward_std; /* std: mean over groups of the standard deviation in the group */
  double score_mean, parsed_share, cut_share;
  double length_mean, length_stopped_mean;        /* second: of answers that ended by themselves */
  int length_min, length_max, p50, p90, p95, p99; /* nearest rank */
  double logprob_mean;                            /* per sampled token */
  int64_t length_le[TLT_LENGTH_STEPS]; /* answers no longer than that */
  int constant, replaced, masked;
  double frac_zero_std; /* groups with equal rewards, of those with rewards */
} tlt_answers_summary;

/* Sums run in (rollout index, sample, position) order. TLT_ENOMEM. */
tlt_status tlt_answers_summarize(const tlt_groups *g, tlt_answers_summary *out, tlt_err *err);

/* max_tokens: of the configuration; answers are counted at lengths up to that. */
void tlt_metrics_answers(tlt_metrics *m, const tlt_groups *g, const tlt_answers_summary *a,
                         int64_t max_tokens);
/* spec_metrics.c: under spec/, all of it dependent on timing. */
void tlt_metrics_spec(tlt_metrics *m, const tlt_spec_stats *s);

void tlt_metrics_update(tlt_metrics *m, const tlt_update_result *u);

/* accuracy: pass@1 with its interval; pass_k with k = samples when samples > 1. */
void tlt_metrics_eval(tlt_metrics *m, const tlt_eval_result *e, const tlt_share *accuracy,
                      const tlt_share *pass_k);

#endif
