/* What the page is given: valid JSON of any text, pieces of answers, lengths, phases, the estimates
 * of what was saved; bounded sizes.
 * Alone: build/tests/unit/report/test_report_payload */
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

#include "io/json.h"
#include "made_run.h"
#include "report/payload.h"
#include "report/report.h"
#include "report/saved.h"

static char top[64];
static tlt_err err;
static tlt_run_log *run;
static json_t *page;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-payload-XXXXXX");
  if (!mkdtemp(top)) return -1;
  made_run(top, -1);
  return 0;
}

static void forget(void) {
  json_decref(page);
  tlt_run_log_free(run);
  page = NULL;
  run = NULL;
}

static int teardown(void **state) {
  (void)state;
  forget();
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void ok(tlt_status s) {
  if (s != TLT_OK) fail_msg("%s", err.text);
}

/* The payload, read back; returns its bytes. */
static size_t make(void) {
  tlt_json_writer w = {0};
  forget();
  ok(tlt_run_log_open(top, &run, &err));
  ok(tlt_payload_run(run, "0.1.0", NULL, &w, &err));
  ok(tlt_json_parse(w.text.data, w.text.n, "payload", 0, &page, &err));
  size_t n = w.text.n;
  tlt_text_free(&w.text);
  return n;
}

static const json_t *at(const char *path) {
  char copy[256], *rest = copy;
  const json_t *value = page;
  snprintf(copy, sizeof copy, "%s", path);
  for (char *part; value && (part = strsep(&rest, ".")) != NULL;)
    value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part))
                                 : json_object_get(value, part);
  return value;
}

static double number(const char *path) {
  if (!json_is_number(at(path))) fail_msg("%s is no number", path);
  return json_number_value(at(path));
}

static const char *text(const char *path) {
  if (!json_is_string(at(path))) fail_msg("%s is no string", path);
  return json_string_value(at(path));
}

static void test_whole(void **state) {
  (void)state;
  make();
  assert_string_equal(text("run.state"), "done");
  assert_string_equal(text("run.notices.0"), "written by tlt 0.0.9 (old), read by tlt 0.1.0");
  assert_int_equal(json_array_size(at("run.notices")), 1);
  assert_true(number("columns.step.6") == 6);
  assert_true(json_is_null(at("columns.entropy.0")));
  assert_true(number("lengths.first.0") == 3 && number("lengths.first.1") == 4);
  assert_true(number("lengths.first.2") == 1);
  assert_string_equal(text("phases.rows.0.name"), "decoding");
  assert_true(number("phases.rows.0.share") == 0.75);
  assert_true(number("phases.last.steps.0") == 6);
  assert_int_equal(json_array_size(at("samples")), 3 * TLT_PAYLOAD_SAMPLES);
  assert_string_equal(text("samples.0.pieces.1.0"), "bc");
  assert_string_equal(text("samples.0.pieces.1.1"), "s");
  assert_int_equal(json_array_size(at("timeline.steps")), MADE_STEPS + 1);
  assert_true(number("timeline.data.3.1.spans.1.0") == 1.5);
  assert_string_equal(text("timeline.data.3.1.spans.1.2"), "gradient");
  assert_true(number("timeline.data.3.0.points.7.1") == 4);
  assert_true(number("timeline.data.3.0.points.7.2") == 1.5);
}

/* Half of the time gives 1.5 tokens per step at the price of one. */
static void test_saved(void **state) {
  (void)state;
  make();
  assert_string_equal(text("saved.0.what"), "speculation");
  /* per worker and step 4 points of 10 steps, the fifth one has no end of its own but the mark at
   * 1.5 s: 5 points x 0.15 s x 0.5, over 7 steps, carried from 1.5 s to the 3 s of metrics.jsonl
   * per step and two workers */
  assert_true(fabs(number("saved.0.seconds") - 7 * 5 * 0.15 * 0.5) < 1e-6);
  assert_true(fabs(number("saved.1.seconds")) < 1e-6);
  assert_non_null(strstr(text("saved.0.method"), "60 plain measurements"));
}

static void test_saved_needs_plain_steps(void **state) {
  (void)state;
  static tlt_account a;
  tlt_saved saved = {0};
  tlt_saved_row row[TLT_SAVED_ROWS];
  make();
  a = (tlt_account){.step = 1, .n_points = 2, .point = {{0, 1, 4, 8}, {1, 1, 0, 0}}};
  a.seconds[TLT_WORK_DECODING] = 1;
  tlt_saved_add(&saved, &a);
  tlt_saved_estimate(&saved, run, row);
  assert_true(isnan(row[0].seconds) && isnan(row[1].seconds));
  assert_non_null(strstr(row[0].method, "Cannot be known"));
  tlt_saved_free(&saved);
}

static void test_early_gradients(void **state) {
  (void)state;
  static tlt_account a;
  tlt_saved saved = {0};
  tlt_saved_row row[TLT_SAVED_ROWS];
  make();
  a = (tlt_account){.step = 1, .n_spans = 1, .span = {{0, 1, TLT_NO_DETAIL, TLT_WORK_DECODING, 1}}};
  tlt_saved_add(&saved, &a);
  a = (tlt_account){
      .step = 1, .worker = 1, .n_spans = 1, .span = {{0.5, 2.5, 0, TLT_WORK_GRADIENT, 1}}};
  tlt_saved_add(&saved, &a);
  tlt_saved_estimate(&saved, run, row);
  assert_true(fabs(row[1].seconds - 0.25 * 7 / 2) < 1e-9); /* a quarter of 7 s, two workers */
  tlt_saved_free(&saved);
}

