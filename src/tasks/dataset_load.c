/* Datasets from JSONL files. Everything is checked on reading, with file and line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "tasks/dataset_internal.h"

typedef struct loader {
  tlt_dataset *d;
  tlt_dataset_need need;
  long *lines; /* of each problem */
  size_t room;
  tlt_text scratch;
} loader;

static tlt_status keep(loader *l, const char *s, const char **out, size_t *n, tlt_err *err) {
  size_t bytes = strlen(s);
  *out = tlt__dataset_keep(l->d, s, bytes);
  if (n) *n = bytes;
  return *out ? TLT_OK : tlt_fail_nomem(err, "dataset text", bytes + 1);
}

static tlt_status read_id(loader *l, const tlt_json_node *at, tlt_problem *p, tlt_err *err) {
  char number[32];
  snprintf(number, sizeof number, "%ld", at->line);
  const json_t *value = json_object_get(at->value, "id");
  const char *id = number;
  tlt_status status = TLT_OK;
  if (json_is_integer(value))
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else status = tlt_json_string_or(at, "id", number, &id, err);
  if (status != TLT_OK) return status;
  size_t n = strlen(id);
  if (!n || n > TLT_PROBLEM_ID_MAX)
    return tlt_json_fail(at, "id", err, "got %zu bytes, expected 1 to %d", n,
                         (int)TLT_PROBLEM_ID_MAX);
  return keep(l, id, &p->id, NULL, err);
}

static bool role_known(const char *role) {
  static const char *const roles[] = {"system", "user", "assistant", "tool"};
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
    if (!strcmp(role, roles[i])) return true;
  return false;
}

static tlt_status read_message(loader *l, const tlt_json_node *at, tlt_message *m, tlt_err *err) {
  const char *role, *content;
  if (!json_is_object(at->value)) return tlt_json_fail(at, NULL, err, "expected an object");
  tlt_status status = tlt_json_string(at, "role", &role, err);
  if (status == TLT_OK && !role_known(role))
    status = tlt_json_fail(at, "role", err,
                           "got \"%.40s\", expected system, user, assistant or tool", role);
  if (status == TLT_OK) status = tlt_json_string(at, "content", &content, err);
  if (status == TLT_OK) status = keep(l, role, &m->role, NULL, err);
  if (status == TLT_OK) status = keep(l, content, &m->content, NULL, err);
  return status;
}

static tlt_status read_messages(loader *l, const tlt_json_node *at, tlt_problem *p, tlt_err *err) {
  tlt_json_node list;
  tlt_status status = tlt_json_array(at, "prompt", &list, err);
  if (status != TLT_OK) return status;
  size_t n = json_array_size(list.value);
  if (n < 1 || n > TLT_PROBLEM_MAX_MESSAGES)
    return tlt_json_fail(at, "prompt", err, "got %zu messages, expected 1 to %d", n,
                         (int)TLT_PROBLEM_MAX_MESSAGES);
  tlt_message *messages = tlt_arena_alloc(&l->d->texts, n * sizeof *messages);
  if (!messages) return tlt_fail_nomem(err, "messages", n * sizeof *messages);
  for (size_t i = 0; i < n && status == TLT_OK; i++) {
    tlt_json_node element = tlt_json_element(&list, i);
    status = read_message(l, &element, &messages[i], err);
  }
  p->messages = messages;
  p->n_messages = n;
  return status;
}

static tlt_status read_prompt(loader *l, const tlt_json_node *at, tlt_problem *p, tlt_err *err) {
  if (json_is_array(json_object_get(at->value, "prompt"))) return read_messages(l, at, p, err);
  const char *prompt;
  tlt_status status = tlt_json_string(at, "prompt", &prompt, err);
  if (status == TLT_OK && !*prompt)
    status = tlt_json_fail(at, "prompt", err, "got an empty text, expected a prompt");
  return status == TLT_OK ? keep(l, prompt, &p->prompt, &p->prompt_bytes, err) : status;
}

