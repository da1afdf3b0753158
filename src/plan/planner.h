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
  double prompt_us;       /* what the prompt rows add to the step: it buys no token now, and later it
                             would cost as much, so it is no reason to make the most of this step */
  double spent_us;        /* planning and drafting so far */
  double daring;          /* steps with drafts are planned as if they took so much of their time;
                             0: as they are */
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
 * one level; taken, gain: nodes that would be verified now and their sum; cut: where there are more
 * candidates than can pay, what a row is worth otherwise, so that a new node only brings what it
 * has beyond that; else 0. */
bool tlt_plan_deepen(const tlt_plan_step *s, int taken, double gain, int nodes, double frontier,
                     double accept, double level_us, int levels, double cut);

#endif
