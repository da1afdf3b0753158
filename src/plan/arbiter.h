/* Whether to speculate at all, by the clock.
 *
 * A planner weighs costs that it models; what it does not know of (a worker thread that fell asleep
 * meanwhile, caches, its own bookkeeping) it cannot weigh. So the steps of a speculator that is
 * awake are timed against steps in which it sleeps: wall time from step to step per token, for each
 * range of numbers of sequences apart. The slower way is tried again in short trials, and what a
 * trial costs is a debt that the better way has to earn first: trials lose at most
 * TLT_TRIAL_PERMILLE of the time. The more of them are lost the less often they come, and the
 * longer they are: drafts are at their best only in answers that they were there for from the
 * beginning.
 *
 * Pure decisions; one thread. */
#ifndef TLT_PLAN_ARBITER_H
#define TLT_PLAN_ARBITER_H

#include <stdbool.h>

enum {
  TLT_ARBITER_RANGES = 14,
  TLT_TRIAL_PERMILLE = 5,
  TLT_WINDOW_STEPS = 16, /* least steps of a window; then until TLT_WINDOW_US, */
  TLT_WINDOW_US = 2000,
  TLT_WINDOW_MOST = 48, /* or this many steps */
  TLT_WARM_STEPS = 2,   /* after a change between awake and asleep: not timed */
  TLT_TRIALS_KEPT = 5,
  TLT_STRETCH_MOST = 64, /* windows between trials, where the debt does not ask for more */
  TLT_TRIAL_MOST = 4,    /* windows of a trial */
};

/* Steps of one way of running. */
typedef struct tlt_window {
  int steps;
  double us;                     /* of all steps, those that are not timed included */
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
  double excess;      /* of the trial, in plain steps: beyond what its tokens take the better way */
  double debt;        /* what trials cost and is not earned back, like excess */
  double paid, drawn; /* per step awake, faded: plain steps by the prices, tokens */
  int parts;          /* windows of the trial that are over; what they lost, took and drew: */
  double lost, time, tokens;
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

/* The step that ran by that answer: tokens drawn per sequence on (weighted) average, wall time,
 * what a step of so many sequences without drafts costs in any fixed unit, and what that unit takes
 * in microseconds by the prices of late (0: not known), which only says how soon to look again.
 * Steps that read prompts are left out by the caller. Times that are not positive and finite are
 * ignored.
 */
void tlt_arbiter_observe(tlt_arbiter *a, int sequences, double tokens, double us, double plain,
                         double unit_us);

#endif
