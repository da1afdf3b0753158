/* Generators: purity, disjoint splits, right traces, shape of the length distribution.
 * Run alone: build/tests/unit/tasks/test_task */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the ones above first */
#include <cmocka.h>

#include "base/mem.h"
#include "tasks/task.h"

static tlt_task *open_task(const char *name, const tlt_task_setting *settings, size_t n,
                           tlt_split split, uint32_t seed, bool traces) {
  tlt_task *t;
  tlt_err err = {0};
  if (tlt_task_open(name, settings, n, split, seed, traces, &t, &err) != TLT_OK)
    fail_msg("%s", err.text);
  return t;
}

static tlt_problem make(const tlt_task *t, uint32_t index, tlt_task_room *room) {
  tlt_problem p;
  tlt_err err = {0};
  if (tlt_task_make(t, index, room, &p, &err) != TLT_OK) fail_msg("%s", err.text);
  return p;
}

/* Changes to these texts change every recorded run. */
static void formats_are_fixed(void **state) {
  (void)state;
  static tlt_task_room room;
  tlt_task *t = open_task("countdown", NULL, 0, TLT_SPLIT_ALL, 7, true);
  tlt_problem p = make(t, 1, &room);
  assert_string_equal(p.id, "countdown-7-1");
  assert_string_equal(p.prompt, "19 3 13 18 = 17\n");
  assert_string_equal(p.completion,
                      "1 13-3=10 10*18=180 180+19=199 180-19=161\n"
                      "2 19+13=32 3+18=21 21+32=53 32-21=11\n"
                      "answer (19+13)-(3+18)");
  assert_string_equal(p.meta, "{\"task\":\"countdown\",\"numbers\":[19,3,13,18],\"target\":17}");
  tlt_task_close(t);
  t = open_task("arithmetic", NULL, 0, TLT_SPLIT_ALL, 7, true);
  p = make(t, 0, &room);
  assert_string_equal(p.prompt, "68-42*8*1\n");
  assert_string_equal(p.completion, "42*8=336 336*1=336 68-336=-268\nanswer -268");
  tlt_task_close(t);
}

static void problems_are_pure_functions(void **state) {
  (void)state;
  static tlt_task_room a, b;
  for (const char *const *name = tlt_task_names(); *name; name++) {
    tlt_task *with = open_task(*name, NULL, 0, TLT_SPLIT_RL, 3, true);
    tlt_task *without = open_task(*name, NULL, 0, TLT_SPLIT_RL, 3, false);
    for (uint32_t i = 0; i < 200; i++) {
      tlt_problem p = make(with, 199 - i, &a), q = make(without, i, &b), r = make(with, i, &a);
      assert_string_equal(r.prompt, q.prompt);
      assert_string_equal(r.answer, q.answer);
      assert_null(q.completion);
      assert_non_null(p.completion);
    }
    tlt_task_close(with);
    tlt_task_close(without);
  }
}

static bool says(const tlt_task *t, const tlt_problem *p, const char *text) {
  return tlt_verify(tlt_task_verifier(t), p, text, strlen(text)).score == 1;
}

/* The reference answer is right; each "a*b=c" of a trace is right; a trace that ends with the
 * target is scored 1, every other is parsed and scored 0. */
