#include "rl/intervals.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/philox.h"

enum { RESAMPLES = 2000 };
#define Z95 1.959963984540054

double tlt_pass_at_k(int n, int c, int k) {
  if (n - c < k) return 1;
  double miss = 1; /* C(n - c, k) / C(n, k) as a product */
  for (int i = 0; i < k; i++) miss *= (double)(n - c - i) / (double)(n - i);
  return 1 - miss;
}

static tlt_share wilson(double p, double n) {
  double z2 = Z95 * Z95, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
  double half = Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
  return (tlt_share){p, fmax(0, middle - half), fmin(1, middle + half)};
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Percentile bootstrap of the mean of x[0..n). Falls back to [mean, mean] without memory. */
static tlt_share bootstrap(const double *x, size_t n, uint32_t statistic) {
  double sum = 0, *mean = tlt_malloc(RESAMPLES * sizeof *mean);
  for (size_t i = 0; i < n; i++) sum += x[i];
  tlt_share share = {sum / (double)n, sum / (double)n, sum / (double)n};
  if (!mean) return share;
  for (uint32_t b = 0; b < RESAMPLES; b++) {
    tlt_stream stream = tlt_stream_open(0, TLT_PURPOSE_BOOTSTRAP, b, statistic, 0);
    double total = 0;
    for (size_t i = 0; i < n; i++) total += x[tlt_stream_below(&stream, (uint32_t)n)];
    mean[b] = total / (double)n;
  }
  qsort(mean, RESAMPLES, sizeof *mean, ascending);
  share.low = mean[RESAMPLES * 25 / 1000];
  share.high = mean[RESAMPLES - 1 - RESAMPLES * 25 / 1000];
  tlt_free(mean);
  return share;
}

tlt_share tlt_eval_pass(const int32_t *right, size_t problems, int samples, int k) {
  double *x = tlt_malloc(problems * sizeof *x), sum = 0;
  for (size_t i = 0; i < problems; i++) {
    double p = tlt_pass_at_k(samples, right[i], k);
    sum += p;
    if (x) x[i] = p;
  }
  double mean = sum / (double)problems;
  tlt_share share = {mean, mean, mean};
  if (samples == 1) share = wilson(mean, (double)problems);
  else if (x) share = bootstrap(x, problems, (uint32_t)k);
  tlt_free(x);
  return share;
}

tlt_share tlt_eval_gain(const int32_t *before, const int32_t *after, size_t problems, int samples) {
  double *x = tlt_malloc(problems * sizeof *x);
  if (!x) return (tlt_share){NAN, NAN, NAN};
  for (size_t i = 0; i < problems; i++) x[i] = (double)(after[i] - before[i]) / samples;
  tlt_share share = bootstrap(x, problems, 0);
  tlt_free(x);
  return share;
}
