#include "spec/suffix_history.h"

#include <string.h>

#include "base/mem.h"

typedef struct tlt_remembered {
  struct tlt_remembered *chain;         /* of the bucket */
  struct tlt_remembered *newer, *older; /* by last use */
  uint64_t hash;
  int n_answers, next; /* next: where the next answer goes */
  tlt_answer *answer[TLT_ANSWERS_KEPT];
  int n_prompt;
  int32_t prompt[];
} remembered;

/* ---- Answers ---- */

static size_t answer_bytes(const tlt_answer *a) {
  return sizeof *a + (size_t)a->n * sizeof *a->tokens;
}

tlt_answer *tlt_answer_new(const int32_t *tokens, int n) {
  tlt_answer *a = tlt_malloc(sizeof *a + (size_t)n * sizeof *a->tokens);
  if (!a) return NULL;
  a->references = 1;
  a->n = n;
  memcpy(a->tokens, tokens, (size_t)n * sizeof *tokens);
  return a;
}

void tlt_answer_release(tlt_answer *answer) {
  if (answer && --answer->references == 0) tlt_free(answer);
}

/* ---- Entries ---- */

static size_t entry_bytes(int n_prompt) {
  return sizeof(remembered) + (size_t)n_prompt * sizeof(int32_t);
}

static uint64_t hash_tokens(const int32_t *token, int n) {
  uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)n;
  for (int i = 0; i < n; i++) {
    h = (h ^ (uint32_t)token[i]) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  return h;
}

static remembered **bucket_of(tlt_history *h, uint64_t hash) {
  return &h->bucket[hash % TLT_HISTORY_BUCKETS];
}

static remembered *find(tlt_history *h, uint64_t hash, const int32_t *prompt, int n) {
  remembered *r = *bucket_of(h, hash);
  while (r && !(r->hash == hash && r->n_prompt == n &&
                !memcmp(r->prompt, prompt, (size_t)n * sizeof *prompt)))
    r = r->chain;
  return r;
}

static void unlist(tlt_history *h, remembered *r) {
  *(r->newer ? &r->newer->older : &h->newest) = r->older;
  *(r->older ? &r->older->newer : &h->oldest) = r->newer;
}

static void list_newest(tlt_history *h, remembered *r) {
  r->newer = NULL;
  r->older = h->newest;
  *(h->newest ? &h->newest->newer : &h->oldest) = r;
  h->newest = r;
}

static void drop_oldest_answer(tlt_history *h, remembered *r) {
  int i = (r->next - r->n_answers-- + TLT_ANSWERS_KEPT) % TLT_ANSWERS_KEPT;
  h->bytes -= answer_bytes(r->answer[i]);
  tlt_answer_release(r->answer[i]);
}

static void drop(tlt_history *h, remembered *r) {
  remembered **place = bucket_of(h, r->hash);
  while (*place != r) place = &(*place)->chain;
  *place = r->chain;
  unlist(h, r);
  while (r->n_answers) drop_oldest_answer(h, r);
  h->bytes -= entry_bytes(r->n_prompt);
  tlt_free(r);
}

static remembered *insert(tlt_history *h, uint64_t hash, const int32_t *prompt, int n) {
  remembered *r = tlt_calloc(1, entry_bytes(n));
  if (!r) return NULL;
  r->hash = hash;
  r->n_prompt = n;
  memcpy(r->prompt, prompt, (size_t)n * sizeof *prompt);
  remembered **bucket = bucket_of(h, hash);
  r->chain = *bucket;
  *bucket = r;
  list_newest(h, r);
  h->bytes += entry_bytes(n);
  return r;
}

/* ---- Interface ---- */

void tlt_history_deinit(tlt_history *h) {
  while (h->oldest) drop(h, h->oldest);
}

int tlt_history_recall(tlt_history *h, const int32_t *prompt, int n_prompt, tlt_answer **out) {
  remembered *r = find(h, hash_tokens(prompt, n_prompt), prompt, n_prompt);
  if (!r) return 0;
  unlist(h, r);
  list_newest(h, r);
  for (int i = 0; i < r->n_answers; i++) {
    out[i] = r->answer[(r->next - 1 - i + TLT_ANSWERS_KEPT) % TLT_ANSWERS_KEPT];
    out[i]->references++;
  }
  return r->n_answers;
}

void tlt_history_add(tlt_history *h, const int32_t *prompt, int n_prompt, tlt_answer *answer) {
  if (entry_bytes(n_prompt) + answer_bytes(answer) > h->cap) return;
  uint64_t hash = hash_tokens(prompt, n_prompt);
  remembered *r = find(h, hash, prompt, n_prompt);
  if (!r) r = insert(h, hash, prompt, n_prompt);
  if (!r) return;
  unlist(h, r);
  list_newest(h, r);
  if (r->n_answers == TLT_ANSWERS_KEPT) drop_oldest_answer(h, r);
  r->answer[r->next] = answer;
  answer->references++;
  r->n_answers++;
  r->next = (r->next + 1) % TLT_ANSWERS_KEPT;
  h->bytes += answer_bytes(answer);
  while (h->bytes > h->cap && h->oldest != r) drop(h, h->oldest);
  while (h->bytes > h->cap) drop_oldest_answer(h, r); /* ends: the entry and one answer fit */
}
