/* A tree of candidates for one sequence: grown level by level, then cut to the nodes that are worth
 * verifying. */
#ifndef TLT_SPEC_TREE_H
#define TLT_SPEC_TREE_H

#include "plan/calibration.h"
#include "spec/source.h"

enum { TLT_TREE_POOL = 256 };

typedef struct tlt_tree_node {
  int32_t token;
  int16_t parent; /* in the pool, or -1 */
  int16_t grow;   /* place in the draft that sources see, once it is extended; else -1 */
  int16_t depth;
  bool taken;
  float p; /* probability that the path up to here is accepted */
  float edge_p;
  tlt_edge edge;
} tlt_tree_node;

typedef struct tlt_tree {
  int n;
  tlt_tree_node node[TLT_TREE_POOL]; /* parents before children */
  int n_taken;
  tlt_draft grow;               /* extended nodes, as the sources see them */
  int16_t final[TLT_DRAFT_MAX]; /* pool node of each node of the finished draft */
  int n_final;
  int level0; /* first node of the newest level */
  float luck; /* how much better this sequence is drafted than the calibration says */
  float hits, hoped;
  float weight; /* of the sequence in the plan */
} tlt_tree;

/* Start over for a new step; luck is kept. */
void tlt_tree_clear(tlt_tree *t);
/* Forget what was learned about the sequence. */
void tlt_tree_reset(tlt_tree *t);

/* Add a candidate behind `parent` (-1: the last token) with the given edge; the same token twice
 * becomes one node of source BOTH. False when the pool is full. */
bool tlt_tree_add(tlt_tree *t, const tlt_calibration *c, int parent, int32_t token,
                  const tlt_edge *edge);

/* Make a node visible to the sources, so that its children can be asked for; false: no room. */
bool tlt_tree_extend(tlt_tree *t, int node);

/* Path probability; 1 for -1. */
static inline float tlt_tree_p(const tlt_tree *t, int node) {
  return node < 0 ? 1.0f : t->node[node].p;
}

/* The taken nodes as a draft: depth first, likeliest child first. */
void tlt_tree_finish(tlt_tree *t, tlt_draft *out);

/* What verification told about edge i of the finished draft: follow the sequence's luck. */
void tlt_tree_learn(tlt_tree *t, const tlt_tree_node *n, bool accepted);

#endif
