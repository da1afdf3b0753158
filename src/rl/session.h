/* Everything that a training run holds in memory, opened in the order that finds mistakes cheaply:
 * reward program, data, tokenizer, model, then the large allocations. */
#ifndef TLT_RL_SESSION_H
#define TLT_RL_SESSION_H

#include "base/energy.h"
#include "model/model.h"
#include "rl/crew.h"
#include "rl/decode.h"
#include "rl/drafting.h"
#include "rl/idle.h"
#include "rl/train.h"
#include "spec/speculator.h"
#include "tasks/reward.h"
#include "tlt/engine.h"
#include "train/trainer.h"

typedef struct tlt_session {
  const tlt_train_config *config; /* borrowed */
  tlt_cluster *cluster;           /* borrowed; NULL: alone */
  tlt_reward *reward;
  tlt_dataset *data;
  tlt_dataset *held; /* NULL: held-back problems are the end of data */
  tlt_tokenizer *tokenizer;
  tlt_model *model;
  tlt_problem_set problems, held_back; /* held_back.n is 0 without evaluation */
  tlt_shuffle *shuffle;
  tlt_weights *reference_weights; /* NULL without KL */
  tlt_trainer *trainer, *reference;
  tlt_spec *spec; /* NULL: no speculation */
  tlt_engine *engine;
  tlt_drafting *drafting; /* NULL: no drafter is trained */
  tlt_idle idle;
  tlt_account account; /* of this worker, of the step at work */
  tlt_energy energy;   /* opened by one worker of each host */
  int cores;           /* threads of all workers together */
  const char *observe; /* TLT_OBSERVE in the environment, for bench/observe.py: even, odd or NULL */
  bool unobserved;     /* the step at work leaves no account and no record */
  int eval_max_tokens;
  /* what a checkpoint belongs to */
  char model_sha256[65], data_sha256[65], held_sha256[65], fingerprint[65];
} tlt_session;

/* Reward program, data, tokenizer. Nothing large is taken. cluster: NULL when alone. */
tlt_status tlt_session_open(tlt_session *s, const tlt_train_config *config, tlt_cluster *cluster,
                            tlt_err *err);

/* Model on the given numerics path (NULL: as configured), problem sets, identity. */
tlt_status tlt_session_load(tlt_session *s, const char *numerics, int threads, tlt_err *err);

/* What training and generation will take, then take it. memory may be NULL. */
tlt_status tlt_session_allocate(tlt_session *s, const tlt_train_hooks *hooks, tlt_err *err);

void tlt_session_close(tlt_session *s); /* zeroed is harmless, also after a failure above */

/* Account of a step, from its beginning (the first state) to its end, with what the step took. Where
 * TLT_OBSERVE says even or odd, the account of any other step stays empty. */
void tlt_session_begin_account(tlt_session *s, int64_t step, int worker, tlt_work state);
void tlt_session_finish_account(tlt_session *s);

/* ---- rollouts ----------------------------------------------------------------------------------
 */

/* How a rollout samples whose first group has rollout index `first`; the same on every worker. */
tlt_decode_job tlt_session_decode_job(const tlt_session *s, bool evaluation, uint32_t first);

/* Most groups that a rollout hands out. */
int tlt_session_groups_most(const tlt_session *s, bool evaluation);

/* Around a rollout of RL step `step` (or the evaluation behind it): weights may have changed since
 * the last one, and what is drawn is recorded for the drafter. */
void tlt_session_before_rollout(tlt_session *s, bool evaluation, int64_t step, uint32_t first);
void tlt_session_after_rollout(tlt_session *s);

/* Collective, between rollouts: a step of `seconds` is over; the drafter gets its least share of it
 * and is published. */
tlt_status tlt_session_publish(tlt_session *s, double seconds, tlt_err *err);

#endif
