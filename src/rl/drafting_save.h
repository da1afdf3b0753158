/* Checkpoints of the drafter in training: RUN/drafter/step-N/.
 *
 *   config.json, model.safetensors, hot_tokens.json   a drafter as any (model/drafter.h)
 *   training.state                                    what training needs beside it, below
 *   RUN/drafter/LATEST                                "step-N\n"
 *   RUN/drafter/tmp-N                                 unfinished work
 *
 * A step is made in tmp-N, synced and renamed: it is there whole, or not. Embedding and LM head are
 * the target's, and the buffer is not kept: rollouts fill it again.
 *
 * training.state, little-endian: the header below, then masters, first and second moments, fp32
 * [elements] each in tensor-name order. */
#ifndef TLT_RL_DRAFTING_SAVE_H
#define TLT_RL_DRAFTING_SAVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/file.h"
#include "model/drafter.h"

enum { TLT_DRAFTING_FORMAT = 1 };

typedef struct tlt_drafting_state {
  char magic[8];          /* "TLTDRAFT" */
  uint32_t format, crc32; /* of everything behind this field */
  uint64_t elements;
  int64_t step;            /* RL step */
  int64_t optimizer_steps; /* of the moments */
  int64_t micro_steps, tokens;
  int64_t buffer_serial, buffer_epoch; /* tlt_replay_position */
} tlt_drafting_state;
_Static_assert(sizeof(tlt_drafting_state) == 72, "the header is part of the file format");

/* The thread that writes, and the copy that it writes from. Zeroed: nothing was ever written. */
typedef struct tlt_drafting_writer {
  char dir[TLT_PATH_MAX];
  int keep;
  pthread_t thread;
  bool running; /* to be joined */
  atomic_bool done;
  tlt_drafter *drafter; /* copy */
  unsigned char *state; /* copy of training.state */
  size_t state_bytes;
  int64_t step;
  int64_t newest; /* written by this process; 0: none */
  tlt_status status;
  tlt_err err;
  double began, seconds; /* when the last one began (tlt_now()), what it took in the background */
  int64_t told;          /* the newest that tlt_drafting_saved has told about */
  int64_t skipped;       /* not begun because one was being written */
} tlt_drafting_writer;

/* True when a new one may begin; takes note of one that has ended, with a warning if it failed. */
bool tlt_drafting_writer_idle(tlt_drafting_writer *w);
/* Begin to write: drafter and state [bytes] (header in front, its crc32 and magic filled here) are
 * taken over and freed in any case. A failure is a warning. */
void tlt_drafting_writer_begin(tlt_drafting_writer *w, int64_t step, tlt_drafter *drafter,
                               unsigned char *state, size_t bytes);
void tlt_drafting_writer_wait(tlt_drafting_writer *w);
void tlt_drafting_writer_close(tlt_drafting_writer *w);

/* Steps of the checkpoints in dir, ascending; [*n] to be freed. No directory: none. */
tlt_status tlt_drafting_steps(const char *dir, int64_t **steps, size_t *n, tlt_err *err);
void tlt_drafting_step_path(char out[TLT_PATH_MAX], const char *dir, int64_t step);

/* training.state of a checkpoint, checked; [*bytes] to be freed. TLT_ECHECKPOINT says what is wrong
 * with it. */
tlt_status tlt_drafting_state_load(const char *dir, int64_t step, unsigned char **state,
                                   size_t *bytes, tlt_err *err);

#endif