/* An integer is taken as its decimal text. */
static tlt_status read_answer(loader *l, const tlt_json_node *at, tlt_problem *p, tlt_err *err) {
  char number[32];
  const char *answer = number;
  const json_t *value = json_object_get(at->value, "answer");
  tlt_status status = TLT_OK;
  bool required = l->need == TLT_NEED_ANSWER && l->d->verifier != TLT_VERIFY_COUNTDOWN;
  if (!required && !tlt_json_has(at, "answer")) return TLT_OK;
  if (json_is_integer(value))
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else status = tlt_json_string(at, "answer", &answer, err);
  if (status == TLT_OK && required &&
      !tlt_verifier_can_read(l->d->verifier, answer, strlen(answer)))
    status = tlt_json_fail(at, "answer", err, "got \"%.40s\", expected an answer for verifier %s",
                           answer, tlt_verifier_name(l->d->verifier));
  return status == TLT_OK ? keep(l, answer, &p->answer, &p->answer_bytes, err) : status;
}

static tlt_status read_completion(loader *l, const tlt_json_node *at, tlt_problem *p,
                                  tlt_err *err) {
  const char *completion;
  if (l->need != TLT_NEED_COMPLETION && !tlt_json_has(at, "completion")) return TLT_OK;
  tlt_status status = tlt_json_string(at, "completion", &completion, err);
  if (status == TLT_OK && !*completion)
    status = tlt_json_fail(at, "completion", err, "got an empty text, expected a completion");
  return status == TLT_OK ? keep(l, completion, &p->completion, &p->completion_bytes, err) : status;
}

static int append_json(const char *s, size_t n, void *text) {
  tlt_text_add_n(text, s, n);
  return 0;
}

static tlt_status keep_meta(loader *l, const json_t *meta, tlt_problem *p, tlt_err *err) {
  tlt_text_clear(&l->scratch);
  if (json_dump_callback(meta, append_json, &l->scratch, JSON_COMPACT) || l->scratch.failed)
    return tlt_fail_nomem(err, "meta", l->scratch.n);
  p->meta = tlt__dataset_keep(l->d, l->scratch.data, l->scratch.n);
  return p->meta ? TLT_OK : tlt_fail_nomem(err, "meta", l->scratch.n);
}

/* meta.numbers and meta.target, which the countdown verifier needs. */
static tlt_status read_countdown(const tlt_json_node *meta, tlt_problem *p, tlt_err *err) {
  tlt_json_node list;
  tlt_status status = tlt_json_array(meta, "numbers", &list, err);
  if (status != TLT_OK) return status;
  size_t n = json_array_size(list.value);
  if (n < 1 || n > TLT_PROBLEM_MAX_NUMBERS)
    return tlt_json_fail(meta, "numbers", err, "got %zu numbers, expected 1 to %d", n,
                         (int)TLT_PROBLEM_MAX_NUMBERS);
  for (size_t i = 0; i < n; i++) {
    tlt_json_node element = tlt_json_element(&list, i);
    if (!json_is_integer(element.value))
      return tlt_json_fail(&element, NULL, err, "expected an integer");
    p->numbers[i] = json_integer_value(element.value);
  }
  p->n_numbers = (int)n;
  return tlt_json_int(meta, "target", INT64_MIN, INT64_MAX, &p->target, err);
}

static tlt_status read_meta(loader *l, const tlt_json_node *at, tlt_problem *p, tlt_err *err) {
  bool countdown = l->need == TLT_NEED_ANSWER && l->d->verifier == TLT_VERIFY_COUNTDOWN;
  if (!countdown && !tlt_json_has(at, "meta")) return TLT_OK;
  tlt_json_node meta;
  tlt_status status = tlt_json_object(at, "meta", &meta, err);
  if (status == TLT_OK && countdown) status = read_countdown(&meta, p, err);
  return status == TLT_OK ? keep_meta(l, meta.value, p, err) : status;
}

