/* Vocabulary, added tokens and merges of tokenizer.json. */
#include <string.h>

#include "io/json.h"
#include "tokenizer/internal.h"
#include "tokenizer/text.h"

typedef tlt_json_node node;

/* ---- tokens ---- */

/* Bytes of a spelling in the byte alphabet; false when a character is outside it. */
static bool spelled_bytes(const char *text, size_t n, char *bytes, size_t *count) {
  *count = 0;
  for (size_t i = 0; i < n;) {
    int size, byte = tlt_char_byte(tlt_utf8_get(text + i, &size));
    if (byte < 0) return false;
    bytes[(*count)++] = (char)byte;
    i += (size_t)size;
  }
  return true;
}

/* Enter a token at a free id. Added tokens stand for their own spelling; so does a vocabulary entry
 * outside the byte alphabet, which only an added token can produce. */
static tlt_status put_token(tlt_tokenizer *t, int32_t id, const char *text, size_t n, bool added,
                            tlt_err *err) {
  tlt_token *token = &t->tokens[id];
  char *copy = tlt_arena_strndup(&t->arena, text, n);
  char *bytes = added ? copy : tlt_arena_alloc(&t->arena, n + 1);
  if (!copy || !bytes) return tlt_fail_nomem(err, "vocabulary", 2 * n);
  size_t count = n;
  if (!added && !spelled_bytes(text, n, bytes, &count)) {
    count = n;
    bytes = copy;
  }
  *token = (tlt_token){copy, bytes, (uint32_t)n, (uint32_t)count, added, false};
  tlt_strings_add(&t->by_text, copy, n, id);
  return TLT_OK;
}

/* Highest id + 1 over the vocabulary and the added tokens, all checked to be in range. */
static tlt_status count_ids(const node *vocab, const node *added, int *count, tlt_err *err) {
  int64_t top = -1, id;
  tlt_status status = TLT_OK;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)vocab->value, key, value) {
    if (!json_is_integer(value) || (id = json_integer_value(value)) < 0 || id >= TLT_VOCAB_MAX)
      return tlt_json_fail(vocab, key, err, "expected an id in 0 .. %d", TLT_VOCAB_MAX - 1);
    if (id > top) top = id;
  }
  for (size_t i = 0; i < json_array_size(added->value); i++) {
    node token = tlt_json_element(added, i);
    status = tlt_json_int(&token, "id", 0, TLT_VOCAB_MAX - 1, &id, err);
    if (status) return status;
    if (id > top) top = id;
  }
  *count = (int)(top + 1);
  return TLT_OK;
}

static tlt_status load_vocab(tlt_tokenizer *t, const node *vocab, const node *added, tlt_err *err) {
  tlt_status status = count_ids(vocab, added, &t->n_tokens, err);
  if (status) return status;
  size_t entries = json_object_size(vocab->value);
  if (entries == 0) return tlt_json_fail(vocab, NULL, err, "got no token, expected a vocabulary");
  t->tokens = tlt_calloc((size_t)t->n_tokens, sizeof *t->tokens);
  if (!t->tokens) return tlt_fail_nomem(err, "vocabulary", (size_t)t->n_tokens * sizeof *t->tokens);
  status = tlt_strings_init(&t->by_text, entries + json_array_size(added->value), err);
  const char *key;
  json_t *value;
  if (!status) json_object_foreach((json_t *)vocab->value, key, value) {
      int32_t id = (int32_t)json_integer_value(value);
      if (t->tokens[id].text)
        return tlt_json_fail(vocab, key, err, "got id %d, which \"%s\" has already", id,
                             t->tokens[id].text);
      status = put_token(t, id, key, strlen(key), false, err);
      if (status) return status;
    }
  return status;
}

static void find_bytes(tlt_tokenizer *t) {
  for (int byte = 0; byte < 256; byte++) {
    char text[4];
    int n = tlt_utf8_put(tlt_byte_char((uint8_t)byte), text);
    t->bpe.byte_id[byte] = tlt_strings_find(&t->by_text, text, (size_t)n);
  }
}

/* ---- added tokens ---- */

typedef struct added_fields {
  const char *content;
  int64_t id;
  bool special, normalized, lstrip, rstrip, single_word;
} added_fields;

