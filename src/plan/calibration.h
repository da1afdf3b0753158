/* How likely a draft edge is to be accepted, given what is known of it and that its parent was.
 *
 * Counts of (tried, accepted) in cells of source, rank, depth, gap and match length, each cell
 * backed off to a coarser one: p = (accepted + M p_coarser) / (tried + M). Old observations fade,
 * since the target and the drafter change. */
#ifndef TLT_PLAN_CALIBRATION_H
#define TLT_PLAN_CALIBRATION_H

#include <stdbool.h>

/* Who proposed the edge. */
typedef enum tlt_edge_source {
  TLT_EDGE_SUFFIX,
  TLT_EDGE_EAGLE,
  TLT_EDGE_BOTH, /* the same token by both */
  TLT_EDGE_SOURCES
} tlt_edge_source;

typedef struct tlt_edge {
  tlt_edge_source source;
  int rank;  /* 0: the source's best */
  int depth; /* 0: behind the last token */
  float gap; /* nats; rank 0: to the second best, others: to the best */
  int match; /* tokens, suffix and both */
} tlt_edge;

enum { TLT_CAL_RANKS = 4, TLT_CAL_DEPTHS = 4, TLT_CAL_GAPS = 8, TLT_CAL_MATCHES = 7 };

typedef struct tlt_cal_cell {
  float tried, accepted;
} tlt_cal_cell;

typedef struct tlt_calibration {
  tlt_cal_cell rank[TLT_EDGE_SOURCES][TLT_CAL_RANKS];
  tlt_cal_cell gap[TLT_EDGE_SOURCES][TLT_CAL_RANKS][TLT_CAL_GAPS];
  tlt_cal_cell fine[TLT_EDGE_SOURCES][TLT_CAL_RANKS][TLT_CAL_GAPS][TLT_CAL_MATCHES][TLT_CAL_DEPTHS];
} tlt_calibration;

void tlt_calibration_init(tlt_calibration *c);

/* Probability in (0, 1). NaN gaps count as 0. */
float tlt_calibration_p(const tlt_calibration *c, const tlt_edge *e);
void tlt_calibration_observe(tlt_calibration *c, const tlt_edge *e, bool accepted);

/* What the best candidates of a source are worth when only those with probability above `least` are
 * kept: the share that is kept, and their mean acceptance. gaps: counts of their gaps by
 * tlt_calibration_gap_bin; all zero: the prior alone. */
void tlt_calibration_worth(const tlt_calibration *c, tlt_edge_source source,
                           const float gaps[TLT_CAL_GAPS], float least, float *share,
                           float *accept);
int tlt_calibration_gap_bin(float gap);

#endif
