/* Answers as JSONL: one object per line in (rollout index, sample) order, nothing that depends on
 * timing: step, rollout, sample, id, prompt_tokens, tokens (count), finish, score, reward,
 * advantage, parsed, masked, replaced, prompt, text, ids.
 *
 * prompt is the text that the model was given, special tokens spelled out; of one longer than
 * TLT_LOG_PROMPT_BYTES the middle is left out and a mark says how much. ids are the answer's
 * tokens. Bytes of a text that are not UTF-8, and NUL, stand as U+FFFD. */
#ifndef TLT_RL_ROLLOUT_LOG_H
#define TLT_RL_ROLLOUT_LOG_H

#include "rl/config.h"
#include "rl/rollout.h"

enum {
  TLT_LOG_SAMPLES = 8, /* lines of TLT_LOG_SAMPLE, spread evenly over the step */
  TLT_LOG_PROMPT_BYTES = 8192
};

/* How many answers are logged, and which: number i as place in group * samples + sample order. */
int64_t tlt_logged_answers(const tlt_groups *g, tlt_log_rollouts what);
int64_t tlt_logged_answer(const tlt_groups *g, tlt_log_rollouts what, int64_t i);

/* Write path anew, without waiting for the disk (tlt_rundir_sync_rollouts). Nothing is written for
 * TLT_LOG_NONE. */
tlt_status tlt_rollout_log(const tlt_groups *g, const tlt_tokenizer *tokenizer, int64_t step,
                           tlt_log_rollouts what, const char *path, tlt_err *err);

#endif
