#include "rl/advantage.h"

#include <math.h>

bool tlt_rewards_equal(const double *reward, int n) {
  for (int i = 1; i < n; i++)
    if (reward[i] != reward[0]) return false;
  return true;
}

void tlt_mean_std(const double *x, int n, double *mean, double *std) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++) sum += x[i];
  *mean = n ? sum / n : 0;
  for (int i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
  *std = n > 1 ? sqrt(squares / (n - 1)) : 0;
}

void tlt_advantages(tlt_algorithm algorithm, tlt_scale scale, const double *reward, int n,
                    double batch_std, float *advantage) {
  double mean, std, factor = 1;
  tlt_mean_std(reward, n, &mean, &std);
  if (algorithm == TLT_ALG_RLOO) {
    factor = n > 1 ? (double)n / (n - 1) : 1;
  } else if (algorithm != TLT_ALG_DR_GRPO && scale != TLT_SCALE_NONE) {
    factor = 1 / ((scale == TLT_SCALE_BATCH ? batch_std : std) + TLT_ADVANTAGE_EPS);
  }
  bool equal = tlt_rewards_equal(reward, n); /* rounding of the mean must not leave a residue */
  for (int i = 0; i < n; i++) advantage[i] = equal ? 0.0f : (float)((reward[i] - mean) * factor);
}

double tlt_overlong_penalty(int length, int64_t max_tokens, int64_t overlong, double scale) {
  int64_t beyond = length - (max_tokens - overlong);
  if (overlong <= 0 || beyond <= 0) return 0;
  return -scale * (double)beyond / (double)overlong;
}
