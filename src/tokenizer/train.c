/* Training a byte-level BPE tokenizer.
 *
 * The texts are cut into words as the trained tokenizer will cut them (single digits, then GPT-2's
 * pattern), equal words are counted once, and the most frequent pair of neighbouring tokens is
 * merged again and again. Pair counts are kept up to date by visiting only the words that hold the
 * pair; a heap with stale entries gives the best pair. Ties go to the pair whose bytes (left token,
 * then right token) come first. */
#include "tokenizer/train.h"

#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/text.h"

/* ---- words ---- */

typedef struct word {
  const char *bytes; /* until its ids are made */
  int32_t *ids;      /* in the shared pool */
  uint32_t n;
  int64_t count;
} word;

typedef struct trainer {
  tlt_arena arena;
  tlt_strings known; /* word bytes -> index */
  word *words;
  size_t n_words, cap_words;
  int32_t *pool; /* ids of all words */

  struct pair *pairs;
  size_t n_pairs, cap_pairs;
  tlt_merges pair_index; /* (left, right) -> pair */
  size_t cap_index;
  struct entry *heap;
  size_t n_heap, cap_heap;

  tlt_trained *out;
  tlt_err *err;
} trainer;

/* Twice the table when it is half full; the keys stay where they are. */
static tlt_status grow_known(trainer *t) {
  if (2 * t->known.used < t->known.mask) return TLT_OK;
  tlt_strings bigger = {0};
  tlt_status status = tlt_strings_init(&bigger, 2 * t->known.mask, t->err);
  for (size_t i = 0; !status && i < t->n_words; i++)
    tlt_strings_add(&bigger, t->words[i].bytes, t->words[i].n, (int32_t)i);
  if (status) return status;
  tlt_strings_free(&t->known);
  t->known = bigger;
  return TLT_OK;
}

static tlt_status count_word(void *context, const char *bytes, size_t n, tlt_err *err) {
  trainer *t = context;
  int32_t known = tlt_strings_find(&t->known, bytes, n);
  if (known >= 0) {
    t->words[known].count++;
    return TLT_OK;
  }
  if (t->n_words == INT32_MAX) return tlt_fail(err, TLT_EDATA, "more than 2^31 distinct words");
  tlt_status status = grow_known(t);
  if (status) return status;
  word *words = tlt_array_grow(t->words, &t->cap_words, t->n_words + 1, sizeof *words);
  char *copy = tlt_arena_strndup(&t->arena, bytes, n);
  if (words) t->words = words;
  if (!words || !copy) return tlt_fail_nomem(err, "tokenizer training", n);
  words[t->n_words] = (word){.bytes = copy, .n = (uint32_t)n, .count = 1};
  tlt_strings_add(&t->known, copy, n, (int32_t)t->n_words++);
  return TLT_OK;
}

static tlt_status count_words(trainer *t, const char *const *texts, const size_t *lengths,
                              size_t count) {
  tlt_step steps[2] = {{.kind = TLT_STEP_DIGITS, .behavior = TLT_SPLIT_ISOLATED},
                       {.kind = TLT_STEP_REGEX, .behavior = TLT_SPLIT_ISOLATED}};
  tlt_splitter splitter = {0};
  tlt_status status =
      tlt_regex_compile(tlt_gpt2_pattern, strlen(tlt_gpt2_pattern), &steps[1].regex, t->err);
  if (!status) status = tlt_splitter_init(&splitter, steps, 2, t->err);
  for (size_t i = 0; i < count && !status; i++) {
    size_t bad = tlt_utf8_check(texts[i], lengths[i]);
    if (bad < lengths[i])
      status = tlt_fail(t->err, TLT_EDATA, "text %zu offset %zu: got byte 0x%02x, expected UTF-8",
                        i, bad, (unsigned char)texts[i][bad]);
    else status = tlt_splitter_run(&splitter, texts[i], lengths[i], count_word, t, t->err);
  }
  tlt_splitter_free(&splitter);
  tlt_regex_free(steps[1].regex);
  return status;
}

