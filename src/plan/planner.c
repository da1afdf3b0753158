#include "plan/planner.h"

/* A plan must promise this much more than none: estimates are noisy, and what is gained by less is
 * not worth the risk. */
#define LEAST_GAIN 1.03
enum { FIRST_PROBE = 8 };

double tlt_plan_rate(const tlt_plan_step *s, int nodes, double gain) {
  double us = tlt_cost_us(s->verify, s->rows + nodes, s->context) + s->spent_us;
  if (nodes > 0 && s->penalty > 1) us *= s->penalty;
  return us > 0 ? (s->weight + gain) / us : 0;
}

int tlt_plan_take(const tlt_plan_step *s, int n, const float *gain) {
  double best = LEAST_GAIN * tlt_plan_rate(s, 0, 0), sum = 0;
  int take = 0;
  for (int i = 0; i < n; i++) {
    sum += (double)gain[i];
    double rate = tlt_plan_rate(s, i + 1, sum);
    if (rate <= best) continue;
    best = rate;
    take = i + 1;
  }
  return take;
}

double tlt_plan_threshold(const tlt_plan_step *s, int room) {
  double price = tlt_cost_marginal(s->verify, s->rows, room, s->context);
  double us = tlt_cost_us(s->verify, s->rows, s->context);
  return us > 0 ? s->weight * price / us : 0;
}

bool tlt_plan_deepen(const tlt_plan_step *s, int taken, double gain, int nodes, double frontier,
                     double accept, double level_us, int levels, double cut) {
  tlt_plan_step later = *s;
  double now = tlt_plan_rate(s, taken, gain), off = tlt_plan_rate(s, 0, 0);
  if (off > now) now = off;
  for (int i = 0; i < levels; i++) {
    frontier *= accept;
    if (frontier <= nodes * cut) return false;
    gain += frontier - nodes * cut;
    if (cut <= 0) taken += nodes;
    later.spent_us += level_us;
    if (tlt_plan_rate(&later, taken, gain) > LEAST_GAIN * now) return true;
  }
  return false;
}

#define BIAS_RATE 0.15
#define BIAS_MOST 1.3
#define BIAS_FORGET 0.03 /* per step without drafts: a verdict must not outlive its evidence */
enum { BIAS_LEAST_WITH = 3, BIAS_LEAST_WITHOUT = 2 };

static int bias_range(int sequences) {
  static const int from[TLT_BIAS_RANGES - 1] = {2, 3, 5, 7, 9, 13, 17, 25, 33, 49, 65};
  int i = 0;
  while (i < TLT_BIAS_RANGES - 1 && sequences >= from[i]) i++;
  return i;
}

static void follow(double *mean, int *n, double value) {
  double rate = 1.0 / ++*n;
  *mean += (rate > BIAS_RATE ? rate : BIAS_RATE) * (value - *mean);
}

void tlt_bias_observe(tlt_bias *b, int sequences, bool drafts, double us, double expected_us) {
  int i = bias_range(sequences);
  double ratio = us / expected_us;
  if (!(ratio > 0.1 && ratio < 10)) return;
  if (ratio > 2) ratio = 2; /* the machine was away */
  if (drafts) follow(&b->range[i].with, &b->range[i].n_with, ratio);
  else follow(&b->range[i].without, &b->range[i].n_without, ratio);
  if (!drafts && b->range[i].n_with)
    b->range[i].with += BIAS_FORGET * (b->range[i].without - b->range[i].with);
}

double tlt_bias_of(const tlt_bias *b, int sequences) {
  int i = bias_range(sequences);
  if (b->range[i].n_with < BIAS_LEAST_WITH || b->range[i].n_without < BIAS_LEAST_WITHOUT) return 1;
  double ratio = b->range[i].with / b->range[i].without;
  return ratio < 1 ? 1 : ratio > BIAS_MOST ? BIAS_MOST : ratio;
}

bool tlt_pause_step(tlt_pause *p, int rows) {
  if (p->left == 0) return false;
  if (rows * 8 <= p->rows * 7) { /* fewer sequences: another point of the curve */
    *p = (tlt_pause){0};
    return false;
  }
  p->left--;
  return true;
}

void tlt_pause_result(tlt_pause *p, int rows, bool paid) {
  if (paid) {
    *p = (tlt_pause){0};
    return;
  }
  p->length = p->length == 0 ? 1 : 2 * p->length;
  if (p->length > TLT_PAUSE_MOST) p->length = TLT_PAUSE_MOST;
  p->left = p->length;
  p->rows = rows;
}

bool tlt_probe_due(tlt_probe *p) {
  if (p->length == 0) p->length = FIRST_PROBE;
  if (++p->since < p->length) return false;
  p->since = 0;
  if (p->length < TLT_PROBE_MOST) p->length *= 2;
  return true;
}
