/* Lines of the reward protocol, and the text of a command. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/json.h"
#include "tasks/dataset_internal.h"
#include "tasks/reward_internal.h"

_Static_assert(TLT_REWARD_VERSION == 1, "the hello line below states the version");
const char tlt__hello_line[] = "{\"hello\": \"tlt\", \"version\": 1}\n";

static const char source[] = "reward child";

tlt_status tlt__request_line(uint64_t id, const tlt_problem *p, const char *completion,
                             size_t bytes, char **line, size_t *n, tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_int(&w, "id", (int64_t)id);
  tlt__problem_put_prompt(&w, p);
  tlt_json_put_string_n(&w, "completion", completion, bytes);
  if (p->answer) tlt_json_put_string_n(&w, "answer", p->answer, p->answer_bytes);
  if (p->meta) tlt_json_put_raw(&w, "meta", p->meta);
  tlt_json_end(&w, '}');
  tlt_text_add(&w.text, "\n");
  tlt_status status = tlt_text_check(&w.text, err);
  if (status == TLT_OK && w.text.n > TLT_REWARD_LINE_MAX)
    status = tlt_fail(err, TLT_EREWARD, "got a request line of %zu bytes, expected at most %d",
                      w.text.n, (int)TLT_REWARD_LINE_MAX);
  if (status != TLT_OK) {
    tlt_text_free(&w.text);
    return status;
  }
  *line = w.text.data;
  *n = w.text.n;
  return TLT_OK;
}

tlt_status tlt__reply_read(const char *line, size_t n, tlt__reply *out, tlt_err *err) {
  static const double largest = 1e6;
  json_t *json = NULL;
  int64_t id = 0;
  *out = (tlt__reply){0};
  tlt_status status = tlt_json_parse(line, n, source, 0, &json, err);
  if (status != TLT_OK) return status;
  tlt_json_node at = tlt_json_top(json, source, 0);
  if (!json_is_object(json)) status = tlt_json_fail(&at, NULL, err, "expected an object");
  if (status == TLT_OK) status = tlt_json_int(&at, "id", 0, INT64_MAX, &id, err);
  if (status == TLT_OK && tlt_json_has(&at, "error"))
    status = tlt_json_string(&at, "error", &out->error, err);
  else if (status == TLT_OK)
    status = tlt_json_double(&at, "reward", -largest, largest, &out->reward, err);
  if (status != TLT_OK) {
    json_decref(json);
    return status;
  }
  out->id = (uint64_t)id;
  out->json = json;
  return TLT_OK;
}

void tlt__reply_free(tlt__reply *r) {
  json_decref(r->json);
  *r = (tlt__reply){0};
}

tlt_status tlt__hello_check(const char *line, size_t n, tlt_err *err) {
  json_t *json = NULL;
  const char *name;
  int64_t version;
  tlt_status status = tlt_json_parse(line, n, source, 0, &json, err);
  if (status != TLT_OK) return status;
  tlt_json_node at = tlt_json_top(json, source, 0);
  if (!json_is_object(json)) status = tlt_json_fail(&at, NULL, err, "expected a hello");
  if (status == TLT_OK) status = tlt_json_string(&at, "hello", &name, err);
  if (status == TLT_OK && !strcmp(name, "tlt"))
    status = tlt_json_fail(&at, "hello", err, "got our own line back, expected a name");
  if (status == TLT_OK) status = tlt_json_int(&at, "version", 0, INT64_MAX, &version, err);
  if (status == TLT_OK && version != TLT_REWARD_VERSION)
    status = tlt_json_fail(&at, "version", err, "got %lld, expected %d", (long long)version,
                           (int)TLT_REWARD_VERSION);
  json_decref(json);
  return status;
}

/* One word from *at into *to, quotes taken off; false when a quote is not closed. */
static bool split_word(const char **at, char **to) {
  char quote = 0;
  for (; **at && (quote || !isspace((unsigned char)**at)); (*at)++) {
    if (quote ? **at == quote : **at == '\'' || **at == '"') quote = quote ? 0 : **at;
    else *(*to)++ = **at;
  }
  *(*to)++ = 0;
  return !quote;
}

tlt_status tlt__command_split(const char *command, char ***argv, tlt_err *err) {
  /* At most every second byte starts a word; texts are no longer than the command, with a NUL each.
   */
  size_t bytes = strlen(command), words = bytes / 2 + 2;
  size_t room = words * sizeof(char *) + bytes + words;
  char **out = tlt_malloc(room), *to = (char *)(out + words);
  *argv = NULL;
  if (!out) return tlt_fail_nomem(err, "reward.command", room);
  size_t n = 0;
  bool closed = true;
  for (const char *at = command; closed;) {
    while (isspace((unsigned char)*at)) at++;
    if (!*at) break;
    out[n++] = to;
    closed = split_word(&at, &to);
  }
  out[n] = NULL;
  if (!n || !closed) {
    tlt_free(out);
    return tlt_fail(err, TLT_EUSAGE, "reward.command: got %s, expected a program and arguments",
                    n ? "an open quote" : "an empty text");
  }
  *argv = out;
  return TLT_OK;
}

void tlt__words_print(const tlt__child *c, char *to, size_t room) {
  size_t n = c->n_words, start = n + 1 > room ? n + 1 - room : 0, at = 0;
  for (size_t i = start; i < n && at + 1 < room; i++) {
    unsigned char ch = (unsigned char)c->words[i];
    bool newline = ch == '\n';
    if (newline && i + 1 == n) break;
    to[at++] = newline ? '|' : ch < ' ' || ch > '~' ? '?' : (char)ch;
  }
  to[at] = 0;
}
