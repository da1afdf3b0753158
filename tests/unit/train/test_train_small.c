/* Schedules and packing. Alone: build/tests/unit/train/test_train_small */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "train/elementwise.h"
#include "train/loss.h"
#include "train/pack.h"
#include "train/schedule.h"

static void packs_in_order_within_groups(void **state) {
  (void)state;
  const int32_t length[] = {5, 4, 3, 20, 1, 2, 9, 1};
  const int32_t group[] = {0, 0, 0, 0, 0, 7, 7, 9};
  int32_t first[9];
  int n = tlt_pack_micro(length, group, 8, 10, first);
  const int32_t want[] = {0, 2, 3, 4, 5, 6, 7, 8};
  assert_int_equal(n, 7);
  assert_memory_equal(first, want, sizeof want);
  n = tlt_pack_micro(length, NULL, 8, 12, first);
  const int32_t one_group[] = {0, 3, 4, 7, 8};
  assert_int_equal(n, 4);
  assert_memory_equal(first, one_group, sizeof one_group);
  assert_int_equal(tlt_pack_micro(length, group, 0, 10, first), 0);
  assert_int_equal(first[0], 0);
}

static void schedules_match_transformers(void **state) {
  (void)state;
  assert_true(tlt_schedule(TLT_SCHEDULE_CONSTANT, 1e-3f, 5, 0, 10) == 1e-3f);
  assert_true(tlt_schedule(TLT_SCHEDULE_CONSTANT, 1e-3f, 0, 4, 10) == 0.0f);
  assert_true(tlt_schedule(TLT_SCHEDULE_CONSTANT, 1e-3f, 1, 4, 10) == 0.25f * 1e-3f);
  assert_true(tlt_schedule(TLT_SCHEDULE_LINEAR, 1.0f, 7, 4, 10) == 0.5f);
  assert_true(tlt_schedule(TLT_SCHEDULE_LINEAR, 1.0f, 10, 4, 10) == 0.0f);
  assert_true(tlt_schedule(TLT_SCHEDULE_COSINE, 1.0f, 4, 4, 10) == 1.0f);
  assert_float_equal(tlt_schedule(TLT_SCHEDULE_COSINE, 1.0f, 7, 4, 10), 0.5f, 1e-7);
  assert_float_equal(tlt_schedule(TLT_SCHEDULE_COSINE, 1.0f, 5, 4, 10), 0.93301270f, 1e-7);
  assert_true(tlt_schedule(TLT_SCHEDULE_COSINE, 1.0f, 12, 4, 10) == 0.0f);
}

static void supervised_loss_sums(void **state) {
  (void)state;
  const float logp[] = {-0.5f, -2.0f, -0.25f};
  float d[3];
  tlt_sft_loss loss = {1.0, 2};
  tlt_loss_sft(&loss, NULL, 3, logp, d);
  assert_true(loss.sum == 3.75);
  assert_int_equal(loss.targets, 5);
  for (int i = 0; i < 3; i++) assert_true(d[i] == -1.0f);
}

/* Against the definition in double, over several vocabulary chunks and an odd rest. */
static void entropy_matches_its_definition(void **state) {
  (void)state;
  enum { N = 2600 };
  static float logits[N];
  tlt_stream s = tlt_stream_open(3, TLT_PURPOSE_TASK, 0, 0, 0);
  for (int i = 0; i < N; i++) logits[i] = 12.0f * (float)(int32_t)tlt_stream_u32(&s) * 0x1p-31f;
  logits[7] = -300.0f; /* no probability left */
  const float temperatures[] = {1.0f, 0.3f, 0.0f};
  for (int k = 0; k < 3; k++) {
    double t = k == 2 ? 1.0 : (double)temperatures[k], z = 0, want = 0;
    for (int i = 0; i < N; i++) z += tlt_exp((double)logits[i] / t);
    double lse = tlt_log(z);
    for (int i = 0; i < N; i++) {
      double logp = (double)logits[i] / t - lse;
      want -= tlt_exp(logp) * logp;
    }
    assert_float_equal(tlt_entropy(logits, N, temperatures[k], (float)lse), want, 1e-5 * want);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packs_in_order_within_groups),
      cmocka_unit_test(schedules_match_transformers),
      cmocka_unit_test(supervised_loss_sums),
      cmocka_unit_test(entropy_matches_its_definition),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
