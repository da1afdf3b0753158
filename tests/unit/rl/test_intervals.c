/* pass@k and intervals.
 * Alone: build/tests/unit/rl/test_rl_intervals */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "rl/intervals.h"

static void near(double got, double want, double tolerance) {
  if (fabs(got - want) > tolerance) fail_msg("got %.9g, expected %.9g", got, want);
}

/* All subsets of k of n answers, c of them right: the share with a right one. */
static double enumerated(int n, int c, int k) {
  int all = 0, good = 0;
  for (int mask = 0; mask < 1 << n; mask++) {
    if (__builtin_popcount((unsigned)mask) != k) continue;
    all++;
    good += (mask & ((1 << c) - 1)) != 0;
  }
  return (double)good / all;
}

static void test_pass_at_k(void **state) {
  (void)state;
  for (int n = 1; n <= 8; n++)
    for (int c = 0; c <= n; c++)
      for (int k = 1; k <= n; k++) near(tlt_pass_at_k(n, c, k), enumerated(n, c, k), 1e-12);
}

/* Wilson's interval for 30 of 100: 0.2189 to 0.3958 (any table). */
static void test_wilson(void **state) {
  int32_t right[100] = {0};
  (void)state;
  for (int i = 0; i < 30; i++) right[i * 3] = 1;
  tlt_share s = tlt_eval_pass(right, 100, 1, 1);
  near(s.value, 0.3, 1e-12);
  near(s.low, 0.21895, 1e-4);
  near(s.high, 0.39585, 1e-4);
  for (int i = 0; i < 100; i++) right[i] = 0;
  s = tlt_eval_pass(right, 100, 1, 1);
  assert_true(s.low < 1e-12 && s.high > 0.03 && s.high < 0.04);
}

/* With k = 1 the bootstrap's half width is close to 1.96 standard errors of the problem means, and
 * the same counts give the same bits. */
static void test_bootstrap(void **state) {
  int32_t right[400], after[400];
  double mean = 0, squares = 0;
  (void)state;
  for (int i = 0; i < 400; i++) {
    right[i] = (i * 7 + i / 9) % 5;
    after[i] = right[i] < 4 ? right[i] + 1 : 4;
    mean += right[i] / 4.0 / 400;
  }
  for (int i = 0; i < 400; i++) squares += (right[i] / 4.0 - mean) * (right[i] / 4.0 - mean);
  double half = 1.96 * sqrt(squares / 399 / 400);
  tlt_share s = tlt_eval_pass(right, 400, 4, 1), t = tlt_eval_pass(right, 400, 4, 1);
  near(s.value, mean, 1e-12);
  near(s.low, mean - half, 0.1 * half);
  near(s.high, mean + half, 0.1 * half);
  assert_true(s.low == t.low && s.high == t.high);
  tlt_share gain = tlt_eval_gain(right, after, 400, 4);
  assert_true(gain.low > 0 && gain.low < gain.value && gain.value < gain.high && gain.high < 0.26);
  gain = tlt_eval_gain(right, right, 400, 4);
  assert_true(gain.low == 0 && gain.value == 0 && gain.high == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pass_at_k),
      cmocka_unit_test(test_wilson),
      cmocka_unit_test(test_bootstrap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
