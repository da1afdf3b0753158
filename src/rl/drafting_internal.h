/* State of drafting, shared by its files. */
#ifndef TLT_RL_DRAFTING_INTERNAL_H
#define TLT_RL_DRAFTING_INTERNAL_H

#include "rl/drafting.h"
#include "rl/drafting_save.h"
#include "rl/drafting_share.h"
#include "rl/recorder.h"
#include "train/drafter.h"
#include "train/replay.h"

/* Since the line of metrics before. */
typedef struct tlt_drafting_counts {
  int64_t steps, tokens, dropped;
  double seconds, kept_seconds; /* all pieces; of these, taken from the step */
  double eval_seconds;
  tlt_draft_stats loss;
  bool measured, published;
  double before, after; /* chain length, published drafter and trained one; NAN: not measured */
} tlt_drafting_counts;

struct tlt_drafting {
  tlt_drafting_options o;
  tlt_drafter_options train;
  tlt_drafter *drafter; /* the replica */
  tlt_drafter_trainer *trainer;
  tlt_replay *replay;
  tlt_recorder *recorder;
  bool dead;  /* ended with a warning */
  bool ready; /* hot tokens are chosen */
  bool stale; /* a part of an abandoned gradient is still there */
  int skips;  /* steps in a row whose gradient was not finite */

  unsigned char *published; /* bytes of the published drafter's weights, as in drafter->weights */
  bool has_published;

  int64_t *seen; /* [V] drawn tokens of all workers; then float [V], int32_t [V] of workspace */

  int64_t version;                /* RL step of the newest answers */
  int64_t step_tokens;            /* trained in this RL step */
  int64_t new_steps;              /* micro-steps since the last publication */
  double new_seconds, evaluation; /* their time; of the last measurement */
  /* Since it was new; from a file: as if it were no longer young. */
  int64_t total_steps, total_tokens;
  double idle_seconds; /* of pieces since the last tlt_drafting_keep_alive */
  double owed;         /* seconds of the step still to be spent, may be negative */
  double piece;        /* what one usually takes, in seconds; 0: not known */
  double caution;      /* what the configured rate is multiplied by, at most 1 */
  tlt_drafting_share share;
  tlt_drafting_counts counts;
  int64_t others_steps; /* micro-steps of other workers since this process began */
  tlt_drafting_writer writer;
};

/* drafting.c: end drafting with a warning. */
void tlt__drafting_end_with(tlt_drafting *d, const tlt_err *err);
/* drafting.c: the replica becomes d2 (taken over) with a trainer of its own. */
tlt_status tlt__drafting_replica(tlt_drafting *d, tlt_drafter *d2, tlt_err *err);
/* drafting.c: the replica is what speculation drafts with from now on. */
tlt_status tlt__drafting_install(tlt_drafting *d, tlt_err *err);
/* drafting.c: forget what was trained since the last publication; moments stay. */
void tlt__drafting_revert(tlt_drafting *d);
/* drafting.c: forget the moments too and begin with the warm-up again. */
void tlt__drafting_start_over(tlt_drafting *d);
/* drafting.c: learning rate of the next optimizer step. */
float tlt__drafting_rate(const tlt_drafting *d);

#endif
