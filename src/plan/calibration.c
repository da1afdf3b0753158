#include "plan/calibration.h"

#include <math.h>

#define BACK_OFF 6.0f /* M: a coarser cell weighs as much as so many observations */
#define MEMORY 400.0f /* observations that a cell remembers */

static const float gap_edge[TLT_CAL_GAPS - 1] = {0.25f, 0.6f, 1.0f, 1.5f, 2.3f, 3.5f, 5.0f};
static const int match_edge[TLT_CAL_MATCHES - 1] = {2, 3, 5, 9, 17, 33};
static const int depth_edge[TLT_CAL_DEPTHS - 1] = {1, 3, 7};

/* What is believed before anything was seen. */
static const float prior[TLT_CAL_RANKS] = {0.5f, 0.15f, 0.07f, 0.04f};

void tlt_calibration_init(tlt_calibration *c) {
  *c = (tlt_calibration){0};
}

int tlt_calibration_gap_bin(float gap) {
  int i = 0;
  while (i < TLT_CAL_GAPS - 1 && gap >= gap_edge[i]) i++;
  return i;
}

static int bin(const int *edge, int edges, int value) {
  int i = 0;
  while (i < edges && value >= edge[i]) i++;
  return i;
}

static int rank_of(const tlt_edge *e) {
  return e->rank < TLT_CAL_RANKS ? e->rank : TLT_CAL_RANKS - 1;
}

static float mix(const tlt_cal_cell *cell, float coarser) {
  return (cell->accepted + BACK_OFF * coarser) / (cell->tried + BACK_OFF);
}

float tlt_calibration_p(const tlt_calibration *c, const tlt_edge *e) {
  int r = rank_of(e), g = tlt_calibration_gap_bin(e->gap);
  int m = bin(match_edge, TLT_CAL_MATCHES - 1, e->match);
  int d = bin(depth_edge, TLT_CAL_DEPTHS - 1, e->depth);
  float p = mix(&c->rank[e->source][r], prior[r]);
  p = mix(&c->gap[e->source][r][g], p);
  return mix(&c->fine[e->source][r][g][m][d], p);
}

static void note(tlt_cal_cell *cell, bool accepted) {
  if (cell->tried >= MEMORY) {
    float keep = 1 - 1 / MEMORY;
    cell->tried *= keep;
    cell->accepted *= keep;
  }
  cell->tried += 1;
  cell->accepted += accepted ? 1.0f : 0.0f;
}

void tlt_calibration_observe(tlt_calibration *c, const tlt_edge *e, bool accepted) {
  int r = rank_of(e), g = tlt_calibration_gap_bin(e->gap);
  int m = bin(match_edge, TLT_CAL_MATCHES - 1, e->match);
  int d = bin(depth_edge, TLT_CAL_DEPTHS - 1, e->depth);
  note(&c->rank[e->source][r], accepted);
  note(&c->gap[e->source][r][g], accepted);
  note(&c->fine[e->source][r][g][m][d], accepted);
}

void tlt_calibration_worth(const tlt_calibration *c, tlt_edge_source source,
                           const float gaps[TLT_CAL_GAPS], float least, float *share,
                           float *accept) {
  float mean = mix(&c->rank[source][0], prior[0]), all = 1e-3f, kept = 0, good = 0;
  for (int g = 0; g < TLT_CAL_GAPS; g++) {
    float p = mix(&c->gap[source][0][g], mean), count = gaps[g] + 1e-3f / TLT_CAL_GAPS;
    all += gaps[g];
    if (p <= least) continue;
    kept += count;
    good += count * p;
  }
  *share = kept / all;
  *accept = kept > 0 ? good / kept : 0;
}
