/* Writing a trained tokenizer as tokenizer.json and tokenizer_config.json. */
#include <string.h>

#include "io/file.h"
#include "io/text.h"
#include "tokenizer/internal.h"
#include "tokenizer/text.h"
#include "tokenizer/train.h"

typedef struct specials {
  const char *const *text;
  size_t n;
} specials;

/* Spelling of bytes in the byte alphabet. */
static const char *spell(const tlt_trained_token *token, tlt_bytes *out) {
  char utf8[4];
  out->n = 0;
  for (uint32_t i = 0; i < token->n; i++) {
    int n = tlt_utf8_put(tlt_byte_char((uint8_t)token->bytes[i]), utf8);
    if (!tlt_bytes_add(out, utf8, (size_t)n)) return NULL;
  }
  return tlt_bytes_add(out, "", 1) ? out->data : NULL;
}

static void put_added(tlt_json_writer *w, const specials *s) {
  tlt_json_begin(w, "added_tokens", '[');
  for (size_t i = 0; i < s->n; i++) {
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_int(w, "id", (int64_t)i);
    tlt_json_put_string(w, "content", s->text[i]);
    tlt_json_put_bool(w, "single_word", false);
    tlt_json_put_bool(w, "lstrip", false);
    tlt_json_put_bool(w, "rstrip", false);
    tlt_json_put_bool(w, "normalized", false);
    tlt_json_put_bool(w, "special", true);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
}

static void put_byte_level(tlt_json_writer *w, const char *key) {
  tlt_json_begin(w, key, '{');
  tlt_json_put_string(w, "type", "ByteLevel");
  tlt_json_put_bool(w, "add_prefix_space", false);
  tlt_json_put_bool(w, "trim_offsets", true);
  tlt_json_put_bool(w, "use_regex", true);
  tlt_json_end(w, '}');
}

static void put_parts(tlt_json_writer *w) {
  tlt_json_put_null(w, "normalizer");
  tlt_json_begin(w, "pre_tokenizer", '{');
  tlt_json_put_string(w, "type", "Sequence");
  tlt_json_begin(w, "pretokenizers", '[');
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_string(w, "type", "Digits");
  tlt_json_put_bool(w, "individual_digits", true);
  tlt_json_end(w, '}');
  put_byte_level(w, NULL);
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  tlt_json_put_null(w, "post_processor");
  put_byte_level(w, "decoder");
}

static bool put_model(tlt_json_writer *w, const tlt_trained *t, const specials *s) {
  tlt_bytes left = {0}, right = {0};
  bool ok = true;
  tlt_json_begin(w, "model", '{');
  tlt_json_put_string(w, "type", "BPE");
  static const char *const absent[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                       "end_of_word_suffix"};
  for (size_t i = 0; i < 4; i++) tlt_json_put_null(w, absent[i]);
  static const char *const off[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
  for (size_t i = 0; i < 3; i++) tlt_json_put_bool(w, off[i], false);
  tlt_json_begin(w, "vocab", '{');
  for (size_t i = 0; i < s->n; i++) tlt_json_put_int(w, s->text[i], (int64_t)i);
  for (int id = t->first_byte; id < t->n_tokens && ok; id++) {
    const char *text = spell(&t->tokens[id], &left);
    if ((ok = text != NULL)) tlt_json_put_int(w, text, id);
  }
  tlt_json_end(w, '}');
  tlt_json_begin(w, "merges", '[');
  for (int id = t->first_byte + 256; id < t->n_tokens && ok; id++) {
    const char *a = spell(&t->tokens[t->tokens[id].left], &left);
    const char *b = spell(&t->tokens[t->tokens[id].right], &right);
    if (!(ok = a && b)) break;
    tlt_json_begin(w, NULL, '[');
    tlt_json_put_string(w, NULL, a);
    tlt_json_put_string(w, NULL, b);
    tlt_json_end(w, ']');
  }
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  tlt_bytes_free(&left);
  tlt_bytes_free(&right);
  return ok;
}

static tlt_status store(const char *dir, const char *name, tlt_json_writer *w, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_json_newline(w);
  tlt_status status = tlt_text_check(&w->text, err);
  tlt_path_join(path, dir, name);
  return status ? status : tlt_file_store(path, w->text.data, w->text.n, err);
}

static tlt_status write_tokenizer(const tlt_trained *t, const specials *s, const char *dir,
                                  tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "version", "1.0");
  tlt_json_put_null(&w, "truncation");
  tlt_json_put_null(&w, "padding");
  put_added(&w, s);
  put_parts(&w);
  bool ok = put_model(&w, t, s);
  tlt_json_end(&w, '}');
  tlt_status status =
      ok ? store(dir, "tokenizer.json", &w, err) : tlt_fail_nomem(err, "tokenizer.json", w.text.n);
  tlt_text_free(&w.text);
  return status;
}

static tlt_status write_config(const char *eos, const char *dir, tlt_err *err) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "tokenizer_class", "PreTrainedTokenizerFast");
  if (eos) tlt_json_put_string(&w, "eos_token", eos);
  if (eos) tlt_json_put_string(&w, "pad_token", eos);
  tlt_json_put_bool(&w, "clean_up_tokenization_spaces", false);
  tlt_json_end(&w, '}');
  tlt_status status = store(dir, "tokenizer_config.json", &w, err);
  tlt_text_free(&w.text);
  return status;
}