static void traces_are_right(void **state) {
  (void)state;
  static tlt_task_room room;
  const tlt_task_setting many[] = {{"numbers", 5}, {"more", 0}, {"tries", 99}};
  for (int kind = 0; kind < 3; kind++) {
    tlt_task *t = open_task(kind == 2 ? "arithmetic" : "countdown", many, kind == 1 ? 3 : 0,
                            TLT_SPLIT_TRAIN, 5, true);
    int right = 0;
    for (uint32_t i = 0; i < 3000; i++) {
      tlt_problem p = make(t, i, &room);
      char answer[1100];
      snprintf(answer, sizeof answer, "answer %s", p.answer);
      assert_true(says(t, &p, answer));
      for (const char *at = p.completion; (at = strchr(at, '=')); at++) {
        const char *start = at;
        while (start > p.completion && start[-1] != ' ' && start[-1] != '\n') start--;
        long a, b, c;
        char op;
        assert_int_equal(sscanf(start, "%ld%c%ld=%ld", &a, &op, &b, &c), 4);
        assert_int_equal(c, op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b);
        assert_true(op != '/' || c * b == a);
      }
      const char *last = strrchr(p.completion, '=');
      bool hit = strtol(last + 1, NULL, 10) == p.target;
      tlt_verdict v = tlt_verify(tlt_task_verifier(t), &p, p.completion, p.completion_bytes);
      assert_true(v.parsed);
      assert_int_equal(v.score == 1, hit);
      right += hit;
    }
    assert_true(kind == 2 ? right == 3000 : right > (kind == 0 ? 1350 : 100));
    tlt_task_close(t);
  }
}

