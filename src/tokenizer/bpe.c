/* Byte-pair merging of one word. Symbols form a doubly linked list; candidates (pairs that have a
 * merge) wait in a heap by (rank, position). A candidate whose symbols have changed since is
 * recognised by its length: symbols only grow, so equal lengths mean the same pair. */
#include <string.h>

#include "tokenizer/internal.h"

typedef struct tlt_symbol {
  int32_t id, previous, next; /* indices, -1: none */
  uint32_t n;                 /* bytes; 0: merged away */
} tlt_symbol;

typedef struct tlt_candidate {
  uint32_t rank, left, n; /* n: bytes of both symbols */
  int32_t id;
} tlt_candidate;

enum { SMALL_WORD = 24 }; /* up to here a scan beats the heap */

void tlt_bpe_scratch_free(tlt_bpe_scratch *s) {
  tlt_free(s->symbols);
  tlt_free(s->heap);
  *s = (tlt_bpe_scratch){0};
}

/* ---- short words ---- */

static tlt_status merge_small(const tlt_bpe *b, int32_t *ids, size_t n, tlt_ids *out,
                              tlt_err *err) {
  tlt_merge pair[SMALL_WORD];
  if (n == 0) return TLT_OK;
  for (size_t i = 0; i + 1 < n; i++)
    if (!tlt_merges_find(&b->merges, ids[i], ids[i + 1], &pair[i])) pair[i].rank = UINT32_MAX;
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++)
      if (pair[i].rank < pair[best].rank) best = i;
    if (pair[best].rank == UINT32_MAX) break;
    ids[best] = pair[best].id;
    memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
    memmove(pair + best, pair + best + 1, (n - best - 2) * sizeof *pair);
    n--;
    for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++)
      if (!tlt_merges_find(&b->merges, ids[i], ids[i + 1], &pair[i])) pair[i].rank = UINT32_MAX;
  }
  if (!tlt_ids_reserve(out, n)) return tlt_fail_nomem(err, "token ids", n * sizeof *ids);
  memcpy(out->data + out->n, ids, n * sizeof *ids);
  out->n += n;
  return TLT_OK;
}

/* ---- long words ---- */

static bool before(const tlt_candidate *a, const tlt_candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static bool heap_push(tlt_bpe_scratch *s, tlt_candidate c) {
  tlt_candidate *heap = tlt_array_grow(s->heap, &s->cap_heap, s->n_heap + 1, sizeof *heap);
  if (!heap) return false;
  s->heap = heap;
  size_t i = s->n_heap++;
  for (; i > 0 && before(&c, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
  heap[i] = c;
  return true;
}

static tlt_candidate heap_pop(tlt_bpe_scratch *s) {
  tlt_candidate top = s->heap[0], last = s->heap[--s->n_heap];
  size_t i = 0, n = s->n_heap;
  for (size_t k = 1; k < n; k = 2 * i + 1) {
    if (k + 1 < n && before(&s->heap[k + 1], &s->heap[k])) k++;
    if (!before(&s->heap[k], &last)) break;
    s->heap[i] = s->heap[k];
    i = k;
  }
  s->heap[i] = last;
  return top;
}

static bool push_pair(const tlt_bpe *b, tlt_bpe_scratch *s, int32_t left) {
  int32_t right = left < 0 ? -1 : s->symbols[left].next;
  tlt_merge merge;
  if (right < 0 || !tlt_merges_find(&b->merges, s->symbols[left].id, s->symbols[right].id, &merge))
    return true;
  uint32_t n = s->symbols[left].n + s->symbols[right].n;
  return heap_push(s, (tlt_candidate){merge.rank, (uint32_t)left, n, merge.id});
}

static bool merge_at(const tlt_bpe *b, tlt_bpe_scratch *s, tlt_candidate c) {
  tlt_symbol *left = &s->symbols[c.left];
  if (left->n == 0 || left->next < 0) return true;
  tlt_symbol *right = &s->symbols[left->next];
  if (left->n + right->n != c.n) return true;
  left->id = c.id;
  left->n = c.n;
  right->n = 0;
  left->next = right->next;
  if (left->next >= 0) s->symbols[left->next].previous = (int32_t)c.left;
  return push_pair(b, s, left->previous) && push_pair(b, s, (int32_t)c.left);
}

static tlt_status merge_large(const tlt_bpe *b, tlt_bpe_scratch *s, size_t n, tlt_ids *out,
                              tlt_err *err) {
  bool ok = true;
  s->n_heap = 0;
  for (size_t i = 0; ok && i + 1 < n; i++) ok = push_pair(b, s, (int32_t)i);
  while (ok && s->n_heap > 0) ok = merge_at(b, s, heap_pop(s));
  for (int32_t i = 0; ok && i >= 0; i = s->symbols[i].next) ok = tlt_ids_add(out, s->symbols[i].id);
  return ok ? TLT_OK : tlt_fail_nomem(err, "merging a word", n * sizeof(tlt_candidate));
}

/* ---- a word ---- */

static size_t first_small(const tlt_bpe *b, const char *word, size_t n, int32_t *ids) {
  size_t m = 0;
  for (size_t i = 0; i < n; i++) {
    int32_t id = b->byte_id[(uint8_t)word[i]];
    if (id < 0) id = b->unknown;
    if (id >= 0) ids[m++] = id;
  }
  return m;
}

static tlt_status first_large(const tlt_bpe *b, tlt_bpe_scratch *s, const char *word, size_t n,
                              size_t *count, tlt_err *err) {
  if (n >= INT32_MAX)
    return tlt_fail(err, TLT_EDATA, "word of %zu bytes, expected less than 2 GiB", n);
  tlt_symbol *symbols = tlt_array_grow(s->symbols, &s->cap_symbols, n, sizeof *symbols);
  if (!symbols) return tlt_fail_nomem(err, "merging a word", n * sizeof *symbols);
  s->symbols = symbols;
  int32_t m = 0;
  for (size_t i = 0; i < n; i++) {
    int32_t id = b->byte_id[(uint8_t)word[i]];
    if (id < 0) id = b->unknown;
    if (id < 0) continue;
    symbols[m] = (tlt_symbol){id, m - 1, m + 1, 1};
    m++;
  }
  if (m > 0) symbols[m - 1].next = -1;
  *count = (size_t)m;
  return TLT_OK;
}

tlt_status tlt_bpe_word(const tlt_bpe *b, tlt_bpe_scratch *s, const char *word, size_t n,
                        tlt_ids *out, tlt_err *err) {
  if (b->ignore_merges) {
    int32_t id = tlt_strings_find(&b->by_bytes, word, n);
    if (id >= 0) return tlt_ids_add(out, id) ? TLT_OK : tlt_fail_nomem(err, "token ids", 4);
  }
  if (n <= SMALL_WORD) {
    int32_t ids[SMALL_WORD];
    return merge_small(b, ids, first_small(b, word, n, ids), out, err);
  }
  size_t count = 0;
  tlt_status status = first_large(b, s, word, n, &count, err);
  return status || count == 0 ? status : merge_large(b, s, count, out, err);
}
