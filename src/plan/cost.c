#include "plan/cost.h"

#include <math.h>

static const int knot[TLT_COST_KNOTS] = {1,  2,  4,  6,  8,  10,  12,  14,  16,  20,  24,  32,
                                         40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 1024};

#define SCALE_RATE 0.25 /* of the newest step in the scale */
#define SHAPE_RATE 0.03 /* of the newest residual in a shape value, when it is well known */
#define SHAPE_FIRST 0.5 /* and divided by the observations of a new one */
#define OUTLIER 2.0     /* times what is expected */
enum { SEEN_CAP = 1 << 20, FIRST_STEPS = 4 };

void tlt_cost_init(tlt_cost *c, double knee, double kappa) {
  *c = (tlt_cost){.kappa = kappa};
  for (int i = 0; i < TLT_COST_KNOTS; i++)
    c->shape[i] = knot[i] <= knee ? 1 : 1 + (knot[i] - knee) / knee;
}

/* Knot at or below rows, and the share of the one above it. */
static int knot_below(int rows, double *share) {
  int i = 0;
  while (i < TLT_COST_KNOTS - 2 && knot[i + 1] <= rows) i++;
  *share = (double)(rows - knot[i]) / (knot[i + 1] - knot[i]);
  return i;
}

static double shape_at(const tlt_cost *c, int rows) {
  double share;
  if (rows < 1) return 0;
  int i = knot_below(rows, &share); /* beyond the last knot the last slope goes on */
  return c->shape[i] + share * (c->shape[i + 1] - c->shape[i]);
}

double tlt_cost_plain(const tlt_cost *c, int rows, double context) {
  return shape_at(c, rows) + c->kappa * rows * context;
}

double tlt_cost_us(const tlt_cost *c, int rows, double context) {
  return c->scale * tlt_cost_plain(c, rows, context);
}

/* x to the power rate for 0 <= rate <= 1, exact to a few per cent for x in 0.3 .. 3, and bounded
 * beyond: the quotient of first order that Pade gives in log x. A step has no time for pow. */
static double faded(double x, double rate) {
  double t = rate * (x - 1) / (x + 1);
  return (1 + t) / (1 - t);
}

/* More rows never cost less: where a noisy knot says so, its neighbours are pulled along. */
static void keep_rising(tlt_cost *c, int from) {
  for (int i = from + 1; i < TLT_COST_KNOTS; i++)
    if (c->shape[i] < c->shape[i - 1]) c->shape[i] = c->shape[i - 1];
  for (int i = from - 1; i >= 0; i--)
    if (c->shape[i] > c->shape[i + 1]) c->shape[i] = c->shape[i + 1];
}

/* Knots that were never seen go with their seen neighbour: the slope next to it keeps its
 * proportion instead of bending because one end moved. */
static void move_knot(tlt_cost *c, int i, double residual, double share) {
  double rate = SHAPE_FIRST / (c->seen[i] + 1);
  double factor = faded(residual, share * (rate > SHAPE_RATE ? rate : SHAPE_RATE));
  c->shape[i] *= factor;
  if (c->seen[i] < SEEN_CAP) c->seen[i]++;
  for (int j = i + 1; j < TLT_COST_KNOTS && !c->seen[j]; j++) c->shape[j] *= factor;
  for (int j = i - 1; j >= 0 && !c->seen[j]; j--) c->shape[j] *= factor;
  keep_rising(c, i);
}

void tlt_cost_observe(tlt_cost *c, int rows, double context, double us) {
  double model = tlt_cost_plain(c, rows, context), share;
  if (!(us > 0) || !isfinite(us) || rows < 1) return;
  if (c->observations == 0) c->scale = us / model;
  double expected = c->scale * model;
  if (c->observations >= FIRST_STEPS && us > OUTLIER * expected) us = OUTLIER * expected;
  c->observations++;
  double rate = c->observations < FIRST_STEPS ? 0.5 : SCALE_RATE;
  /* What the scale explains is not the shape's: the residual is taken after it moved. */
  c->scale *= faded(us / expected, rate);
  double residual = us / (c->scale * model);
  int i = knot_below(rows, &share);
  if (share < 0.999) move_knot(c, i, residual, 1 - share);
  if (share > 0.001) move_knot(c, i + 1, residual, share);
}

double tlt_cost_marginal(const tlt_cost *c, int rows, int most, double context) {
  double now = tlt_cost_us(c, rows, context), best = INFINITY;
  for (int k = 1; k <= most; k *= 2) {
    double each = (tlt_cost_us(c, rows + k, context) - now) / k;
    if (each < best) best = each;
  }
  return best > 0 ? best : 0;
}