static tlt_status read_added(const node *at, added_fields *f, tlt_err *err) {
  tlt_status status = tlt_json_string(at, "content", &f->content, err);
  if (!status) status = tlt_json_int(at, "id", 0, TLT_VOCAB_MAX - 1, &f->id, err);
  if (!status) status = tlt_json_bool_or(at, "special", false, &f->special, err);
  if (!status) status = tlt_json_bool_or(at, "normalized", !f->special, &f->normalized, err);
  if (!status) status = tlt_json_bool_or(at, "lstrip", false, &f->lstrip, err);
  if (!status) status = tlt_json_bool_or(at, "rstrip", false, &f->rstrip, err);
  if (!status) status = tlt_json_bool_or(at, "single_word", false, &f->single_word, err);
  if (status) return status;
  size_t n = strlen(f->content);
  if (n == 0 || n > TLT_ADDED_BYTES_MAX)
    return tlt_json_fail(at, "content", err, "got %zu bytes, expected 1 .. %d", n,
                         TLT_ADDED_BYTES_MAX);
  return TLT_OK;
}

/* An added token either names a vocabulary entry by its id or takes a free id. */
static tlt_status place_added(tlt_tokenizer *t, const node *at, const added_fields *f,
                              tlt_err *err) {
  size_t n = strlen(f->content);
  int32_t id = (int32_t)f->id, known = tlt_strings_find(&t->by_text, f->content, n);
  if (known >= 0 && (known != id || t->tokens[id].added))
    return tlt_json_fail(at, "id", err, "got %d, but \"%s\" has id %d already", id, f->content,
                         known);
  if (known < 0 && t->tokens[id].text)
    return tlt_json_fail(at, "id", err, "got %d, which \"%s\" has already", id, t->tokens[id].text);
  if (known < 0) {
    tlt_status status = put_token(t, id, f->content, n, true, err);
    if (status) return status;
  }
  tlt_token *token = &t->tokens[id];
  token->added = true;
  token->special = f->special;
  token->bytes = token->text;
  token->n_bytes = token->n_text;
  return TLT_OK;
}

static tlt_status insert_added(tlt_tokenizer *t, const added_fields *f, tlt_err *err) {
  tlt_added_token token = {(int32_t)f->id, f->special, f->lstrip, f->rstrip, f->single_word};
  size_t n = strlen(f->content);
  if (!f->normalized) return tlt_added_insert(&t->raw, f->content, n, token, err);
  tlt_bytes text = {0};
  bool ok = t->nfc ? tlt_nfc(f->content, n, &text) : tlt_bytes_add(&text, f->content, n);
  tlt_status status = ok ? tlt_added_insert(&t->normalized, text.data, text.n, token, err)
                         : tlt_fail_nomem(err, "added tokens", n);
  tlt_bytes_free(&text);
  return status;
}

static tlt_status load_added(tlt_tokenizer *t, const node *added, tlt_err *err) {
  size_t n = json_array_size(added->value);
  if (n > TLT_ADDED_MAX)
    return tlt_json_fail(added, NULL, err, "got %zu tokens, expected at most %d", n, TLT_ADDED_MAX);
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < n && !status; i++) {
    node at = tlt_json_element(added, i);
    added_fields fields = {0};
    status = read_added(&at, &fields, err);
    if (!status) status = place_added(t, &at, &fields, err);
    if (!status) status = insert_added(t, &fields, err);
  }
  return status;
}

/* ---- merges ---- */

/* Left and right part of "a b" or ["a", "b"]. */
static bool split_merge(const json_t *merge, const char **left, size_t *n_left, const char **right,
                        size_t *n_right) {
  if (json_is_array(merge)) {
    const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(a) || !json_is_string(b)) return false;
    *left = json_string_value(a), *n_left = json_string_length(a);
    *right = json_string_value(b), *n_right = json_string_length(b);
  } else {
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    *left = text, *n_left = (size_t)(space - text);
    *right = space + 1, *n_right = strlen(space + 1);
  }
  return *n_left > 0 && *n_right > 0;
}

static bool is_version_line(const json_t *merge) {
  return json_is_string(merge) && strncmp(json_string_value(merge), "#version", 8) == 0;
}

/* A merge that would spell a special token is left out: plain text never becomes special. */
static tlt_status add_merge(tlt_tokenizer *t, const node *at, uint32_t rank, tlt_bytes *joined,
                            tlt_err *err) {
  const char *left, *right;
  size_t n_left, n_right;
  if (!split_merge(at->value, &left, &n_left, &right, &n_right))
    return tlt_json_fail(at, NULL, err, "expected a merge: \"a b\" or [\"a\", \"b\"]");
  joined->n = 0;
  if (!tlt_bytes_add(joined, left, n_left) || !tlt_bytes_add(joined, right, n_right))
    return tlt_fail_nomem(err, "merges", n_left + n_right);
  int32_t a = tlt_strings_find(&t->by_text, left, n_left);
  int32_t b = tlt_strings_find(&t->by_text, right, n_right);
  int32_t id = tlt_strings_find(&t->by_text, joined->data, joined->n);
  if (a < 0 || b < 0 || id < 0)
    return tlt_json_fail(at, NULL, err, "got a merge whose %s is not in the vocabulary",
                         a < 0   ? "left part"
                         : b < 0 ? "right part"
                                 : "result");
  if (!t->tokens[id].special) tlt_merges_add(&t->bpe.merges, a, b, (tlt_merge){rank, id});
  return TLT_OK;
}

