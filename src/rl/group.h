/* What a rollout produces: a group is one prompt with `samples` answers and is named by its rollout
 * index, which counts the prompts handed out since the start of the run. */
#ifndef TLT_RL_GROUP_H
#define TLT_RL_GROUP_H

#include <stdbool.h>

#include "rl/problem_set.h"
#include "tlt/engine.h"

typedef struct tlt_answer {
  int n_tokens;
  int32_t *tokens; /* [n_tokens]; one allocation with the next two */
  float *logprobs; /* [n_tokens] log softmax(logits / T) of the sampling policy */
  char *origins;   /* [n_tokens] where each came from (tlt_spec_origins); NULL: not kept. Depends on
                      timing: part of no hash and of nothing that is trained on */
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
  tlt_answer *answer; /* [samples]; NULL: not here yet */
} tlt_group;

/* All groups handed out, in index order. */
typedef struct tlt_groups {
  int n, samples, room;
  tlt_group *group;
} tlt_groups;

/* Highest rollout index of training; evaluation uses those above (evaluate.h). */
#define TLT_ROLLOUT_MAX INT64_C(0x7fffffff)

/* The group of an index with its prompt and no answers. shuffle NULL: problem index - first. */
tlt_group tlt_group_of(const tlt_problem_set *problems, tlt_shuffle *shuffle, uint32_t first,
                       uint32_t rollout);

/* Memory for n tokens of an answer, origins too if wanted; n_tokens is set. TLT_ENOMEM. */
tlt_status tlt_answer_make(tlt_answer *a, int n, bool origins, tlt_err *err);

/* Free the answers; zeroed is harmless. */
void tlt_group_free(tlt_group *g, int samples);
void tlt_groups_free(tlt_groups *g);

/* SHA-256 over (rollout, sample, length, tokens, log-probabilities) of every answer in order. */
void tlt_groups_sha256(const tlt_groups *g, char hex[65]);

/* ---- between workers --------------------------------------------------------------------------
 */

/* One group as bytes: answers, scores and advantages, text and origins only for the `record`.
 * Little-endian, the same program at both ends. *bytes is the caller's to free. TLT_ENOMEM. */
tlt_status tlt_group_pack(const tlt_group *g, int samples, bool record, void **bytes, size_t *n,
                          tlt_err *err);

/* The reverse: fills everything of a group that tlt_group_of left open. TLT_EINTERNAL when the
 * bytes are no group of this index and number of samples. */
tlt_status tlt_group_unpack(const void *bytes, size_t n, tlt_group *g, int samples, tlt_err *err);

#endif
