/* Rollout files and spec.jsonl with hostile texts: valid JSON, pieces that add up to the text,
 * bounded prompts; what a resume keeps of spec.jsonl.
 * Alone: build/tests/unit/rl/test_rl_rollout_log */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "rl/rollout_log.h"
#include "rl/spec_log.h"

enum { SPECIAL = 256, EURO_HEAD, EURO_TAIL, TOKENS_MAX = 20000 };

/* Stands for the tokenizer: a token is its byte, a special one, or a part of a character. */
const char *tlt_tokenizer_bytes(const tlt_tokenizer *t, int32_t id, size_t *n) {
  static char one[256];
  (void)t;
  *n = id == SPECIAL ? 0 : id == EURO_HEAD ? 2 : 1;
  if (id == EURO_HEAD) return "\xe2\x82";
  if (id == EURO_TAIL) return "\xac";
  one[id & 255] = (char)id;
  return &one[id & 255];
}

tlt_status tlt_tokenizer_decode(const tlt_tokenizer *t, const int32_t *ids, size_t count,
                                bool skip_special, char **text, size_t *n, tlt_err *err) {
  (void)err;
  char *to = *text = tlt_malloc(3 * count + 1);
  for (size_t i = 0; i < count; i++) {
    size_t own;
    const char *bytes = tlt_tokenizer_bytes(t, ids[i], &own);
    if (ids[i] == SPECIAL && !skip_special) bytes = "<s>", own = 3;
    memcpy(to, bytes, own);
    to += own;
  }
  *to = 0;
  *n = (size_t)(to - *text);
  return TLT_OK;
}

/* ---- one group of two answers ------------------------------------------------------------------
 */

static char top[64], path[TLT_PATH_MAX];
static tlt_err err;
static int32_t prompt[TOKENS_MAX];
static tlt_problem problem = {.id = "p\"\n<script>"};
static tlt_group group;
static tlt_groups groups = {.n = 1, .samples = 2, .group = &group};

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-log-XXXXXX");
  if (!mkdtemp(top)) return -1;
  tlt_path_join(path, top, "step-1.jsonl");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void ok(tlt_status s) {
  if (s != TLT_OK) fail_msg("%s", err.text);
}

static void make_answer(tlt_answer *a, const int32_t *tokens, int n, const char *origins) {
  *a = (tlt_answer){.finish = TLT_FINISH_STOP};
  ok(tlt_answer_make(a, n, origins != NULL, &err));
  if (n) memcpy(a->tokens, tokens, (size_t)n * sizeof *tokens);
  if (origins) memcpy(a->origins, origins, (size_t)n);
  ok(tlt_tokenizer_decode(NULL, tokens, (size_t)n, true, &a->text, &a->n_text, &err));
}

/* The first answer is given, the second one empty. */
static void make_group(int n_prompt, const int32_t *tokens, int n, const char *origins) {
  group = (tlt_group){.rollout = 5, .problem = &problem, .prompt = prompt, .n_prompt = n_prompt};
  group.answer = tlt_calloc(2, sizeof *group.answer);
  make_answer(&group.answer[0], tokens, n, origins);
  make_answer(&group.answer[1], NULL, 0, origins ? "" : NULL);
}

/* First line of a file as JSON. */
static json_t *first_line(const char *name) {
  char *text;
  size_t n;
  json_error_t where;
  ok(tlt_file_load(name, 1 << 26, &text, &n, &err));
  json_t *line = json_loadb(text, strcspn(text, "\n"), 0, &where);
  tlt_free(text);
  if (!line) fail_msg("%s: %s", name, where.text);
  return line;
}

static size_t text_length(const json_t *line, const char *key) {
  return json_string_length(json_object_get(line, key));
}

/* ---- rollout files -----------------------------------------------------------------------------
 */

static void test_hostile_text(void **state) {
  (void)state;
  int32_t every[257];
  for (int i = 0; i < 257; i++) every[i] = i; /* all bytes, a special token */
  for (int i = 0; i < 257; i++) prompt[i] = i;
  make_group(257, every, 257, NULL);
  ok(tlt_rollout_log(&groups, NULL, 1, TLT_LOG_ALL, path, &err));
  json_t *line = first_line(path);
  assert_int_equal(text_length(line, "text"), 127 + 3 * 129); /* U+FFFD for NUL and bytes above 127 */
  assert_int_equal(text_length(line, "prompt"), 127 + 3 * 129 + 3);
  assert_int_equal(json_array_size(json_object_get(line, "ids")), 257);
  assert_string_equal(json_string_value(json_object_get(line, "id")), problem.id);
  json_decref(line);
  tlt_group_free(&group, 2);
}

