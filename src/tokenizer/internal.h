/* Inside of a loaded tokenizer. Everything here is built once by the loader and read-only after,
 * so that any number of threads may encode at once; working memory lives in each call. */
#ifndef TLT_TOKENIZER_INTERNAL_H
#define TLT_TOKENIZER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tlt_json_node;

#include "base/mem.h"
#include "tlt/tokenizer.h"
#include "tokenizer/buffer.h"
#include "tokenizer/regex.h"

/* Caps on untrusted input. */
enum {
  TLT_TOKENIZER_FILE_MAX = 64 << 20, /* bytes of tokenizer.json */
  TLT_CONFIG_FILE_MAX = 16 << 20,    /* bytes of tokenizer_config.json */
  TLT_TEMPLATE_MAX = 1 << 20,        /* bytes of a chat template */
  TLT_VOCAB_MAX = 1 << 20,           /* token ids */
  TLT_MERGES_MAX = 1 << 20,
  TLT_ADDED_MAX = 65536,      /* added tokens */
  TLT_ADDED_BYTES_MAX = 1024, /* bytes of one added token */
  TLT_STEPS_MAX = 16          /* pre-tokenizer steps after flattening sequences */
};

/* ---- vocabulary (vocab.c) ---- */

typedef struct tlt_token {
  const char *text;  /* exact spelling in tokenizer.json; NULL: a hole */
  const char *bytes; /* what the token stands for */
  uint32_t n_text, n_bytes;
  bool added, special;
} tlt_token;

/* Hash table from strings to ids; keys are borrowed and must outlive it. */
typedef struct tlt_strings {
  struct tlt_string_slot *slots; /* [mask + 1], at most half full */
  size_t mask, used;
} tlt_strings;

tlt_status tlt_strings_init(tlt_strings *t, size_t expected, tlt_err *err);
void tlt_strings_free(tlt_strings *t);
/* Insert unless present; the id that the key now has. Never more keys than expected. */
int32_t tlt_strings_add(tlt_strings *t, const char *key, size_t n, int32_t id);
int32_t tlt_strings_find(const tlt_strings *t, const char *key, size_t n); /* -1: absent */

/* Hash table (left id, right id) -> (rank, merged id). */
typedef struct tlt_merge {
  uint32_t rank;
  int32_t id;
} tlt_merge;

typedef struct tlt_merges {
  struct tlt_merge_slot *slots;
  size_t mask, used;
} tlt_merges;

tlt_status tlt_merges_init(tlt_merges *m, size_t expected, tlt_err *err);
void tlt_merges_free(tlt_merges *m);
void tlt_merges_add(tlt_merges *m, int32_t left, int32_t right, tlt_merge merge); /* replaces */
bool tlt_merges_find(const tlt_merges *m, int32_t left, int32_t right, tlt_merge *merge);

/* ---- added tokens (added.c) ---- */

typedef struct tlt_added_token {
  int32_t id;
  bool special, lstrip, rstrip, single_word;
} tlt_added_token;

/* Byte trie over token texts, children as linked siblings. */
typedef struct tlt_added {
  struct tlt_added_node *nodes;
  size_t n_nodes, cap_nodes;
  tlt_added_token *tokens;
  size_t n_tokens, cap_tokens;
  bool any_special;
  uint8_t first[256]; /* bytes that a token can start with */
} tlt_added;

tlt_status tlt_added_insert(tlt_added *a, const char *text, size_t n, tlt_added_token token,
                            tlt_err *err);
void tlt_added_free(tlt_added *a);

/* What special tokens may match: everywhere, nowhere, or only where no byte of the text is
 * tainted (mask[i] != 0 marks byte i as tainted). */
typedef struct tlt_special_rule {
  bool allow;
  const uint8_t *mask; /* NULL: no byte is tainted */
} tlt_special_rule;

/* The next added token in text[from..n): leftmost, then longest. Special tokens that the rule
 * excludes are as if they did not exist. *start and *end include the white space that the token
 * strips, but never a byte before `from`. False: none left. */
bool tlt_added_next(const tlt_added *a, const char *text, size_t n, size_t from,
                    tlt_special_rule rule, size_t *start, size_t *end, int32_t *id);

/* ---- pre-tokenizer steps (split.c) ---- */

typedef enum tlt_step_kind {
  TLT_STEP_PREFIX_SPACE, /* put a space before a piece that has none */
  TLT_STEP_REGEX,
  TLT_STEP_LITERAL, /* split at occurrences of a string */
  TLT_STEP_DIGITS,
} tlt_step_kind;

