#include "app/prompts.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/json.h"

static tlt_status encode_text(const tlt_tokenizer *t, const char *text, size_t n, bool chat,
                              tlt_prompt *p, tlt_err *err) {
  size_t count = 0;
  tlt_status s;
  if (chat) {
    tlt_message m = {"user", text};
    s = tlt_chat_encode(t, &m, 1, true, &p->tokens, &count, err);
  } else {
    s = tlt_tokenizer_encode(t, text, n, false, &p->tokens, &count, err);
  }
  p->n_tokens = (int)count;
  if (s == TLT_OK && count == 0)
    return tlt_fail(err, TLT_EDATA, "prompt: got no tokens, expected at least one");
  return s;
}

static tlt_status encode_ids(const tlt_tokenizer *t, const json_t *array, tlt_prompt *p,
                             tlt_err *err) {
  size_t n = json_array_size(array);
  p->tokens = tlt_calloc(n, sizeof *p->tokens);
  if (!p->tokens) return tlt_fail_nomem(err, "prompt", n * sizeof *p->tokens);
  int vocab = tlt_tokenizer_vocab(t);
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(array, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= vocab)
      return tlt_fail(err, TLT_EDATA, "prompt[%zu]: expected a token id below %d", i, vocab);
    p->tokens[i] = (int32_t)json_integer_value(v);
  }
  p->n_tokens = (int)n;
  return TLT_OK;
}

static tlt_status encode_messages(const tlt_tokenizer *t, const json_t *array, tlt_prompt *p,
                                  tlt_err *err) {
  size_t n = json_array_size(array), count = 0;
  tlt_message *m = tlt_calloc(n, sizeof *m);
  if (!m) return tlt_fail_nomem(err, "messages", n * sizeof *m);
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_array_get(array, i);
    m[i].role = json_string_value(json_object_get(item, "role"));
    m[i].content = json_string_value(json_object_get(item, "content"));
    if (m[i].role && m[i].content) continue;
    tlt_free(m);
    return tlt_fail(err, TLT_EDATA, "prompt[%zu]: expected an object with role and content texts",
                    i);
  }
  tlt_status s = tlt_chat_encode(t, m, n, true, &p->tokens, &count, err);
  p->n_tokens = (int)count;
  tlt_free(m);
  return s;
}

static tlt_status encode_line(const tlt_tokenizer *t, const json_t *line, bool chat, int number,
                              tlt_prompt *p, tlt_err *err) {
  const json_t *prompt = json_object_get(line, "prompt"), *id = json_object_get(line, "id");
  char fallback[16];
  snprintf(fallback, sizeof fallback, "%d", number);
  if (id && !json_is_string(id)) return tlt_fail(err, TLT_EDATA, "id: expected a text");
  p->id = tlt_strdup(id ? json_string_value(id) : fallback);
  if (!p->id) return tlt_fail_nomem(err, "prompt id", 16);
  if (json_is_string(prompt))
    return encode_text(t, json_string_value(prompt), json_string_length(prompt), chat, p, err);
  if (!json_is_array(prompt) || json_array_size(prompt) == 0)
    return tlt_fail(err, TLT_EDATA, "prompt: expected a text, messages or token ids");
  return json_is_object(json_array_get(prompt, 0)) ? encode_messages(t, prompt, p, err)
                                                   : encode_ids(t, prompt, p, err);
}

static tlt_status grow(tlt_prompts *out, int *capacity, tlt_err *err) {
  if (out->count < *capacity) return TLT_OK;
  if (out->count >= TLT_PROMPTS_MAX)
    return tlt_fail(err, TLT_EDATA, "more than %d prompts", TLT_PROMPTS_MAX);
  int wanted = *capacity ? *capacity * 2 : 64;
  tlt_prompt *more = tlt_realloc(out->at, (size_t)wanted * sizeof *more);
  if (!more) return tlt_fail_nomem(err, "prompts", (size_t)wanted * sizeof *more);
  out->at = more;
  *capacity = wanted;
  return TLT_OK;
}

tlt_status tlt_prompts_of_text(const tlt_tokenizer *t, const char *text, bool chat,
                               tlt_prompts *out, tlt_err *err) {
  *out = (tlt_prompts){0};
  int capacity = 0;
  tlt_status s = grow(out, &capacity, err);
  if (s != TLT_OK) return s;
  out->at[0] = (tlt_prompt){.id = tlt_strdup("0")};
  out->count = 1;
  s = out->at[0].id ? encode_text(t, text, strlen(text), chat, &out->at[0], err)
                    : tlt_fail_nomem(err, "prompt id", 2);
  out->longest = out->at[0].n_tokens;
  if (s != TLT_OK) tlt_prompts_free(out);
  return s;
}

tlt_status tlt_prompts_of_file(const tlt_tokenizer *t, const char *path, bool chat,
                               tlt_prompts *out, tlt_err *err) {
  *out = (tlt_prompts){0};
  tlt_jsonl *lines = NULL;
  int capacity = 0;
  tlt_status s = tlt_jsonl_open(path, &lines, err);
  while (s == TLT_OK) {
    json_t *line = NULL;
    s = tlt_jsonl_next(lines, &line, err);
    if (s != TLT_OK || !line) break;
    s = grow(out, &capacity, err);
    if (s == TLT_OK) {
      tlt_prompt *p = &out->at[out->count++];
      *p = (tlt_prompt){0};
      s = encode_line(t, line, chat, out->count - 1, p, err);
      if (s != TLT_OK) tlt_fail_prefix(err, "%s:%ld", path, tlt_jsonl_line(lines));
      if (p->n_tokens > out->longest) out->longest = p->n_tokens;
    }
    json_decref(line);
  }
  tlt_jsonl_close(lines);
  if (s == TLT_OK && out->count == 0)
    s = tlt_fail(err, TLT_EDATA, "%s: got no prompts, expected at least one line", path);
  if (s != TLT_OK) tlt_prompts_free(out);
  return s;
}

void tlt_prompts_free(tlt_prompts *p) {
  for (int i = 0; i < p->count; i++) {
    tlt_free(p->at[i].id);
    tlt_free(p->at[i].tokens);
  }
  tlt_free(p->at);
  *p = (tlt_prompts){0};
}
