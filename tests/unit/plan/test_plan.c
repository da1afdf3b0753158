/* Decisions of the adaptive rollout engine, on made-up machines.
 * Alone: ninja -C build tests/unit/plan/test_plan && build/tests/unit/plan/test_plan */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "plan/arbiter.h"
#include "plan/bandit.h"
#include "plan/calibration.h"
#include "plan/lengths.h"
#include "plan/planner.h"

static tlt_stream noise;

static double uniform(void) {
  return (tlt_stream_u32(&noise) + 0.5) / 4294967296.0;
}

/* ---- cost curve --------------------------------------------------------------------------------
 */

/* Flat to 12 rows, then proportional. */
static double machine_us(int rows) {
  return rows <= 12 ? 8700 : 8700 + 680.0 * (rows - 12);
}

static void teach(tlt_cost *c, int steps, const int *rows, int kinds, double spread, double slow) {
  for (int i = 0; i < steps; i++) {
    int r = rows[tlt_stream_below(&noise, (uint32_t)kinds)];
    double us = slow * machine_us(r) * (1 + spread * uniform());
    if (tlt_stream_below(&noise, 50) == 0) us *= 20; /* somebody else had the processor */
    tlt_cost_observe(c, r, 0, us);
  }
}

static void cost_curve_follows_a_noisy_machine(void **state) {
  (void)state;
  static const int rows[] = {1, 4, 8, 12, 16, 24, 32};
  tlt_cost c;
  tlt_cost_init(&c, 3, 0); /* a guess that is wrong by a factor */
  assert_true(tlt_cost_us(&c, 1, 0) == 0);
  teach(&c, 2000, rows, 7, 0.2, 1);
  for (int i = 0; i < 7; i++) {
    double ratio = tlt_cost_us(&c, rows[i], 0) / tlt_cost_us(&c, 1, 0);
    double truth = machine_us(rows[i]) / machine_us(1);
    assert_true(fabs(ratio / truth - 1) < 0.12);
  }
}

/* A machine that becomes slower must not make the row counts of the moment look dear. */
static void cost_curve_separates_slow_moments_from_dear_rows(void **state) {
  (void)state;
  static const int rows[] = {1, 12, 24}, one[] = {12};
  tlt_cost c;
  tlt_cost_init(&c, 12, 0);
  teach(&c, 600, rows, 3, 0.1, 1);
  double before = tlt_cost_us(&c, 12, 0) / tlt_cost_us(&c, 1, 0);
  teach(&c, 300, one, 1, 0.1, 3);
  double after = tlt_cost_us(&c, 12, 0) / tlt_cost_us(&c, 1, 0);
  assert_true(tlt_cost_us(&c, 12, 0) > 2 * machine_us(12));
  assert_true(fabs(after / before - 1) < 0.25);
}

static void cost_rises_with_rows(void **state) {
  (void)state;
  static const int rows[] = {1, 2, 3, 5, 9, 17, 30, 70, 200, 900};
  tlt_cost c;
  tlt_cost_init(&c, 12, 1e-4);
  teach(&c, 500, rows, 10, 2.0, 1);
  for (int r = 1; r < 2000; r++) assert_true(tlt_cost_us(&c, r + 1, 50) >= tlt_cost_us(&c, r, 50));
  tlt_cost_observe(&c, 4, 10, NAN);
  tlt_cost_observe(&c, 4, 10, -1);
  tlt_cost_observe(&c, 0, 10, 100);
  assert_true(isfinite(tlt_cost_us(&c, 4, 10)));
}

/* ---- calibration -------------------------------------------------------------------------------
 */

