#include "plan/arbiter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GAIN_LEAST 0.01   /* what being awake must bring: ties are not worth the risk */
#define RECENT_RATE 0.3   /* of the newest window */
#define SPREAD_LEAST 0.05 /* of the gains of trials */
#define OUTLIER 3.0F      /* times the median of a window: the machine was away */
#define EXCESS_MOST 16.0  /* of a step, in steps: catching up counts, an absence does not */
#define PRICE_RATE 0.03   /* of the newest step awake, in what it paid and drew */
#define DOUBT 1.05        /* paid per drawn: prices do not know what happens between steps */
#define CLEAR 0.25        /* gain of being awake that needs no second opinion soon */
enum {
  FIRST_STEPS = 4,   /* of the very first window, which only is a yardstick */
  FIRST_STRETCH = 4, /* where neighbours say what pays */
  DOUBT_STRETCH = 8, /* where prices say that being awake brings nothing */
  FREE_TRIALS = 1,   /* what the planner learns in the first ones is for later */
  LOST_STEPS = 4,    /* a trial that lost so many per window ends */
  TRIAL_SHARE = 16,  /* a trial is one window for so many before it */
};

static int range_of(int sequences) {
  static const int from[TLT_ARBITER_RANGES - 1] = {2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 129};
  int i = 0;
  while (i < TLT_ARBITER_RANGES - 1 && sequences >= from[i]) i++;
  return i;
}

/* A few sequences begin awake: that nearly always pays, and short work is over before a trial tells
 * anything. More of them begin asleep, with a yardstick. Where more sequences already gained by
 * being awake, fewer will too; where fewer did not, there is no hurry. */
static tlt_arbiter_range *range_at(tlt_arbiter *a, int sequences) {
  int i = range_of(sequences);
  tlt_arbiter_range *r = &a->range[i];
  if (r->known) return r;
  *r = (tlt_arbiter_range){.known = true, .awake = sequences <= a->few, .stretch = 1};
  if (i + 1 < TLT_ARBITER_RANGES && a->range[i + 1].trials && a->range[i + 1].awake) {
    r->awake = true;
    r->stretch = FIRST_STRETCH;
  } else if (i > 0 && a->range[i - 1].trials && !a->range[i - 1].awake) {
    r->awake = false;
    r->stretch = FIRST_STRETCH;
  }
  return r;
}

