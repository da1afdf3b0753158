/* The rollout phase as its leader runs it: hand out prompts, sample groups of answers, score them
 * while others decode.
 *
 * Which problem a rollout index means, every token, score and the set of groups at the end depend
 * on the index alone, never on the order in which answers finish or on who sampled them.
 *
 * Refill (max_gen > 1): when a group turns out constant in its score, the next index is handed out
 * at once, with never more than `prompts` good or open groups and at most max_gen * prompts
 * indices. Every group that is not constant is kept. */
#ifndef TLT_RL_ROLLOUT_H
#define TLT_RL_ROLLOUT_H

#include <signal.h>

#include "rl/crew.h"
#include "rl/decode.h"
#include "rl/idle.h"

typedef struct tlt_rollout_job {
  tlt_decode_job decode;
  tlt_crew *crew;       /* NULL: alone */
  const tlt_idle *idle; /* NULL: waits, where it is idle */
  tlt_update *update; /* begun with the same groups: gradients while the rollout runs; NULL: none */
  bool evaluation;    /* of the held-back problems: nothing else is done meanwhile */
  int64_t step;       /* RL step */
  int prompts, max_gen;
  /* Called after every engine step and while waiting: answers finished, expected so far, tokens
   * generated. May be NULL. */
  void (*progress)(void *context, int64_t done, int64_t total, int64_t tokens);
  void *context;
  const volatile sig_atomic_t *cancel; /* nonzero: give up with TLT_ESTOPPED; NULL: never */
} tlt_rollout_job;

typedef struct tlt_rollout_stats {
  int64_t tokens, prompt_tokens;  /* generated; handed in (shared prompts once) */
  double seconds, reward_seconds; /* all; the leader waiting for scores with nothing else to do */
} tlt_rollout_stats;

/* Room for the groups of a rollout. Only memory can fail. */
tlt_status tlt_groups_make(int samples, int room, tlt_groups *out, tlt_err *err);

/* Run to the end into `out` (made, empty), whose owner frees it in any case. The engines must be
 * idle and are idle afterwards, also on failure. */
tlt_status tlt_rollout_run(const tlt_rollout_job *job, tlt_groups *out, tlt_rollout_stats *stats,
                           tlt_err *err);

#endif
