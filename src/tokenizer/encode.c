/* Text to ids: added tokens are cut out first, the rest is normalised, cut again at normalised
 * added tokens, split into words and merged. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/text.h"

/* Words repeat: in longer texts the ids of recent short words are kept. */
enum { CACHE_FROM_BYTES = 16384, CACHE_SLOTS = 8192, CACHE_WORD = 20, CACHE_IDS = 10 };

typedef struct cached_word {
  uint8_t n, n_ids; /* n 0: free */
  char word[CACHE_WORD];
  int32_t ids[CACHE_IDS];
} cached_word;

typedef struct encoder {
  const tlt_tokenizer *t;
  tlt_splitter splitter;
  tlt_bpe_scratch scratch;
  cached_word *cache; /* [CACHE_SLOTS] or NULL */
  tlt_bytes normal;
  tlt_ids ids;
} encoder;

/* ---- words ---- */

static cached_word *cache_slot(encoder *e, const char *word, size_t n) {
  uint64_t h = n;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)word[i]) * 0x9e3779b97f4a7c15u;
  return &e->cache[(h >> 40) % CACHE_SLOTS];
}

static tlt_status encode_word(void *context, const char *word, size_t n, tlt_err *err) {
  encoder *e = context;
  if (!e->cache || n > CACHE_WORD)
    return tlt_bpe_word(&e->t->bpe, &e->scratch, word, n, &e->ids, err);
  cached_word *slot = cache_slot(e, word, n);
  if (slot->n == n && memcmp(slot->word, word, n) == 0) {
    if (!tlt_ids_reserve(&e->ids, CACHE_IDS)) return tlt_fail_nomem(err, "token ids", n);
    memcpy(e->ids.data + e->ids.n, slot->ids, sizeof slot->ids);
    e->ids.n += slot->n_ids;
    return TLT_OK;
  }
  size_t first = e->ids.n;
  tlt_status status = tlt_bpe_word(&e->t->bpe, &e->scratch, word, n, &e->ids, err);
  size_t count = e->ids.n - first;
  if (status || count > CACHE_IDS || count == 0) return status;
  slot->n = (uint8_t)n;
  slot->n_ids = (uint8_t)count;
  memcpy(slot->word, word, n);
  memcpy(slot->ids, e->ids.data + first, count * sizeof *slot->ids);
  return TLT_OK;
}

/* ---- pieces between added tokens ---- */

static tlt_special_rule rule_from(tlt_special_rule rule, size_t offset) {
  if (rule.mask) rule.mask += offset;
  return rule;
}

/* text[0..n) normalised, without tokens of the raw kind. */
static tlt_status encode_normal(encoder *e, const char *text, size_t n, tlt_special_rule rule,
                                tlt_err *err) {
  tlt_status status = TLT_OK;
  size_t done = 0, start, end;
  int32_t id;
  while (!status && tlt_added_next(&e->t->normalized, text, n, done, rule, &start, &end, &id)) {
    status = tlt_splitter_run(&e->splitter, text + done, start - done, encode_word, e, err);
    if (!status && !tlt_ids_add(&e->ids, id)) status = tlt_fail_nomem(err, "token ids", 4);
    done = end;
  }
  if (status || done == n) return status;
  return tlt_splitter_run(&e->splitter, text + done, n - done, encode_word, e, err);
}

static tlt_status normalise(encoder *e, const char *text, size_t n, tlt_err *err) {
  e->normal.n = 0;
  return tlt_nfc(text, n, &e->normal) ? TLT_OK : tlt_fail_nomem(err, "normalised text", n);
}

/* Where normalisation changes a partly tainted piece and a special token could match in it, runs
 * of equal taint are normalised one by one, so that the mask still fits. */
static tlt_status encode_runs(encoder *e, const char *text, size_t n, tlt_special_rule rule,
                              tlt_err *err) {
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < n && !status;) {
    size_t first = i;
    while (i < n && rule.mask[i] == rule.mask[first]) i++;
    status = normalise(e, text + first, i - first, err);
    tlt_special_rule whole = {!rule.mask[first], NULL};
    if (!status) status = encode_normal(e, e->normal.data, e->normal.n, whole, err);
  }
  return status;
}

