/* How sure an accuracy is.
 *
 * pass@k is the unbiased estimator of arXiv 2107.03374: 1 - C(n - c, k) / C(n, k) for a problem
 * with c right answers of n. Intervals are 95 %: Wilson's for one answer per problem, otherwise the
 * percentile bootstrap over problems (answers of one problem are not independent) with 2,000
 * resamples drawn from a fixed stream, so that the same counts give the same interval. */
#ifndef TLT_RL_INTERVALS_H
#define TLT_RL_INTERVALS_H

#include <stddef.h>
#include <stdint.h>

#include "rl/train.h"

/* 1 <= k <= n, 0 <= c <= n. */
double tlt_pass_at_k(int n, int c, int k);

/* Mean pass@k over problems with its interval; right [problems], `samples` answers each. */
tlt_share tlt_eval_pass(const int32_t *right, size_t problems, int samples, int k);

/* Mean of (after - before) / samples over the same problems, with its interval. */
tlt_share tlt_eval_gain(const int32_t *before, const int32_t *after, size_t problems, int samples);

#endif
