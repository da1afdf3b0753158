/* Datasets: loading and its errors, generation, hash, order.
 * Run alone: build/tests/unit/tasks/test_dataset */
#include "../io/scratch.h"

#include "base/mem.h"
#include "tasks/problem.h"
#include "tasks/task.h"

static char path[TLT_PATH_MAX];

static void store(const char *text) {
  tlt_err err = {0};
  if (tlt_file_store(path, text, strlen(text), &err) != TLT_OK) fail_msg("%s", err.text);
}

static tlt_dataset *load(tlt_dataset_need need, tlt_verifier verifier) {
  tlt_dataset *d;
  tlt_err err = {0};
  if (tlt_dataset_load(path, need, verifier, &d, &err) != TLT_OK) fail_msg("%s", err.text);
  return d;
}

static void refused(const char *text, tlt_dataset_need need, tlt_verifier v, const char *part) {
  tlt_dataset *d;
  tlt_err err = {0};
  store(text);
  assert_int_equal(tlt_dataset_load(path, need, v, &d, &err), TLT_EDATA);
  assert_null(d);
  if (!strstr(err.text, part) || !strstr(err.text, path) || strchr(err.text, '\n'))
    fail_msg("got '%s', expected '%s' in it", err.text, part);
}

static void lines_become_problems(void **state) {
  (void)state;
  store(
      "{\"id\":\"a\",\"prompt\":\"1+1\",\"answer\":\"2\",\"meta\":{\"k\":[1, 2]},\"other\":3}\n"
      "\n"
      "{\"prompt\":[{\"role\":\"system\",\"content\":\"\"},{\"role\":\"user\",\"content\":"
      "\"h\\u00e9\"}],\"answer\":-7}\n"
      "{\"id\":9,\"prompt\":\"x\",\"answer\":\"3\",\"completion\":\"c\"}");
  tlt_dataset *d = load(TLT_NEED_ANSWER, TLT_VERIFY_NUMERIC);
  assert_int_equal(tlt_dataset_count(d), 3);
  const tlt_problem *p = tlt_dataset_at(d, 0);
  assert_string_equal(p->id, "a");
  assert_string_equal(p->prompt, "1+1");
  assert_int_equal(p->prompt_bytes, 3);
  assert_string_equal(p->meta, "{\"k\":[1,2]}");
  p = tlt_dataset_at(d, 1);
  assert_string_equal(p->id, "3");
  assert_null(p->prompt);
  assert_int_equal(p->n_messages, 2);
  assert_string_equal(p->messages[1].content, "h\xc3\xa9");
  assert_string_equal(p->answer, "-7");
  p = tlt_dataset_at(d, 2);
  assert_string_equal(p->id, "9");
  assert_string_equal(p->completion, "c");
  size_t n;
  char *line = tlt_problem_json(tlt_dataset_at(d, 1), &n);
  assert_string_equal(line,
                      "{\"id\": \"3\", \"prompt\": [{\"role\": \"system\", \"content\": \"\"}, "
                      "{\"role\": \"user\", \"content\": \"h\xc3\xa9\"}], \"answer\": \"-7\"}");
  assert_int_equal(strlen(line), n);
  tlt_free(line);
  assert_int_equal(strlen(tlt_dataset_hash(d)), 64);
  tlt_dataset_close(d);
}

