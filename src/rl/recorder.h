/* Hidden states of answers while they are decoded, on their way into the drafter's replay buffer.
 *
 * They come from the engine's sink: what prefill and verification computed anyway, nothing is
 * computed for the recorder. Rows wait in blocks of a pool until their answer is finished; then the
 * answer goes into the buffer, the prompt's rows (kept once per group) in front of its own. The
 * last token of an answer is drawn, never read, and has no row.
 *
 * Memory: rows of live answers, and of the finished first answers of groups that are still open; it
 * is kept for the next rollout. Without memory answers are lost, counted, and nothing else happens.
 * One thread: that of the engine. */
#ifndef TLT_RL_RECORDER_H
#define TLT_RL_RECORDER_H

#include "tlt/engine.h"
#include "train/replay.h"

typedef struct tlt_recorder tlt_recorder;

typedef struct tlt_recorder_options {
  size_t row_bytes; /* of one hidden state: tlt_act_stride(H) * act_size */
  int samples;      /* answers per group */
  int hold_every;   /* all answers of every hold_every-th group are held back, or of one group per
                       rollout where that has fewer; 0: none */
  int vocab;
} tlt_recorder_options;

/* Borrows the buffer. */
tlt_status tlt_recorder_create(const tlt_recorder_options *o, tlt_replay *replay,
                               tlt_recorder **out, tlt_err *err);
void tlt_recorder_free(tlt_recorder *r); /* NULL is harmless */

/* The sink to give to the engine for a rollout; it points to r. */
tlt_hidden_sink tlt_recorder_sink(tlt_recorder *r);

/* A rollout of rollout indices first .. first + groups - 1 by the policy `version`. */
tlt_status tlt_recorder_begin(tlt_recorder *r, int64_t version, uint32_t first, int groups,
                              tlt_err *err);
/* To be called for each finished sample, from the engine's callback. */
void tlt_recorder_answered(tlt_recorder *r, const tlt_sample *sample);
/* Forget what did not finish. */
void tlt_recorder_end(tlt_recorder *r);

/* While a micro-batch of the buffer is in use nothing may be added to it: finished answers wait
 * until `hold` is lifted. */
void tlt_recorder_hold(tlt_recorder *r, bool hold);

/* [vocab] how often each token was drawn, older rollouts counting half as much as the next. */
const int64_t *tlt_recorder_seen(const tlt_recorder *r);
int64_t tlt_recorder_lost(const tlt_recorder *r); /* answers that found no memory */

#endif
