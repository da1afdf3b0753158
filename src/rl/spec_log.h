/* spec.jsonl: where the tokens of the logged answers came from. One line per answer of
 * rollouts/step-N.jsonl, in the same order:
 *   {"step": 3, "rollout": 17, "sample": 2, "sources": "..sse.", "bytes": [2, 3, 0, 1, 4, 1]}
 * sources: one character per token (tlt_spec_origins). bytes: how many bytes of "text" there, as
 * UTF-8, each token stands for; a character that several tokens share counts with the last of them,
 * so that every piece is text, and the pieces add up to all of it.
 *
 * Depends on timing, unlike rollout files. Nothing here ends a run: a failure is one warning, after
 * which nothing more is written. NULL as log is harmless everywhere. */
#ifndef TLT_RL_SPEC_LOG_H
#define TLT_RL_SPEC_LOG_H

#include "rl/config.h"
#include "rl/group.h"

typedef struct tlt_spec_log tlt_spec_log;

/* Continue RUN/spec.jsonl behind last_step: lines of later steps, and whatever follows a damaged
 * one, are dropped. NULL for TLT_LOG_NONE, and where it cannot be had. */
tlt_spec_log *tlt_spec_log_open(const char *run, int64_t last_step, tlt_log_rollouts what);
void tlt_spec_log_put(tlt_spec_log *l, const tlt_groups *g, const tlt_tokenizer *t, int64_t step);
void tlt_spec_log_sync(tlt_spec_log *l); /* what was put is on the disk */
void tlt_spec_log_close(tlt_spec_log *l);

#endif
