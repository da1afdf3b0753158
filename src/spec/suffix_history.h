/* Answers to earlier requests, by prompt: found again by hash and comparison of all tokens. Under a
 * byte cap; the prompt that was longest neither read nor added to goes first. One thread. */
#ifndef TLT_SPEC_SUFFIX_HISTORY_H
#define TLT_SPEC_SUFFIX_HISTORY_H

#include <stddef.h>
#include <stdint.h>

enum {
  TLT_ANSWERS_KEPT = 16, /* newest answers of one prompt */
};

/* Shared by the history and whoever still reads it: freed with the last reference. */
typedef struct tlt_answer {
  int references, n;
  int32_t tokens[];
} tlt_answer;

/* A copy with one reference; NULL when out of memory. n >= 1. */
tlt_answer *tlt_answer_new(const int32_t *tokens, int n);
void tlt_answer_release(tlt_answer *answer); /* NULL is harmless */

enum { TLT_HISTORY_BUCKETS = 4096 };

typedef struct tlt_history {
  size_t cap, bytes; /* with what entries and answers themselves take */
  struct tlt_remembered *bucket[TLT_HISTORY_BUCKETS];
  struct tlt_remembered *newest, *oldest;
} tlt_history;

/* A zeroed history with cap set is empty and ready; cap 0 keeps nothing. */
void tlt_history_deinit(tlt_history *h);

/* Newest first into out[TLT_ANSWERS_KEPT], each with a reference for the caller. Returns how many.
 */
int tlt_history_recall(tlt_history *h, const int32_t *prompt, int n_prompt, tlt_answer **out);

/* Takes a reference of its own. Out of memory, or larger than the cap: nothing is remembered. */
void tlt_history_add(tlt_history *h, const int32_t *prompt, int n_prompt, tlt_answer *answer);

#endif