static void bad_lines_are_named(void **state) {
  (void)state;
#define GOOD "{\"id\":\"a\",\"prompt\":\"1+1\",\"answer\":\"2\"}\n"
  const tlt_dataset_need answer = TLT_NEED_ANSWER;
  const tlt_verifier numeric = TLT_VERIFY_NUMERIC;
  refused("", answer, numeric, "no problem");
  refused("\n \n", answer, numeric, "no problem");
  refused(GOOD "[1]\n", answer, numeric, ":2: ");
  refused(GOOD "{\"prompt\":\"x\"}\n", answer, numeric, ":2: answer");
  refused(GOOD "{\"answer\":\"x\"}\n", answer, numeric, ":2: prompt");
  refused(GOOD "{\"prompt\":7,\"answer\":\"1\"}\n", answer, numeric, ":2: prompt");
  refused(GOOD "{\"prompt\":\"\",\"answer\":\"1\"}\n", answer, numeric, ":2: prompt");
  refused(GOOD "{\"prompt\":[],\"answer\":\"1\"}\n", answer, numeric, ":2: prompt");
  refused(GOOD "{\"prompt\":[{\"role\":\"robot\",\"content\":\"\"}],\"answer\":\"1\"}\n", answer,
          numeric, "robot");
  refused(GOOD "{\"prompt\":[{\"role\":\"user\"}],\"answer\":\"1\"}\n", answer, numeric, "content");
  refused(GOOD "{\"prompt\":[\"hi\"],\"answer\":\"1\"}\n", answer, numeric, "prompt[0]");
  refused(GOOD "{\"prompt\":\"x\",\"answer\":\"many\"}\n", answer, numeric, "many");
  refused(GOOD "{\"prompt\":\"x\",\"answer\":0.5}\n", answer, numeric, ":2: answer");
  refused(GOOD "{\"prompt\":\"x\",\"answer\":\"\"}\n", answer, TLT_VERIFY_EXACT, ":2: answer");
  refused(GOOD "{\"prompt\":\"x\",\"answer\":\"1\",\"meta\":3}\n", answer, numeric, ":2: meta");
  refused(GOOD "{\"prompt\":\"\xff\",\"answer\":\"1\"}\n", answer, numeric, ":2");
  refused(GOOD "{\"prompt\":\"\\ud800\",\"answer\":\"1\"}\n", answer, numeric, ":2");
  refused(GOOD GOOD, answer, numeric, "first on line 1");
  refused(GOOD "{\"id\":\"a\",\"prompt\":\"x\",\"answer\":\"1\"", answer, numeric, ":2");
  refused(GOOD, TLT_NEED_COMPLETION, numeric, ":1: completion");
  refused("{\"prompt\":\"x\",\"completion\":\"\"}\n", TLT_NEED_COMPLETION, numeric,
          ":1: completion");
  refused(GOOD, answer, TLT_VERIFY_COUNTDOWN, ":1: meta");
  refused("{\"prompt\":\"x\",\"meta\":{\"numbers\":[1,\"2\"],\"target\":3}}\n", answer,
          TLT_VERIFY_COUNTDOWN, "numbers[1]");
  refused("{\"prompt\":\"x\",\"meta\":{\"numbers\":[1,2]}}\n", answer, TLT_VERIFY_COUNTDOWN,
          "target");
  refused("{\"prompt\":\"x\",\"meta\":{\"numbers\":[],\"target\":1}}\n", answer,
          TLT_VERIFY_COUNTDOWN, "numbers");
}

static void not_a_file_is_refused(void **state) {
  (void)state;
  tlt_dataset *d;
  tlt_err err = {0};
  assert_int_not_equal(tlt_dataset_load(scratch_dir, TLT_NEED_NOTHING, TLT_VERIFY_EXACT, &d, &err),
                       TLT_OK);
  assert_null(d);
  assert_int_equal(
      tlt_dataset_load("/nowhere/at.jsonl", TLT_NEED_NOTHING, TLT_VERIFY_EXACT, &d, &err),
      TLT_EDATA);
}

static tlt_task *countdown(bool traces, tlt_split split) {
  tlt_task *t;
  tlt_err err = {0};
  if (tlt_task_open("countdown", NULL, 0, split, 7, traces, &t, &err) != TLT_OK)
    fail_msg("%s", err.text);
  return t;
}

