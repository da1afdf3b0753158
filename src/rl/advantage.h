/* Rewards to advantages. Pure functions; double inside, so that no libm and no order but the given
 * one matters.
 *
 *   grpo, dapo, gspo   (r - mean) / (std + 1e-4), std with n - 1 (TRL); scale `batch`: std of all
 *                      rewards of the step; `none`: r - mean
 *   dr-grpo            r - mean (arXiv 2503.20783)
 *   rloo               r - mean of the group's others = n / (n - 1) (r - mean) (arXiv 2402.14740)
 *
 * A group whose rewards are all equal gets exactly 0. */
#ifndef TLT_RL_ADVANTAGE_H
#define TLT_RL_ADVANTAGE_H

#include <stdbool.h>

#include "rl/config.h"

#define TLT_ADVANTAGE_EPS 1e-4

bool tlt_rewards_equal(const double *reward, int n); /* true for n <= 1 */

/* Mean and standard deviation with n - 1 (0 for n = 1) of reward[0..n). */
void tlt_mean_std(const double *x, int n, double *mean, double *std);

/* One group of n >= 1 samples. batch_std is used for TLT_SCALE_BATCH only. */
void tlt_advantages(tlt_algorithm algorithm, tlt_scale scale, const double *reward, int n,
                    double batch_std, float *advantage);

/* Length penalty of DAPO (arXiv 2503.14476): 0 up to max_tokens - overlong, then falling linearly
 * to -scale at max_tokens. overlong 0: none. */
double tlt_overlong_penalty(int length, int64_t max_tokens, int64_t overlong, double scale);

#endif
