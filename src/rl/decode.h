/* What a worker does with the groups that it was handed: sample, score, complete. */
#ifndef TLT_RL_DECODE_H
#define TLT_RL_DECODE_H

#include "events/spans.h"
#include "rl/group.h"
#include "spec/speculator.h"
#include "tasks/reward.h"

/* How a rollout samples. The same on every worker. */
typedef struct tlt_decode_job {
  tlt_engine *engine;
  const tlt_tokenizer *tokenizer;
  tlt_reward *reward;
  const tlt_problem_set *problems;
  tlt_shuffle *shuffle; /* problem of an index; NULL: index - first */
  uint32_t first;       /* rollout index of the first group of the phase */
  int samples, max_tokens;
  float temperature, top_p, min_p;
  int top_k;
  bool keep_text;
  const tlt_spec *spec; /* whose origins of tokens are kept; NULL: none */
  tlt_account *account; /* of this worker: groups and scores are noted there; NULL: none */
  /* Each finished sample, as the engine hands it over. May be NULL. */
  void (*answered)(void *context, const tlt_sample *sample);
  void *answered_context;
} tlt_decode_job;

/* Groups of one worker, from being handed out to being complete. One owner thread. */
typedef struct tlt_decode {
  tlt_decode_job job;
  /* A group is complete: answers, scores, constant, masked. It is the callee's from here. */
  tlt_status (*complete)(void *context, tlt_group *g, tlt_err *err);
  void *context;
  int64_t answers, tokens, prompt_tokens; /* finished answers, their tokens; prompts handed in */
  int64_t sequences, drawn;               /* that the last engine step decoded; tokens it drew */
  /* private */
  tlt_group *open;   /* [room] */
  double *opened_at; /* [room] tlt_now() */
  int n_open, room;
  tlt_status status; /* first failure inside a callback of the engine */
  tlt_err *err;
} tlt_decode;

/* At most `groups` are open at once. The engine must be idle. TLT_ENOMEM. */
tlt_status tlt_decode_begin(tlt_decode *d, const tlt_decode_job *job, int groups, tlt_err *err);
/* Drops what is open; leaves the engine idle. Zeroed is harmless. */
void tlt_decode_end(tlt_decode *d);

/* Take a group over: it waits in the engine or runs at once. */
tlt_status tlt_decode_take(tlt_decode *d, uint32_t rollout, tlt_err *err);

/* The engine could start another sample, or has nothing to do: time to ask for a group. */
bool tlt_decode_wants(const tlt_decode *d);
/* Answers are being sampled / scores are being waited for. */
bool tlt_decode_busy(const tlt_decode *d);
bool tlt_decode_scoring(const tlt_decode *d);

/* One engine step and the scores that are there, or, with nothing to sample, up to `wait` seconds
 * for scores. */
tlt_status tlt_decode_step(tlt_decode *d, double wait, tlt_err *err);

#endif