/* Lines written by the generator and read back are the generated dataset. */
static void generated_lines_load_again(void **state) {
  (void)state;
  enum { N = 500 };
  for (int traces = 0; traces < 2; traces++) {
    tlt_task *t = countdown(traces, TLT_SPLIT_EVAL);
    tlt_dataset *made;
    tlt_task_lines *lines;
    tlt_err err = {0};
    assert_int_equal(tlt_dataset_generate(t, N, &made, &err), TLT_OK);
    assert_int_equal(tlt_task_lines_open(t, N, &lines, &err), TLT_OK);
    tlt_file *f;
    assert_int_equal(tlt_file_open(path, TLT_FILE_TRUNCATE, &f, &err), TLT_OK);
    for (;;) {
      char *line;
      size_t n;
      assert_int_equal(tlt_task_lines_next(lines, &line, &n, &err), TLT_OK);
      if (!line) break;
      line[n] = '\n'; /* the terminator's place */
      assert_int_equal(tlt_file_write(f, line, n + 1, &err), TLT_OK);
      tlt_free(line);
    }
    assert_int_equal(tlt_file_close(f, &err), TLT_OK);
    tlt_task_lines_close(lines);
    tlt_dataset *read = load(TLT_NEED_ANSWER, TLT_VERIFY_COUNTDOWN);
    assert_int_equal(tlt_dataset_count(read), N);
    assert_string_equal(tlt_dataset_hash(read), tlt_dataset_hash(made));
    for (size_t i = 0; i < N; i++) {
      const tlt_problem *a = tlt_dataset_at(made, i), *b = tlt_dataset_at(read, i);
      assert_string_equal(a->id, b->id);
      assert_string_equal(a->prompt, b->prompt);
      assert_string_equal(a->meta, b->meta);
      assert_int_equal(a->target, b->target);
      assert_int_equal(a->n_numbers, b->n_numbers);
      assert_memory_equal(a->numbers, b->numbers, sizeof a->numbers);
      if (traces) assert_string_equal(a->completion, b->completion);
    }
    tlt_dataset_close(read);
    tlt_dataset_close(made);
    tlt_task_close(t);
  }
}

static void exhausted_generator_says_so(void **state) {
  (void)state;
  const tlt_task_setting few[] = {{"max", 4}, {"more", 0}, {"target_max", 20}};
  tlt_task *t;
  tlt_dataset *d;
  tlt_err err = {0};
  assert_int_equal(tlt_task_open("countdown", few, 3, TLT_SPLIT_ALL, 1, false, &t, &err), TLT_OK);
  assert_int_equal(tlt_dataset_generate(t, 100000, &d, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "distinct"));
  assert_null(d);
  assert_int_equal(tlt_dataset_generate(t, 0, &d, &err), TLT_EUSAGE);
  tlt_task_close(t);
}

static void order_is_a_permutation_of_each_epoch(void **state) {
  (void)state;
  enum { N = 257 };
  tlt_shuffle *a, *b;
  tlt_err err = {0};
  assert_int_equal(tlt_shuffle_open(N, 5, &a, &err), TLT_OK);
  assert_int_equal(tlt_shuffle_open(N, 5, &b, &err), TLT_OK);
  size_t first[N];
  for (uint64_t epoch = 0; epoch < 3; epoch++) {
    bool seen[N] = {false};
    int same = 0;
    for (size_t i = 0; i < N; i++) {
      size_t k = tlt_shuffle_at(a, epoch * N + i);
      assert_true(k < N && !seen[k]);
      seen[k] = true;
      if (epoch == 0) first[i] = k;
      same += first[i] == k;
    }
    assert_true(epoch == 0 ? same == N : same < 10);
  }
  /* Pure in the rollout index: any order of asking gives the same. */
  for (uint64_t k = 3 * N; k-- > 0; k -= k > 7 ? 6 : 0)
    assert_int_equal(tlt_shuffle_at(b, k), tlt_shuffle_at(a, k));
  tlt_shuffle_close(a);
  tlt_shuffle_close(b);
  assert_int_equal(tlt_shuffle_open(1, 5, &a, &err), TLT_OK);
  assert_int_equal(tlt_shuffle_at(a, UINT64_C(1) << 40), 0);
  tlt_shuffle_close(a);
}

static int open_folder(void **state) {
  int failed = scratch_open(state);
  tlt_path_join(path, scratch_dir, "data.jsonl");
  return failed;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines_become_problems),
      cmocka_unit_test(bad_lines_are_named),
      cmocka_unit_test(not_a_file_is_refused),
      cmocka_unit_test(generated_lines_load_again),
      cmocka_unit_test(exhausted_generator_says_so),
      cmocka_unit_test(order_is_a_permutation_of_each_epoch),
  };
  return cmocka_run_group_tests(tests, open_folder, scratch_close);
}