typedef enum tlt_behavior {
  TLT_SPLIT_REMOVED,
  TLT_SPLIT_ISOLATED,
  TLT_SPLIT_WITH_PREVIOUS,
  TLT_SPLIT_WITH_NEXT,
  TLT_SPLIT_CONTIGUOUS,
} tlt_behavior;

typedef struct tlt_step {
  tlt_step_kind kind;
  tlt_behavior behavior;
  bool invert;
  tlt_regex *regex;    /* TLT_STEP_REGEX, owned */
  const char *literal; /* TLT_STEP_LITERAL */
  size_t n_literal;
} tlt_step;

/* Working memory of one encoding call. */
typedef struct tlt_splitter {
  const tlt_step *steps;
  int n_steps;
  tlt_regex_scratch *regex[TLT_STEPS_MAX];
  struct tlt_span *spans[TLT_STEPS_MAX]; /* matches and gaps found by a step */
  size_t cap_spans[TLT_STEPS_MAX];
  tlt_bytes prefixed[TLT_STEPS_MAX];
} tlt_splitter;

/* A word of the final split: never empty. */
typedef tlt_status (*tlt_word_fn)(void *context, const char *word, size_t n, tlt_err *err);

tlt_status tlt_splitter_init(tlt_splitter *s, const tlt_step *steps, int n_steps, tlt_err *err);
void tlt_splitter_free(tlt_splitter *s);
/* Run all steps over text[0..n) (valid UTF-8) and call word() for each piece in order. */
tlt_status tlt_splitter_run(tlt_splitter *s, const char *text, size_t n, tlt_word_fn word,
                            void *context, tlt_err *err);

/* The pattern of the ByteLevel pre-tokenizer, GPT-2's. */
extern const char tlt_gpt2_pattern[];

/* ---- the whole ---- */

typedef struct tlt_bpe {
  int32_t byte_id[256]; /* token of one byte, -1 when the vocabulary has none */
  tlt_merges merges;
  bool ignore_merges;   /* a word that is a token is taken whole */
  tlt_strings by_bytes; /* with ignore_merges only: bytes -> id, special tokens left out */
  int32_t unknown;      /* id for a byte without token, -1: such bytes are dropped */
} tlt_bpe;

struct tlt_tokenizer {
  tlt_arena arena;   /* strings of tokens and configuration */
  tlt_token *tokens; /* [n_tokens] by id */
  int n_tokens;
  tlt_strings by_text;
  tlt_bpe bpe;
  bool nfc, byte_level;
  tlt_step steps[TLT_STEPS_MAX];
  int n_steps;
  tlt_added raw, normalized;      /* matched before and after normalisation */
  struct tlt_chat *chat;          /* NULL: no template */
  struct tlt_special_name *names; /* bos_token and its like of tokenizer_config.json */
  size_t n_names;
};

/* bos_token and its like: spelling by name. */
typedef struct tlt_special_name {
  const char *name, *text;
} tlt_special_name;

/* ---- loading ---- */

/* Fill an empty tokenizer from the parsed tokenizer.json; the node names the file in errors. */
tlt_status tlt_load_tokenizer(tlt_tokenizer *t, const struct tlt_json_node *top, tlt_err *err);
/* Its model: vocabulary (load_vocab.c) and merges. */
tlt_status tlt_load_model(tlt_tokenizer *t, const struct tlt_json_node *top, tlt_err *err);
/* normalizer, pre_tokenizer, post_processor, decoder (load_parts.c). */
tlt_status tlt_load_parts(tlt_tokenizer *t, const struct tlt_json_node *top, tlt_err *err);
/* tokenizer_config.json and chat_template.jinja of a directory (config.c). */
tlt_status tlt_load_config(tlt_tokenizer *t, const char *dir, tlt_err *err);

/* ---- encoding (encode.c) ---- */

/* tlt_tokenizer_encode with a taint mask: mask[i] is 0 or 1 for byte i. */
tlt_status tlt_encode_masked(const tlt_tokenizer *t, const char *text, size_t n,
                             tlt_special_rule rule, int32_t **ids, size_t *count, tlt_err *err);

/* ---- merging (bpe.c) ---- */

typedef struct tlt_bpe_scratch {
  struct tlt_symbol *symbols;
  size_t cap_symbols;
  struct tlt_candidate *heap;
  size_t n_heap, cap_heap;
} tlt_bpe_scratch;

void tlt_bpe_scratch_free(tlt_bpe_scratch *s);
/* Append the ids of one word: merges by lowest rank, then leftmost; O(n log n). */
tlt_status tlt_bpe_word(const tlt_bpe *b, tlt_bpe_scratch *s, const char *word, size_t n,
                        tlt_ids *out, tlt_err *err);

#endif