static void calibration_learns_cells_and_backs_off(void **state) {
  (void)state;
  static tlt_calibration c;
  tlt_calibration_init(&c);
  tlt_edge sure = {TLT_EDGE_EAGLE, 0, 1, 4.0f, 0}, doubtful = {TLT_EDGE_EAGLE, 0, 1, 0.1f, 0};
  for (int i = 0; i < 2000; i++) {
    tlt_calibration_observe(&c, &sure, uniform() < 0.95);
    tlt_calibration_observe(&c, &doubtful, uniform() < 0.3);
  }
  assert_true(fabsf(tlt_calibration_p(&c, &sure) - 0.95f) < 0.05f);
  assert_true(fabsf(tlt_calibration_p(&c, &doubtful) - 0.3f) < 0.08f);
  tlt_edge deep = sure; /* never seen this deep: like those less deep */
  deep.depth = 9;
  assert_true(tlt_calibration_p(&c, &deep) > 0.85f);
  tlt_edge other = {TLT_EDGE_SUFFIX, 0, 1, 4.0f, 9};
  assert_true(tlt_calibration_p(&c, &other) > 0.3f && tlt_calibration_p(&c, &other) < 0.7f);
  for (int i = 0; i < 2000; i++) tlt_calibration_observe(&c, &sure, false); /* the target changed */
  assert_true(tlt_calibration_p(&c, &sure) < 0.05f);
  sure.gap = NAN;
  assert_true(tlt_calibration_p(&c, &sure) > 0 && tlt_calibration_p(&c, &sure) < 1);
}

static void worth_keeps_what_is_above_the_threshold(void **state) {
  (void)state;
  static tlt_calibration c;
  float gaps[TLT_CAL_GAPS] = {0}, share, accept;
  tlt_calibration_init(&c);
  tlt_edge sure = {TLT_EDGE_EAGLE, 0, 1, 9.0f, 0}, doubtful = {TLT_EDGE_EAGLE, 0, 1, 0.1f, 0};
  for (int i = 0; i < 1000; i++) {
    tlt_calibration_observe(&c, &sure, true);
    tlt_calibration_observe(&c, &doubtful, false);
  }
  gaps[tlt_calibration_gap_bin(9.0f)] = 30;
  gaps[tlt_calibration_gap_bin(0.1f)] = 10;
  tlt_calibration_worth(&c, TLT_EDGE_EAGLE, gaps, 0.5f, &share, &accept);
  assert_true(fabsf(share - 0.75f) < 0.02f && accept > 0.9f);
  tlt_calibration_worth(&c, TLT_EDGE_EAGLE, gaps, 0.999f, &share, &accept);
  assert_true(share == 0 && accept == 0);
}

/* ---- planner -----------------------------------------------------------------------------------
 */

static tlt_cost known_machine(void) {
  static const int rows[] = {1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 80, 96};
  tlt_cost c;
  tlt_cost_init(&c, 12, 0);
  for (int i = 0; i < 400; i++)
    for (int j = 0; j < 17; j++) tlt_cost_observe(&c, rows[j], 0, machine_us(rows[j]));
  return c;
}

static void plan_takes_the_best_number_of_nodes(void **state) {
  (void)state;
  tlt_cost c = known_machine();
  for (int trial = 0; trial < 200; trial++) {
    float gain[60];
    double p = 1, sum = 0, best = 0;
    for (int i = 0; i < 60; i++) gain[i] = (float)(p *= 0.5 + 0.5 * uniform());
    tlt_plan_step s = {
        .verify = &c, .rows = 1 + (int)tlt_stream_below(&noise, 40), .spent_us = 3000 * uniform()};
    s.weight = s.rows;
    int take = tlt_plan_take(&s, 60, gain);
    for (int i = 0; i <= 60; i++) {
      if (tlt_plan_rate(&s, i, sum) > best) best = tlt_plan_rate(&s, i, sum);
      if (i < 60) sum += (double)gain[i];
    }
    double got = 0;
    for (int i = 0; i < take; i++) got += (double)gain[i];
    assert_true(tlt_plan_rate(&s, take, got) >= best / 1.0301);
  }
}

static void plan_fills_flat_stretches_and_stops_behind_them(void **state) {
  (void)state;
  tlt_cost c = known_machine();
  float gain[40];
  for (int i = 0; i < 40; i++) gain[i] = 0.05f;
  tlt_plan_step alone = {.verify = &c, .rows = 1, .weight = 1};
  assert_in_range(tlt_plan_take(&alone, 40, gain), 10, 12);
  tlt_plan_step full = {.verify = &c, .rows = 64, .weight = 64};
  for (int i = 0; i < 40; i++) gain[i] = 0.9f;
  assert_int_equal(tlt_plan_take(&full, 40, gain), 0);
}

