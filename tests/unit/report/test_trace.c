/* trace.json: valid after every put, cut at a step, mended after damage, bounded; the keys of
 * workers. The format itself is checked by tests/py/test_trace.py.
 * Alone: build/tests/unit/report/test_report_trace */
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

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "report/trace.h"
#include "rl/worker_metrics.h"

static char top[64], path[TLT_PATH_MAX];
static tlt_err err;
static tlt_account account;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-trace-XXXXXX");
  if (!mkdtemp(top)) return -1;
  tlt_path_join(path, top, "trace.json");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void ok(tlt_status s) {
  if (s != TLT_OK) fail_msg("%s", err.text);
}

static void put(void *trace, int64_t step, int worker, int spans) {
  tlt_account_begin(&account, step, worker, TLT_WORK_OTHER);
  for (int i = 0; i < spans; i++)
    tlt_account_enter_for(&account, i % 2 ? TLT_WORK_DECODING : TLT_WORK_GRADIENT, i);
  tlt_account_decoded(&account, 4, 9);
  tlt_account_finish(&account);
  ok(tlt_trace_json.put(trace, &account, &err));
}

/* The events of the file, which has to be valid JSON. */
static json_t *load(void) {
  json_t *top_value;
  ok(tlt_json_load(path, 1 << 26, &top_value, &err));
  assert_true(json_is_array(json_object_get(top_value, "traceEvents")));
  return top_value;
}

static int count(const char *cat, int64_t step) {
  json_t *all = load(), *event;
  size_t i;
  int n = 0;
  json_array_foreach(json_object_get(all, "traceEvents"), i, event) {
    n += !strcmp(json_string_value(json_object_get(event, "cat")), cat) &&
         (step < 0 || json_integer_value(json_object_get(event, "step")) == step);
  }
  json_decref(all);
  return n;
}

static void test_valid_after_every_put(void **state) {
  (void)state;
  void *trace;
  ok(tlt_trace_json.start(NULL, top, -1, &trace, &err));
  assert_int_equal(count("work", -1), 0);
  for (int64_t step = 0; step < 5; step++)
    for (int worker = 0; worker < 3; worker++) {
      put(trace, step, worker, 6);
      assert_true(count("work", step) > 0);
      assert_int_equal(count("step", step), worker + 2); /* the step, and totals of each worker */
    }
  ok(tlt_trace_json.sync(trace, &err));
  account.step = 2;
  assert_int_equal(tlt_trace_json.put(trace, &account, &err), TLT_EINTERNAL);
  ok(tlt_trace_json.close(trace, &err));
  ok(tlt_trace_json.close(NULL, &err));
}

static void test_resume_cuts(void **state) {
  (void)state;
  void *trace;
  ok(tlt_trace_json.start(NULL, top, 2, &trace, &err));
  assert_true(count("work", 2) > 0);
  assert_int_equal(count("work", 3) + count("step", 3), 0);
  put(trace, 3, 0, 6);
  put(trace, 3, 4, 6); /* one worker more than before */
  assert_int_equal(count("name", -1), 1 + 2 * (1 + 3 + 1));
  ok(tlt_trace_json.close(trace, &err));
  ok(tlt_trace_json.start(NULL, top, -1, &trace, &err)); /* from the beginning */
  assert_int_equal(count("step", -1), 0);
  ok(tlt_trace_json.close(trace, &err));
}

/* Whatever the file looks like, the start succeeds and leaves a valid one. */
static void test_damage_is_mended(void **state) {
  (void)state;
  void *trace;
  char *text;
  size_t n;
  ok(tlt_trace_json.start(NULL, top, -1, &trace, &err));
  for (int64_t step = 0; step < 3; step++) put(trace, step, 0, 3);
  ok(tlt_trace_json.close(trace, &err));
  ok(tlt_file_load(path, 1 << 20, &text, &n, &err));
  for (size_t cut = 0; cut <= n; cut += cut < 600 || cut + 300 > n ? 1 : 37) {
    ok(tlt_file_store(path, text, cut, &err));
    ok(tlt_trace_json.start(NULL, top, 2, &trace, &err));
    put(trace, 3, 0, 3);
    ok(tlt_trace_json.close(trace, &err));
    assert_int_equal(count("step", 3), 2);
    if (cut == n) assert_int_equal(count("step", 2), 2);
  }
  for (size_t at = 0; at < n; at += 7) {
    text[at] ^= 0x55;
    ok(tlt_file_store(path, text, n, &err));
    ok(tlt_trace_json.start(NULL, top, 2, &trace, &err));
    put(trace, 3, 0, 3);
    ok(tlt_trace_json.close(trace, &err));
    assert_int_equal(count("step", 3), 2);
    text[at] ^= 0x55;
  }
  tlt_free(text);
}

