/* The run directory: who may use it, what a resume cuts back, what a failed start leaves.
 * Alone: build/tests/unit/rl/test_rl_rundir */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/metrics.h"
#include "rl/rundir.h"

static char top[64], dir[128];
static tlt_err err;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-rl-rundir-XXXXXX");
  if (!mkdtemp(top)) return -1;
  snprintf(dir, sizeof dir, "%s/run", top);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void store(const char *name, const char *text) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, name);
  assert_int_equal(tlt_file_store(path, text, strlen(text), &err), TLT_OK);
}

static char *load(const char *name) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_path_join(path, dir, name);
  assert_int_equal(tlt_file_load(path, 1 << 20, &text, &n, &err), TLT_OK);
  return text;
}

static void test_default(void **state) {
  char path[TLT_PATH_MAX];
  (void)state;
  tlt_rundir_default(path, "examples/countdown.yaml");
  assert_string_equal(path, "runs/countdown");
  tlt_rundir_default(path, "plain");
  assert_string_equal(path, "runs/plain");
}

static void test_used(void **state) {
  tlt_rundir r;
  (void)state;
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_NO, &err), TLT_OK);
  assert_false(r.used);
  tlt_rundir_discard(&r); /* could not start: nothing stays */
  tlt_rundir_close(&r);
  assert_false(tlt_path_exists(dir));

  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_YES, &err), TLT_OK); /* nothing to resume */
  store("config.yaml", "model: m\n");
  tlt_rundir_close(&r);
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_NO, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "--resume"));
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_YES, &err), TLT_OK);
  assert_true(r.used);
  tlt_rundir other;
  assert_int_equal(tlt_rundir_open(&other, dir, TLT_RESUME_YES, &err), TLT_EIO); /* locked */
  tlt_rundir_close(&r);
}

static void test_foreign(void **state) {
  tlt_rundir r;
  (void)state;
  assert_int_equal(tlt_dir_make(dir, &err), TLT_OK);
  store("thesis.tex", "x");
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_YES, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "thesis.tex"));
  char **names;
  size_t n;
  assert_int_equal(tlt_dir_list(dir, &names, &n, &err), TLT_OK);
  assert_int_equal(n, 1);
  tlt_dir_list_free(names, n);
}

static void test_begin(void **state) {
  tlt_rundir r;
  char path[TLT_PATH_MAX];
  (void)state;
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_NO, &err), TLT_OK);
  assert_int_equal(tlt_dir_make(r.rollouts, &err), TLT_OK);
  for (int step = 1; step <= 12; step++) {
    tlt_rundir_rollout_path(&r, step, path);
    assert_int_equal(tlt_file_store(path, "{}\n", 3, &err), TLT_OK);
  }
  assert_int_equal(tlt_rundir_begin(&r, "model: m\n", 9, 9, &err), TLT_OK);
  for (int step = 1; step <= 12; step++) {
    tlt_rundir_rollout_path(&r, step, path);
    assert_int_equal(tlt_path_exists(path), step <= 9);
  }
  tlt_rundir_close(&r);
}

static void put(void *m, int64_t step, double value) {
  tlt_metrics x = {.step = step};
  tlt_metrics_real(&x, "loss", value);
  tlt_metrics_count(&x, "n", 3);
  tlt_metrics_text(&x, "sha", "ab");
  assert_int_equal(tlt_metrics_jsonl.put(m, &x, &err), TLT_OK);
}

static void test_metrics(void **state) {
  void *m = NULL;
  (void)state;
  assert_int_equal(tlt_dir_make(dir, &err), TLT_OK);
  assert_int_equal(tlt_metrics_jsonl.start(NULL, dir, -1, &m, &err), TLT_OK);
  put(m, 1, 0.1);
  put(m, 2, NAN);
  put(m, 3, -2);
  assert_int_equal(tlt_metrics_jsonl.sync(m, &err), TLT_OK);
  assert_int_equal(tlt_metrics_jsonl.close(m, &err), TLT_OK);

  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, "metrics.jsonl");
  tlt_file *f;
  assert_int_equal(tlt_file_open(path, TLT_FILE_APPEND, &f, &err), TLT_OK);
  assert_int_equal(tlt_file_write(f, "{\"step\": 4, \"lo", 15, &err), TLT_OK); /* torn by a kill */
  assert_int_equal(tlt_file_close(f, &err), TLT_OK);

  assert_int_equal(tlt_metrics_jsonl.start(NULL, dir, 2, &m, &err), TLT_OK);
  put(m, 3, 5);
  assert_int_equal(tlt_metrics_jsonl.close(m, &err), TLT_OK);
  char *text = load("metrics.jsonl");
  assert_string_equal(text,
                      "{\"step\": 1, \"loss\": 0.10000000000000001, \"n\": 3, \"sha\": \"ab\"}\n"
                      "{\"step\": 2, \"loss\": null, \"n\": 3, \"sha\": \"ab\"}\n"
                      "{\"step\": 3, \"loss\": 5, \"n\": 3, \"sha\": \"ab\"}\n");
  tlt_free(text);
  store("metrics.jsonl", "{\"step\": 1}\nnonsense\n");
  assert_int_equal(tlt_metrics_jsonl.start(NULL, dir, 2, &m, &err), TLT_ECHECKPOINT);
  assert_non_null(strstr(err.text, "metrics.jsonl:2"));
}

static void test_status(void **state) {
  tlt_rundir r;
  (void)state;
  assert_int_equal(tlt_rundir_open(&r, dir, TLT_RESUME_NO, &err), TLT_OK);
  tlt_run_status s = {
      .state = "failed", .step = 3, .steps = 9, .exit_code = 7, .reason = "a \"b\""};
  assert_int_equal(tlt_rundir_status(&r, &s, &err), TLT_OK);
  char *text = load("status.json");
  assert_non_null(strstr(text, "\"exit_code\": 7, \"reason\": \"a \\\"b\\\"\"}"));
  tlt_free(text);
  tlt_rundir_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_default),
      cmocka_unit_test_setup_teardown(test_used, setup, teardown),
      cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
      cmocka_unit_test_setup_teardown(test_begin, setup, teardown),
      cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
      cmocka_unit_test_setup_teardown(test_status, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
