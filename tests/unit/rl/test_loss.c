/* Advantages and policy losses against TRL and verl (tests/golden/rl/losses.json, made by
 * tools/golden_rl.py).
 * Alone: build/tests/unit/rl/test_rl_loss tests/golden/rl/losses.json */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "io/json.h"
#include "rl/advantage.h"
#include "rl/loss.h"

enum { TOKENS_MAX = 64, SAMPLES_MAX = 16 };
#define TOLERANCE 2e-6 /* inputs are fp32; the reference is double */

static const char *golden_path;
static json_t *golden;

static int setup(void **state) {
  tlt_err err = {0};
  (void)state;
  return tlt_json_load(golden_path, 1 << 20, &golden, &err) == TLT_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  json_decref(golden);
  return 0;
}

static double number(const json_t *o, const char *key) {
  return json_number_value(json_object_get(o, key));
}

static int index_of(const char *name, const char *const *names) {
  for (int i = 0; names[i]; i++)
    if (!strcmp(names[i], name)) return i;
  fail_msg("unknown name %s", name);
  return -1;
}

static int choice(const json_t *o, const char *key, const char *const *names) {
  return index_of(json_string_value(json_object_get(o, key)), names);
}

static const char *const algorithms[] = {"grpo", "dr-grpo", "rloo", "dapo", "gspo", NULL};
static const char *const means[] = {"token-mean", "sequence-mean", "constant", NULL};
static const char *const scales[] = {"group", "batch", "none", NULL};
static const char *const kinds[] = {"k1", "k2", "k3", NULL};

static int read_row(const json_t *rows, size_t i, float *to) {
  const json_t *row = json_array_get(rows, i);
  for (size_t t = 0; t < json_array_size(row); t++)
    to[t] = (float)json_number_value(json_array_get(row, t));
  return (int)json_array_size(row);
}

static void close_to(double got, double want, const char *what, size_t at) {
  if (fabs(got - want) > TOLERANCE * fmax(1, fabs(want)))
    fail_msg("%s of case %zu: got %.9g, expected %.9g", what, at, got, want);
}

static void check_policy(const json_t *c, size_t at) {
  tlt_loss_options o = {.algorithm = (tlt_algorithm)choice(c, "algorithm", algorithms),
                        .mean = (tlt_loss_mean)choice(c, "loss", means),
                        .clip_low = (float)number(c, "clip_low"),
                        .clip_high = (float)number(c, "clip_high"),
                        .kl = (float)number(c, "kl"),
                        .kl_kind = (tlt_kl_kind)choice(c, "kl_estimator", kinds)};
  const json_t *advantage = json_object_get(c, "advantage");
  size_t samples = json_array_size(advantage);
  float logp[TOKENS_MAX], old[TOKENS_MAX], ref[TOKENS_MAX], want[TOKENS_MAX];
  float got[SAMPLES_MAX][TOKENS_MAX];
  int64_t tokens = 0;
  tlt_loss_sums all = {0}, one;
  for (size_t s = 0; s < samples; s++) {
    int n = read_row(json_object_get(c, "logp"), s, logp);
    read_row(json_object_get(c, "old"), s, old);
    read_row(json_object_get(c, "ref"), s, ref);
    float a = (float)json_number_value(json_array_get(advantage, s));
    tlt_policy_loss(&o, n, a, logp, old, o.kl != 0 ? ref : NULL, got[s], &one);
    assert_true(one.finite);
    tokens += n;
    all.loss += one.loss;
    all.kl += one.kl;
    all.low += one.low;
    all.high += one.high;
  }
  float scale = tlt_loss_scale(o.mean, tokens, (int64_t)samples, (int64_t)number(c, "max_tokens"));
  close_to(all.loss * (double)scale, number(c, "value"), "loss", at);
  if (json_object_get(c, "kl_mean"))
    close_to(all.kl / (double)tokens, number(c, "kl_mean"), "kl", at);
  if (json_object_get(c, "clip_low_mean")) {
    close_to((double)all.low / (double)tokens, number(c, "clip_low_mean"), "clipped low", at);
    close_to((double)all.high / (double)tokens, number(c, "clip_high_mean"), "clipped high", at);
  }
  for (size_t s = 0; s < samples; s++) {
    int n = read_row(json_object_get(c, "gradient"), s, want);
    for (int t = 0; t < n; t++) close_to((double)(got[s][t] * scale), want[t], "gradient", at);
  }
}