static void test_size_is_bounded(void **state) {
  (void)state;
  enum { LIMIT = 1000000, STEPS = 3000 };
  void *trace;
  ok(tlt_trace_start(top, -1, LIMIT, &trace, &err));
  for (int64_t step = 0; step < STEPS; step++) put(trace, step, 0, 8);
  ok(tlt_trace_json.close(trace, &err));
  json_t *all = load();
  int64_t every =
      json_integer_value(json_object_get(json_object_get(all, "otherData"), "detail_every"));
  json_decref(all);
  assert_true(every > 64 && (every & (every - 1)) == 0);
  int64_t whole = every * ((STEPS - 1) / every); /* the newest step that is kept */
  assert_true(count("work", whole) > 0 && count("work", 0) > 0);
  assert_int_equal(count("work", every / 2), 0);
  assert_int_equal(count("step", every), 2);
  char *text;
  size_t n;
  ok(tlt_file_load(path, 1 << 26, &text, &n, &err));
  tlt_free(text);
  assert_true(n < LIMIT + 20000);                           /* what one put adds */
  ok(tlt_trace_start(top, STEPS - 1, LIMIT, &trace, &err)); /* goes on as thinned as it was */
  put(trace, STEPS, 0, 8);
  assert_int_equal(count("work", STEPS) > 0, STEPS % every == 0);
  ok(tlt_trace_json.close(trace, &err));
}

static double metric(const tlt_metrics *m, const char *key) {
  for (int i = 0; i < m->n; i++)
    if (!strcmp(m->item[i].key, key))
      return m->item[i].kind == TLT_METRIC_COUNT ? (double)m->item[i].count : m->item[i].real;
  fail_msg("%s is missing", key);
  return 0;
}

static void test_keys_of_workers(void **state) {
  (void)state;
  static tlt_account all[9];
  static tlt_metrics m;
  char key[64];
  for (int w = 0; w < 9; w++) {
    all[w] = (tlt_account){.worker = w, .begin = 10, .end = 14};
    all[w].seconds[TLT_WORK_DECODING] = 2.5;
    all[w].seconds[TLT_WORK_IDLE] = 1;
    all[w].seconds[TLT_WORK_WAITING] = w ? 0.5 : 0;
    all[w].seconds[TLT_WORK_UPDATE] = w ? 0 : 0.5;
  }
  tlt_metrics_workers(&m, all, 8, 4);
  double sum = 0;
  for (int i = 0; i < TLT_WORK_STATES; i++) {
    double own = 0;
    for (int w = 0; w < 8; w++) {
      snprintf(key, sizeof key, "workers/%d/%s", w, tlt_work_name((tlt_work)i));
      own += metric(&m, key);
    }
    snprintf(key, sizeof key, "workers/%s", tlt_work_name((tlt_work)i));
    assert_true(metric(&m, key) == own);
    sum += own;
  }
  assert_true(sum == 32 && metric(&m, "workers/seconds") == 32);
  assert_true(metric(&m, "workers/count") == 8);
  assert_true(metric(&m, "workers/idle_fraction") == (8 * 1 + 7 * 0.5) / 32);
  assert_false(m.overflow);
  assert_true(m.n < TLT_METRICS_MAX / 2); /* room for everything else a step has */
  m.n = 0;
  tlt_metrics_workers(&m, all, 9, 4);
  assert_int_equal(m.n, 3 + TLT_WORK_STATES); /* no keys of their own */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_valid_after_every_put), cmocka_unit_test(test_resume_cuts),
      cmocka_unit_test(test_damage_is_mended),      cmocka_unit_test(test_size_is_bounded),
      cmocka_unit_test(test_keys_of_workers),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