static tlt_status check_specials(const specials *s, const char *eos, int vocab, tlt_err *err) {
  bool found = !eos;
  if (vocab > TLT_VOCAB_MAX || s->n > TLT_ADDED_MAX || vocab < (int)s->n + 257)
    return tlt_fail(err, TLT_EUSAGE,
                    "tokenizer vocabulary: got %d, expected %zu (special tokens, 256 bytes and a "
                    "merge) .. %d",
                    vocab, s->n + 257, TLT_VOCAB_MAX);
  for (size_t i = 0; i < s->n; i++) {
    size_t n = strlen(s->text[i]);
    int size;
    bool byte = n > 0 && tlt_utf8_check(s->text[i], n) == n &&
                tlt_char_byte(tlt_utf8_get(s->text[i], &size)) >= 0 && (size_t)size == n;
    if (n == 0 || n > TLT_ADDED_BYTES_MAX || tlt_utf8_check(s->text[i], n) < n || byte)
      return tlt_fail(err, TLT_EUSAGE,
                      "special token %zu: got \"%s\", expected UTF-8 of 2 characters "
                      "to %d bytes",
                      i, s->text[i], TLT_ADDED_BYTES_MAX);
    for (size_t k = 0; k < i; k++)
      if (strcmp(s->text[i], s->text[k]) == 0)
        return tlt_fail(err, TLT_EUSAGE, "special token \"%s\" given twice", s->text[i]);
    if (eos && strcmp(eos, s->text[i]) == 0) found = true;
  }
  if (!found)
    return tlt_fail(err, TLT_EUSAGE, "eos token: got \"%s\", expected one of the special tokens",
                    eos);
  return TLT_OK;
}

/* A merged token that spells a special token would share its vocabulary entry; such a vocabulary
 * cannot be written. It takes a text full of the special token's own spelling. */
static tlt_status check_collisions(const tlt_trained *t, const specials *s, tlt_err *err) {
  tlt_bytes text = {0};
  tlt_status status = TLT_OK;
  for (int id = t->first_byte + 256; id < t->n_tokens && !status && s->n; id++) {
    const char *spelling = spell(&t->tokens[id], &text);
    if (!spelling) status = tlt_fail_nomem(err, "tokenizer training", text.n);
    for (size_t i = 0; i < s->n && !status; i++)
      if (strcmp(spelling, s->text[i]) == 0)
        status = tlt_fail(err, TLT_EDATA,
                          "the texts contain the special token \"%s\" so often that "
                          "it would be merged",
                          s->text[i]);
  }
  tlt_bytes_free(&text);
  return status;
}

tlt_status tlt_tokenizer_train(const char *const *texts, const size_t *lengths, size_t count,
                               int vocab, const char *const *special_texts, size_t n_specials,
                               const char *eos, const char *dir, tlt_err *err) {
  specials s = {special_texts, n_specials};
  tlt_trained trained = {0};
  tlt_status status = check_specials(&s, eos, vocab, err);
  if (!status)
    status = tlt_train_merges(texts, lengths, count, vocab, (int)n_specials, &trained, err);
  if (!status) status = check_collisions(&trained, &s, err);
  if (!status) status = tlt_dir_make(dir, err);
  if (!status) status = write_tokenizer(&trained, &s, dir, err);
  if (!status) status = write_config(eos, dir, err);
  tlt_trained_free(&trained);
  return status;
}