static void test_policy(void **state) {
  (void)state;
  const json_t *cases = json_object_get(golden, "policy");
  assert_true(json_array_size(cases) >= 18);
  for (size_t i = 0; i < json_array_size(cases); i++) check_policy(json_array_get(cases, i), i);
}

static void check_advantages(const json_t *c, size_t at) {
  const json_t *rewards = json_object_get(c, "reward"), *wants = json_object_get(c, "advantage");
  tlt_algorithm algorithm = (tlt_algorithm)choice(c, "algorithm", algorithms);
  tlt_scale scale = (tlt_scale)choice(c, "scale", scales);
  double reward[SAMPLES_MAX][SAMPLES_MAX], flat[SAMPLES_MAX * SAMPLES_MAX], mean, std;
  size_t groups = json_array_size(rewards), n = 0, all = 0;
  for (size_t g = 0; g < groups; g++) {
    const json_t *row = json_array_get(rewards, g);
    n = json_array_size(row);
    for (size_t s = 0; s < n; s++)
      flat[all++] = reward[g][s] = json_number_value(json_array_get(row, s));
  }
  tlt_mean_std(flat, (int)all, &mean, &std);
  for (size_t g = 0; g < groups; g++) {
    float got[SAMPLES_MAX];
    tlt_advantages(algorithm, scale, reward[g], (int)n, std, got);
    for (size_t s = 0; s < n; s++)
      close_to(got[s], json_number_value(json_array_get(json_array_get(wants, g), s)), "advantage",
               at);
  }
}

static void test_advantages(void **state) {
  (void)state;
  const json_t *cases = json_object_get(golden, "advantages");
  assert_true(json_array_size(cases) >= 7);
  for (size_t i = 0; i < json_array_size(cases); i++) check_advantages(json_array_get(cases, i), i);
}

/* 0.1 is not exact, so the mean of eight of them need not be 0.1. */
static void test_constant_group(void **state) {
  double reward[8];
  float advantage[8];
  (void)state;
  for (int i = 0; i < 8; i++) reward[i] = 0.1;
  assert_true(tlt_rewards_equal(reward, 8));
  for (int a = 0; a <= TLT_ALG_GSPO; a++) {
    tlt_advantages((tlt_algorithm)a, TLT_SCALE_GROUP, reward, 8, 0, advantage);
    for (int i = 0; i < 8; i++) assert_true(advantage[i] == 0);
  }
}

/* DAPO: 20480 tokens, the last 4096 punished, as the paper has it. */
static void test_overlong(void **state) {
  (void)state;
  assert_true(tlt_overlong_penalty(16384, 20480, 4096, 1) == 0);
  assert_true(tlt_overlong_penalty(18432, 20480, 4096, 1) == -0.5);
  assert_true(tlt_overlong_penalty(20480, 20480, 4096, 1) == -1);
  assert_true(tlt_overlong_penalty(20480, 20480, 4096, 0.5) == -0.5);
  assert_true(tlt_overlong_penalty(20480, 20480, 0, 1) == 0);
}

/* Far apart log-probabilities neither overflow nor give a gradient where a clamp is active. */
static void test_extremes(void **state) {
  tlt_loss_options o = {.algorithm = TLT_ALG_GRPO,
                        .clip_low = 0.2f,
                        .clip_high = 0.28f,
                        .kl = 0.1f,
                        .kl_kind = TLT_KL_K3};
  float logp[3] = {-1e-3f, -200.0f, -1.0f}, old[3] = {-300.0f, -0.5f, -1.0f};
  float ref[3] = {-0.1f, -0.1f, -400.0f}, dlogp[3];
  tlt_loss_sums sums;
  (void)state;
  tlt_policy_loss(&o, 3, -1.0f, logp, old, ref, dlogp, &sums);
  assert_true(sums.finite);
  assert_true(isfinite(sums.loss));
  logp[1] = NAN;
  tlt_policy_loss(&o, 3, -1.0f, logp, old, ref, dlogp, &sums);
  assert_false(sums.finite);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_policy),         cmocka_unit_test(test_advantages),
      cmocka_unit_test(test_constant_group), cmocka_unit_test(test_overlong),
      cmocka_unit_test(test_extremes),
  };
  golden_path = argc > 1 ? argv[1] : "tests/golden/rl/losses.json";
  return cmocka_run_group_tests(tests, setup, teardown);
}
