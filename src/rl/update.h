/* The update phase: groups with rewards to optimizer steps.
 *
 * Minibatches are runs of whole groups in index order; a micro-batch never crosses a group. A group
 * whose advantages are all 0 costs nothing when no KL is in the loss, but its tokens count in the
 * divisor; replaced and masked groups count nowhere.
 *
 * The gradient of one group is a task. Tasks are taken by whoever is free, also while the rollout
 * still runs, as far as it is certain that they belong to the first minibatch and nothing that they
 * need can change: design section 8. Gradients are sums of int64, so who did what when cannot show
 * in the weights. */
#ifndef TLT_RL_UPDATE_H
#define TLT_RL_UPDATE_H

#include "rl/gradient.h"

/* Sums of doubles run in (rollout index, sample, position) order. Ratios and clip shares are over
 * all tokens of all passes that had a gradient; entropy over those of the first pass; NAN: none. */
typedef struct tlt_update_result {
  double loss, grad_norm; /* means over the optimizer steps */
  double lr;              /* of the last one */
  double kl, old_kl, ratio, entropy;
  double clip_low, clip_high;
  int64_t tokens;         /* of answers trained, all passes */
  int64_t forward_tokens; /* prompts included */
  int64_t early_tokens;   /* of these, forward tokens done while the rollout ran */
  int groups;             /* trained in the first pass */
  int steps;              /* of the optimizer */
  double seconds, reference_seconds;
} tlt_update_result;

typedef enum tlt_task_state {
  TLT_TASK_NONE,    /* nothing to do for this group now */
  TLT_TASK_WAITING, /* to be done by whoever is free */
  TLT_TASK_GIVEN,   /* at work */
  TLT_TASK_DONE     /* in the accumulators */
} tlt_task_state;

typedef struct tlt_update_task {
  tlt_task_state state;
  bool early;             /* offered while the rollout ran */
  float *reference;       /* log-probabilities of the reference, once known; NULL without KL */
  tlt_measured *measured; /* [samples] */
} tlt_update_task;

typedef struct tlt_update_job {
  const tlt_train_config *config;
  tlt_trainer *trainer;
  tlt_trainer *reference; /* frozen, forward only; NULL when algorithm.kl is 0 */
  int64_t schedule_total; /* optimizer steps of the whole run */
  /* One optimizer step on every worker. */
  tlt_status (*step)(void *context, float scale, const tlt_adamw *how, tlt_step_result *result,
                     tlt_err *err);
  /* Called until no task is waiting or given: hand waiting ones to others, take what they finished,
   * do one here. NULL: all are done here. */
  tlt_status (*work)(void *context, tlt_err *err);
  /* After every group of a pass: groups done, of all, tokens trained. May be NULL. */
  void (*progress)(void *context, int64_t done, int64_t total, int64_t tokens);
  void *context;
} tlt_update_job;

/* The gradients of one RL step. One owner thread. */
typedef struct tlt_update {
  tlt_update_job job;
  tlt_gradient here; /* this worker's */
  tlt_groups *groups;
  tlt_update_task *task; /* [groups->room] */
  tlt_measured *measured;
  bool known, first_pass; /* of the pass at work */
  int waiting, given;     /* tasks in these states */
  double reference_seconds;
} tlt_update;

/* Before the rollout that fills `groups` (room and samples are set). Only memory can fail. */
tlt_status tlt_update_begin(tlt_update *u, const tlt_update_job *job, tlt_groups *groups,
                            tlt_err *err);
void tlt_update_end(tlt_update *u); /* zeroed is harmless */

/* Group i is complete while the rollout goes on: make it a waiting task if it may be done early. */
void tlt_update_offer(tlt_update *u, int i);

/* A waiting task, the one with most tokens, now given; -1: none. */
int tlt_update_take(tlt_update *u);
/* Do a given task here. TLT_ENUMERIC, TLT_ESTOPPED as tlt_gradient_group. */
tlt_status tlt_update_do(tlt_update *u, int i, tlt_err *err);

/* The rest of the step, after the rollout: advantages, remaining gradients, optimizer steps.
 * TLT_ENUMERIC when a log-probability, loss or gradient is not finite or overflows: then no weight
 * was changed by the failing optimizer step. */
tlt_status tlt_update_run(tlt_update *u, tlt_update_result *result, tlt_err *err);

/* ---- between workers --------------------------------------------------------------------------
 */

/* A given task as bytes for another worker; the caller frees them. */
tlt_status tlt_update_pack(const tlt_update *u, int i, void **bytes, size_t *n, tlt_err *err);

/* There: do a packed task; result as bytes, which the caller frees. shuffle, problems and first are
 * those of the rollout. */
typedef struct tlt_update_source {
  const tlt_problem_set *problems;
  tlt_shuffle *shuffle;
} tlt_update_source;
tlt_status tlt_update_serve(tlt_gradient *here, const tlt_update_source *from, const void *task,
                            size_t n, void **result, size_t *n_result, tlt_err *err);

/* Rollout index of a packed task's group, for accounts; -1 when it is none. */
int64_t tlt_update_task_rollout(const void *task, size_t n);

/* Back here: a result of task i. */
tlt_status tlt_update_receive(tlt_update *u, int i, const void *bytes, size_t n, tlt_err *err);

#endif
