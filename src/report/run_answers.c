#include "report/run_answers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "report/plain.h"

/* ---- which steps --------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static bool step_of(const char *name, int64_t *step) {
  char *end;
  if (strncmp(name, "step-", 5) || name[5] < '0' || name[5] > '9') return false;
  *step = strtoll(name + 5, &end, 10);
  return !strcmp(end, ".jsonl");
}

tlt_status tlt_run_answer_steps(const char *run, int64_t **steps, int *n, tlt_err *err) {
  char path[TLT_PATH_MAX], **names = NULL;
  size_t count = 0;
  *steps = NULL;
  *n = 0;
  tlt_path_join(path, run, "rollouts");
  tlt_status s = tlt_path_is_dir(path) ? tlt_dir_list(path, &names, &count, err) : TLT_OK;
  if (s != TLT_OK) return s == TLT_ENOMEM ? s : TLT_OK;
  int64_t *list = tlt_malloc((count + 1) * sizeof *list);
  for (size_t i = 0; list && i < count; i++) *n += step_of(names[i], &list[*n]);
  tlt_dir_list_free(names, count);
  if (!list) return tlt_fail_nomem(err, path, count * sizeof *list);
  if (*n) qsort(list, (size_t)*n, sizeof *list, ascending);
  *steps = list;
  return TLT_OK;
}

static tlt_status open_step(const char *run, int64_t step, tlt_notices *notices,
                            tlt_run_lines **out, tlt_err *err) {
  char name[64];
  snprintf(name, sizeof name, "rollouts/step-%lld.jsonl", (long long)step);
  return tlt_run_lines_open(run, name, NULL, NULL, notices, out, err);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static char *text_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_string(value) ? tlt_strndup(json_string_value(value), json_string_length(value))
                               : tlt_strdup("");
}

static double number_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static void free_answer(tlt_run_answer *a) {
  tlt_free(a->id);
  tlt_free(a->prompt);
  tlt_free(a->text);
  tlt_free(a->finish);
  tlt_free(a->sources);
  tlt_free(a->bytes);
}

void tlt_run_answers_free(tlt_run_answers *a) {
  for (int i = 0; i < a->n; i++) free_answer(&a->answer[i]);
  tlt_free(a->answer);
  *a = (tlt_run_answers){0};
}

static tlt_status add_answer(tlt_run_answers *list, const json_t *o, int64_t step, tlt_err *err) {
  if (list->n == list->room) {
    int room = list->room ? 2 * list->room : 16;
    tlt_run_answer *grown = tlt_realloc(list->answer, (size_t)room * sizeof *grown);
    if (!grown) return tlt_fail_nomem(err, "answers", (size_t)room * sizeof *grown);
    list->answer = grown;
    list->room = room;
  }
  const json_t *tokens = json_object_get(o, "tokens");
  tlt_run_answer a = {.step = step,
                      .rollout = json_integer_value(json_object_get(o, "rollout")),
                      .sample = json_integer_value(json_object_get(o, "sample")),
                      .tokens = json_is_integer(tokens) ? json_integer_value(tokens) : -1,
                      .id = text_of(o, "id"),
                      .prompt = text_of(o, "prompt"),
                      .text = text_of(o, "text"),
                      .finish = text_of(o, "finish"),
                      .score = number_of(o, "score"),
                      .reward = number_of(o, "reward")};
  list->answer[list->n++] = a;
  if (a.id && a.prompt && a.text && a.finish) return TLT_OK;
  return tlt_fail_nomem(err, "answers", json_string_length(json_object_get(o, "text")));
}

/* This pass sees every line, so it tells of all; the second one's notices are the same. */
static tlt_status count_answers(const char *run, int64_t step, int64_t *n, tlt_notices *notices,
                                tlt_err *err) {
  tlt_run_lines *lines = NULL;
  json_t *object;
  *n = 0;
  tlt_status s = open_step(run, step, notices, &lines, err);
  while (s == TLT_OK && (s = tlt_run_lines_next(lines, &object, err)) == TLT_OK && object) {
    *n += 1;
    json_decref(object);
  }
  tlt_run_lines_close(lines);
  return s;
}

