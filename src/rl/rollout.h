/* The rollout phase: hand out prompts, sample groups of answers, score them while others decode.
 *
 * A group is one prompt with `samples` answers and is named by its rollout index, which counts the
 * prompts handed out since the start of the run. Which problem an index means, every token, score
 * and the set of groups at the end depend on the index alone, never on the order in which answers
 * finish.
 *
 * Refill (max_gen > 1): when a group turns out constant in its score, the next index is handed out
 * at once, with never more than `prompts` good or open groups and at most max_gen * prompts
 * indices. Every group that is not constant is kept. */
#ifndef TLT_RL_ROLLOUT_H
#define TLT_RL_ROLLOUT_H

#include <signal.h>

#include "rl/problem_set.h"
#include "tasks/reward.h"
#include "tlt/engine.h"

typedef struct tlt_answer {
  int n_tokens;
  int32_t *tokens; /* [n_tokens]; one allocation with logprobs */
  float *logprobs; /* [n_tokens] log softmax(logits / T) of the sampling policy */
  char *text;      /* special tokens left out; NULL unless kept */
  size_t n_text;
  tlt_finish finish;
  bool parsed;
  double score;  /* of the verifier or the user's program */
  double reward; /* score with length penalty: what the advantage is made of */
  float advantage;
} tlt_answer;

typedef struct tlt_group {
  uint32_t rollout;           /* index */
  const tlt_problem *problem; /* owned by the dataset */
  const int32_t *prompt;      /* [n_prompt], owned by the problem set */
  int n_prompt;
  int scored;         /* answers with a score */
  bool constant;      /* all scores equal: no advantage but by length penalty */
  bool masked;        /* a score could not be had: not part of anything */
  bool replaced;      /* by refill: not part of the update */
  tlt_answer *answer; /* [samples] */
} tlt_group;

/* All groups handed out, in index order. */
typedef struct tlt_groups {
  int n, samples, room;
  tlt_group *group;
} tlt_groups;

/* Highest rollout index of training; evaluation uses those above (evaluate.h). */
#define TLT_ROLLOUT_MAX INT64_C(0x7fffffff)

void tlt_groups_free(tlt_groups *g); /* zeroed is harmless */

/* SHA-256 over (rollout, sample, length, tokens, log-probabilities) of every answer in order. */
void tlt_groups_sha256(const tlt_groups *g, char hex[65]);

typedef struct tlt_rollout_job {
  tlt_engine *engine;
  const tlt_tokenizer *tokenizer;
  tlt_reward *reward;
  const tlt_problem_set *problems;
  tlt_shuffle *shuffle; /* problem of an index; NULL: index - first */
  uint32_t first;       /* rollout index of the first group */
  int prompts, samples, max_gen;
  int max_tokens;
  float temperature, top_p, min_p;
  int top_k;
  bool keep_text;
  /* Called after every engine step and while waiting for scores: answers finished, expected so far,
   * tokens generated. May be NULL. */
  void (*progress)(void *context, int64_t done, int64_t total, int64_t tokens);
  void *context;
  /* Each finished sample, as the engine hands it over. May be NULL. */
  void (*answered)(void *context, const tlt_sample *sample);
  void *answered_context;
  const volatile sig_atomic_t *cancel; /* nonzero: give up with TLT_ESTOPPED; NULL: never */
} tlt_rollout_job;

typedef struct tlt_rollout_stats {
  int64_t tokens, prompt_tokens;  /* generated; handed in (shared prompts once) */
  double seconds, reward_seconds; /* all; waiting for scores with nothing to decode */
} tlt_rollout_stats;

/* Run to the end. The engine must be idle and is idle afterwards, also on failure. out owns the
 * groups; on failure it is empty. */
tlt_status tlt_rollout_run(const tlt_rollout_job *job, tlt_groups *out, tlt_rollout_stats *stats,
                           tlt_err *err);

#endif
