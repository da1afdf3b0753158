/* How much to speculate in a step: decisions only, no tensors.
 *
 * The aim is the best rate (expected tokens per microsecond), where a sequence counts with its
 * weight. With n sequences a step without drafts makes `weight` tokens in cost(rows). A node adds
 * its path probability and a row. Since a cost curve has flat stretches (verifying 12 rows costs
 * hardly more than one), the nodes are taken best first and the number of them is the one with the
 * best rate over all numbers, not the first at which the next node does not pay. No node is the
 * plan "off": there is no mode switch. What drafting and planning took counts in the rate. */
#ifndef TLT_PLAN_PLANNER_H
#define TLT_PLAN_PLANNER_H

#include <stdbool.h>

#include "plan/cost.h"

/* The step that is being planned. */
typedef struct tlt_plan_step {
  const tlt_cost *verify; /* cost of the forward of the target */
  int rows;               /* rows that run in any case: sequences and prompt rows */
  double context;         /* mean keys per row */
  double weight;          /* sum of the sequences' weights */
  double spent_us;        /* planning and drafting so far */
  double penalty;         /* tlt_bias_of: how much dearer steps with drafts turn out */
} tlt_plan_step;

/* Rate of the step with the first `nodes` nodes, whose weighted path probabilities sum to gain. */
double tlt_plan_rate(const tlt_plan_step *s, int nodes, double gain);

/* Number of nodes to verify, 0 .. n. gain [n]: weighted path probabilities, descending. */
int tlt_plan_take(const tlt_plan_step *s, int n, const float *gain);

/* Weighted path probability below which a node cannot pay, whatever else is taken: rate times the
 * smallest average price of further rows. */
double tlt_plan_threshold(const tlt_plan_step *s, int room);

/* Does another level of drafting pay? Looks ahead up to `levels` levels, since a level also opens
 * those behind it. frontier: sum of weighted path probabilities of the nodes that would be
 * extended; nodes: how many; accept: expected acceptance of an edge; level_us: price of drafting
 * one level; taken, gain: nodes that would be verified now and their sum; cut: smallest gain among
 * them when there are more candidates than can pay, so that a new node takes the place of such a
 * one, else 0. */
bool tlt_plan_deepen(const tlt_plan_step *s, int taken, double gain, int nodes, double frontier,
                     double accept, double level_us, int levels, double cut);

/* ---- what steps with drafts really cost --------------------------------------------------------
 *
 * The scale of the cost curve follows whatever runs, so a wrong slope would go unnoticed as long as
 * only steps with drafts run. Observed over expected time is therefore kept apart for steps with
 * and without drafts, per range of sequences; their ratio corrects the plan. */
enum { TLT_BIAS_RANGES = 12 };
typedef struct tlt_bias {
  struct {
    double with, without;
    int n_with, n_without;
  } range[TLT_BIAS_RANGES];
} tlt_bias;

void tlt_bias_observe(tlt_bias *b, int sequences, bool drafts, double us, double expected_us);
/* 1 while little is known, else 1 .. 1.3. */
double tlt_bias_of(const tlt_bias *b, int sequences);

/* ---- when to look again ---------------------------------------------------------------------- */

/* Planning itself costs. After plans that came out empty, later steps are not even planned: 1, 2,
 * 4,
 * ... up to TLT_PAUSE_MOST of them, until a plan pays or the number of sequences falls. */
enum { TLT_PAUSE_MOST = 256 };
typedef struct tlt_pause {
  int left, length;
  int rows; /* when the pause began */
} tlt_pause;

/* True: do not plan this step. */
bool tlt_pause_step(tlt_pause *p, int rows);
/* The plan of this step paid (took nodes) or not. */
void tlt_pause_result(tlt_pause *p, int rows, bool paid);

/* Whether to measure a step without drafts now, so that its price stays known: after 8, 16, ... up
 * to TLT_PROBE_MOST steps with drafts. */
enum { TLT_PROBE_MOST = 64 };
typedef struct tlt_probe {
  int since, length;
} tlt_probe;
bool tlt_probe_due(tlt_probe *p);

#endif
