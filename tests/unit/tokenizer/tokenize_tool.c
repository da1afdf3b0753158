/* Drives the tokenizer from tests/py/test_tokenizer_*.py. Not installed.
 *   tokenize_tool DIR encode | special      stdin: text            stdout: JSON ids
 *   tokenize_tool DIR decode                stdin: JSON ids        stdout: bytes
 *   tokenize_tool DIR chat                  stdin: JSON objects, one per line, with "messages",
 *       "variables" and "add_generation_prompt"; stdout: {"text", "ids"} or {"error"} per line
 *   tokenize_tool DIR train VOCAB EOS [SPECIAL ...]   stdin: text; writes DIR
 * A template can be given as TOKENIZE_TEMPLATE=FILE. Errors: one line on stderr, exit code of the
 * status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "tlt/tokenizer.h"
#include "tokenizer/chat.h"
#include "tokenizer/internal.h"

static tlt_status read_stdin(tlt_bytes *in, tlt_err *err) {
  char chunk[65536];
  size_t n;
  while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
    if (!tlt_bytes_add(in, chunk, n)) return tlt_fail_nomem(err, "input", in->n);
  return tlt_bytes_add(in, "", 1) ? in->n--, TLT_OK : tlt_fail_nomem(err, "input", in->n);
}

static void put_ids(tlt_json_writer *w, const char *key, const int32_t *ids, size_t n) {
  tlt_json_begin(w, key, '[');
  for (size_t i = 0; i < n; i++) tlt_json_put_int(w, NULL, ids[i]);
  tlt_json_end(w, ']');
}

static tlt_status encode(const tlt_tokenizer *t, const tlt_bytes *in, bool special, tlt_err *err) {
  int32_t *ids;
  size_t n;
  tlt_status status = tlt_tokenizer_encode(t, in->data, in->n, special, &ids, &n, err);
  if (status) return status;
  tlt_json_writer w = {0};
  put_ids(&w, NULL, ids, n);
  puts(w.text.data);
  tlt_text_free(&w.text);
  tlt_free(ids);
  return TLT_OK;
}

static tlt_status decode(const tlt_tokenizer *t, const tlt_bytes *in, tlt_err *err) {
  json_t *json;
  char *text = NULL;
  size_t n = 0;
  tlt_status status = tlt_json_parse(in->data, in->n, "stdin", 0, &json, err);
  if (status) return status;
  size_t count = json_array_size(json);
  int32_t *ids = tlt_calloc(count + 1, sizeof *ids);
  for (size_t i = 0; i < count; i++) ids[i] = (int32_t)json_integer_value(json_array_get(json, i));
  status = tlt_tokenizer_decode(t, ids, count, false, &text, &n, err);
  if (!status) fwrite(text, 1, n, stdout);
  tlt_free(text);
  tlt_free(ids);
  json_decref(json);
  return status;
}

static tlt_status chat_line(const tlt_tokenizer *t, const json_t *line, tlt_json_writer *w,
                            tlt_err *err) {
  tlt_bytes text = {0}, taint = {0};
  int32_t *ids = NULL;
  size_t n = 0;
  tlt_status status = tlt_chat_render_json(
      t, json_object_get(line, "messages"), json_object_get(line, "variables"),
      json_is_true(json_object_get(line, "add_generation_prompt")), &text, &taint, err);
  if (!status)
    status = tlt_encode_masked(
        t, text.data, text.n, (tlt_special_rule){true, (const uint8_t *)taint.data}, &ids, &n, err);
  tlt_json_begin(w, NULL, '{');
  if (status) tlt_json_put_string(w, "error", err->text);
  else {
    tlt_json_put_string_n(w, "text", text.data, text.n);
    put_ids(w, "ids", ids, n);
  }
  tlt_json_end(w, '}');
  tlt_json_newline(w);
  tlt_free(ids);
  tlt_bytes_free(&text);
  tlt_bytes_free(&taint);
  return TLT_OK;
}

static tlt_status chat(const tlt_tokenizer *t, tlt_bytes *in, tlt_err *err) {
  tlt_status status = TLT_OK;
  for (char *line = strtok(in->data, "\n"); line && !status; line = strtok(NULL, "\n")) {
    json_t *json;
    tlt_json_writer w = {0};
    status = tlt_json_parse(line, strlen(line), "stdin", 0, &json, err);
    if (status) break;
    status = chat_line(t, json, &w, err);
    fputs(w.text.data, stdout);
    tlt_text_free(&w.text);
    json_decref(json);
  }
  return status;
}

static tlt_status use_template(tlt_tokenizer *t, tlt_err *err) {
  const char *path = getenv("TOKENIZE_TEMPLATE");
  if (!path) return TLT_OK;
  char *text;
  size_t n;
  tlt_status status = tlt_file_load(path, TLT_TEMPLATE_MAX, &text, &n, err);
  if (status) return status;
  status = tlt_tokenizer_set_template(t, path, text, err);
  tlt_free(text);
  return status;
}

static tlt_status run(int argc, char **argv, tlt_bytes *in, tlt_err *err) {
  const char *dir = argv[1], *mode = argv[2];
  if (strcmp(mode, "train") == 0 && argc >= 5)
    return tlt_tokenizer_train((const char *const *)&in->data, &in->n, 1, atoi(argv[3]),
                               (const char *const *)argv + 4, (size_t)(argc - 4), argv[4], dir,
                               err);
  tlt_tokenizer *t;
  tlt_status status = tlt_tokenizer_open(dir, &t, err);
  if (status) return status;
  status = use_template(t, err);
  if (status) goto done;
  if (strcmp(mode, "decode") == 0) status = decode(t, in, err);
  else if (strcmp(mode, "chat") == 0) status = chat(t, in, err);
  else status = encode(t, in, strcmp(mode, "special") == 0, err);
done:
  tlt_tokenizer_close(t);
  return status;
}

int main(int argc, char **argv) {
  tlt_bytes in = {0};
  tlt_err err = {0};
  if (argc < 3) return 2;
  tlt_status status = read_stdin(&in, &err);
  if (!status) status = run(argc, argv, &in, &err);
  if (status) fprintf(stderr, "%s\n", err.text);
  tlt_bytes_free(&in);
  return tlt_status_exit_code(status);
}