/* ---- pairs ---- */

typedef struct pair {
  int32_t left, right;
  int64_t count;
  uint32_t *words; /* indices of words that hold it or held it once, ascending */
  size_t n_words, cap_words;
} pair;

typedef struct entry {
  int64_t count; /* when it was pushed: less or equal to the pair's count then */
  uint32_t pair;
} entry;

static int compare_tokens(const trainer *t, int32_t a, int32_t b) {
  const tlt_trained_token *x = &t->out->tokens[a], *y = &t->out->tokens[b];
  int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
  return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool better(const trainer *t, entry a, entry b) {
  if (a.count != b.count) return a.count > b.count;
  const pair *x = &t->pairs[a.pair], *y = &t->pairs[b.pair];
  int order = compare_tokens(t, x->left, y->left);
  return (order ? order : compare_tokens(t, x->right, y->right)) < 0;
}

static tlt_status push_entry(trainer *t, uint32_t index) {
  entry e = {t->pairs[index].count, index};
  if (e.count <= 0) return TLT_OK;
  entry *heap = tlt_array_grow(t->heap, &t->cap_heap, t->n_heap + 1, sizeof *heap);
  if (!heap) return tlt_fail_nomem(t->err, "tokenizer training", t->n_heap * sizeof *heap);
  t->heap = heap;
  size_t i = t->n_heap++;
  for (; i > 0 && better(t, e, heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = e;
  return TLT_OK;
}

static entry pop_entry(trainer *t) {
  entry top = t->heap[0], last = t->heap[--t->n_heap];
  size_t i = 0;
  for (size_t k = 1; k < t->n_heap; k = 2 * i + 1) {
    if (k + 1 < t->n_heap && better(t, t->heap[k + 1], t->heap[k])) k++;
    if (!better(t, t->heap[k], last)) break;
    t->heap[i] = t->heap[k];
    i = k;
  }
  t->heap[i] = last;
  return top;
}

static tlt_status grow_index(trainer *t) {
  if (t->n_pairs < t->cap_index) return TLT_OK;
  tlt_merges bigger = {0};
  size_t cap = t->cap_index ? 2 * t->cap_index : 4096;
  tlt_status status = tlt_merges_init(&bigger, cap, t->err);
  for (size_t i = 0; !status && i < t->n_pairs; i++)
    tlt_merges_add(&bigger, t->pairs[i].left, t->pairs[i].right, (tlt_merge){.id = (int32_t)i});
  if (status) return status;
  tlt_merges_free(&t->pair_index);
  t->pair_index = bigger;
  t->cap_index = cap;
  return TLT_OK;
}

static tlt_status pair_at(trainer *t, int32_t left, int32_t right, uint32_t *index) {
  tlt_merge found;
  tlt_status status = grow_index(t);
  if (status) return status;
  if (tlt_merges_find(&t->pair_index, left, right, &found)) {
    *index = (uint32_t)found.id;
    return TLT_OK;
  }
  pair *pairs = tlt_array_grow(t->pairs, &t->cap_pairs, t->n_pairs + 1, sizeof *pairs);
  if (!pairs || t->n_pairs == INT32_MAX)
    return tlt_fail_nomem(t->err, "tokenizer training", t->n_pairs * sizeof *pairs);
  t->pairs = pairs;
  pairs[t->n_pairs] = (pair){.left = left, .right = right};
  tlt_merges_add(&t->pair_index, left, right, (tlt_merge){.id = (int32_t)t->n_pairs});
  *index = (uint32_t)t->n_pairs++;
  return TLT_OK;
}

/* Add `change` occurrences of a pair in word w; `list` when w is not among the pair's words yet.
 * Counts of listed pairs only fall: their stale heap entries are corrected when popped. */
static tlt_status change_pair(trainer *t, int32_t left, int32_t right, uint32_t w, int64_t change,
                              bool list) {
  uint32_t index = 0;
  tlt_status status = pair_at(t, left, right, &index);
  if (status) return status;
  pair *p = &t->pairs[index];
  p->count += change;
  if (list && (p->n_words == 0 || p->words[p->n_words - 1] != w)) {
    uint32_t *words = tlt_array_grow(p->words, &p->cap_words, p->n_words + 1, sizeof *words);
    if (!words) return tlt_fail_nomem(t->err, "tokenizer training", p->n_words * sizeof *words);
    p->words = words;
    words[p->n_words++] = w;
  }
  return TLT_OK;
}

static tlt_status first_pairs(trainer *t) {
  size_t total = 0;
  for (size_t w = 0; w < t->n_words; w++) total += t->words[w].n;
  if (total == 0) return TLT_OK;
  t->pool = tlt_malloc(total * sizeof *t->pool);
  if (!t->pool) return tlt_fail_nomem(t->err, "tokenizer training", total * sizeof *t->pool);
  int32_t *next = t->pool;
  tlt_status status = TLT_OK;
  for (size_t w = 0; w < t->n_words && !status; w++) {
    word *x = &t->words[w];
    x->ids = next;
    for (uint32_t i = 0; i < x->n; i++) x->ids[i] = t->out->first_byte + (uint8_t)x->bytes[i];
    for (uint32_t i = 0; i + 1 < x->n && !status; i++)
      status = change_pair(t, x->ids[i], x->ids[i + 1], (uint32_t)w, x->count, true);
    next += x->n;
  }
  for (size_t i = 0; i < t->n_pairs && !status; i++) status = push_entry(t, (uint32_t)i);
  return status;
}

/* ---- merging ---- */

/* Replace (left, right) by id in one word: its old pairs lose its count, its new pairs gain it. */
static tlt_status merge_word(trainer *t, uint32_t w, int32_t left, int32_t right, int32_t id) {
  word *x = &t->words[w];
  uint32_t i = 0;
  while (i + 1 < x->n && !(x->ids[i] == left && x->ids[i + 1] == right)) i++;
  if (i + 1 >= x->n) return TLT_OK;
  tlt_status status = TLT_OK;
  for (i = 0; i + 1 < x->n && !status; i++)
    status = change_pair(t, x->ids[i], x->ids[i + 1], w, -x->count, false);
  uint32_t m = 0;
  for (i = 0; i < x->n; m++) {
    bool hit = i + 1 < x->n && x->ids[i] == left && x->ids[i + 1] == right;
    x->ids[m] = hit ? id : x->ids[i];
    i += hit ? 2 : 1;
  }
  x->n = m;
  for (i = 0; i + 1 < x->n && !status; i++)
    status = change_pair(t, x->ids[i], x->ids[i + 1], w, x->count,
                         x->ids[i] == id || x->ids[i + 1] == id);
  return status;
}

static tlt_status add_token(trainer *t, int32_t left, int32_t right) {
  tlt_trained *out = t->out;
  tlt_trained_token a = out->tokens[left], b = out->tokens[right];
  char *bytes = tlt_arena_alloc(&out->arena, a.n + b.n);
  if (!bytes) return tlt_fail_nomem(t->err, "tokenizer training", a.n + b.n);
  memcpy(bytes, a.bytes, a.n);
  memcpy(bytes + a.n, b.bytes, b.n);
  out->tokens[out->n_tokens] = (tlt_trained_token){bytes, a.n + b.n, left, right};
  out->n_tokens++;
  return TLT_OK;
}

/* New pairs always hold the new id, so only those need a push: found by their place at the end of
 * the pair list, since no pair with this id existed before. */
static tlt_status merge_pair(trainer *t, uint32_t index) {
  pair p = t->pairs[index];
  t->pairs[index].words = NULL;
  t->pairs[index].n_words = t->pairs[index].cap_words = 0;
  size_t first_new = t->n_pairs;
  int32_t id = t->out->n_tokens;
  tlt_status status = add_token(t, p.left, p.right);
  for (size_t i = 0; i < p.n_words && !status; i++)
    status = merge_word(t, p.words[i], p.left, p.right, id);
  tlt_free(p.words);
  for (size_t i = first_new; i < t->n_pairs && !status; i++) status = push_entry(t, (uint32_t)i);
  return status;
}

/* Whether two different splits of the same bytes may both become tokens: no, a vocabulary has each
 * spelling once, so a pair whose joined bytes are a token already is passed over. */
static bool spelled_already(trainer *t, const pair *p, tlt_strings *spellings, tlt_bytes *joined,
                            bool *ok) {
  const tlt_trained_token *a = &t->out->tokens[p->left], *b = &t->out->tokens[p->right];
  joined->n = 0;
  *ok = tlt_bytes_add(joined, a->bytes, a->n) && tlt_bytes_add(joined, b->bytes, b->n);
  return *ok && tlt_strings_find(spellings, joined->data, joined->n) >= 0;
}

static tlt_status merge_all(trainer *t, int vocab) {
  tlt_strings spellings = {0};
  tlt_bytes joined = {0};
  bool ok = true;
  tlt_status status = tlt_strings_init(&spellings, (size_t)vocab, t->err);
  while (!status && t->n_heap > 0 && t->out->n_tokens < vocab) {
    entry e = pop_entry(t);
    const pair *p = &t->pairs[e.pair];
    if (p->count != e.count) {
      status = push_entry(t, e.pair);
      continue;
    }
    if (e.count < TLT_TRAIN_MIN_COUNT && t->out->n_tokens > t->out->first_byte + 256) break;
    if (spelled_already(t, p, &spellings, &joined, &ok)) continue;
    if (ok) status = merge_pair(t, e.pair);
    if (!ok) status = tlt_fail_nomem(t->err, "tokenizer training", joined.n);
    const tlt_trained_token *last = &t->out->tokens[t->out->n_tokens - 1];
    if (!status) tlt_strings_add(&spellings, last->bytes, last->n, t->out->n_tokens - 1);
  }
  tlt_strings_free(&spellings);
  tlt_bytes_free(&joined);
  return status;
}

/* ---- entry ---- */

static tlt_status first_tokens(tlt_trained *out, int vocab, int n_specials, tlt_err *err) {
  *out = (tlt_trained){.first_byte = n_specials};
  out->tokens = tlt_calloc((size_t)vocab, sizeof *out->tokens);
  char *bytes = tlt_arena_alloc(&out->arena, 256);
  if (!out->tokens || !bytes)
    return tlt_fail_nomem(err, "tokenizer training", (size_t)vocab * sizeof *out->tokens);
  for (int b = 0; b < 256; b++) {
    bytes[b] = (char)b;
    out->tokens[n_specials + b] = (tlt_trained_token){bytes + b, 1, -1, -1};
  }
  out->n_tokens = n_specials + 256;
  return TLT_OK;
}

tlt_status tlt_train_merges(const char *const *texts, const size_t *lengths, size_t count,
                            int vocab, int n_specials, tlt_trained *out, tlt_err *err) {
  trainer t = {.out = out, .err = err};
  tlt_status status = first_tokens(out, vocab, n_specials, err);
  if (!status) status = tlt_strings_init(&t.known, 4096, err);
  if (!status) status = count_words(&t, texts, lengths, count);
  if (!status) status = first_pairs(&t);
  if (!status) status = merge_all(&t, vocab);
  /* Texts without any pair: a vocabulary without merges would not load, so two spaces join. */
  if (!status && out->n_tokens == n_specials + 256)
    status = add_token(&t, n_specials + ' ', n_specials + ' ');
  for (size_t i = 0; i < t.n_pairs; i++) tlt_free(t.pairs[i].words);
  tlt_free(t.pairs);
  tlt_free(t.heap);
  tlt_free(t.pool);
  tlt_free(t.words);
  tlt_merges_free(&t.pair_index);
  tlt_strings_free(&t.known);
  tlt_arena_free(&t.arena);
  if (status) tlt_trained_free(out);
  return status;
}

void tlt_trained_free(tlt_trained *t) {
  tlt_free(t->tokens);
  tlt_arena_free(&t->arena);
  *t = (tlt_trained){0};
}
