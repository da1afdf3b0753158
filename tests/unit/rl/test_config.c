/* Configuration: defaults, what the algorithm decides, rules over several keys.
 * Alone: build/tests/unit/rl/test_rl_config */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "rl/config.h"

static char path[64];
static tlt_err err;

static int setup(void **state) {
  (void)state;
  snprintf(path, sizeof path, "/tmp/tlt-rl-config-%d.yaml", (int)getpid());
  return tlt_file_store(path, "model: m\ndata: {task: countdown}\n", 33, &err) == TLT_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  return unlink(path);
}

static void load(tlt_train_config *c, const char *a, const char *b) {
  const char *sets[] = {a, b};
  err.text[0] = 0;
  if (tlt_train_config_load(path, sets, b ? 2 : a ? 1 : 0, c, &err) != TLT_OK)
    fail_msg("%s", err.text);
}

static void test_defaults(void **state) {
  tlt_train_config c;
  (void)state;
  load(&c, NULL, NULL);
  assert_string_equal(c.common.model, "m");
  assert_int_equal(c.common.seed, 1);
  assert_int_equal(c.rollout.prompts, 16);
  assert_int_equal(c.rollout.samples, 8);
  assert_int_equal(c.algorithm.name, TLT_ALG_GRPO);
  assert_true(c.algorithm.clip_low == 0.2 && c.algorithm.clip_high == 0.28);
  assert_int_equal(c.algorithm.loss, TLT_LOSS_TOKEN_MEAN);
  assert_int_equal(c.algorithm.max_gen, 1);
  assert_true(c.optimizer.betas[0] == 0.9 && c.optimizer.betas[1] == 0.95);
  assert_int_equal(c.log.rollouts, TLT_LOG_SAMPLE);
  assert_null(c.reward.command);
  assert_int_equal(c.drafter.train, TLT_DRAFTER_IDLE);
  assert_int_equal(c.drafter.idle_order[0], TLT_IDLE_GRADIENT);
  assert_int_equal(c.drafter.idle_order[1], TLT_IDLE_DRAFTER);
  assert_int_equal(c.drafter.idle_order[2], TLT_IDLE_LEND);
  tlt_train_config_free(&c);
}

static void test_presets(void **state) {
  tlt_train_config c;
  (void)state;
  load(&c, "algorithm.name=dapo", NULL);
  assert_int_equal(c.algorithm.max_gen, 4);
  assert_int_equal(c.algorithm.overlong, 1024 / 5);
  tlt_train_config_free(&c);
  load(&c, "algorithm.name=dr-grpo", NULL);
  assert_int_equal(c.algorithm.loss, TLT_LOSS_CONSTANT);
  assert_int_equal(c.algorithm.scale, TLT_SCALE_NONE);
  tlt_train_config_free(&c);
  load(&c, "algorithm.name=gspo", "algorithm.clip_low=0.1");
  assert_int_equal(c.algorithm.loss, TLT_LOSS_SEQUENCE_MEAN);
  assert_true(c.algorithm.clip_low == 0.1 && c.algorithm.clip_high == 4e-4);
  tlt_train_config_free(&c);
}

static void refused(const char *a, const char *b, const char *word) {
  tlt_train_config c;
  const char *sets[] = {a, b};
  err.text[0] = 0;
  assert_int_equal(tlt_train_config_load(path, sets, b ? 2 : 1, &c, &err), TLT_EUSAGE);
  if (!strstr(err.text, word)) fail_msg("%s: %s does not name %s", a, err.text, word);
  assert_null(strchr(err.text, '\n'));
}

static void test_rules(void **state) {
  (void)state;
  refused("rollout.samples=1", NULL, "rollout.samples");
  refused("algorithm.minibatches=3", NULL, "algorithm.minibatches");
  refused("algorithm.clip_low=-0.1", NULL, "algorithm.clip_low");
  refused("rollout.temperature=0", NULL, "rollout.temperature");
  refused("algorithm.updates=0", NULL, "algorithm.updates");
  refused("algorithm.overlong=1024", NULL, "algorithm.overlong");
  refused("algorithm.name=rloo", "algorithm.scale=group", "algorithm.scale");
  refused("data.file=x.jsonl", NULL, "data.task");
  refused("data.task=null", NULL, "data.task");
  refused("data.verifier=math", NULL, "data.verifier");
  refused("steps=0", NULL, "steps");
  refused("seed=4294967296", NULL, "seed");
  refused("rollout.prompt=3", NULL, "rollout.prompts");
  refused("drafter.train=always", NULL, "off | idle");
  refused("drafter.unroll=9", NULL, "drafter.unroll");
  refused("drafter.hidden_loss=0", "drafter.token_loss=0", "drafter.token_loss");
  refused("drafter.idle_order=[drafter, drafter]", NULL, "drafter.idle_order");
  refused("speculation.draft=eagle", "drafter.train=off", "drafter.path");
  refused("algorithm.name=ppo", NULL, "algorithm.name");
}

/* The resolved configuration reads back to the same values, presets included. */
static void test_resolved(void **state) {
  tlt_train_config c, again;
  tlt_text text = {0};
  (void)state;
  load(&c, "algorithm.name=dapo", "data.options={}");
  tlt_yaml_write(&tlt_train_schema, &c, true, &text);
  assert_int_equal(
      tlt_yaml_parse(&tlt_train_schema, text.data, text.n, "resolved", NULL, 0, &again, NULL, &err),
      TLT_OK);
  assert_int_equal(again.algorithm.max_gen, c.algorithm.max_gen);
  assert_int_equal(again.algorithm.overlong, c.algorithm.overlong);
  assert_true(again.optimizer.lr == c.optimizer.lr);
  tlt_train_config_free(&c);
  tlt_train_config_free(&again);
  tlt_text_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_presets),
      cmocka_unit_test(test_rules),
      cmocka_unit_test(test_resolved),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
