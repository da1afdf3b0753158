/* Replay buffer of the drafter: answers with the target's hidden states, under a byte cap that
 * prefers long answers, since those are what the tail of a rollout is made of.
 *
 * Every draw is a function of the seed, of what was added and of what was drawn before. One caller
 * at a time. */
#ifndef TLT_TRAIN_REPLAY_H
#define TLT_TRAIN_REPLAY_H

#include <stdbool.h>

#include "train/drafter.h"

typedef struct tlt_replay tlt_replay;

typedef struct tlt_replay_options {
  size_t bytes;     /* cap on tokens and hidden states together */
  size_t row_bytes; /* of one hidden state: tlt_act_stride(H) * act_size */
  uint32_t seed;    /* of the order of drawing */
} tlt_replay_options;

tlt_status tlt_replay_create(const tlt_replay_options *o, tlt_replay **out, tlt_err *err);
void tlt_replay_free(tlt_replay *r); /* NULL is harmless */

/* Room for a sample of n tokens, prompt included, of which `prompt` are given: *tokens [n] and
 * *hidden [n][row_bytes] are to be filled by the caller before anything else is called. version: of
 * the policy that it came from. held: never drawn for training. Shorter answers (older ones first
 * where equal) make room; *tokens is NULL where the sample itself would be the first to go, or has
 * no row to learn from. Only memory can fail. */
tlt_status tlt_replay_add(tlt_replay *r, int n, int prompt, int64_t version, bool held,
                          int32_t **tokens, void **hidden, tlt_err *err);

/* Forget samples of versions below `version`. */
void tlt_replay_drop(tlt_replay *r, int64_t version);

typedef struct tlt_replay_count {
  int samples, held; /* for training; held back */
  int64_t tokens;    /* of the samples for training */
  int versions;      /* different ones among all samples, which are added in ascending order */
  int64_t added, refused, evicted;
  size_t bytes;
} tlt_replay_count;
tlt_replay_count tlt_replay_counts(const tlt_replay *r);

/* The next micro-batch of up to micro_tokens tokens, at least one sample; false when there are
 * none. Each sample once per epoch in shuffled order; a micro-batch never crosses the end of an
 * epoch. Arrays and hidden states belong to the buffer, until its next call. */
bool tlt_replay_draw(tlt_replay *r, int micro_tokens, float temperature, tlt_draft_micro *m);
/* Epoch of the last draw, from 0: a new one starts when every sample has been drawn. */
int64_t tlt_replay_epoch(const tlt_replay *r);

/* Samples offered so far and the epoch of drawing: what the order of later draws depends on. A
 * buffer that takes over another one's position draws as that one would go on. */
typedef struct tlt_replay_position {
  int64_t serial, epoch;
} tlt_replay_position;
tlt_replay_position tlt_replay_where(const tlt_replay *r);
void tlt_replay_go_on(tlt_replay *r, tlt_replay_position p); /* while it is empty */

/* Micro-batches of the held-back samples of versions from `version` on, in the order they came:
 * *cursor starts 0; false at the end. */
bool tlt_replay_held(tlt_replay *r, int64_t version, int *cursor, int micro_tokens,
                     float temperature, tlt_draft_micro *m);

#endif
