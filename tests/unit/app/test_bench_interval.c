/* The estimate and the interval that the benches print (app/bench_side.h), against the definition:
 * all means of two values, sorted.
 *
 * Run alone: build/tests/unit/app/test_app_bench_interval */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/bench_side.h"
#include "base/philox.h"

enum { MEANS = TLT_BENCH_PAIRS_MAX * (TLT_BENCH_PAIRS_MAX + 1) / 2 };

static double x[TLT_BENCH_PAIRS_MAX], mean[MEANS];
static tlt_stream noise;

static int ascending(const void *a, const void *b) {
  double p = *(const double *)a, q = *(const double *)b;
  return (p > q) - (p < q);
}

/* n values, some of them alike, and their means. */
static int fill(int n) {
  int means = 0;
  for (int i = 0; i < n; i++)
    x[i] = tlt_stream_below(&noise, 4) == 0 ? 0.01 : tlt_stream_below(&noise, 1000) / 2000.0 - 0.2;
  for (int i = 0; i < n; i++)
    for (int j = i; j < n; j++) mean[means++] = (x[i] + x[j]) / 2;
  qsort(mean, (size_t)means, sizeof *mean, ascending);
  return means;
}

static bool same(double ratio, double log_ratio) {
  return fabs(log(ratio) - log_ratio) < 1e-12;
}

static void the_estimate_is_the_median_of_all_means(void **state) {
  static const int sizes[] = {2, 3, 5, 6, 9, 10, 25, 64, TLT_BENCH_PAIRS_MAX};
  double ratio, low, high;
  (void)state;
  for (int i = 0; i < 9; i++) {
    int means = fill(sizes[i]);
    tlt_bench_interval(x, sizes[i], &ratio, &low, &high);
    assert_true(same(ratio, mean[(means + 1) / 2 - 1]));
    assert_true(low <= ratio && ratio <= high);
  }
}

/* Ranks of the outer means by the tables of Wilcoxon's signed-rank test, two-sided 5 %: one more
 * than the largest sum of ranks that rejects. Never narrower than that, and by one rank wider at
 * most. */
static void the_interval_is_that_of_the_signed_rank_test(void **state) {
  static const int table[][2] = {{6, 1},   {7, 3},   {8, 4},   {9, 6},  {10, 9},
                                 {12, 14}, {15, 26}, {20, 53}, {25, 90}};
  double ratio, low, high;
  (void)state;
  for (int i = 0; i < 9; i++) {
    int n = table[i][0], rank = table[i][1], means = fill(n), wider = rank > 1 ? rank - 1 : 1;
    tlt_bench_interval(x, n, &ratio, &low, &high);
    assert_true(same(low, mean[rank - 1]) || same(low, mean[wider - 1]));
    assert_true(same(high, mean[means - rank]) || same(high, mean[means - wider]));
  }
}

static void few_values_give_their_range(void **state) {
  double ratio, low, high;
  (void)state;
  for (int n = 2; n < 6; n++) {
    int means = fill(n);
    tlt_bench_interval(x, n, &ratio, &low, &high);
    assert_true(same(low, mean[0]) && same(high, mean[means - 1]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_estimate_is_the_median_of_all_means),
      cmocka_unit_test(the_interval_is_that_of_the_signed_rank_test),
      cmocka_unit_test(few_values_give_their_range),
  };
  noise = tlt_stream_open(3, TLT_PURPOSE_TASK, 0, 0, 0);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
