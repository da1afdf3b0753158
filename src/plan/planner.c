#include "plan/planner.h"

/* A plan must promise this much more than none: estimates are noisy, and what is gained by less is
 * not worth the risk. */
#define LEAST_GAIN 1.01
enum { FIRST_PROBE = 8 };

double tlt_plan_rate(const tlt_plan_step *s, int nodes, double gain) {
  double us = tlt_cost_us(s->verify, s->rows + nodes, s->context) + s->spent_us;
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
