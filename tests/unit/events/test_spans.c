/* Accounts of what a worker does: seconds that add up, spans end to end and bounded, curves, bytes.
 * Alone: build/tests/unit/events/test_events_spans */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "events/spans.h"

static tlt_account a, b;
static tlt_err err;

static void busy(double seconds) {
  for (double until = tlt_now() + seconds; tlt_now() < until;) continue;
}

/* What holds for every finished account. */
static void check(const tlt_account *x) {
  double wall = x->end - x->begin, sum = 0, spans[TLT_WORK_STATES] = {0}, wrong = 0, at = 0;
  for (int i = 0; i < x->n_spans; i++) {
    assert_true(x->span[i].begin == at); /* end to end */
    assert_true(x->span[i].end > at);
    at = x->span[i].end;
    spans[x->span[i].state] += at - x->span[i].begin;
  }
  assert_true(fabs(at - wall) < 1e-9);
  for (int i = 0; i < TLT_WORK_STATES; i++) {
    assert_true(x->seconds[i] >= 0);
    sum += x->seconds[i];
    wrong += fabs(x->seconds[i] - spans[i]) / 2; /* what is missing here is too much elsewhere */
  }
  assert_true(fabs(sum - wall) < 1e-9);
  assert_true(wrong <= x->folded + 1e-9);
}

static void test_states_add_up(void **state) {
  (void)state;
  tlt_account_begin(&a, 7, 2, TLT_WORK_DECODING);
  busy(0.002);
  assert_int_equal(tlt_account_enter(&a, TLT_WORK_REWARD), TLT_WORK_DECODING);
  busy(0.001);
  assert_int_equal(tlt_account_enter_for(&a, TLT_WORK_GRADIENT, 5), TLT_WORK_REWARD);
  tlt_work before = tlt_account_enter(&a, TLT_WORK_DECODING); /* nested use */
  busy(0.001);
  assert_int_equal(tlt_account_enter_for(&a, before, 5), TLT_WORK_DECODING);
  busy(0.001);
  tlt_account_enter_for(&a, TLT_WORK_GRADIENT, 5); /* the same: one span, counted */
  tlt_account_enter_for(&a, TLT_WORK_GRADIENT, 6); /* another group: another span */
  busy(0.001);
  double wall = tlt_account_finish(&a);
  check(&a);
  assert_true(wall == a.end - a.begin && wall > 0.0059);
  assert_int_equal(a.step, 7);
  assert_int_equal(a.worker, 2);
  assert_true(a.seconds[TLT_WORK_DECODING] > 0.0029 && a.seconds[TLT_WORK_REWARD] > 0.0009);
  const tlt_span *last = &a.span[a.n_spans - 1];
  assert_int_equal(last->detail, 6);
  assert_int_equal(last[-1].detail, 5);
  assert_int_equal(last[-1].count, 2);
  assert_true(a.folded == 0);
}

static void test_nothing_outside(void **state) {
  (void)state;
  tlt_account_begin(NULL, 1, 0, TLT_WORK_IDLE);
  assert_int_equal(tlt_account_enter(NULL, TLT_WORK_IDLE), TLT_WORK_OTHER);
  tlt_account_decoded(NULL, 1, 1);
  assert_true(tlt_account_finish(NULL) == 0);
  tlt_account_begin(&a, 1, 0, TLT_WORK_IDLE);
  tlt_account_finish(&a);
  b = a;
  tlt_account_enter(&a, TLT_WORK_UPDATE);
  tlt_account_decoded(&a, 3, 3);
  tlt_account_finish(&a);
  assert_memory_equal(&a, &b, sizeof a);
}

static void test_list_is_bounded(void **state) {
  (void)state;
  tlt_account_begin(&a, 1, 0, TLT_WORK_OTHER);
  for (int i = 0; i < 200000; i++)
    tlt_account_enter_for(&a, i % 2 ? TLT_WORK_DECODING : TLT_WORK_DRAFTER, i);
  busy(0.005);
  tlt_account_enter_for(&a, TLT_WORK_GRADIENT, 9);
  busy(0.005);
  tlt_account_finish(&a);
  assert_true(a.n_spans <= TLT_SPANS_MAX && a.folded > 0);
  check(&a);
  const tlt_span *last = &a.span[a.n_spans - 1]; /* long ones stay */
  assert_int_equal(last->state, TLT_WORK_GRADIENT);
  assert_int_equal(last->detail, 9);
}

