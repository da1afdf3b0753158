/* The two halves of tlt_tokenizer_train: finding merges (train.c), writing files (train_write.c).
 */
#ifndef TLT_TOKENIZER_TRAIN_H
#define TLT_TOKENIZER_TRAIN_H

#include <stdint.h>

#include "base/mem.h"

/* Pairs rarer than this are not merged, except for the first merge. */
enum { TLT_TRAIN_MIN_COUNT = 2 };

typedef struct tlt_trained_token {
  const char *bytes;
  uint32_t n;
  int32_t left, right; /* ids that were merged; -1 for the byte tokens */
} tlt_trained_token;

/* Ids 0 .. first_byte - 1 are left to special tokens (zeroed entries), then the 256 bytes, then
 * the merges in the order of their rank. */
typedef struct tlt_trained {
  tlt_arena arena;
  tlt_trained_token *tokens; /* [n_tokens] */
  int first_byte, n_tokens;
} tlt_trained;

/* At most vocab tokens, vocab > n_specials + 256; fewer when the texts have no more pairs, never
 * without a merge. Texts are UTF-8 (TLT_EDATA with text and offset). Single-threaded. */
tlt_status tlt_train_merges(const char *const *texts, const size_t *lengths, size_t count,
                            int vocab, int n_specials, tlt_trained *out, tlt_err *err);
void tlt_trained_free(tlt_trained *t);

#endif
