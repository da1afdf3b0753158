/* Policy losses of the GRPO family: value and exact derivative by each token's log-probability.
 * Pure functions over one sample; definitions as in TRL and verl, tested against them.
 *
 * Per token t of a sample with advantage A, l = logp, o = old logp, q = reference logp:
 *   ratio      r_t = exp(clamp(l - o, -20, 20)); gspo: one s = exp(min(mean_t (l - o), 10)) for all
 *   surrogate  L_t = -min(r A, clip(r, 1 - low, 1 + high) A)
 *              dL/dl = -r A where the unclipped side is taken, else 0 (gspo: as for
 *              sg(s) pi / sg(pi), that is -s A)
 *   KL         d = l - q:  k1 = d;  k2 = d^2 / 2;  k3 = exp(-d) - 1 + d, with -d clamped to +-20
 * and k3 to +-10 as verl does; derivative 0 where clamped loss       L_t + kl * k Weights of
 * tokens: 1, or 1 / length for sequence-mean. The divisor of the whole minibatch (tlt_loss_scale)
 * is applied once to the summed gradient. */
#ifndef TLT_RL_LOSS_H
#define TLT_RL_LOSS_H

#include <stddef.h>

#include "rl/config.h"

typedef struct tlt_loss_options {
  tlt_algorithm algorithm;
  tlt_loss_mean mean;
  float clip_low, clip_high;
  float kl; /* 0: ref is not read */
  tlt_kl_kind kl_kind;
} tlt_loss_options;

/* Sums over the tokens of one sample, in position order; plain sums, not weighted unless said. */
typedef struct tlt_loss_sums {
  double loss;       /* with the token weights of the aggregation */
  double kl;         /* estimator of the KL to the reference */
  double old_kl;     /* o - l: KL estimate to the policy that sampled */
  double ratio;      /* sum of r_t */
  int64_t low, high; /* tokens clipped below (A < 0) and above (A > 0) */
  bool finite;       /* every log-probability and derivative was finite */
} tlt_loss_sums;

/* logp, old_logp, ref [n] fp32 (ref may be NULL when kl is 0), n >= 1. dlogp [n] is overwritten
 * with the unnormalised derivative. */
void tlt_policy_loss(const tlt_loss_options *o, int n, float advantage, const float *logp,
                     const float *old_logp, const float *ref, float *dlogp, tlt_loss_sums *sums);

/* 1 / divisor of a minibatch: tokens (token-mean), samples (sequence-mean), or
 * samples * max_tokens (constant). 0 when there is nothing. */
float tlt_loss_scale(tlt_loss_mean mean, int64_t tokens, int64_t samples, int64_t max_tokens);

#endif
