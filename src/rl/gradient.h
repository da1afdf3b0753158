/* The gradient of one group: what is done per group in an update, by whichever worker is free.
 *
 * It enters the trainer's int64 accumulators, so neither the order of groups nor who did them can
 * matter. A micro-batch never crosses a group. */
#ifndef TLT_RL_GRADIENT_H
#define TLT_RL_GRADIENT_H

#include "rl/config.h"
#include "rl/group.h"
#include "rl/loss.h"
#include "train/trainer.h"

/* Groups at work of one worker; one owner thread. */
typedef struct tlt_gradient {
  tlt_trainer *trainer;
  tlt_trainer *reference; /* frozen, forward only; NULL when the loss has no KL */
  tlt_loss_options loss;
  int samples, micro_tokens;
  float temperature;
  /* buffers, grown to the largest group so far */
  size_t room;
  int32_t *tokens, *cu, *prompt, *length, *first;
  float *old, *entropy;
} tlt_gradient;

/* Only memory can fail. */
tlt_status tlt_gradient_open(tlt_gradient *w, const tlt_train_config *c, tlt_trainer *trainer,
                             tlt_trainer *reference, tlt_err *err);
void tlt_gradient_close(tlt_gradient *w); /* zeroed is harmless */

/* What one pass over one answer measured. */
typedef struct tlt_measured {
  tlt_loss_sums sums;
  double entropy; /* sum over tokens; only where it was asked for */
} tlt_measured;

/* Tokens of all answers of a group. */
int64_t tlt_group_tokens(const tlt_group *g, int samples);

/* Log-probabilities of the frozen reference: to [tlt_group_tokens], answer after answer. */
tlt_status tlt_gradient_reference(tlt_gradient *w, const tlt_group *g, float *to, tlt_err *err);

/* Forward, loss, backward of all answers. known: the weights are those that sampled, so that the
 * rollout's log-probabilities hold (checked). ref: from tlt_gradient_reference, NULL without KL.
 * measured [samples]; entropy: measure that too.
 * TLT_ENUMERIC names rollout and sample of a value that is not finite; TLT_ESTOPPED when the pool's
 * pause hook abandoned the work: accumulators then hold a part of the gradient. */
tlt_status tlt_gradient_group(tlt_gradient *w, const tlt_group *g, bool known, bool entropy,
                              const float *ref, tlt_measured *measured, tlt_err *err);

#endif