static void deepening_weighs_price_against_what_it_opens(void **state) {
  (void)state;
  tlt_cost c = known_machine();
  tlt_plan_step s = {.verify = &c, .rows = 1, .weight = 1};
  assert_true(tlt_plan_deepen(&s, 0, 0, 1, 1, 0.8, 400, 6, 0));
  assert_false(tlt_plan_deepen(&s, 0, 0, 1, 1, 0.02, 400, 6, 0));
  assert_false(tlt_plan_deepen(&s, 0, 0, 1, 1, 0.8, 40000, 6, 0));
  /* where only nodes above 0.2 are verified, less likely ones are not worth drafting */
  assert_true(tlt_plan_deepen(&s, 11, 4, 1, 1, 0.9, 100, 6, 0.2));
  assert_false(tlt_plan_deepen(&s, 11, 4, 1, 0.2, 0.9, 100, 6, 0.2));
  s.rows = 64;
  s.weight = 64;
  assert_false(tlt_plan_deepen(&s, 0, 0, 64, 64, 0.8, 400, 6, 0));
}

static void daring_plans_take_more(void **state) {
  (void)state;
  tlt_cost c = known_machine();
  float gain[12];
  for (int i = 0; i < 12; i++) gain[i] = 0.3f;
  tlt_plan_step s = {.verify = &c, .rows = 16, .weight = 16};
  assert_int_equal(tlt_plan_take(&s, 12, gain), 0);
  s.daring = 0.7;
  assert_true(tlt_plan_take(&s, 12, gain) > 0);
}

/* A step that also reads a prompt is long; nodes must not seem cheap beside it. */
static void prompts_make_no_node_worth_more(void **state) {
  (void)state;
  tlt_cost c = known_machine();
  float gain[12];
  for (int i = 0; i < 12; i++) gain[i] = 0.9f;
  tlt_plan_step s = {.verify = &c, .rows = 32, .weight = 16};
  double unaware = tlt_plan_threshold(&s, 12);
  s.prompt_us = tlt_cost_us(&c, 32, 0) - tlt_cost_us(&c, 16, 0);
  assert_true(tlt_plan_threshold(&s, 12) > 1.5 * unaware);
  assert_int_equal(tlt_plan_take(&s, 12, gain), 0);
  s.prompt_us = 0;
  assert_true(tlt_plan_take(&s, 12, gain) > 0);
}

/* ---- arbiter -----------------------------------------------------------------------------------
 */

/* A made-up run: being awake makes `tokens` per step and takes `factor` times as long. */
typedef struct shown {
  int steps, awake, trials; /* in the second half */
  double us, tokens;
} shown;

static shown arbitrate(tlt_arbiter *a, int sequences, int steps, double tokens, double factor) {
  shown out = {0};
  double plain = 1 + sequences / 8.0;
  for (int i = 0; i < steps; i++) {
    bool trial, awake = tlt_arbiter_awake(a, sequences, &trial);
    double us = 200 * (1 + 0.2 * uniform()) * (awake ? factor : 1);
    if (tlt_stream_below(&noise, 100) == 0) us *= 30; /* somebody else had the processor */
    tlt_arbiter_observe(a, sequences, awake ? tokens : 1, us, plain, 220 / plain);
    if (i < steps / 2) continue;
    out.steps++;
    out.awake += awake;
    out.trials += trial;
  }
  return out;
}

static void what_is_slower_sleeps(void **state) {
  (void)state;
  static const double factor[] = {1, 1.02, 1.2, 3};
  for (int i = 0; i < 4; i++) {
    tlt_arbiter a = {.few = 4};
    shown s = arbitrate(&a, 8, 20000, 1, factor[i]);
    /* trials that cost much are rare; where it is a tie, four windows in 68 are tried */
    assert_true(s.awake < s.steps / (i == 3 ? 200 : 12));
    assert_true(s.trials > 0); /* and never end */
  }
}

