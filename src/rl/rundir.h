/* The directory of a run: who may use it, its configuration, its status, what a resume cuts back.
 *
 *   config.yaml   resolved configuration        rollouts/      step-N.jsonl
 *   metrics.jsonl one line per step             checkpoints/   step-N/ and LATEST (io/checkpoint.h)
 *   spec.jsonl    sources of tokens (spec_log.h)
 *   drafter/      step-N/ and LATEST (drafting_save.h)
 *   status.json   state, step, heartbeat        final/         Hugging Face directory
 *   machine.json  on what it ran (machine_file.h)
 *   lock          held while a process runs */
#ifndef TLT_RL_RUNDIR_H
#define TLT_RL_RUNDIR_H

#include "io/file.h"
#include "rl/train.h"

typedef struct tlt_rundir {
  char path[TLT_PATH_MAX], checkpoints[TLT_PATH_MAX], rollouts[TLT_PATH_MAX], final[TLT_PATH_MAX];
  char config[TLT_PATH_MAX], drafter[TLT_PATH_MAX];
  bool used;    /* a run was started here before */
  bool created; /* the directory was not there before */
  tlt_lock *lock;
} tlt_rundir;

/* Directory of a run when none was given: runs/<file name of config without extension>. */
void tlt_rundir_default(char out[TLT_PATH_MAX], const char *config);

/* Make the directory, take its lock, see whether it was used, prove that it can be written.
 * TLT_EUSAGE: used and not to be resumed, or full of something else (nothing is touched then).
 * TLT_EIO: locked by another process (with its id), not writable. */
tlt_status tlt_rundir_open(tlt_rundir *r, const char *path, tlt_resume resume, tlt_err *err);
void tlt_rundir_close(tlt_rundir *r); /* zeroed is harmless */

/* Names only, for a worker that reads in a run directory which another holds. */
void tlt_rundir_name(tlt_rundir *r, const char *path);

/* Undo what opening an unused directory left in it, for a run that could not start. */
void tlt_rundir_discard(tlt_rundir *r);

/* From here on the directory is a run: write config.yaml, remove rollout files of steps above
 * last_step (-1: all). */
tlt_status tlt_rundir_begin(const tlt_rundir *r, const char *config, size_t bytes,
                            int64_t last_step, tlt_err *err);

/* Name of a step's rollout file. */
void tlt_rundir_rollout_path(const tlt_rundir *r, int64_t step, char out[TLT_PATH_MAX]);

/* Rollout files of steps from .. to are on the disk when this returns; missing ones are fine. */
tlt_status tlt_rundir_sync_rollouts(const tlt_rundir *r, int64_t from, int64_t to, tlt_err *err);

typedef struct tlt_run_status {
  const char *state; /* running, stopped, finished, failed */
  int64_t step, steps;
  int exit_code;      /* -1 while running */
  const char *reason; /* one line, or NULL */
} tlt_run_status;

/* Write status.json atomically, with heartbeat (seconds since 1970) and process id. */
tlt_status tlt_rundir_status(const tlt_rundir *r, const tlt_run_status *s, tlt_err *err);

/* status.json says finished: final/ belongs to the newest checkpoint. */
bool tlt_rundir_finished(const tlt_rundir *r);

#endif
