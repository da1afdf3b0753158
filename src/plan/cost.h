/* What a step costs: a curve learned from the steps that run anyway.
 *
 *   cost(rows, context) = scale * (shape(rows) + kappa * rows * context)   microseconds
 *
 * shape is piecewise linear over fixed knots and starts from a guess; scale follows the machine as
 * it is now (other load, clock), quickly and for all row counts at once; a shape value moves slowly
 * and only relative to the scale, so that slow and fast moments do not look like cheap and dear
 * rows. Knots that were never seen move with their seen neighbour. */
#ifndef TLT_PLAN_COST_H
#define TLT_PLAN_COST_H

enum { TLT_COST_KNOTS = 24 };

typedef struct tlt_cost {
  double scale;
  double kappa; /* relative to shape(1) = 1 */
  double shape[TLT_COST_KNOTS];
  int seen[TLT_COST_KNOTS]; /* observations nearest to this knot, capped */
  int observations;
} tlt_cost;

/* First guess: flat up to `knee` rows, then proportional to rows beyond it. kappa: time of one row
 * attending to one key, relative to a step of one row. */
void tlt_cost_init(tlt_cost *c, double knee, double kappa);

/* A step of so many rows with `context` keys per row on average took us microseconds. Values that
 * are not positive and finite are ignored. A time far beyond what is expected counts as at most
 * twice that: the machine was away. */
void tlt_cost_observe(tlt_cost *c, int rows, double context, double us);

/* Expected microseconds; 0 before the first observation. rows >= 0 (0 rows cost nothing). */
double tlt_cost_us(const tlt_cost *c, int rows, double context);

/* The same without the scale: relative to a step of one row and short contexts, whatever the
 * machine does now. Never 0 for rows >= 1. */
double tlt_cost_plain(const tlt_cost *c, int rows, double context);

/* Smallest average price of a further row when rows are there already: min over k <= most of
 * (cost(rows + k) - cost(rows)) / k. Never negative. */
double tlt_cost_marginal(const tlt_cost *c, int rows, int most, double context);

#endif