tlt_status tlt_run_answers_add(tlt_run_answers *a, const char *run, int64_t step, int most,
                               tlt_notices *notices, tlt_err *err) {
  tlt_run_lines *lines = NULL;
  json_t *object;
  int64_t total = 0, taken = 0, at = 0;
  tlt_status s = count_answers(run, step, &total, notices, err);
  if (s == TLT_OK) s = open_step(run, step, notices, &lines, err);
  int64_t wanted = total < most ? total : most;
  for (; s == TLT_OK && taken < wanted; at++) {
    s = tlt_run_lines_next(lines, &object, err);
    if (s != TLT_OK || !object) break;
    if (at == taken * total / wanted) {
      s = add_answer(a, object, step, err);
      taken++;
    }
    json_decref(object);
  }
  tlt_run_lines_close(lines);
  return s;
}

/* ---- sources ------------------------------------------------------------------------------------
 */

/* Whether a line is of a step in the list. Lines begin with their step; anything else is for the
 * parser to judge. */
static bool is_wanted(void *context, const char *text, size_t n) {
  static const char start[] = "{\"step\": ";
  const tlt_run_answers *a = context;
  char digits[24] = "";
  size_t skip = sizeof start - 1;
  if (n < skip + sizeof digits || memcmp(text, start, skip)) return true;
  memcpy(digits, text + skip, sizeof digits - 1);
  int64_t step = strtoll(digits, NULL, 10);
  for (int i = 0; i < a->n; i++)
    if (a->answer[i].step == step) return true;
  return false;
}

static bool letters_are_known(const char *sources) {
  return sources[strspn(sources, ".seb")] == 0;
}

static tlt_status put_sources(tlt_run_answer *a, const json_t *object, tlt_notices *notices,
                              long line, tlt_err *err) {
  const char *sources = json_string_value(json_object_get(object, "sources"));
  const json_t *bytes = json_object_get(object, "bytes");
  size_t n = sources ? strlen(sources) : 0;
  if (!sources || !letters_are_known(sources) || json_array_size(bytes) != n) {
    tlt_notice(notices, "spec.jsonl line %ld: sources and bytes do not fit together, left out",
               line);
    return TLT_OK;
  }
  int64_t *list = tlt_calloc(n + 1, sizeof *list);
  char *copy = tlt_strdup(sources);
  if (!list || !copy) {
    tlt_free(list);
    tlt_free(copy);
    return tlt_fail_nomem(err, "sources", n * sizeof *list);
  }
  for (size_t i = 0; i < n; i++) list[i] = json_integer_value(json_array_get(bytes, i));
  tlt_free(a->sources);
  tlt_free(a->bytes);
  a->sources = copy;
  a->bytes = list;
  return TLT_OK;
}

static tlt_run_answer *find_answer(tlt_run_answers *a, const json_t *object) {
  int64_t step = json_integer_value(json_object_get(object, "step"));
  int64_t rollout = json_integer_value(json_object_get(object, "rollout"));
  int64_t sample = json_integer_value(json_object_get(object, "sample"));
  for (int i = 0; i < a->n; i++) {
    tlt_run_answer *x = &a->answer[i];
    if (x->step == step && x->rollout == rollout && x->sample == sample) return x;
  }
  return NULL;
}

tlt_status tlt_run_answers_sources(tlt_run_answers *a, const char *run, tlt_notices *notices,
                                   tlt_err *err) {
  tlt_run_lines *lines = NULL;
  json_t *object;
  tlt_status s = tlt_run_lines_open(run, "spec.jsonl", is_wanted, a, notices, &lines, err);
  while (s == TLT_OK && (s = tlt_run_lines_next(lines, &object, err)) == TLT_OK && object) {
    tlt_run_answer *x = find_answer(a, object);
    if (x) s = put_sources(x, object, notices, tlt_run_lines_number(lines), err);
    json_decref(object);
  }
  tlt_run_lines_close(lines);
  return s;
}