static tlt_status note_line(loader *l, long line, tlt_err *err) {
  if (l->room < l->d->room) {
    long *grown = tlt_realloc(l->lines, l->d->room * sizeof *grown);
    if (!grown) return tlt_fail_nomem(err, "dataset lines", l->d->room * sizeof *grown);
    l->lines = grown;
    l->room = l->d->room;
  }
  l->lines[l->d->n] = line;
  return TLT_OK;
}

static tlt_status read_problem(loader *l, const tlt_json_node *at, tlt_err *err) {
  if (l->d->n >= TLT_DATASET_MAX_PROBLEMS)
    return tlt_json_fail(at, NULL, err, "got more than %d problems", (int)TLT_DATASET_MAX_PROBLEMS);
  tlt_status status = tlt__dataset_grow(l->d, err);
  if (status == TLT_OK) status = note_line(l, at->line, err);
  if (status != TLT_OK) return status;
  tlt_problem *p = &l->d->problems[l->d->n];
  *p = (tlt_problem){0};
  status = read_id(l, at, p, err);
  if (status == TLT_OK) status = read_prompt(l, at, p, err);
  if (status == TLT_OK) status = read_answer(l, at, p, err);
  if (status == TLT_OK) status = read_completion(l, at, p, err);
  if (status == TLT_OK) status = read_meta(l, at, p, err);
  l->d->n += status == TLT_OK;
  return status;
}

static tlt_status read_all(loader *l, const char *path, tlt_err *err) {
  tlt_jsonl *file;
  tlt_status status = tlt_jsonl_open(path, &file, err);
  while (status == TLT_OK) {
    json_t *object;
    status = tlt_jsonl_next(file, &object, err);
    if (status != TLT_OK || !object) break;
    tlt_json_node at = tlt_json_top(object, path, tlt_jsonl_line(file));
    status = read_problem(l, &at, err);
    json_decref(object);
  }
  tlt_jsonl_close(file);
  if (status == TLT_OK && !l->d->n)
    status = tlt_fail(err, TLT_EDATA, "%s: got no problem, expected at least one line", path);
  return status;
}

typedef struct id_line {
  const char *id;
  long line;
} id_line;

static int compare_ids(const void *a, const void *b) {
  const id_line *x = a, *y = b;
  int order = strcmp(x->id, y->id);
  return order ? order : (x->line > y->line) - (x->line < y->line);
}

static tlt_status refuse_duplicates(const loader *l, const char *path, tlt_err *err) {
  size_t n = l->d->n;
  id_line *ids = tlt_malloc(n * sizeof *ids);
  if (!ids) return tlt_fail_nomem(err, "dataset ids", n * sizeof *ids);
  for (size_t i = 0; i < n; i++) ids[i] = (id_line){l->d->problems[i].id, l->lines[i]};
  qsort(ids, n, sizeof *ids, compare_ids);
  tlt_status status = TLT_OK;
  for (size_t i = 1; i < n && status == TLT_OK; i++) {
    if (!strcmp(ids[i - 1].id, ids[i].id))
      status = tlt_fail(err, TLT_EDATA, "%s:%ld: got id \"%.80s\" again, first on line %ld", path,
                        ids[i].line, ids[i].id, ids[i - 1].line);
  }
  tlt_free(ids);
  return status;
}

tlt_status tlt_dataset_load(const char *path, tlt_dataset_need need, tlt_verifier verifier,
                            tlt_dataset **out, tlt_err *err) {
  loader l = {.need = need};
  *out = NULL;
  tlt_status status = tlt__dataset_new(verifier, &l.d, err);
  if (status == TLT_OK) status = read_all(&l, path, err);
  if (status == TLT_OK) status = refuse_duplicates(&l, path, err);
  if (status == TLT_OK) status = tlt_file_sha256(path, l.d->hash, err);
  tlt_free(l.lines);
  tlt_text_free(&l.scratch);
  if (status != TLT_OK) {
    tlt_dataset_close(l.d);
    return status;
  }
  *out = l.d;
  return TLT_OK;
}
