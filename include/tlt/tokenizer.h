/* Byte-level BPE tokenizer of a Hugging Face directory and its chat template.
 *
 * Reads tokenizer.json (model BPE; normalizer NFC or none; pre-tokenizers ByteLevel, Split with a
 * regex, Digits, and sequences of them; added tokens; decoder ByteLevel), tokenizer_config.json and
 * chat_template.jinja (which goes before the template of the configuration). Anything else is
 * TLT_EDATA naming file and JSON path; a chat template that does not parse is only reported when it
 * is used. A tokenizer is immutable after loading and may be used by many threads at once. */
#ifndef TLT_TOKENIZER_H
#define TLT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_tokenizer tlt_tokenizer;

tlt_status tlt_tokenizer_open(const char *dir, tlt_tokenizer **out, tlt_err *err);
void tlt_tokenizer_close(tlt_tokenizer *t);

/* Highest token id + 1 (holes are legal and never produced). */
int tlt_tokenizer_vocab(const tlt_tokenizer *t);

/* Id of an exact token text (added tokens included), or -1. */
int32_t tlt_tokenizer_id(const tlt_tokenizer *t, const char *text, size_t n);

/* Ids of text[0..n). Special tokens spelled inside the text are plain text unless parse_special.
 * Bytes that a vocabulary has no token for give its unknown token or, without one, nothing, as in
 * Hugging Face tokenizers (SmolLM2 lacks 21, among them some control characters). No BOS or EOS is
 * added. *ids: caller frees with tlt_free. Invalid UTF-8: TLT_EDATA with the byte offset. */
tlt_status tlt_tokenizer_encode(const tlt_tokenizer *t, const char *text, size_t n,
                                bool parse_special, int32_t **ids, size_t *count, tlt_err *err);

/* Bytes of ids, special tokens left out if skip_special; *text is NUL-terminated, *n without the
 * NUL, caller frees. A cut UTF-8 sequence is kept as its raw bytes. An id out of range: TLT_EDATA. */
tlt_status tlt_tokenizer_decode(const tlt_tokenizer *t, const int32_t *ids, size_t count,
                                bool skip_special, char **text, size_t *n, tlt_err *err);

/* Raw bytes that one id stands for (0 bytes for special tokens); borrowed, not NUL-terminated. */
const char *tlt_tokenizer_bytes(const tlt_tokenizer *t, int32_t id, size_t *n);
bool tlt_tokenizer_is_special(const tlt_tokenizer *t, int32_t id);

typedef struct tlt_message {
  const char *role, *content; /* UTF-8, NUL-terminated */
} tlt_message;

/* Whether the directory has a chat template. */
bool tlt_tokenizer_has_template(const tlt_tokenizer *t);

/* Replace the chat template by the text of a file (NULL text: the plain format
 * "role: content\n"... "assistant:"). Unsupported Jinja: TLT_EDATA with line and column. */
tlt_status tlt_tokenizer_set_template(tlt_tokenizer *t, const char *name, const char *text,
                                      tlt_err *err);

/* Conversation as text, as transformers' apply_chat_template(tokenize=False) renders it, except that
 * templates find no date (strftime_now is undefined), so that runs repeat. Without a template, or
 * where it refuses the conversation: TLT_EDATA. *text: NUL-terminated, caller frees. */
tlt_status tlt_chat_render(const tlt_tokenizer *t, const tlt_message *messages, size_t count,
                           bool add_generation_prompt, char **text, size_t *n, tlt_err *err);

/* Conversation as ids. Special tokens that the template itself writes are special; the same
 * spelling inside a message's content is plain text. */
tlt_status tlt_chat_encode(const tlt_tokenizer *t, const tlt_message *messages, size_t count,
                           bool add_generation_prompt, int32_t **ids, size_t *n, tlt_err *err);

/* Train a byte-level BPE tokenizer on texts (Digits + ByteLevel pre-tokenizers, 256 byte tokens,
 * merges by pair count, ties to the lexically lowest pair, up to vocab entries including the
 * specials, which come first) and write tokenizer.json and tokenizer_config.json into dir. */
tlt_status tlt_tokenizer_train(const char *const *texts, const size_t *lengths, size_t count,
                               int vocab, const char *const *specials, size_t n_specials,
                               const char *eos, const char *dir, tlt_err *err);

#endif
