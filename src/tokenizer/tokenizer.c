/* Opening, closing and looking into a tokenizer. */
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "tokenizer/chat.h"
#include "tokenizer/internal.h"

tlt_status tlt_load_tokenizer(tlt_tokenizer *t, const tlt_json_node *top, tlt_err *err) {
  tlt_status status = tlt_load_parts(t, top, err); /* added tokens need the normaliser */
  return status ? status : tlt_load_model(t, top, err);
}

static tlt_status load_file(tlt_tokenizer *t, const char *dir, tlt_err *err) {
  char path[TLT_PATH_MAX];
  json_t *json = NULL;
  tlt_path_join(path, dir, "tokenizer.json");
  tlt_status status = tlt_json_load(path, TLT_TOKENIZER_FILE_MAX, &json, err);
  if (status) return status;
  tlt_json_node top = tlt_json_top(json, path, 0);
  status = tlt_load_tokenizer(t, &top, err);
  json_decref(json);
  return status;
}

tlt_status tlt_tokenizer_open(const char *dir, tlt_tokenizer **out, tlt_err *err) {
  *out = NULL;
  tlt_err local; /* errors are extended on the way, so there must be a place for them */
  if (!err) err = &local;
  tlt_tokenizer *t = tlt_calloc(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "tokenizer", sizeof *t);
  tlt_status status = load_file(t, dir, err);
  if (!status) status = tlt_load_config(t, dir, err);
  if (status) tlt_tokenizer_close(t);
  else *out = t;
  return status;
}

void tlt_tokenizer_close(tlt_tokenizer *t) {
  if (!t) return;
  tlt_chat_free(t->chat);
  for (int i = 0; i < t->n_steps; i++) tlt_regex_free(t->steps[i].regex);
  tlt_added_free(&t->raw);
  tlt_added_free(&t->normalized);
  tlt_merges_free(&t->bpe.merges);
  tlt_strings_free(&t->bpe.by_bytes);
  tlt_strings_free(&t->by_text);
  tlt_free(t->tokens);
  tlt_arena_free(&t->arena);
  tlt_free(t);
}

int tlt_tokenizer_vocab(const tlt_tokenizer *t) {
  return t->n_tokens;
}

int32_t tlt_tokenizer_id(const tlt_tokenizer *t, const char *text, size_t n) {
  return tlt_strings_find(&t->by_text, text, n);
}

const char *tlt_tokenizer_bytes(const tlt_tokenizer *t, int32_t id, size_t *n) {
  *n = 0;
  if (id < 0 || id >= t->n_tokens || !t->tokens[id].text || t->tokens[id].special) return "";
  *n = t->tokens[id].n_bytes;
  return t->tokens[id].bytes;
}

bool tlt_tokenizer_is_special(const tlt_tokenizer *t, int32_t id) {
  return id >= 0 && id < t->n_tokens && t->tokens[id].special;
}