static int compare_ints(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

/* What the embedded model is to imitate: long tail, middling accuracy, nothing endless. */
static void countdown_lengths_have_a_long_tail(void **state) {
  (void)state;
  enum { N = 20000 };
  static tlt_task_room room;
  static int lengths[N];
  tlt_task *t = open_task("countdown", NULL, 0, TLT_SPLIT_TRAIN, 11, true);
  double right = 0;
  for (uint32_t i = 0; i < N; i++) {
    tlt_problem p = make(t, i, &room);
    lengths[i] = (int)p.completion_bytes;
    right += says(t, &p, p.completion);
  }
  qsort(lengths, N, sizeof *lengths, compare_ints);
  int median = lengths[N / 2], p99 = lengths[N / 100 * 99];
  print_message("median %d, p90 %d, p99 %d, max %d, right %.3f\n", median, lengths[N / 10 * 9], p99,
                lengths[N - 1], right / N);
  assert_true(p99 >= 5 * median);
  assert_true(lengths[N - 1] < 1000);
  assert_true(right / N > 0.45 && right / N < 0.6);
  tlt_task_close(t);
}

/* Splits of different seeds share no problem, and each holds its part. */
static void splits_are_disjoint(void **state) {
  (void)state;
  static tlt_task_room room;
  const tlt_task_setting small[] = {{"max", 9}, {"more", 0}, {"target_max", 40}};
  enum { N = 4000 };
  char(*texts)[sizeof room.canonical] = tlt_calloc(3 * N, sizeof *texts);
  for (int split = 0; split < 3; split++) {
    tlt_task *t = open_task("countdown", small, 3, (tlt_split)(TLT_SPLIT_TRAIN + split),
                            100 + (uint32_t)split, false);
    for (uint32_t i = 0; i < N; i++) {
      make(t, i, &room);
      memcpy(texts[split * N + (int)i], room.canonical, sizeof room.canonical);
    }
    tlt_task_close(t);
  }
  for (int i = 0; i < N; i++)
    for (int k = N; k < 3 * N; k++)
      if ((k < 2 * N || i < N) && !strcmp(texts[i], texts[k])) fail_msg("%s", texts[k]);
  for (int i = N; i < 2 * N; i++)
    for (int k = 2 * N; k < 3 * N; k++)
      if (!strcmp(texts[i], texts[k])) fail_msg("%s", texts[k]);
  tlt_free(texts);
}

static void canonical_ignores_order(void **state) {
  (void)state;
  static tlt_task_room room;
  tlt_task *t = open_task("countdown", NULL, 0, TLT_SPLIT_ALL, 2, false);
  for (uint32_t i = 0; i < 300; i++) {
    tlt_problem p = make(t, i, &room);
    long last = 0, value;
    const char *at = room.canonical;
    for (int k = 0; k < p.n_numbers; k++) {
      value = strtol(at, (char **)&at, 10);
      assert_true(value >= last);
      last = value;
    }
  }
  tlt_task_close(t);
}

static void extreme_options_work(void **state) {
  (void)state;
  static tlt_task_room room;
  const tlt_task_setting wide[] = {{"numbers", 6},          {"more", 0},      {"max", 999},
                                   {"limit", 1000000},      {"tries", 99},    {"quit", 0},
                                   {"target_max", 1000000}, {"quit_peak", 0}, {"quit_late", 0}};
  tlt_task *t = open_task("countdown", wide, sizeof wide / sizeof *wide, TLT_SPLIT_ALL, 1, true);
  for (uint32_t i = 0; i < 300; i++) {
    tlt_problem p = make(t, i, &room);
    assert_true(p.completion_bytes < TLT_TASK_TEXT_MAX - 1);
    assert_non_null(strstr(p.completion, "\nanswer "));
  }
  tlt_task_close(t);
  const tlt_task_setting two[] = {{"numbers", 2}, {"more", 0}};
  t = open_task("countdown", two, 2, TLT_SPLIT_ALL, 1, true);
  for (uint32_t i = 0; i < 300; i++) {
    tlt_problem p = make(t, i, &room);
    assert_true(says(t, &p, p.completion));
  }
  tlt_task_close(t);
  const tlt_task_setting chain[] = {
      {"terms_max", 16}, {"digits", 6}, {"products", 100}, {"factor_digits", 3}};
  t = open_task("arithmetic", chain, 4, TLT_SPLIT_ALL, 1, true);
  for (uint32_t i = 0; i < 300; i++) {
    tlt_problem p = make(t, i, &room);
    assert_true(p.completion_bytes < TLT_TASK_TEXT_MAX - 1);
    assert_non_null(p.completion);
  }
  tlt_task_close(t);
}

static void bad_options_are_named(void **state) {
  (void)state;
  tlt_task *t;
  tlt_err err = {0};
  assert_int_equal(tlt_task_open("sudoku", NULL, 0, TLT_SPLIT_ALL, 1, false, &t, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "sudoku"));
  const tlt_task_setting unknown = {"nubmers", 3}, range = {"numbers", 9};
  assert_int_equal(tlt_task_open("countdown", &unknown, 1, TLT_SPLIT_ALL, 1, false, &t, &err),
                   TLT_EUSAGE);
  assert_non_null(strstr(err.text, "nubmers"));
  assert_int_equal(tlt_task_open("countdown", &range, 1, TLT_SPLIT_ALL, 1, false, &t, &err),
                   TLT_EUSAGE);
  assert_non_null(strstr(err.text, "2 to 6"));
  const tlt_task_setting crossed[] = {{"min", 9}, {"max", 3}};
  assert_int_equal(tlt_task_open("countdown", crossed, 2, TLT_SPLIT_ALL, 1, false, &t, &err),
                   TLT_EUSAGE);
  const tlt_task_setting none[] = {{"min", 1}, {"max", 1}, {"target_min", 90}, {"more", 0}};
  static tlt_task_room room;
  tlt_problem p;
  t = open_task("countdown", none, 4, TLT_SPLIT_ALL, 1, false);
  assert_int_equal(tlt_task_make(t, 0, &room, &p, &err), TLT_EUSAGE);
  tlt_task_close(t);
  tlt_split split;
  assert_int_equal(tlt_split_find("test", &split, &err), TLT_EUSAGE);
  assert_int_equal(tlt_split_find("rl", &split, &err), TLT_OK);
  assert_int_equal(split, TLT_SPLIT_RL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(formats_are_fixed),    cmocka_unit_test(problems_are_pure_functions),
      cmocka_unit_test(traces_are_right),     cmocka_unit_test(countdown_lengths_have_a_long_tail),
      cmocka_unit_test(splits_are_disjoint),  cmocka_unit_test(canonical_ignores_order),
      cmocka_unit_test(extreme_options_work), cmocka_unit_test(bad_options_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
