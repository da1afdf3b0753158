/* Whether runs are the same bit for bit: one bit of one value, one token, keys of one side only.
 * Alone: build/tests/unit/report/test_report_compare */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "made_run.h"
#include "report/compare.h"

static char top[64], a[TLT_PATH_MAX], b[TLT_PATH_MAX];
static tlt_err err;
static tlt_comparison runs;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-compare-XXXXXX");
  if (!mkdtemp(top)) return -1;
  tlt_path_join(a, top, "a");
  tlt_path_join(b, top, "b");
  made_run(a, -1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  tlt_comparison_free(&runs);
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static const tlt_identity *compare(void) {
  const char *const paths[] = {a, b};
  tlt_comparison_free(&runs);
  if (tlt_comparison_open(&runs, paths, 2, &err) != TLT_OK) fail_msg("%s", err.text);
  return &runs.identity[1];
}

static void says(const tlt_identity *i, const char *what) {
  tlt_text text = {0};
  tlt_identity_say(i, "a", "b", &text);
  if (!strstr(text.data, what)) fail_msg("\"%s\" is not in \"%s\"", what, text.data);
  tlt_text_free(&text);
}

static void test_identical(void **state) {
  (void)state;
  made_run(b, -1);
  const tlt_identity *i = compare();
  assert_int_equal(i->steps, MADE_STEPS + 1);
  assert_int_equal(i->step, -1);
  assert_int_equal(i->hashed, MADE_STEPS + 1);
  says(i, "bit-identical: ");
  assert_int_equal(runs.n_config, 0);
}

static void test_one_bit(void **state) {
  (void)state;
  made_run(b, 4);
  const tlt_identity *i = compare();
  assert_int_equal(i->step, 4);
  assert_int_equal(i->hash_step, 4);
  assert_string_equal(i->key, "reward/mean");
  assert_int_equal(i->more, 2);
  assert_int_equal(i->answer_step, 4);
  assert_int_equal(i->answer.sample, 1);
  assert_int_equal(i->answer.token, 2);
  assert_int_equal(i->answer.token_a, 12);
  assert_int_equal(i->answer.token_b, 99);
  says(i, "step 4: reward/mean is 0.40000000000000002 against 0.40000000000000008");
  says(i, "token 2 (id 12 against id 99): \"cd\" against \"Xd\"");
}

/* Without ids the text has to do. */
static void test_older_rollout_files(void **state) {
  (void)state;
  static const char x[] =
      "{\"rollout\": 4, \"sample\": 0, \"text\": \"same\"}\n"
      "{\"rollout\": 4, \"sample\": 1, \"text\": \"caf\xc3\xa9\"}\n";
  static const char y[] =
      "{\"rollout\": 4, \"sample\": 0, \"text\": \"same\"}\n"
      "{\"rollout\": 4, \"sample\": 1, \"text\": \"caf\xc3\xa8\\u202e\"}\n";
  made_run(b, 4);
  made_file(a, "rollouts/step-4.jsonl", x, strlen(x));
  made_file(b, "rollouts/step-4.jsonl", y, strlen(y));
  const tlt_identity *i = compare();
  assert_int_equal(i->answer.token, -1);
  assert_string_equal(i->answer.text_a, "\xc3\xa9");
  assert_string_equal(i->answer.text_b, "\xc3\xa8?");
  says(i, "step 4, rollout 4, sample 1: \"\xc3\xa9\" against");
}

static void test_no_answers_kept(void **state) {
  (void)state;
  char path[TLT_PATH_MAX];
  made_run(b, 4);
  tlt_path_join(path, b, "rollouts");
  tlt_path_remove(path, &err);
  says(compare(), "No answers were kept");
}

static void put_metrics(const char *run, const char *text) {
  made_file(run, "metrics.jsonl", text, strlen(text));
}

static void test_other_keys(void **state) {
  (void)state;
  made_run(b, -1);
  put_metrics(a,
              "{\"step\": 1, \"x\": 1, \"old\": 1, \"time/step\": 2, \"n\": null}\n{\"step\": 3, "
              "\"x\": 2}\n");
  put_metrics(b,
              "{\"step\": 1, \"x\": 1.0, \"new\": 1, \"time/step\": 3, \"n\": null}\n{\"step\": 2, "
              "\"x\": 2}\n");
  const tlt_identity *i = compare();
  assert_int_equal(i->steps, 1);
  assert_int_equal(i->values, 3);
  assert_int_equal(i->step, -1);
  says(i, "does not prove the same bits");
  put_metrics(b, "{\"step\": 1, \"x\": 1, \"n\": 0}\n");
  assert_string_equal(compare()->key, "n");
  put_metrics(b, "{\"step\": 7, \"x\": 1}\n");
  says(compare(), "have no step in common");
}

/* The same training, evaluated otherwise. */
static void test_only_evaluation_differs(void **state) {
  (void)state;
  made_run(b, -1);
  put_metrics(a, "{\"step\": 1, \"eval/accuracy\": 0.5, \"weights/sha256\": \"ab\"}\n");
  put_metrics(b, "{\"step\": 1, \"eval/accuracy\": 0.25, \"weights/sha256\": \"ab\"}\n");
  says(compare(), "by their hashes, but other values differ, first at step 1: eval/accuracy");
}

static void test_configuration(void **state) {
  (void)state;
  static const char config[] = "model: models/y\nseed: 1\nrollout:\n  prompts: 4\nextra: 1\n";
  made_run(b, -1);
  made_file(b, "config.yaml", config, strlen(config));
  compare();
  assert_int_equal(runs.n_config, 3); /* model, optimizer.betas, extra */
  assert_string_equal(runs.config[0].text[1], "models/y");
  assert_string_equal(runs.config[1].text[1], "-");
  assert_string_equal(runs.config[2].text[0], "-");
}

static void test_json(void **state) {
  (void)state;
  tlt_json_writer w = {0};
  json_t *value = NULL;
  made_run(b, 2);
  compare();
  assert_int_equal(tlt_comparison_json(&runs, &w, &err), TLT_OK);
  assert_int_equal(tlt_json_parse(w.text.data, w.text.n, "json", 0, &value, &err), TLT_OK);
  json_decref(value);
  tlt_text_free(&w.text);
  w = (tlt_json_writer){0};
  assert_int_equal(tlt_comparison_payload(&runs, &w, &err), TLT_OK);
  assert_int_equal(tlt_json_parse(w.text.data, w.text.n, "payload", 0, &value, &err), TLT_OK);
  assert_int_equal(json_array_size(json_object_get(value, "runs")), 2);
  json_decref(value);
  tlt_text_free(&w.text);
}

static void test_usage(void **state) {
  (void)state;
  const char *const paths[] = {a};
  assert_int_equal(tlt_comparison_open(&runs, paths, 1, &err), TLT_EUSAGE);
  const char *const twice[] = {a, a};
  assert_int_equal(tlt_comparison_open(&runs, twice, 2, &err), TLT_OK);
  assert_string_equal(runs.name[1], "a (2)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_identical, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_bit, setup, teardown),
      cmocka_unit_test_setup_teardown(test_older_rollout_files, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_answers_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(test_other_keys, setup, teardown),
      cmocka_unit_test_setup_teardown(test_only_evaluation_differs, setup, teardown),
      cmocka_unit_test_setup_teardown(test_configuration, setup, teardown),
      cmocka_unit_test_setup_teardown(test_json, setup, teardown),
      cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
