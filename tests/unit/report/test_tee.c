/* Several sinks as one: all get everything, a needed one decides, any other may fail.
 * Alone: build/tests/unit/report/test_report_tee */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/log.h"
#include "report/tee.h"

enum { NEVER = -1 };

/* A sink that counts its calls and fails at the one asked for. */
typedef struct counter {
  int starts, puts, syncs, closes;
  int fail_start, fail_put, fail_sync; /* at the call of this number, or NEVER */
} counter;

static const counter good = {.fail_start = NEVER, .fail_put = NEVER, .fail_sync = NEVER};
static tlt_err err;
static int warnings;
static char warning[256];

static tlt_status answer(int call, int fail_at, tlt_err *e) {
  return call == fail_at ? tlt_fail(e, TLT_EIO, "disk full") : TLT_OK;
}

static tlt_status start(void *context, const char *run, int64_t last_step, void **state,
                        tlt_err *e) {
  counter *c = context;
  assert_string_equal(run, "run");
  assert_int_equal(last_step, 7);
  *state = c;
  return answer(c->starts++, c->fail_start, e);
}

static tlt_status put(void *state, const tlt_metrics *m, tlt_err *e) {
  counter *c = state;
  assert_int_equal(m->step, 8);
  return answer(c->puts++, c->fail_put, e);
}

static tlt_status put_account(void *state, const tlt_account *a, tlt_err *e) {
  counter *c = state;
  assert_int_equal(a->step, 8);
  return answer(c->puts++, c->fail_put, e);
}

static tlt_status sync_counter(void *state, tlt_err *e) {
  counter *c = state;
  return answer(c->syncs++, c->fail_sync, e);
}

static tlt_status close_counter(void *state, tlt_err *e) {
  counter *c = state;
  (void)e;
  c->closes++;
  return TLT_OK;
}

static tlt_metrics_sink metrics_of(counter *c) {
  return (tlt_metrics_sink){start, put, sync_counter, close_counter, c};
}

static void take_warning(void *context, tlt_log_level level, const char *text) {
  (void)context;
  assert_int_equal(level, TLT_LOG_WARN);
  strncpy(warning, text, sizeof warning - 1);
  warnings++;
}

/* One run with two puts; the first status that is not OK. */
static tlt_status go(tlt_metrics_sink s) {
  static const tlt_metrics m = {.step = 8};
  void *state = NULL;
  tlt_status first = s.start(s.context, "run", 7, &state, &err);
  for (int i = 0; first == TLT_OK && i < 2; i++) first = s.put(state, &m, &err);
  if (first == TLT_OK) first = s.sync(state, &err);
  tlt_status closed = s.close(state, NULL);
  return first == TLT_OK ? closed : first;
}

static tlt_status go_two(counter *needed, counter *other) {
  tlt_metrics_sink a = metrics_of(needed), b = metrics_of(other);
  tlt_tee tee = {0};
  tlt_tee_add(&tee, &(tlt_tee_part){.name = "file", .needed = true, .metrics = &a});
  tlt_tee_add(&tee, &(tlt_tee_part){.name = "page", .metrics = &b});
  warnings = 0;
  return go(tlt_tee_metrics(&tee));
}

static void test_all_get_everything(void **state) {
  (void)state;
  counter a = good, b = good;
  assert_int_equal(go_two(&a, &b), TLT_OK);
  assert_memory_equal(&a, &b, sizeof a);
  assert_int_equal(a.starts + 10 * a.puts + 100 * a.syncs + 1000 * a.closes, 1121);
  assert_int_equal(warnings, 0);
}

static void test_other_part_is_dropped_with_one_warning(void **state) {
  (void)state;
  counter a = good, at_put = good, at_sync = good, at_start = good;
  at_put.fail_put = at_sync.fail_sync = at_start.fail_start = 0;
  assert_int_equal(go_two(&a, &at_put), TLT_OK);
  assert_int_equal(warnings, 1);
  assert_string_equal(warning, "page: disk full; going on without it");
  assert_int_equal(at_put.puts, 1);
  assert_int_equal(at_put.closes, 1);
  assert_int_equal(a.puts, 2);
  assert_int_equal(go_two(&a, &at_sync), TLT_OK);
  assert_int_equal(warnings, 1);
  assert_int_equal(at_sync.closes, 1);
  assert_int_equal(go_two(&a, &at_start), TLT_OK);
  assert_int_equal(warnings, 1);
  assert_int_equal(at_start.puts + at_start.closes, 0);
}

static void test_needed_part_decides(void **state) {
  (void)state;
  counter a = good, b = good;
  a.fail_put = 1;
  assert_int_equal(go_two(&a, &b), TLT_EIO);
  assert_string_equal(err.text, "disk full");
  assert_int_equal(b.puts, 1);
  assert_int_equal(a.closes, 1);
  assert_int_equal(b.closes, 1);
  assert_int_equal(warnings, 0);
}

static void test_kinds_are_apart(void **state) {
  (void)state;
  static tlt_account account = {.step = 8};
  counter a = good, b = good;
  tlt_metrics_sink m = metrics_of(&a);
  tlt_trace_sink t = {start, put_account, sync_counter, close_counter, &b};
  tlt_tee tee = {0};
  void *trace = NULL;
  tlt_tee_add(&tee, &(tlt_tee_part){.name = "file", .metrics = &m});
  tlt_tee_add(&tee, &(tlt_tee_part){.name = "trace", .trace = &t});
  tlt_trace_sink joined = tlt_tee_trace(&tee);
  assert_int_equal(joined.start(joined.context, "run", 7, &trace, &err), TLT_OK);
  assert_int_equal(go(tlt_tee_metrics(&tee)), TLT_OK);
  assert_int_equal(b.puts, 0);
  assert_int_equal(joined.put(trace, &account, &err), TLT_OK);
  assert_int_equal(joined.close(trace, &err), TLT_OK);
  assert_int_equal(b.puts, 1);
  assert_int_equal(a.puts, 2);
  assert_int_equal(joined.close(NULL, &err), TLT_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_get_everything),
      cmocka_unit_test(test_other_part_is_dropped_with_one_warning),
      cmocka_unit_test(test_needed_part_decides),
      cmocka_unit_test(test_kinds_are_apart),
  };
  tlt_log_set_sink(take_warning, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