/* ---- differences --------------------------------------------------------------------------------
 */

static void put_excerpts(const json_t *a, const json_t *b, tlt_answer_difference *out) {
  const char *x = json_string_value(json_object_get(a, "text"));
  const char *y = json_string_value(json_object_get(b, "text"));
  if (!x || !y || !strcmp(x, y)) return;
  size_t at = 0;
  while (x[at] == y[at]) at++;
  while (at > 0 && ((unsigned char)x[at] & 0xc0) == 0x80) at--;
  tlt_plain_text(x + at, out->text_a, sizeof out->text_a);
  tlt_plain_text(y + at, out->text_b, sizeof out->text_b);
}

static int64_t id_at(const json_t *ids, size_t i) {
  const json_t *id = json_array_get(ids, i);
  return json_is_integer(id) ? json_integer_value(id) : -1;
}

static bool same_member(const json_t *a, const json_t *b, const char *key) {
  const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
  return (!x && !y) || json_equal(x, y);
}

/* Compares one answer; true when it differs. */
static bool differ(const json_t *a, const json_t *b, tlt_answer_difference *out) {
  const json_t *x = json_object_get(a, "ids"), *y = json_object_get(b, "ids");
  out->token = out->token_a = out->token_b = -1;
  if (json_is_array(x) && json_is_array(y)) {
    size_t n = json_array_size(x), m = json_array_size(y), i = 0;
    while (i < n && i < m && id_at(x, i) == id_at(y, i)) i++;
    if (i == n && i == m) return false;
    out->token = (int64_t)i;
    out->token_a = id_at(x, i);
    out->token_b = id_at(y, i);
  } else if (same_member(a, b, "text") && same_member(a, b, "tokens")) {
    return false;
  }
  out->rollout = json_integer_value(json_object_get(a, "rollout"));
  out->sample = json_integer_value(json_object_get(a, "sample"));
  put_excerpts(a, b, out);
  return true;
}

/* Order of two answers in their files. */
static int order(const json_t *a, const json_t *b) {
  static const char *const keys[] = {"rollout", "sample"};
  for (int i = 0; i < 2; i++) {
    int64_t x = json_integer_value(json_object_get(a, keys[i]));
    int64_t y = json_integer_value(json_object_get(b, keys[i]));
    if (x != y) return x < y ? -1 : 1;
  }
  return 0;
}

static tlt_status advance(tlt_run_lines *lines, json_t **object, tlt_err *err) {
  json_decref(*object);
  *object = NULL;
  return tlt_run_lines_next(lines, object, err);
}

static tlt_status walk(tlt_run_lines *a, tlt_run_lines *b, tlt_answer_difference *out,
                       tlt_err *err) {
  json_t *x = NULL, *y = NULL;
  tlt_status s = advance(a, &x, err);
  if (s == TLT_OK) s = advance(b, &y, err);
  while (s == TLT_OK && x && y && !out->differs) {
    int which = order(x, y);
    if (which == 0) {
      out->compared = true;
      out->answers++;
      out->differs = differ(x, y, out);
    }
    if (which <= 0) s = advance(a, &x, err);
    if (s == TLT_OK && which >= 0) s = advance(b, &y, err);
  }
  json_decref(x);
  json_decref(y);
  return s;
}

tlt_status tlt_run_answers_differ(const char *run_a, const char *run_b, int64_t step,
                                  tlt_notices *notices_a, tlt_notices *notices_b,
                                  tlt_answer_difference *out, tlt_err *err) {
  tlt_run_lines *a = NULL, *b = NULL;
  *out = (tlt_answer_difference){.token = -1, .token_a = -1, .token_b = -1};
  tlt_status s = open_step(run_a, step, notices_a, &a, err);
  if (s == TLT_OK) s = open_step(run_b, step, notices_b, &b, err);
  if (s == TLT_OK) s = walk(a, b, out, err);
  tlt_run_lines_close(a);
  tlt_run_lines_close(b);
  return s;
}
