/* The update phase: groups with rewards to optimizer steps.
 *
 * Minibatches are runs of whole groups in index order; a micro-batch never crosses a group. A group
 * whose advantages are all 0 costs nothing when no KL is in the loss, but its tokens count in the
 * divisor; replaced and masked groups count nowhere. */
#ifndef TLT_RL_UPDATE_H
#define TLT_RL_UPDATE_H

#include "rl/config.h"
#include "rl/loss.h"
#include "rl/rollout.h"
#include "train/trainer.h"

/* Rewards (score and length penalty) and advantages of all groups; masked ones get 0. */
void tlt_groups_advantages(tlt_groups *g, const tlt_train_config *c);

typedef struct tlt_update_job {
  tlt_trainer *trainer;
  tlt_trainer *reference; /* frozen, forward only; NULL when algorithm.kl is 0 */
  const tlt_train_config *config;
  int64_t schedule_total; /* optimizer steps of the whole run */
  /* After every group of a pass: groups done, of all, tokens trained. May be NULL. */
  void (*progress)(void *context, int64_t done, int64_t total, int64_t tokens);
  void *context;
} tlt_update_job;

/* Sums of doubles run in (rollout index, sample, position) order. Ratios and clip shares are over
 * all tokens of all passes that had a gradient; entropy over those of the first pass; NAN: none. */
typedef struct tlt_update_result {
  double loss, grad_norm; /* means over the optimizer steps */
  double lr;              /* of the last one */
  double kl, old_kl, ratio, entropy;
  double clip_low, clip_high;
  int64_t tokens;         /* of answers trained, all passes */
  int64_t forward_tokens; /* prompts included */
  int groups;             /* trained in the first pass */
  int steps;              /* of the optimizer */
  double seconds, reference_seconds;
} tlt_update_result;

/* All updates of one step. TLT_ENUMERIC when a log-probability, loss or gradient is not finite or
 * overflows: then no weight was changed by the failing optimizer step. */
tlt_status tlt_update_run(const tlt_update_job *job, tlt_groups *groups, tlt_update_result *result,
                          tlt_err *err);

#endif
