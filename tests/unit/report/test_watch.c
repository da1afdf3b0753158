/* The feed behind /events: order, ids, what is dropped and what a reader is told then; the text
 * behind /metrics. The server itself is tested by tests/unit/http and tests/py/test_watch.py.
 * Alone: build/tests/unit/report/test_report_watch */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "events/spans.h"
#include "report/prometheus.h"
#include "report/watch_feed.h"

static tlt_err err;

static void ok(tlt_status s) {
  if (s != TLT_OK) fail_msg("%s", err.text);
}

static tlt_feed *opened(void) {
  tlt_feed *f = NULL;
  ok(tlt_feed_open(&f, &err));
  return f;
}

static void put_step(tlt_feed *f, int step) {
  char json[64];
  int n = snprintf(json, sizeof json, "{\"step\": %d}", step);
  ok(tlt_feed_step(f, json, (size_t)n, &err));
}

static void put_timeline(tlt_feed *f, int64_t step, int workers) {
  static tlt_account account;
  tlt_text packed = {0};
  for (int w = 0; w < workers; w++) {
    char bytes[TLT_ACCOUNT_BYTES_MAX];
    tlt_account_begin(&account, step, w, TLT_WORK_OTHER);
    tlt_account_enter_for(&account, TLT_WORK_GRADIENT, 7);
    tlt_account_decoded(&account, 4, 9);
    tlt_account_finish(&account);
    size_t n = tlt_account_pack(&account, bytes);
    tlt_text_add_n(&packed, (const char *)&n, sizeof n);
    tlt_text_add_n(&packed, bytes, n);
  }
  ok(tlt_feed_timeline(f, packed.data, packed.n, &err));
  tlt_text_free(&packed);
}

static const tlt_feed_progress progress = {
    .phase = "rollout", .step = 3, .steps = 9, .done = 1, .total = 4, .rate = 10, .left = 5};

/* Reads one event, whose kind is returned; "" when there is none. */
static const char *next(tlt_feed *f, uint64_t *at, tlt_feed_found want, tlt_text *frame) {
  static char kind[32];
  tlt_text_clear(frame);
  kind[0] = 0;
  assert_int_equal(tlt_feed_read(f, at, frame), want);
  if (want == TLT_FEED_EVENT) {
    assert_int_equal(sscanf(frame->data, "id: %*s\nevent: %31s\ndata: {", kind), 1);
    assert_string_equal(frame->data + frame->n - 2, "\n\n");
    assert_ptr_equal(strstr(frame->data, "\n\n"), frame->data + frame->n - 2);
  }
  return kind;
}

static void test_order(void **state) {
  (void)state;
  tlt_feed *f = opened();
  tlt_text frame = {0};
  uint64_t at = 0, late;
  next(f, &at, TLT_FEED_NOTHING, &frame);
  tlt_feed_progress_put(f, &progress);
  put_timeline(f, 1, 2);
  put_step(f, 1);
  tlt_feed_progress_put(f, &progress); /* only the newest is kept */
  assert_string_equal(next(f, &at, TLT_FEED_EVENT, &frame), "timeline");
  assert_non_null(strstr(frame.data, "{\"step\": 1, \"workers\": [{\"worker\":0,"));
  assert_non_null(strstr(frame.data, "{\"worker\":1,"));
  assert_non_null(strstr(frame.data, "\"gradient\""));
  assert_string_equal(next(f, &at, TLT_FEED_EVENT, &frame), "step");
  assert_non_null(strstr(frame.data, "data: {\"step\": 1}\n\n"));
  assert_string_equal(next(f, &at, TLT_FEED_EVENT, &frame), "progress");
  next(f, &at, TLT_FEED_NOTHING, &frame);
  late = tlt_feed_recent(f);
  assert_string_equal(next(f, &late, TLT_FEED_EVENT, &frame), "timeline"); /* drawn once more */
  tlt_feed_end(f, "stopped", "a \"reason\"\n");
  tlt_feed_end(f, "failed", NULL); /* the first counts */
  assert_string_equal(next(f, &at, TLT_FEED_EVENT, &frame), "end");
  assert_non_null(
      strstr(frame.data, "{\"state\": \"stopped\", \"reason\": \"a \\\"reason\\\"\\n\"}"));
  next(f, &at, TLT_FEED_OVER, &frame);
  at = 0;
  int n = 0;
  for (; tlt_feed_read(f, &at, &frame) == TLT_FEED_EVENT; n++) continue;
  assert_int_equal(n, 4);
  tlt_text_free(&frame);
  tlt_feed_free(f);
  tlt_feed_free(NULL);
}

