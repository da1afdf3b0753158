/* What a checkpoint of a training run holds, and whether a run may go on from it.
 *
 * Parts: masters, moment1, moment2 (fp32, tensor-name order). State: counters, the data position,
 * evaluation results needed at the end, the resolved configuration, and hashes of model, data and
 * numerics path. Rewards are not journalled: a user's program is asked again about the steps behind
 * the checkpoint, so a run with one resumes bit for bit only if the program is deterministic. */
#ifndef TLT_RL_STATE_H
#define TLT_RL_STATE_H

#include "io/checkpoint.h"
#include "rl/rollout.h"
#include "rl/rundir.h"
#include "rl/session.h"

/* Right answers per held-back problem of one evaluation. */
typedef struct tlt_eval_memory {
  int32_t *right; /* [n]; owned; NULL: no evaluation yet */
  size_t n;
  int samples;
  double mean_length;
} tlt_eval_memory;

typedef struct tlt_run_state {
  int64_t step;      /* RL steps done */
  int64_t rollout;   /* next rollout index: the data position */
  int64_t best_step; /* -1: none */
  double best_accuracy;
  tlt_eval_memory first, last; /* before training; newest */
  char weights_sha256[65];     /* masters */
} tlt_run_state;

void tlt_run_state_free(tlt_run_state *s); /* zeroed is harmless */

/* Write the checkpoint of state->step. */
tlt_status tlt_state_save(const tlt_rundir *dir, const tlt_run_state *state, const tlt_session *s,
                          tlt_err *err);

/* The checkpoint to go on from: opened, its state read; *reader NULL when the run has none.
 * LAST_GOOD passes over damaged ones. */
tlt_status tlt_state_open(const tlt_rundir *dir, tlt_resume resume, tlt_ckpt_reader **reader,
                          tlt_run_state *state, tlt_err *err);

/* Numerics path of the checkpoint; borrowed from the reader. */
const char *tlt_state_numerics(const tlt_ckpt_reader *reader);

/* Refuse (TLT_ECHECKPOINT) a configuration that differs where it may not: everything but threads,
 * numerics, logging, checkpointing, the model's path (its weights are compared) and a larger number
 * of steps; data with CHANGED only. All differences are listed. */
tlt_status tlt_state_check_config(const tlt_ckpt_reader *reader, const tlt_train_config *config,
                                  tlt_resume resume, tlt_err *err);

/* Refuse another model, data or numerics fingerprint, or with CHANGED say so in the log. */
tlt_status tlt_state_check_identity(const tlt_ckpt_reader *reader, const tlt_session *s,
                                    tlt_resume resume, tlt_err *err);

/* The parts masters, moment1, moment2 of a trainer into a checkpoint. */
tlt_status tlt_state_save_trainer(tlt_ckpt_writer *w, tlt_trainer *t, tlt_err *err);

/* Masters and moments into the trainer, and its number of optimizer steps, for
 * tlt_trainer_restored; the second function calls that too. */
tlt_status tlt_state_read_trainer(tlt_ckpt_reader *reader, tlt_trainer *t, int64_t *steps,
                                  tlt_err *err);
tlt_status tlt_state_restore(tlt_ckpt_reader *reader, tlt_trainer *t, tlt_err *err);

#endif