/* Equal spans, all longer than the first bound. */
static void test_long_spans_are_bounded_too(void **state) {
  (void)state;
  tlt_account_begin(&a, 1, 0, TLT_WORK_OTHER);
  for (int i = 0; i < 2 * TLT_SPANS_MAX; i++) {
    tlt_account_enter(&a, i % 2 ? TLT_WORK_DECODING : TLT_WORK_DRAFTER);
    busy(0.00025);
  }
  tlt_account_finish(&a);
  assert_true(a.n_spans <= TLT_SPANS_MAX);
  check(&a);
}

static void test_curve(void **state) {
  (void)state;
  int64_t steps = 0, sequences = 0, tokens = 0;
  tlt_account_begin(&a, 1, 0, TLT_WORK_DECODING);
  for (int i = 0; i < 10007; i++) {
    tlt_account_decoded(&a, 8, 20);
    assert_true(a.n_points <= TLT_POINTS_MAX);
  }
  tlt_account_decoded(&a, 0, 0);
  tlt_account_finish(&a);
  double at = 0;
  for (int i = 0; i < a.n_points; i++) {
    assert_true(a.point[i].at >= at);
    at = a.point[i].at;
    steps += a.point[i].steps;
    sequences += a.point[i].sequences;
    tokens += a.point[i].tokens;
  }
  assert_int_equal(steps, 10008);
  assert_int_equal(sequences, 8 * 10007);
  assert_int_equal(tokens, 20 * 10007);
  assert_true(a.n_points > TLT_POINTS_MAX / 4);
  assert_int_equal(a.point[a.n_points - 1].sequences, 0); /* the end is seen */
}

/* An enter that came to nothing leaves no count and no span. */
static void test_unenter(void **state) {
  (void)state;
  tlt_account_begin(&a, 1, 0, TLT_WORK_IDLE);
  busy(0.001);
  tlt_work before = tlt_account_enter(&a, TLT_WORK_DRAFTER);
  tlt_account_unenter(&a, before); /* nothing to do */
  busy(0.001);
  for (int i = 0; i < 3; i++) tlt_account_enter(&a, TLT_WORK_DRAFTER);
  busy(0.001);
  before = tlt_account_enter(&a, TLT_WORK_DRAFTER);
  tlt_account_unenter(&a, before);
  tlt_account_finish(&a);
  check(&a);
  const tlt_span *last = &a.span[a.n_spans - 1];
  assert_int_equal(last->state, TLT_WORK_DRAFTER);
  assert_int_equal(last->count, 3);
  for (const tlt_span *s = a.span; s < last; s++) assert_int_equal(s->state, TLT_WORK_IDLE);
}

static void test_asides(void **state) {
  (void)state;
  double now = tlt_now();
  tlt_account_aside(NULL, TLT_ASIDE_GROUP, 0, 1, now, now);
  tlt_account_begin(&a, 1, 0, TLT_WORK_IDLE);
  tlt_account_aside(&a, TLT_ASIDE_WRITING, 0, 7, a.begin - 3, a.begin + 1); /* began before */
  tlt_account_aside(&a, TLT_ASIDE_GROUP, 0, 8, now + 2, now + 1);           /* impossible */
  tlt_account_aside(&a, TLT_ASIDE_GROUP, 0, 8, NAN, now);
  for (int i = 0; i < 20 * TLT_ASIDES_MAX; i++) {
    tlt_account_aside(&a, TLT_ASIDE_SCORING, i % 5, i, now, now + 0.0001 * (i % 1000));
    assert_true(a.n_asides <= TLT_ASIDES_MAX);
  }
  tlt_account_finish(&a);
  tlt_account_aside(&a, TLT_ASIDE_GROUP, 0, 9, now, now + 10); /* too late */
  assert_int_equal(a.n_asides + a.asides_lost, 20 * TLT_ASIDES_MAX + 1);
  assert_int_equal(a.aside[0].detail, 7); /* the longest stay */
  assert_true(fabs(a.aside[0].begin + 3) < 1e-9 && fabs(a.aside[0].end - 1) < 1e-9);
}