static const char hostile[] =
    "{\"step\": 1, \"rollout\": 1, \"sample\": 0, \"tokens\": 5, \"prompt\": "
    "\"</script><b>\\u2028\", "
    "\"text\": \"<img src=x onerror=alert(1)>\xd7\xa9\xd7\x9c\\u202e\\u0007\\u0000\\ud83d\"}\n"
    "{\"step\": 1, \"rollout\": 1, \"sample\": 1, \"text\": \"caf\xc3\xa9\xf0\x9f\x98\x80!\"}\n"
    "{\"step\": 1, \"rollout\": 1, \"sample\": 2, \"text\": \"a\xff\xfe b\"}\n";

static const char hostile_sources[] =
    "{\"step\": 1, \"rollout\": 1, \"sample\": 0, \"sources\": \"se.b.\", \"bytes\": [-5, "
    "99999999999, 1, 1, 1]}\n"
    "{\"step\": 1, \"rollout\": 1, \"sample\": 1, \"sources\": \"sebs\", \"bytes\": [4, 2, 4, 1]}\n"
    "{\"step\": 1, \"rollout\": 1, \"sample\": 2, \"sources\": \"x<y\", \"bytes\": [1, 1, 1]}\n";

static void test_hostile_texts(void **state) {
  (void)state;
  made_file(top, "rollouts/step-1.jsonl", hostile, strlen(hostile));
  made_file(top, "spec.jsonl", hostile_sources, strlen(hostile_sources));
  make();
  assert_non_null(strstr(text("samples.0.pieces.0.0"), "onerror"));
  assert_string_equal(text("samples.1.pieces.0.0"), "caf\xc3\xa9"); /* never half a character */
  assert_string_equal(text("samples.1.pieces.1.1"), "e");
  assert_string_equal(text("samples.1.pieces.1.0"), "\xf0\x9f\x98\x80");
  assert_string_equal(text("samples.2.pieces.0.0"), "a\xef\xbf\xbd\xef\xbf\xbd b");
  bool told = false;
  for (int i = 0; i < run->notices.n; i++)
    told |= strstr(run->notices.text[i], "spec.jsonl line 3") != NULL;
  assert_true(told);
}

/* Pieces of sources that do not fit the text still join to the text. */
static void test_pieces_keep_the_text(void **state) {
  (void)state;
  made_file(top, "rollouts/step-1.jsonl", hostile, strlen(hostile));
  made_file(top, "spec.jsonl", hostile_sources, strlen(hostile_sources));
  make();
  char joined[256] = "";
  size_t i;
  json_t *piece;
  json_array_foreach(at("samples.1.pieces"), i, piece) {
    strcat(joined, json_string_value(json_array_get(piece, 0)));
  }
  assert_string_equal(joined, "caf\xc3\xa9\xf0\x9f\x98\x80!");
}

static void test_long_runs_are_bounded(void **state) {
  (void)state;
  enum { LINES = 1000, KEYS = 700 };
  tlt_text lines = {0};
  for (int i = 0; i < LINES; i++) {
    tlt_text_printf(&lines, "{\"step\": %d", i);
    for (int k = 0; k < KEYS; k++) tlt_text_printf(&lines, ", \"key/%d\": 0.123456789%d", k, i);
    tlt_text_add(&lines, "}\n");
  }
  made_file(top, "metrics.jsonl", lines.data, lines.n);
  tlt_text_free(&lines);
  assert_true(make() < 10000000);
  assert_int_equal(json_object_size(at("columns")), KEYS + 1);
  assert_true(json_array_size(at("columns.step")) >= 400);
}

static void test_page_file(void **state) {
  (void)state;
  tlt_report_result result;
  char path[TLT_PATH_MAX], *html = NULL;
  size_t n = 0;
  made_file(top, "rollouts/step-1.jsonl", hostile, strlen(hostile));
  ok(tlt_report_write(top, NULL, "0.1.0", &result, &err));
  tlt_path_join(path, top, "report.html");
  assert_string_equal(result.path, path);
  ok(tlt_file_load(path, 1 << 24, &html, &n, &err));
  assert_int_equal(n, result.bytes);
  assert_null(strstr(html, "<img src=x"));
  assert_null(strstr(html, "</script><b>"));
  assert_null(strstr(html, "\xe2\x80\xa8"));
  free(html);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
      cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
      cmocka_unit_test_setup_teardown(test_saved_needs_plain_steps, setup, teardown),
      cmocka_unit_test_setup_teardown(test_early_gradients, setup, teardown),
      cmocka_unit_test_setup_teardown(test_hostile_texts, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pieces_keep_the_text, setup, teardown),
      cmocka_unit_test_setup_teardown(test_long_runs_are_bounded, setup, teardown),
      cmocka_unit_test_setup_teardown(test_page_file, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
