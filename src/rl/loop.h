/* The steps of a run: rollout, update, evaluation, metrics, checkpoint. */
#ifndef TLT_RL_LOOP_H
#define TLT_RL_LOOP_H

#include "rl/crew.h"
#include "rl/spec_log.h"
#include "rl/state.h"

typedef struct tlt_loop {
  tlt_session *session;
  tlt_crew *crew;
  const tlt_rundir *dir;
  tlt_run_state *state;
  const tlt_train_hooks *hooks;
  void *metrics; /* state of hooks->metrics */
  void *trace;   /* state of hooks->trace */
  tlt_spec_log *spec_log;
  tlt_stop *stop;
  tlt_train_summary *summary;
  int64_t saved; /* step of the newest checkpoint on disk, -1: none */
  /* private to loop.c */
  double started, phase_started, shown, beat, last_save, last_step;
  tlt_phase phase;
  int64_t at_work;            /* step, 1-based */
  struct step_record *record; /* of the step at work */
  tlt_status looked;          /* first failure in the pauses of a gradient */
  tlt_err *err;
  double first_reward, first_length, recent_reward[10], recent_length[10];
} tlt_loop;

/* From state->step to the configured number of steps, or to the end of the step in which a stop was
 * asked for. The state is saved at the end in both cases. TLT_ESTOPPED when stopped. On an error
 * the newest checkpoint on disk is as it was. */
tlt_status tlt_loop_run(tlt_loop *loop, tlt_err *err);

#endif
