/* tlt tokenize: text to ids and back; chat templates. */
#include <stdio.h>

#include "app/stdin_text.h"
#include "base/mem.h"
#include "cmd/commands.h"
#include "io/json.h"
#include "tlt/tokenizer.h"

typedef struct tokenize_args {
  const char *model;
  bool decode, chat, render, special;
} tokenize_args;

static tlt_status print_ids(const int32_t *ids, size_t n, tlt_err *err) {
  putchar('[');
  for (size_t i = 0; i < n; i++) printf(i ? ", %d" : "%d", ids[i]);
  puts("]");
  return fflush(stdout) ? tlt_fail(err, TLT_EIO, "standard output: cannot write") : TLT_OK;
}

static tlt_status print_bytes(const char *text, size_t n, tlt_err *err) {
  if (fwrite(text, 1, n, stdout) != n || fflush(stdout))
    return tlt_fail(err, TLT_EIO, "standard output: cannot write");
  return TLT_OK;
}

static tlt_status decode(const tokenize_args *a, const tlt_tokenizer *t, const char *text, size_t n,
                         tlt_err *err) {
  json_t *array = NULL;
  tlt_status s = tlt_json_parse(text, n, "standard input", 0, &array, err);
  if (s != TLT_OK) return s;
  size_t count = json_array_size(array), bytes = 0;
  int32_t *ids = tlt_calloc(count + 1, sizeof *ids);
  char *out = NULL;
  if (!ids) s = tlt_fail_nomem(err, "ids", count * 4);
  else if (!json_is_array(array))
    s = tlt_fail(err, TLT_EDATA, "standard input: expected a JSON array of ids");
  for (size_t i = 0; s == TLT_OK && i < count; i++) {
    const json_t *v = json_array_get(array, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
      s = tlt_fail(err, TLT_EDATA, "standard input: [%zu]: expected a token id", i);
    else ids[i] = (int32_t)json_integer_value(v);
  }
  if (s == TLT_OK) s = tlt_tokenizer_decode(t, ids, count, !a->special, &out, &bytes, err);
  if (s == TLT_OK) s = print_bytes(out, bytes, err);
  tlt_free(out);
  tlt_free(ids);
  json_decref(array);
  return s;
}

/* A JSON array of {"role", "content"} is a conversation; any other text is one user message. */
static tlt_status chat(const tokenize_args *a, const tlt_tokenizer *t, const char *text, size_t n,
                       tlt_err *err) {
  json_t *array = NULL;
  enum { MAX_MESSAGES = 128 };
  tlt_message messages[MAX_MESSAGES] = {{"user", text}};
  size_t count = 1, bytes = 0;
  if (tlt_json_parse(text, n, "", 0, &array, NULL) == TLT_OK && json_is_array(array)) {
    count = json_array_size(array);
    if (count > MAX_MESSAGES) {
      json_decref(array);
      return tlt_fail(err, TLT_EDATA, "standard input: got %zu messages, expected at most %d",
                      count, MAX_MESSAGES);
    }
    for (size_t i = 0; i < count; i++) {
      const json_t *m = json_array_get(array, i);
      messages[i].role = json_string_value(json_object_get(m, "role"));
      messages[i].content = json_string_value(json_object_get(m, "content"));
      if (messages[i].role && messages[i].content) continue;
      json_decref(array);
      return tlt_fail(err, TLT_EDATA, "standard input: [%zu]: expected role and content texts", i);
    }
  }
  tlt_status s;
  if (a->render) {
    char *out = NULL;
    s = tlt_chat_render(t, messages, count, true, &out, &bytes, err);
    if (s == TLT_OK) s = print_bytes(out, bytes, err);
    tlt_free(out);
  } else {
    int32_t *ids = NULL;
    s = tlt_chat_encode(t, messages, count, true, &ids, &bytes, err);
    if (s == TLT_OK) s = print_ids(ids, bytes, err);
    tlt_free(ids);
  }
  json_decref(array);
  return s;
}

static tlt_status encode(const tokenize_args *a, const tlt_tokenizer *t, const char *text, size_t n,
                         tlt_err *err) {
  int32_t *ids = NULL;
  size_t count = 0;
  tlt_status s = tlt_tokenizer_encode(t, text, n, a->special, &ids, &count, err);
  if (s == TLT_OK) s = print_ids(ids, count, err);
  tlt_free(ids);
  return s;
}

static tlt_status run(const tokenize_args *a, tlt_err *err) {
  tlt_tokenizer *t = NULL;
  char *text = NULL;
  size_t n = 0;
  tlt_status s = tlt_tokenizer_open(a->model, &t, err);
  if (s == TLT_OK) s = tlt_stdin_load(&text, &n, err);
  if (s == TLT_OK)
    s = a->decode              ? decode(a, t, text, n, err)
        : a->chat || a->render ? chat(a, t, text, n, err)
                               : encode(a, t, text, n, err);
  tlt_free(text);
  tlt_tokenizer_close(t);
  return s;
}

static int tokenize_main(int argc, char **argv) {
  tokenize_args a = {0};
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &a.model, 0, 0, "DIR", "directory with tokenizer.json"},
      {"decode", TLT_ARG_FLAG, &a.decode, 0, 0, NULL, "a JSON array of ids on stdin becomes text"},
      {"chat", TLT_ARG_FLAG, &a.chat, 0, 0, NULL,
       "through the chat template; stdin is a user message, or JSON messages"},
      {"render", TLT_ARG_FLAG, &a.render, 0, 0, NULL,
       "print the rendered conversation instead of its ids"},
      {"special", TLT_ARG_FLAG, &a.special, 0, 0, NULL,
       "special tokens spelled in the text are special; with --decode: keep them"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&tlt_cmd_tokenize, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && (n_rest || !a.model)) s = tlt_fail(&err, TLT_EUSAGE, "expected --model DIR");
  if (s == TLT_OK) s = run(&a, &err);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_tokenize = {"tokenize", "--model DIR [--decode] [--chat] < TEXT",
                                      "text on stdin to token ids, and back", tokenize_main};