static void what_is_faster_is_awake(void **state) {
  (void)state;
  tlt_arbiter a = {.few = 4};
  shown s = arbitrate(&a, 4, 8000, 2, 1.5);
  assert_true(s.awake > s.steps * 95 / 100 && s.awake < s.steps);
  tlt_arbiter b = {.few = 4};
  s = arbitrate(&b, 1, 20000, 4, 1.2);
  assert_true(s.awake > s.steps * 98 / 100 && s.awake < s.steps);
}

/* Drafts that turn useless, and useful again. */
static void change_is_noticed(void **state) {
  (void)state;
  tlt_arbiter a = {.few = 4};
  arbitrate(&a, 8, 4000, 2, 1.2);
  shown s = arbitrate(&a, 8, 16000, 1, 1.1);
  assert_true(s.awake < s.steps / 10);
  s = arbitrate(&a, 8, 24000, 2, 1.2);
  assert_true(s.awake > s.steps * 9 / 10);
}

/* Drafts turn useless while the kept trials say that they pay: steps until 8 sequences sleep. */
static int steps_of_an_error(double unit_us) {
  enum { RANGE_OF_8 = 5 };
  tlt_arbiter a = {.few = 4};
  int steps = 0;
  arbitrate(&a, 8, 8000, 2, 1.2);
  for (; a.range[RANGE_OF_8].awake && steps < 100000; steps++) {
    bool trial, awake = tlt_arbiter_awake(&a, 8, &trial);
    tlt_arbiter_observe(&a, 8, 1, awake ? 220 : 200, 2, unit_us);
  }
  return steps;
}

static void prices_call_for_a_trial(void **state) {
  (void)state;
  int without = steps_of_an_error(0), with = steps_of_an_error(100);
  assert_true(with < without / 2);
}

/* Where many gain, few start awake; what is known of one number of sequences stays its own. */
static void ranges_are_judged_apart(void **state) {
  (void)state;
  tlt_arbiter a = {.few = 4};
  bool trial;
  arbitrate(&a, 6, 4000, 2, 1.2);
  assert_true(tlt_arbiter_awake(&a, 4, &trial));
  assert_false(tlt_arbiter_awake(&a, 64, &trial));
  arbitrate(&a, 64, 4000, 1, 1.2);
  assert_false(tlt_arbiter_awake(&a, 64, &trial) && !trial);
  assert_true(tlt_arbiter_awake(&a, 6, &trial));
  tlt_arbiter_observe(&a, 6, 1, NAN, 1, 1);
  tlt_arbiter_observe(&a, 6, 1, -1, 1, 1);
  tlt_arbiter_observe(&a, 6, 0, 1, 1, 1);
  tlt_arbiter_observe(&a, 100000, 1, 1, 1, 1);
}

/* ---- lengths -----------------------------------------------------------------------------------
 */

static void long_answers_are_expected_to_go_on_longer(void **state) {
  (void)state;
  tlt_lengths l = {0};
  assert_true(tlt_lengths_left(&l, 100) >= 100);
  for (int i = 0; i < 900; i++) tlt_lengths_add(&l, 40 + i % 40);
  for (int i = 0; i < 100; i++) tlt_lengths_add(&l, 600 + i);
  double young = tlt_lengths_left(&l, 10), old = tlt_lengths_left(&l, 150);
  assert_true(young > 60 && young < 180);
  assert_true(old > 350 && old < 600);
}

/* ---- bandits -----------------------------------------------------------------------------------
 */

static void strategies_parse_strictly(void **state) {
  (void)state;
  static const char *const bad[] = {"",       "8",      "8_4",    "8_4_",   "8_4_1",
                                    "0_4_8",  "33_1_8", "8_5_16", "8_4_65", "8_4_8_1",
                                    "8_4_8x", " 8_4_8", "8__8",   "-1_4_8"};
  tlt_strategy s;
  assert_true(tlt_strategy_parse("12_4_32", 7, &s));
  assert_true(s.depth == 12 && s.topk == 4 && s.verify == 32);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(tlt_strategy_parse(bad[i], strlen(bad[i]), &s));
}