static tlt_status load_merges(tlt_tokenizer *t, const node *merges, tlt_err *err) {
  size_t n = json_array_size(merges->value);
  if (n == 0 || n > TLT_MERGES_MAX)
    return tlt_json_fail(merges, NULL, err, "got %zu merges, expected 1 .. %d", n, TLT_MERGES_MAX);
  tlt_bytes joined = {0};
  tlt_status status = tlt_merges_init(&t->bpe.merges, n, err);
  for (size_t i = 0; i < n && !status; i++) {
    node at = tlt_json_element(merges, i);
    if (i == 0 && is_version_line(at.value)) continue;
    status = add_merge(t, &at, (uint32_t)i, &joined, err);
  }
  tlt_bytes_free(&joined);
  if (!status && t->bpe.merges.used == 0)
    return tlt_json_fail(merges, NULL, err, "got no usable merge, expected at least one");
  return status;
}

/* ---- options ---- */

static tlt_status refuse_affix(const node *model, const char *key, tlt_err *err) {
  const char *text;
  tlt_status status = tlt_json_string_or(model, key, "", &text, err);
  if (!status && *text) return tlt_json_fail(model, key, err, "got \"%s\", expected none", text);
  return status;
}

static tlt_status load_unknown(tlt_tokenizer *t, const node *model, bool byte_fallback,
                               tlt_err *err) {
  bool complete = true, fuse;
  for (int byte = 0; byte < 256; byte++) complete &= t->bpe.byte_id[byte] >= 0;
  t->bpe.unknown = -1;
  if (complete) return TLT_OK;
  if (byte_fallback)
    return tlt_json_fail(model, "byte_fallback", err,
                         "got true with a byte alphabet that has gaps, expected false");
  const char *text;
  tlt_status status = tlt_json_string_or(model, "unk_token", "", &text, err);
  if (!status) status = tlt_json_bool_or(model, "fuse_unk", false, &fuse, err);
  if (status || !*text) return status;
  if (fuse) return tlt_json_fail(model, "fuse_unk", err, "got true, expected false");
  t->bpe.unknown = tlt_strings_find(&t->by_text, text, strlen(text));
  if (t->bpe.unknown < 0)
    return tlt_json_fail(model, "unk_token", err, "got \"%s\", which is not in the vocabulary",
                         text);
  return TLT_OK;
}

static tlt_status load_by_bytes(tlt_tokenizer *t, tlt_err *err) {
  tlt_status status = tlt_strings_init(&t->bpe.by_bytes, (size_t)t->n_tokens, err);
  for (int id = 0; id < t->n_tokens && !status; id++) {
    const tlt_token *token = &t->tokens[id];
    if (token->text && !token->added)
      tlt_strings_add(&t->bpe.by_bytes, token->bytes, token->n_bytes, id);
  }
  return status;
}

tlt_status tlt_load_model(tlt_tokenizer *t, const node *top, tlt_err *err) {
  node model, vocab, merges, added = {0};
  const char *type;
  double dropout;
  bool byte_fallback;
  tlt_status status = tlt_json_object(top, "model", &model, err);
  if (!status) status = tlt_json_string_or(&model, "type", "BPE", &type, err);
  if (status) return status;
  if (strcmp(type, "BPE") != 0)
    return tlt_json_fail(&model, "type", err, "got \"%s\", expected \"BPE\"", type);
  status = tlt_json_double_or(&model, "dropout", 0, 0, 0, &dropout, err);
  if (!status) status = refuse_affix(&model, "continuing_subword_prefix", err);
  if (!status) status = refuse_affix(&model, "end_of_word_suffix", err);
  if (!status) status = tlt_json_bool_or(&model, "byte_fallback", false, &byte_fallback, err);
  if (!status)
    status = tlt_json_bool_or(&model, "ignore_merges", false, &t->bpe.ignore_merges, err);
  if (!status) status = tlt_json_object(&model, "vocab", &vocab, err);
  if (!status) status = tlt_json_array(&model, "merges", &merges, err);
  if (!status && tlt_json_has(top, "added_tokens"))
    status = tlt_json_array(top, "added_tokens", &added, err);
  if (!status) status = load_vocab(t, &vocab, &added, err);
  if (status) return status;
  find_bytes(t);
  status = load_unknown(t, &model, byte_fallback, err);
  if (!status && added.value) status = load_added(t, &added, err);
  if (!status) status = load_merges(t, &merges, err);
  if (!status && t->bpe.ignore_merges) status = load_by_bytes(t, err);
  return status;
}
