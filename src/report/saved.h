/* What speculation and idle work brought: seconds of the run's wall time, estimated from what the
 * run itself measured.
 *
 * Speculation. A point of the trace (events/spans.h) says how long n engine steps of b sequences
 * took and how many tokens per sequence they gave, a. Points with a = 1 are plain steps: their
 * median per batch size b is what such a step costs in this run. Steps with a > 1 replaced n a
 * plain ones, so they saved n a cost(b) less what they took. A batch size without plain steps
 * counts as the next smaller one that has some, which costs less. Points over ten times the
 * median of their batch size (the machine was away) are left out, on both sides. What was found in
 * the steps that the trace keeps is carried over to all by their share of the time in decoding;
 * time taken from the step to train the drafter is subtracted; the rest is spread evenly over
 * workers, although the last one to finish counts most.
 *
 * Idle work. Seconds of gradient spans that lie before the last decoding span of any worker in
 * their step: work that would otherwise have waited for the update. Their share of all gradient
 * seconds in the steps that the trace keeps, times the gradient seconds of the run, spread evenly
 * over workers. What this work slowed decoding by is not subtracted. (workers/early_tokens counts
 * whole groups whose gradient was begun early.) Drafter training in idle time shows in the first
 * figure. */
#ifndef TLT_REPORT_SAVED_H
#define TLT_REPORT_SAVED_H

#include "events/spans.h"
#include "report/run_log.h"

enum { TLT_SAVED_ROWS = 2, TLT_SAVED_METHOD = 640 };

typedef struct tlt_saved_row {
  const char *what; /* "speculation", "idle work" */
  double seconds;   /* below 0: it cost more than it brought; NaN: cannot be known */
  double share;     /* of the time the steps would have taken without; NaN with seconds */
  char method[TLT_SAVED_METHOD]; /* one sentence: how it was estimated, or why it cannot be */
} tlt_saved_row;

/* Collects accounts, those of one step after each other; from zero, end with tlt_saved_free. */
typedef struct tlt_saved {
  struct tlt_saved_point *point;
  struct tlt_saved_piece *piece; /* gradient spans of the step at hand */
  int64_t n, room, n_pieces, piece_room;
  int64_t step;           /* at hand */
  double rollout_end;     /* of it */
  double decoding;        /* seconds in decoding and evaluation of all accounts */
  double gradient, early; /* seconds in gradients; of them before the end of the rollout */
} tlt_saved;

/* Take what an account holds; begin must be that of its step. Out of memory loses some of it,
 * nothing else. */
void tlt_saved_add(tlt_saved *s, const tlt_account *a);
void tlt_saved_estimate(tlt_saved *s, const tlt_run_log *log, tlt_saved_row row[TLT_SAVED_ROWS]);
void tlt_saved_free(tlt_saved *s);

#endif