/* Strategy i is `quality[i]` good at every batch size. */
static int favourite(tlt_bandit *b, int sequences, int n, const double *quality) {
  int used[TLT_BANDIT_STRATEGIES] = {0}, index, best = 0;
  for (int i = 0; i < 4000; i++) {
    tlt_bandit_choose(b, sequences, &index);
    used[index] += i >= 2000;
    tlt_bandit_reward(b, index, sequences, 2 * sequences, (1 + 0.1 * uniform()) / quality[index]);
  }
  for (int i = 1; i < n; i++)
    if (used[i] > used[best]) best = i;
  assert_true(used[best] > 1500);
  return best;
}

static void bandits_find_the_best_strategy(void **state) {
  (void)state;
  static const tlt_strategy s[4] = {{8, 2, 16}, {4, 2, 8}, {4, 1, 5}, {1, 1, 2}};
  static const double quality[4] = {1, 2, 1.5, 0.5};
  static const tlt_bandit_kind kinds[] = {TLT_BANDIT_EG, TLT_BANDIT_UCB1};
  for (int k = 0; k < 2; k++) {
    tlt_bandit *b;
    assert_int_equal(tlt_bandit_create(kinds[k], s, 4, 7, &b, NULL), TLT_OK);
    assert_int_equal(favourite(b, 3, 4, quality), 1);
    tlt_bandit_free(b);
  }
}

static void every_bucket_of_beg_mab_holds_several_strategies(void **state) {
  (void)state;
  static const int batch[] = {1, 3, 8, 40, 300};
  tlt_bandit *b;
  assert_int_equal(tlt_bandit_create(TLT_BANDIT_BEG, NULL, 0, 7, &b, NULL), TLT_OK);
  for (int i = 0; i < 5; i++) {
    int seen[TLT_BANDIT_STRATEGIES] = {0}, count = 0, index, widest = 0;
    for (int t = 0; t < 400; t++) {
      const tlt_strategy *s = tlt_bandit_choose(b, batch[i], &index);
      seen[index] = 1;
      if (s->verify > widest) widest = s->verify;
      tlt_bandit_reward(b, index, batch[i], 2 * batch[i], 0.01);
    }
    for (int j = 0; j < TLT_BANDIT_STRATEGIES; j++) count += seen[j];
    assert_true(count >= 2 && count < 12);
    if (i == 4) assert_true(widest <= 4);
  }
  tlt_bandit_free(b);
  tlt_err err;
  assert_int_equal(tlt_bandit_create(TLT_BANDIT_EG, &(tlt_strategy){1, 1, 2}, 0, 7, &b, &err),
                   TLT_EUSAGE);
}

int main(void) {
  noise = tlt_stream_open(11, TLT_PURPOSE_TASK, 0, 0, 0);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cost_curve_follows_a_noisy_machine),
      cmocka_unit_test(cost_curve_separates_slow_moments_from_dear_rows),
      cmocka_unit_test(cost_rises_with_rows),
      cmocka_unit_test(calibration_learns_cells_and_backs_off),
      cmocka_unit_test(worth_keeps_what_is_above_the_threshold),
      cmocka_unit_test(plan_takes_the_best_number_of_nodes),
      cmocka_unit_test(plan_fills_flat_stretches_and_stops_behind_them),
      cmocka_unit_test(deepening_weighs_price_against_what_it_opens),
      cmocka_unit_test(daring_plans_take_more),
      cmocka_unit_test(prompts_make_no_node_worth_more),
      cmocka_unit_test(what_is_slower_sleeps),
      cmocka_unit_test(what_is_faster_is_awake),
      cmocka_unit_test(change_is_noticed),
      cmocka_unit_test(prices_call_for_a_trial),
      cmocka_unit_test(ranges_are_judged_apart),
      cmocka_unit_test(long_answers_are_expected_to_go_on_longer),
      cmocka_unit_test(strategies_parse_strictly),
      cmocka_unit_test(bandits_find_the_best_strategy),
      cmocka_unit_test(every_bucket_of_beg_mab_holds_several_strategies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
