/* Losses that need nothing but log-probabilities. Those of reinforcement learning are in rl/. */
#ifndef TLT_TRAIN_LOSS_H
#define TLT_TRAIN_LOSS_H

#include "train/trainer.h"

/* Running sum of a supervised loss, over micro-batches in the order they were trained. */
typedef struct tlt_sft_loss {
  double sum;      /* -log p summed over targets, nats */
  int64_t targets; /* their number; scale the step by 1 / targets of the batch */
} tlt_sft_loss;

/* tlt_loss_fn of cross-entropy, unnormalised: dlogp = -1 for every target. context: tlt_sft_loss to
 * add to, or NULL. */
void tlt_loss_sft(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp);

#endif