static void test_ids(void **state) {
  (void)state;
  tlt_feed *f = opened();
  char id[TLT_FEED_ID_MAX], other[TLT_FEED_ID_MAX + 2];
  uint64_t at = 0;
  for (int i = 0; i < 5; i++) put_step(f, i);
  assert_int_equal(tlt_feed_now(f), 5);
  tlt_feed_id(f, 3, id);
  assert_true(tlt_feed_place(f, id, &at));
  assert_int_equal(at, 3);
  static const char *const bad[] = {"",    ".",  "3",  "x.3",
                                    "1.3", "\n", ".3", "0.99999999999999999999"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(tlt_feed_place(f, bad[i], &at));
  snprintf(other, sizeof other, "%sx", id);
  assert_false(tlt_feed_place(f, other, &at));
  snprintf(other, sizeof other, "0%s", id);
  assert_false(tlt_feed_place(f, other, &at));
  tlt_feed_id(f, 6, id); /* not yet */
  assert_false(tlt_feed_place(f, id, &at));
  tlt_feed_free(f);
}

/* Memory is bounded, and whoever is too far behind learns it. */
static void test_drops(void **state) {
  (void)state;
  enum { BYTES = 100000, STEPS = TLT_FEED_STEP_BYTES / BYTES + 20 };
  tlt_feed *f = opened();
  tlt_text frame = {0};
  char *json = tlt_calloc(1, BYTES);
  memset(json, ' ', BYTES);
  json[0] = '{';
  json[BYTES - 1] = '}';
  uint64_t at = 0, kept = STEPS - 5;
  for (int i = 0; i < STEPS; i++) ok(tlt_feed_step(f, json, BYTES, &err));
  assert_false(tlt_feed_holds(f, 0));
  assert_true(tlt_feed_holds(f, kept));
  next(f, &at, TLT_FEED_MISSED, &frame);
  assert_int_equal(at, STEPS);
  next(f, &at, TLT_FEED_NOTHING, &frame);
  assert_string_equal(next(f, &kept, TLT_FEED_EVENT, &frame), "step");
  for (int i = 0; i < 20; i++) put_timeline(f, i, 2);
  int timelines = 0;
  at = STEPS;
  while (tlt_feed_read(f, &at, &frame) == TLT_FEED_EVENT) timelines++;
  assert_int_equal(timelines, TLT_FEED_TIMELINES);
  tlt_free(json);
  tlt_text_free(&frame);
  tlt_feed_free(f);
}

/* One thread puts, another reads everything in order. */
static void *put_many(void *context) {
  for (int i = 0; i < 20000; i++) {
    tlt_feed_progress_put(context, &progress);
    put_step(context, i);
    if (i % 50 == 0) put_timeline(context, i, 1);
  }
  tlt_feed_end(context, "done", NULL);
  return NULL;
}

static void test_two_threads(void **state) {
  (void)state;
  tlt_feed *f = opened();
  tlt_text frame = {0};
  pthread_t thread;
  uint64_t at = 0, before = 0;
  int steps = 0;
  assert_int_equal(pthread_create(&thread, NULL, put_many, f), 0);
  for (tlt_feed_found found = TLT_FEED_EVENT; found != TLT_FEED_OVER;) {
    tlt_text_clear(&frame);
    found = tlt_feed_read(f, &at, &frame);
    assert_int_not_equal(found, TLT_FEED_MISSED);
    if (found != TLT_FEED_EVENT) continue;
    assert_true(at > before);
    before = at;
    steps += strstr(frame.data, "event: step\n") != NULL;
  }
  pthread_join(thread, NULL);
  assert_int_equal(steps, 20000);
  tlt_text_free(&frame);
  tlt_feed_free(f);
}

/* ---- Prometheus ---------------------------------------------------------------------------------
 */

static void expect(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("%s: missing in\n%s", part, text);
}

static void test_prometheus(void **state) {
  (void)state;
  static const char step[] =
      "{\"step\": 3, \"reward/mean\": 0.5, \"loss\": null, \"rollout/sha256\": \"x\","
      "\"workers/0/idle\": 1.5, \"workers/idle\": 2, \"workers/1/idle\": 0.5,"
      "\"spec/drafted\": 9, \"spec/drafted/eagle/1\": 4, \"spec/drafted/both/16+\": 5,"
      "\"completions/length_le/64\": 7, \"a/b\": 1, \"a_b\": 2, \"o\\\\dd\\n\\\"key\": 3}";
  tlt_text text = {0};
  tlt_prometheus p = {.run = "runs/a\"b\\c\n",
                      .program = "1",
                      .step = step,
                      .n = sizeof step - 1,
                      .progress = &progress};
  ok(tlt_prometheus_write(&p, &text, &err));
  expect(text.data, "tlt_run_info{run=\"runs/a\\\"b\\\\c\\n\",program=\"1\"} 1\n");
  expect(text.data, "tlt_run_phase{phase=\"rollout\"} 1\n");
  expect(text.data, "# TYPE tlt_reward_mean gauge\ntlt_reward_mean 0.5\n");
  expect(text.data,
         "# TYPE tlt_worker_seconds gauge\ntlt_worker_seconds{worker=\"0\",state=\"idle\"} 1.5\n"
         "tlt_worker_seconds{worker=\"1\",state=\"idle\"} 0.5\n");
  expect(text.data, "tlt_spec_drafted 9\n");
  expect(text.data, "tlt_spec_drafted_by{source=\"both\",depth=\"16+\"} 5\n");
  expect(text.data, "tlt_completions_length_le{tokens=\"64\"} 7\n");
  expect(text.data, "tlt_a_b 1\n"); /* of two keys with one name the first */
  assert_null(strstr(text.data, "tlt_a_b 2"));
  assert_null(strstr(text.data, "loss"));
  expect(text.data, "tlt_run_seconds_left 5\n");
  tlt_text_clear(&text);
  p.step = "[1]";
  p.n = 3;
  assert_int_equal(tlt_prometheus_write(&p, &text, &err), TLT_EDATA);
  tlt_text_clear(&text);
  p.n = 0;
  p.progress = NULL;
  ok(tlt_prometheus_write(&p, &text, &err));
  tlt_text_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_drops),      cmocka_unit_test(test_two_threads),
      cmocka_unit_test(test_prometheus),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
