/* Whether to speculate at all, by the clock.
 *
 * A planner weighs costs that it models; what it does not know of (a worker thread that fell asleep
 * meanwhile, caches, its own bookkeeping) it cannot weigh. So the steps of a speculator that is
 * awake are timed against steps in which it sleeps: wall time from step to step per token, for each
 * range of numbers of sequences apart. The slower way is tried again in short trials, and what a
 * trial costs is a debt that the better way has to earn first: trials take at most
 * TLT_TRIAL_PERCENT of the time, and come less often the more of them are lost.
 *
 * Pure decisions; one thread. */
#ifndef TLT_PLAN_ARBITER_H
#define TLT_PLAN_ARBITER_H

#include <stdbool.h>

enum {
  TLT_ARBITER_RANGES = 14,
  TLT_TRIAL_PERCENT = 1,
  TLT_WINDOW_STEPS = 16, /* least steps of a window; then until TLT_WINDOW_US, */
  TLT_WINDOW_US = 2000,
  TLT_WINDOW_MOST = 48, /* or this many steps */
  TLT_WARM_STEPS = 2,   /* after a change between awake and asleep: not timed */
  TLT_TRIALS_KEPT = 9,
  TLT_STRETCH_MOST = 32, /* windows between trials, where the debt does not ask for more */
};

/* Steps of one way of running, on their way to one sample. */
typedef struct tlt_window {
  int steps;
  double us;     /* of all steps, those that are not timed included */
  double excess; /* the same in plain steps, beyond what their tokens take the better way */
  float time[TLT_WINDOW_MOST];   /* of plain steps */
  float tokens[TLT_WINDOW_MOST]; /* per sequence */
} tlt_window;

typedef struct tlt_arbiter_range {
  bool known;           /* seen at all */
  bool awake;           /* the better way as far as is known */
  bool trial;           /* the other way runs */
  int windows, stretch; /* since the last trial; how many until the next one */
  int trials;
  float gain[TLT_TRIALS_KEPT]; /* log of speed awake over asleep, by trial modulo their number */
  double recent;               /* log time per token of the better way, faded over windows */
  double debt;                 /* what trials cost and is not earned back, like excess */
  tlt_window window;
} tlt_arbiter_range;

typedef struct tlt_arbiter {
  int few; /* up to so many sequences it begins awake, beyond asleep */
  tlt_arbiter_range range[TLT_ARBITER_RANGES];
  bool was_awake;
  int warm;    /* steps since that changed */
} tlt_arbiter; /* ready when zeroed but for `few` */

/* Whether to be awake in a step of so many sequences. *trial: because that is tried; then plans
 * should dare more than they would. */
bool tlt_arbiter_awake(tlt_arbiter *a, int sequences, bool *trial);

/* The step that ran by that answer: tokens drawn per sequence on (weighted) average, wall time, and
 * what a step of so many sequences without drafts costs, in any fixed unit. Steps that read prompts
 * are left out by the caller. Times that are not positive and finite are ignored. */
void tlt_arbiter_observe(tlt_arbiter *a, int sequences, double tokens, double us, double plain);

#endif
