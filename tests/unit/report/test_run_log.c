/* Reading a run directory: thinning, oddities as notices, what is no run; the trace read back.
 * Alone: build/tests/unit/report/test_report_run_log */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/text.h"
#include "made_run.h"
#include "report/run_answers.h"
#include "report/run_log.h"
#include "report/run_trace.h"

static char top[64];
static tlt_err err;
static tlt_run_log *run;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-run-XXXXXX");
  if (!mkdtemp(top)) return -1;
  made_run(top, -1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  tlt_run_log_free(run);
  run = NULL;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void open_run(void) {
  tlt_run_log_free(run);
  if (tlt_run_log_open(top, &run, &err) != TLT_OK) fail_msg("%s", err.text);
}

static bool told(const char *what) {
  for (int i = 0; i < run->notices.n; i++)
    if (strstr(run->notices.text[i], what)) return true;
  return false;
}

static void put_text(const char *name, const char *text) {
  made_file(top, name, text, strlen(text));
}

static void test_all_of_it(void **state) {
  (void)state;
  open_run();
  assert_string_equal(run->state, "done");
  assert_int_equal(run->n_rows, MADE_STEPS + 1);
  assert_int_equal(run->per_row, 1);
  assert_int_equal(run->notices.n, 0);
  assert_string_equal(run->program, "0.0.9 (old)");
  assert_string_equal(tlt_run_config(run, "rollout.prompts"), "4");
  assert_string_equal(tlt_run_config(run, "optimizer.betas"), "[0.9, 0.95]");
  assert_string_equal(run->machine.pair[2].value, "a, b");
  const tlt_run_column *entropy = tlt_run_find(run, "entropy");
  assert_true(isnan(tlt_run_value(entropy, 0)) && tlt_run_value(entropy, 1) == 0.5);
  assert_int_equal(tlt_run_find(run, "eval/accuracy")->n, 4);
  assert_true(tlt_run_total(run, "completions/tokens") == 700);
  assert_int_equal(run->n_hashes, 7);
  assert_int_equal(run->hashes[6].step, 6);
}

static void test_thinned(void **state) {
  (void)state;
  enum { LINES = 5000 };
  tlt_text text = {0};
  for (int i = 0; i < LINES; i++)
    tlt_text_printf(&text, "{\"step\": %d, \"x\": %d%s}\n", i, i, i % 7 ? "" : ", \"rare\": 1");
  made_file(top, "metrics.jsonl", text.data, text.n);
  tlt_text_free(&text);
  open_run();
  assert_int_equal(run->lines, LINES);
  assert_int_equal(run->per_row, 4);
  assert_int_equal(run->n_rows, LINES / 4);
  const tlt_run_column *x = tlt_run_find(run, "x"), *rare = tlt_run_find(run, "rare");
  for (int i = 0; i < run->n_rows; i++) {
    assert_int_equal(run->row_first[i], 4 * i);
    assert_int_equal(run->row_last[i], 4 * i + 3);
    assert_true(tlt_run_value(x, i) == 4 * i + 1.5);
    assert_true(x->cell[i].min == 4 * i && x->cell[i].max == 4 * i + 3);
  }
  assert_int_equal(rare->n, (LINES + 6) / 7);
  assert_true(tlt_run_total(run, "x") == LINES / 2 * (LINES - 1.0));
  assert_true(tlt_run_recent(run, "x") == LINES - 5.5);
}

static void test_oddities(void **state) {
  (void)state;
  put_text("metrics.jsonl",
           "{\"step\": 0, \"x\": 1}\n"
           "garbage\n"
           "{\"step\": 1, \"x\": 2, \"t\": \"\xff\"}\n"
           "{\"x\": 3}\n"
           "{\"step\": 1, \"x\": 4}\n"
           "[1]\n"
           "\n"
           "{\"step\": 2, \"x\": \"five\", \"t\": \"\\u0000\\ud800\"}\n"
           "{\"step\": 3, \"x\": 6");
  open_run();
  assert_int_equal(run->lines, 3);
  assert_int_equal(tlt_run_find(run, "x")->n, 2);
  assert_true(told("metrics.jsonl line 2:"));
  assert_true(told("line 3: offset 26: got byte 0xff, expected UTF-8; shown as U+FFFD"));
  assert_true(told("line 4: has no \"step\""));
  assert_true(told("line 5: step 1 after step 1"));
  assert_true(told("line 6: got an array of 1"));
  assert_true(told("line 8:"));
  assert_true(told("line 9: ends in mid-line, left out"));
}

static void test_missing_parts(void **state) {
  (void)state;
  static const char *const names[] = {"config.yaml", "status.json",   "machine.json",
                                      "trace.json",  "metrics.jsonl", "rollouts"};
  char path[TLT_PATH_MAX];
  for (size_t i = 0; i < 4; i++) {
    tlt_path_join(path, top, names[i]);
    tlt_path_remove(path, NULL);
    open_run();
    assert_int_equal(run->lines, MADE_STEPS + 1);
  }
  assert_true(told("config.yaml is missing") && told("status.json is missing"));
  assert_string_equal(run->state, "unknown");
  tlt_path_join(path, top, names[4]);
  tlt_path_remove(path, NULL);
  tlt_run_log *none = NULL;
  assert_int_equal(tlt_run_log_open(top, &none, &err), TLT_EDATA);
  assert_null(none);
  assert_non_null(strstr(err.text, "missing: metrics.jsonl, config.yaml, status.json"));
}

static void test_no_run(void **state) {
  (void)state;
  char path[TLT_PATH_MAX];
  tlt_run_log *none = NULL;
  tlt_path_join(path, top, "nowhere");
  assert_int_equal(tlt_run_log_open(path, &none, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "does not exist"));
  tlt_path_join(path, top, "config.yaml");
  assert_int_equal(tlt_run_log_open(path, &none, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "got a file"));
  assert_null(none);
}

static void test_not_begun(void **state) {
  (void)state;
  put_text("metrics.jsonl", "");
  open_run();
  assert_int_equal(run->n_rows, 0);
  assert_true(told("holds no step"));
}

static void test_silent_run(void **state) {
  (void)state;
  char text[128];
  snprintf(text, sizeof text, "{\"state\": \"running\", \"step\": 3, \"heartbeat\": %.1f}",
           tlt_wall());
  put_text("status.json", text);
  open_run();
  assert_string_equal(run->state, "running");
  put_text("status.json", "{\"state\": \"running\", \"step\": 3, \"heartbeat\": 1000}");
  open_run();
  assert_string_equal(run->state, "unknown");
  assert_true(told("no sign of life"));
  put_text("status.json", "{\"state\": \"dancing\"}");
  open_run();
  assert_string_equal(run->state, "unknown");
}

/* ---- trace --------------------------------------------------------------------------------------
 */

static void check_account(void *context, const tlt_account *a) {
  int *seen = context;
  assert_int_equal(a->worker, *seen % MADE_WORKERS);
  assert_int_equal(a->n_spans, 2);
  assert_true(fabs(a->span[0].end - 1.5) < 1e-6 && a->span[0].state == TLT_WORK_DECODING);
  assert_int_equal(a->span[0].detail, TLT_NO_DETAIL);
  assert_int_equal(a->span[1].detail, a->step);
  assert_true(fabs(a->end - a->begin - 2) < 1e-6);
  assert_true(a->seconds[TLT_WORK_DECODING] == 1.5);
  assert_int_equal(a->n_points, 11);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(a->point[i].steps, 10);
    assert_int_equal(a->point[i].sequences, 40);
    assert_int_equal(a->point[i].tokens, i < 5 ? 40 : 60);
  }
  *seen += 1;
}