bool tlt_arbiter_awake(tlt_arbiter *a, int sequences, bool *trial) {
  const tlt_arbiter_range *r = range_at(a, sequences);
  bool awake = r->awake != r->trial;
  *trial = awake && r->trial;
  if (awake != a->was_awake) a->warm = 0;
  a->was_awake = awake;
  return awake;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static float median(const float *x, int n) {
  float sorted[TLT_WINDOW_MOST];
  memcpy(sorted, x, (size_t)n * sizeof *x);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  return n % 2 ? sorted[n / 2] : 0.5F * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/* Time in plain steps, and tokens. */
static void add_up(const tlt_window *w, double *time, double *tokens) {
  float most = OUTLIER * median(w->time, w->steps);
  for (int i = 0; i < w->steps; i++) {
    *time += (double)(w->time[i] < most ? w->time[i] : most);
    *tokens += (double)w->tokens[i];
  }
}

/* Whether the trials say that being awake is faster, and clearly where that is news: whole windows
 * go wrong where a machine is shared, so by the median and how far they are apart. */
static bool awake_wins(const tlt_arbiter_range *r) {
  int n = r->trials < TLT_TRIALS_KEPT ? r->trials : TLT_TRIALS_KEPT;
  double middle = (double)median(r->gain, n), spread = 0;
  if (r->awake) return middle > 0;
  for (int i = 0; i < n; i++) spread += fabs((double)r->gain[i] - middle) / n;
  if (spread < SPREAD_LEAST) spread = SPREAD_LEAST;
  return middle > GAIN_LEAST + spread / sqrt(n);
}

static void end_trial(tlt_arbiter_range *r) {
  double score = log(r->time / r->tokens);
  double gain = r->awake ? score - r->recent : r->recent - score, cost = r->excess;
  r->gain[r->trials++ % TLT_TRIALS_KEPT] = (float)gain;
  r->trial = false;
  r->windows = r->parts = 0;
  r->excess = r->lost = r->time = r->tokens = 0;
  bool awake = awake_wins(r);
  if (awake != r->awake) {
    r->awake = awake;
    r->recent = score;
    r->stretch = 1;
    r->debt = r->paid = r->drawn = 0;
    return;
  }
  if (awake && gain > CLEAR) r->stretch = TLT_STRETCH_MOST;
  else if (r->stretch < TLT_STRETCH_MOST) r->stretch *= 2;
  if (cost > 0 && r->trials > FREE_TRIALS) r->debt += cost;
}

/* Trials on a shared machine can mislead several times in a row. Where a token drawn awake has cost
 * more than a plain step by the prices, which rest on more steps, short trials come soon
 * whatever those before cost: if the prices are right they lose nothing. */
static bool is_doubtful(const tlt_arbiter_range *r) {
  return r->awake && r->paid > DOUBT * r->drawn;
}

static bool is_due(const tlt_arbiter_range *r) {
  if (is_doubtful(r) && r->windows >= DOUBT_STRETCH) return true;
  return r->windows >= r->stretch && r->debt <= 0;
}

static void note_price(tlt_arbiter_range *r, double paid, double tokens) {
  double rate = r->drawn > 0 ? PRICE_RATE : 1;
  r->paid += rate * (fmin(paid, (double)OUTLIER) - r->paid);
  r->drawn += rate * (tokens - r->drawn);
}

static void end_window(tlt_arbiter_range *r) {
  double time = 0, tokens = 0;
  add_up(&r->window, &time, &tokens);
  double score = log(time / tokens);
  r->recent += (r->recent == 0 ? 1 : RECENT_RATE) * (score - r->recent);
  r->windows++;
  r->trial = is_due(r);
}

/* Windows of the trial at hand. */
static int trial_length(const tlt_arbiter_range *r) {
  int n = is_doubtful(r) ? 1 : r->stretch / TRIAL_SHARE;
  return n < 1 ? 1 : n < TLT_TRIAL_MOST ? n : TLT_TRIAL_MOST;
}

/* Steps that the timed ones of a window took too long; where the machine was away, few. */
static double lost(const tlt_arbiter_range *r) {
  const tlt_window *w = &r->window;
  double sum = 0;
  for (int i = 0; i < w->steps; i++) {
    double time = (double)w->time[i] / exp(r->recent);
    sum += (time < (double)OUTLIER ? time : (double)OUTLIER) - (double)w->tokens[i];
  }
  return sum;
}

static bool is_lost(const tlt_arbiter_range *r) {
  return r->trial && r->window.steps >= LOST_STEPS &&
         r->lost + lost(r) > LOST_STEPS * trial_length(r);
}

static bool is_complete(const tlt_arbiter_range *r) {
  const tlt_window *w = &r->window;
  bool first = !r->awake && !r->trial && !r->windows && !r->trials;
  int least = first ? FIRST_STEPS : TLT_WINDOW_STEPS;
  return w->steps == TLT_WINDOW_MOST || (w->steps >= least && w->us >= TLT_WINDOW_US);
}

static void end_part(tlt_arbiter_range *r, bool last) {
  r->lost += lost(r);
  add_up(&r->window, &r->time, &r->tokens);
  if (++r->parts >= trial_length(r) || last) end_trial(r);
}

void tlt_arbiter_observe(tlt_arbiter *a, int sequences, double tokens, double us, double plain,
                         double unit_us) {
  tlt_arbiter_range *r = range_at(a, sequences);
  tlt_window *w = &r->window;
  if (!(us > 0) || !isfinite(us) || !(plain > 0) || !(tokens > 0)) return;
  double time = us / plain;
  if (r->trial) r->excess += fmin(time, EXCESS_MOST * exp(r->recent)) - tokens * exp(r->recent);
  else if (r->debt > 0) r->debt -= time * TLT_TRIAL_PERMILLE / 1000;
  w->us += us;
  if (a->warm++ < TLT_WARM_STEPS) return;
  /* Few nearly always gain, if late: judged by prices they slept before that showed. */
  bool priced = sequences > a->few && unit_us > 0;
  if (priced && r->awake && !r->trial) note_price(r, time / unit_us, tokens);
  w->time[w->steps] = (float)time;
  w->tokens[w->steps++] = (float)tokens;
  bool given_up = is_lost(r);
  if (!given_up && !is_complete(r)) return;
  if (r->trial) end_part(r, given_up);
  else end_window(r);
  *w = (tlt_window){0};
}