static void test_stages(void **state) {
  (void)state;
  tlt_account_begin(&a, 1, 0, TLT_WORK_IDLE);
  for (int i = 0; i < 3 * TLT_STAGES_MAX; i++)
    tlt_account_stage(&a, i / 2 % 2 ? TLT_STAGE_UPDATE : TLT_STAGE_ROLLOUT);
  assert_int_equal(a.n_stages, TLT_STAGES_MAX);
  for (int i = 1; i < a.n_stages; i++) {
    assert_true(a.stage[i].at >= a.stage[i - 1].at);
    assert_int_not_equal(a.stage[i].stage, a.stage[i - 1].stage);
  }
}

static void test_bytes(void **state) {
  (void)state;
  static unsigned char bytes[TLT_ACCOUNT_BYTES_MAX + 1];
  tlt_account_begin(&a, 12, 3, TLT_WORK_DECODING);
  tlt_account_stage(&a, TLT_STAGE_ROLLOUT);
  tlt_account_stage(&a, TLT_STAGE_UPDATE);
  for (int i = 0; i < 9; i++)
    tlt_account_aside(&a, TLT_ASIDE_SCORING, i, i, a.begin + i, a.begin + 2 * i);
  for (int i = 0; i < 40; i++) {
    tlt_account_enter_for(&a, i % 3 ? TLT_WORK_GRADIENT : TLT_WORK_DRAFTER, i);
    tlt_account_decoded(&a, i, 2 * i);
  }
  tlt_account_finish(&a);
  size_t n = tlt_account_pack(&a, bytes);
  assert_int_equal(n, tlt_account_bytes(&a));
  assert_true(n <= TLT_ACCOUNT_BYTES_MAX);
  memset(&b, 0xAA, sizeof b);
  assert_int_equal(tlt_account_unpack(&b, bytes, n, &err), TLT_OK);
  assert_memory_equal(&a, &b, offsetof(tlt_account, span));
  assert_memory_equal(a.span, b.span, (size_t)a.n_spans * sizeof *a.span);
  assert_memory_equal(a.point, b.point, (size_t)a.n_points * sizeof *a.point);
  assert_memory_equal(a.aside, b.aside, (size_t)a.n_asides * sizeof *a.aside);
  for (size_t cut = 0; cut < n; cut += 13)
    assert_int_equal(tlt_account_unpack(&b, bytes, cut, &err), TLT_EDATA);
  assert_int_equal(tlt_account_unpack(&b, bytes, n + 1, &err), TLT_EDATA);
  /* any single damaged byte: an error or an account that can be used, never more */
  for (size_t i = 0; i < n; i++) {
    bytes[i] ^= 0xFF;
    if (tlt_account_unpack(&b, bytes, n, &err) == TLT_OK) {
      for (int s = 0; s < b.n_spans; s++) assert_non_null(tlt_work_name((tlt_work)b.span[s].state));
      for (int s = 0; s < b.n_asides; s++)
        assert_non_null(tlt_aside_name((tlt_aside_kind)b.aside[s].kind));
      for (int s = 0; s < b.n_stages; s++)
        assert_non_null(tlt_stage_name((tlt_stage)b.stage[s].stage));
    }
    bytes[i] ^= 0xFF;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_states_add_up),   cmocka_unit_test(test_nothing_outside),
      cmocka_unit_test(test_list_is_bounded), cmocka_unit_test(test_long_spans_are_bounded_too),
      cmocka_unit_test(test_curve),           cmocka_unit_test(test_unenter),
      cmocka_unit_test(test_asides),          cmocka_unit_test(test_stages),
      cmocka_unit_test(test_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
