/* Answers as JSONL: one object per line in (rollout index, sample) order, nothing that depends on
 * timing: step, rollout, sample, id, prompt_tokens, tokens (count), finish, score, reward,
 * advantage, parsed, masked, replaced, text. */
#ifndef TLT_RL_ROLLOUT_LOG_H
#define TLT_RL_ROLLOUT_LOG_H

#include "rl/config.h"
#include "rl/rollout.h"

enum { TLT_LOG_SAMPLES = 8 }; /* lines of TLT_LOG_SAMPLE, spread evenly over the step */

/* Write path anew, without waiting for the disk (tlt_rundir_sync_rollouts). Nothing is written for
 * TLT_LOG_NONE. */
tlt_status tlt_rollout_log(const tlt_groups *g, int64_t step, tlt_log_rollouts what,
                           const char *path, tlt_err *err);

#endif
