/* The two hash tables of a vocabulary: linear probing, power-of-two sizes, at most half full. */
#include <string.h>

#include "tokenizer/internal.h"

struct tlt_string_slot {
  const char *key; /* NULL: free */
  uint32_t n;
  int32_t id;
};

struct tlt_merge_slot {
  uint64_t pair; /* left << 32 | right; FREE_PAIR: free */
  tlt_merge merge;
};

#define FREE_PAIR UINT64_MAX

static size_t table_size(size_t expected) {
  size_t size = 16;
  while (size < 2 * expected) size *= 2;
  return size;
}

/* FNV-1a, finished with a multiply so that the low bits see all bytes. */
static uint64_t hash_bytes(const char *s, size_t n) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
  return h ^ h >> 29;
}

static uint64_t hash_pair(uint64_t pair) {
  pair *= 0x9e3779b97f4a7c15u;
  return pair ^ pair >> 32;
}

tlt_status tlt_strings_init(tlt_strings *t, size_t expected, tlt_err *err) {
  size_t size = table_size(expected);
  t->slots = tlt_calloc(size, sizeof *t->slots);
  if (!t->slots) return tlt_fail_nomem(err, "token table", size * sizeof *t->slots);
  t->mask = size - 1;
  t->used = 0;
  return TLT_OK;
}

void tlt_strings_free(tlt_strings *t) {
  tlt_free(t->slots);
  *t = (tlt_strings){0};
}

static struct tlt_string_slot *string_slot(const tlt_strings *t, const char *key, size_t n) {
  for (size_t i = hash_bytes(key, n) & t->mask;; i = (i + 1) & t->mask) {
    struct tlt_string_slot *slot = &t->slots[i];
    if (!slot->key || (slot->n == n && memcmp(slot->key, key, n) == 0)) return slot;
  }
}

int32_t tlt_strings_add(tlt_strings *t, const char *key, size_t n, int32_t id) {
  struct tlt_string_slot *slot = string_slot(t, key, n);
  if (!slot->key) *slot = (struct tlt_string_slot){key, (uint32_t)n, id}, t->used++;
  return slot->id;
}

int32_t tlt_strings_find(const tlt_strings *t, const char *key, size_t n) {
  if (!t->slots || n > UINT32_MAX) return -1;
  const struct tlt_string_slot *slot = string_slot(t, key, n);
  return slot->key ? slot->id : -1;
}

tlt_status tlt_merges_init(tlt_merges *m, size_t expected, tlt_err *err) {
  size_t size = table_size(expected);
  m->slots = tlt_malloc(size * sizeof *m->slots);
  if (!m->slots) return tlt_fail_nomem(err, "merge table", size * sizeof *m->slots);
  for (size_t i = 0; i < size; i++) m->slots[i].pair = FREE_PAIR;
  m->mask = size - 1;
  m->used = 0;
  return TLT_OK;
}

void tlt_merges_free(tlt_merges *m) {
  tlt_free(m->slots);
  *m = (tlt_merges){0};
}

static struct tlt_merge_slot *merge_slot(const tlt_merges *m, uint64_t pair) {
  for (size_t i = hash_pair(pair) & m->mask;; i = (i + 1) & m->mask) {
    struct tlt_merge_slot *slot = &m->slots[i];
    if (slot->pair == pair || slot->pair == FREE_PAIR) return slot;
  }
}

static uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void tlt_merges_add(tlt_merges *m, int32_t left, int32_t right, tlt_merge merge) {
  struct tlt_merge_slot *slot = merge_slot(m, pair_key(left, right));
  if (slot->pair == FREE_PAIR) m->used++;
  *slot = (struct tlt_merge_slot){pair_key(left, right), merge};
}

bool tlt_merges_find(const tlt_merges *m, int32_t left, int32_t right, tlt_merge *merge) {
  const struct tlt_merge_slot *slot = merge_slot(m, pair_key(left, right));
  if (slot->pair == FREE_PAIR) return false;
  *merge = slot->merge;
  return true;
}
