#include "plan/planner.h"

/* A plan must promise this much more than none: estimates are noisy, and what is gained by less is
 * not worth the risk. */
#define LEAST_GAIN 1.03

static double decode_us(const tlt_plan_step *s, int nodes) {
  return tlt_cost_us(s->verify, s->rows + nodes, s->context) - s->prompt_us;
}

double tlt_plan_rate(const tlt_plan_step *s, int nodes, double gain) {
  double us = decode_us(s, nodes) + s->spent_us;
  if (nodes > 0 && s->daring > 0) us *= s->daring;
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
  double us = decode_us(s, 0);
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