static void test_trace_read_back(void **state) {
  (void)state;
  tlt_run_trace *t = NULL;
  tlt_notices notices = {0};
  int seen = 0;
  assert_int_equal(tlt_run_trace_open(top, &t, &notices, &err), TLT_OK);
  assert_int_equal(tlt_run_trace_count(t), MADE_STEPS + 1);
  for (int i = MADE_STEPS; i >= 0; i--) {
    assert_int_equal(tlt_run_trace_at(t, i)->step, i);
    assert_int_equal(tlt_run_trace_read(t, i, check_account, &seen, &notices, &err), TLT_OK);
  }
  assert_int_equal(seen, MADE_WORKERS * (MADE_STEPS + 1));
  assert_int_equal(notices.n, 0);
  assert_int_equal(tlt_run_trace_stride(t, UINT64_MAX), 1);
  assert_int_equal(tlt_run_trace_stride(t, tlt_run_trace_at(t, 0)->bytes * 5), 2);
  tlt_run_trace_close(t);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static void test_answers(void **state) {
  (void)state;
  tlt_run_answers a = {0};
  tlt_notices notices = {0};
  int64_t *steps = NULL;
  int n = 0;
  put_text("rollouts/step-x.jsonl", "not a step");
  assert_int_equal(tlt_run_answer_steps(top, &steps, &n, &err), TLT_OK);
  assert_int_equal(n, MADE_STEPS);
  assert_int_equal(steps[0], 1);
  tlt_free(steps);
  assert_int_equal(tlt_run_answers_add(&a, top, 3, 4, &notices, &err), TLT_OK);
  assert_int_equal(tlt_run_answers_sources(&a, top, &notices, &err), TLT_OK);
  assert_int_equal(a.n, 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(a.answer[i].sample, 2 * i);
    assert_string_equal(a.answer[i].sources, ".sse");
  }
  assert_int_equal(notices.n, 0);
  tlt_run_answers_free(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_all_of_it, setup, teardown),
      cmocka_unit_test_setup_teardown(test_thinned, setup, teardown),
      cmocka_unit_test_setup_teardown(test_oddities, setup, teardown),
      cmocka_unit_test_setup_teardown(test_missing_parts, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_run, setup, teardown),
      cmocka_unit_test_setup_teardown(test_not_begun, setup, teardown),
      cmocka_unit_test_setup_teardown(test_silent_run, setup, teardown),
      cmocka_unit_test_setup_teardown(test_trace_read_back, setup, teardown),
      cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