static void test_prompt_is_bounded(void **state) {
  (void)state;
  for (int i = 0; i < TOKENS_MAX; i++) prompt[i] = i % 2 ? EURO_TAIL : EURO_HEAD;
  for (int n = TLT_LOG_PROMPT_BYTES / 3 * 2 - 6; n < TOKENS_MAX; n += n < 6000 ? 1 : 1999) {
    make_group(n, NULL, 0, NULL);
    ok(tlt_rollout_log(&groups, NULL, 1, TLT_LOG_SAMPLE, path, &err));
    json_t *line = first_line(path);
    const char *text = json_string_value(json_object_get(line, "prompt")), *mark;
    size_t length = text_length(line, "prompt"), whole = (size_t)(n / 2 * 3 + n % 2 * 2), left = 0;
    assert_true(length <= TLT_LOG_PROMPT_BYTES + 60);
    if ((mark = strstr(text, "\n[... ")))
      assert_int_equal(sscanf(mark, "\n[... %zu bytes", &left), 1);
    assert_int_equal(mark != NULL, left > 0);
    assert_true(mark || whole <= TLT_LOG_PROMPT_BYTES + 4);
    if (mark) assert_int_equal((mark - text) % 3, 0); /* no character is cut in two */
    size_t mended = n % 2 ? 4 : 0; /* two bytes of a character at the very end: U+FFFD each */
    size_t said = mark ? strlen("\n[...  bytes left out ...]\n") : 0;
    for (size_t x = left; mark && x; x /= 10) said++;
    assert_int_equal(length + left, whole + mended + said);
    json_decref(line);
    tlt_group_free(&group, 2);
  }
}

/* ---- spec.jsonl --------------------------------------------------------------------------------
 */

static void test_pieces_add_up(void **state) {
  (void)state;
  const int32_t tokens[] = {'a', EURO_HEAD, EURO_TAIL, 0xff, EURO_HEAD, 'b', SPECIAL, 0, EURO_HEAD};
  const int want[] = {1, 0, 3, 3, 6, 1, 0, 3, 6};
  enum { N = sizeof tokens / sizeof *tokens };
  char name[TLT_PATH_MAX];
  make_group(1, tokens, N, ".s.eb....");
  tlt_spec_log *log = tlt_spec_log_open(top, -1, TLT_LOG_ALL);
  tlt_spec_log_put(log, &groups, NULL, 1);
  tlt_spec_log_sync(log);
  tlt_spec_log_close(log);
  ok(tlt_rollout_log(&groups, NULL, 1, TLT_LOG_ALL, path, &err));
  tlt_path_join(name, top, "spec.jsonl");
  json_t *line = first_line(name), *answer = first_line(path);
  const json_t *bytes = json_object_get(line, "bytes");
  assert_string_equal(json_string_value(json_object_get(line, "sources")), ".s.eb....");
  assert_int_equal(json_array_size(bytes), N);
  size_t sum = 0;
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(json_integer_value(json_array_get(bytes, i)), want[i]);
    sum += (size_t)want[i];
  }
  assert_int_equal(sum, text_length(answer, "text"));
  json_decref(line);
  json_decref(answer);
  tlt_group_free(&group, 2);
}

static int count_lines(const char *name, int64_t *last_step) {
  char *text;
  size_t n;
  int lines = 0;
  ok(tlt_file_load(name, 1 << 26, &text, &n, &err));
  for (char *at = text; *at; at = strchr(at, '\n') + 1, lines++)
    assert_int_equal(sscanf(at, "{\"step\": %ld,", last_step), 1);
  tlt_free(text);
  return lines;
}

static void test_resume(void **state) {
  (void)state;
  char name[TLT_PATH_MAX], *text;
  size_t n;
  int64_t last = 0;
  static int32_t tokens[9000]; /* lines longer than a block of reading */
  static char origins[9000];
  memset(origins, 's', sizeof origins);
  for (int i = 0; i < 9000; i++) tokens[i] = 'a';
  tlt_path_join(name, top, "spec.jsonl");
  make_group(1, tokens, 9000, origins);
  tlt_spec_log *log = tlt_spec_log_open(top, -1, TLT_LOG_ALL);
  for (int64_t step = 1; step <= 10; step++) tlt_spec_log_put(log, &groups, NULL, step);
  tlt_spec_log_close(log);
  assert_int_equal(count_lines(name, &last), 20);
  tlt_spec_log_close(tlt_spec_log_open(top, 7, TLT_LOG_ALL));
  assert_int_equal(count_lines(name, &last), 14);
  assert_int_equal(last, 7);
  /* cut off in the middle of a line; then nonsense in the middle of the file */
  ok(tlt_file_load(name, 1 << 26, &text, &n, &err));
  ok(tlt_file_store(name, text, n - 20000, &err));
  tlt_spec_log_close(tlt_spec_log_open(top, 7, TLT_LOG_ALL));
  assert_int_equal(count_lines(name, &last), 12);
  memcpy(strchr(strchr(text, '\n') + 1, '\n') + 1, "nonsense", 8);
  ok(tlt_file_store(name, text, n, &err));
  tlt_spec_log_close(tlt_spec_log_open(top, 7, TLT_LOG_ALL));
  assert_int_equal(count_lines(name, &last), 2);
  tlt_free(text);
  assert_null(tlt_spec_log_open(top, 7, TLT_LOG_NONE));
  tlt_spec_log_put(NULL, &groups, NULL, 8);
  tlt_group_free(&group, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_text),
      cmocka_unit_test(test_prompt_is_bounded),
      cmocka_unit_test(test_pieces_add_up),
      cmocka_unit_test(test_resume),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