static tlt_status encode_gap(encoder *e, const char *text, size_t n, tlt_special_rule rule,
                             tlt_err *err) {
  if (n == 0) return TLT_OK;
  if (!e->t->nfc) return encode_normal(e, text, n, rule, err);
  tlt_status status = normalise(e, text, n, err);
  if (status) return status;
  if (e->normal.n == n && memcmp(e->normal.data, text, n) == 0)
    return encode_normal(e, text, n, rule, err);
  if (rule.allow && rule.mask && e->t->normalized.any_special)
    return encode_runs(e, text, n, rule, err);
  rule.mask = NULL;
  return encode_normal(e, e->normal.data, e->normal.n, rule, err);
}

static tlt_status encode_all(encoder *e, const char *text, size_t n, tlt_special_rule rule,
                             tlt_err *err) {
  tlt_status status = TLT_OK;
  size_t done = 0, start, end;
  int32_t id;
  while (!status && tlt_added_next(&e->t->raw, text, n, done, rule, &start, &end, &id)) {
    status = encode_gap(e, text + done, start - done, rule_from(rule, done), err);
    if (!status && !tlt_ids_add(&e->ids, id)) status = tlt_fail_nomem(err, "token ids", 4);
    done = end;
  }
  return status ? status : encode_gap(e, text + done, n - done, rule_from(rule, done), err);
}

/* ---- entry points ---- */

tlt_status tlt_encode_masked(const tlt_tokenizer *t, const char *text, size_t n,
                             tlt_special_rule rule, int32_t **ids, size_t *count, tlt_err *err) {
  *ids = NULL, *count = 0;
  size_t bad = tlt_utf8_check(text, n);
  if (bad < n)
    return tlt_fail(err, TLT_EDATA, "text offset %zu: got byte 0x%02x, expected valid UTF-8", bad,
                    (unsigned char)text[bad]);
  encoder e = {.t = t};
  tlt_status status = tlt_splitter_init(&e.splitter, t->steps, t->n_steps, err);
  if (!status && n >= CACHE_FROM_BYTES) e.cache = tlt_calloc(CACHE_SLOTS, sizeof *e.cache);
  if (!status) status = encode_all(&e, text, n, rule, err);
  if (!status && !tlt_ids_reserve(&e.ids, 1)) status = tlt_fail_nomem(err, "token ids", 4);
  tlt_splitter_free(&e.splitter);
  tlt_bpe_scratch_free(&e.scratch);
  tlt_free(e.cache);
  tlt_bytes_free(&e.normal);
  if (status) {
    tlt_ids_free(&e.ids);
    return status;
  }
  *ids = e.ids.data, *count = e.ids.n;
  return TLT_OK;
}

tlt_status tlt_tokenizer_encode(const tlt_tokenizer *t, const char *text, size_t n,
                                bool parse_special, int32_t **ids, size_t *count, tlt_err *err) {
  return tlt_encode_masked(t, text, n, (tlt_special_rule){parse_special, NULL}, ids, count, err);
}

tlt_status tlt_tokenizer_decode(const tlt_tokenizer *t, const int32_t *ids, size_t count,
                                bool skip_special, char **text, size_t *n, tlt_err *err) {
  *text = NULL, *n = 0;
  tlt_bytes out = {0};
  for (size_t i = 0; i < count; i++) {
    if (ids[i] < 0 || ids[i] >= t->n_tokens) {
      tlt_bytes_free(&out);
      return tlt_fail(err, TLT_EDATA, "token %zu: got id %d, expected 0 .. %d", i, ids[i],
                      t->n_tokens - 1);
    }
    const tlt_token *token = &t->tokens[ids[i]];
    if (token->special && skip_special) continue;
    if (!tlt_bytes_add(&out, token->bytes, token->n_bytes)) goto nomem; /* a hole has none */
  }
  *n = out.n;
  if (!tlt_bytes_add(&out, "", 1)) goto nomem;
  *text = out.data;
  return TLT_OK;
nomem:
  tlt_bytes_free(&out);
  *n = 0;
  return tlt_fail_nomem(err, "decoded text", count);
}
