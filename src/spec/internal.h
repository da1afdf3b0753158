/* State of a speculator, shared by its files. */
#ifndef TLT_SPEC_INTERNAL_H
#define TLT_SPEC_INTERNAL_H

#include "plan/arbiter.h"
#include "plan/bandit.h"
#include "plan/lengths.h"
#include "plan/planner.h"
#include "spec/speculator.h"
#include "spec/tree.h"

/* The answer that a slot decodes or decoded last. */
typedef struct tlt_spec_answer {
  uint32_t rollout, sample;
  int n; /* tokens; 0: none was ever here, or it goes on */
} tlt_spec_answer;

/* A candidate of any sequence, for choosing the best of all. */
typedef struct tlt_ranked {
  float gain; /* weighted path probability */
  int16_t node;
  int32_t seq;
} tlt_ranked;

/* One source and what is known of its price. */
typedef struct tlt_spec_source {
  tlt_source source;
  tlt_edge_source as;
  bool alive;
  bool begun;     /* in this step */
  tlt_cost level; /* us of one level, by nodes */
  tlt_cost start; /* us of begin and the first level, by sequences; catching up beyond the last step
                     is priced by catch_up */
  double catch_up_us;       /* per row */
  float gaps[TLT_CAL_GAPS]; /* faded counts of the gaps of its best candidates */
  double try_us;            /* what trying it took last time */
  int idle, idle_most;      /* steps since a node of it was verified; when to verify one anyway */
  tlt_spec_seq *seq;        /* [batch] sequences it began with in this step */
  int *index;               /* [batch] place in seq of each sequence of the step, or -1 */
} tlt_spec_source;

/* What steps cost, and whether to speculate at all: other numbers of cores, other answers. */
typedef struct tlt_spec_prices {
  tlt_cost verify;
  tlt_arbiter arbiter;
} tlt_spec_prices;

struct tlt_spec {
  tlt_spec_options o;
  const tlt_pool *pool;
  tlt_bandit *bandit; /* NULL: planner */
  int n_sources;
  tlt_spec_source source[TLT_SOURCES];
  tlt_calibration calibration;
  tlt_spec_prices own, borrowed; /* on own cores, and with some of other workers */
  bool has_borrowed;             /* ever */
  tlt_spec_prices *price;        /* of the step: one of the two */
  tlt_lengths lengths;
  tlt_tree *tree; /* [batch] by slot */
  int full;       /* most sequences seen in a step: fewer is the tail */

  /* the current step */
  int n;
  tlt_spec_seq *seq; /* [batch] as given, draft = tree[slot].grow */
  int strategy;      /* of the bandit, -1: none */
  bool planned;
  bool missed;              /* steps since the last drafts were not shown to all sources */
  bool trial;               /* of being awake: plans dare more */
  double since;             /* when it began, or 0: not to be timed */
  double context;           /* mean keys per row in the last one */
  double progress;          /* weighted tokens per sequence drawn in it, or 0 */
  int nodes;                /* in all drafts */
  double propose_us;        /* of this step, drafting included */
  tlt_grow *grow;           /* [grow_room] */
  int16_t *grow_node;       /* [grow_room] the same nodes by their place in the pool */
  int *grow_seq;            /* [grow_room] */
  tlt_candidate *candidate; /* [grow_room][TLT_CANDIDATES] */
  int grow_room;
  tlt_ranked *front;  /* [grow_room] the planner's: nodes that may be extended */
  tlt_ranked *ranked; /* [ranked_room] */
  int ranked_room;
  float *gain; /* [ranked_room] */

  tlt_spec_answer *answer; /* [batch] by slot; NULL: origins are not remembered */
  char *origin;            /* [batch][max_positions] */

  tlt_spec_stats stats;
};

/* plan_step.c: the planner's step: fill drafts of s->seq. */
void tlt_spec_plan(tlt_spec *s, int room, int prompt_rows);
/* fixed_step.c: every sequence by one strategy. */
void tlt_spec_fixed(tlt_spec *s, const tlt_strategy *how, int room);

/* speculator.c: ask source i for at most k children of n nodes, named by grow[].seq and grow_node[]
 * (a pool node that was extended, or -1), and add them to the trees. The first call in a step must
 * be for roots: the source begins with their sequences, and later calls may only be about those. */
void tlt_spec_grow(tlt_spec *s, int i, int n, int k);
/* Candidates of all trees, best first; returns how many. */
int tlt_spec_rank(tlt_spec *s, float least);
/* Take the first n of the ranking: at most `most` nodes, most_each of a sequence. */
void tlt_spec_take(tlt_spec *s, int n, int most, int most_each);

/* origins.c: a sequence has its first token; a step with drafts added tokens; it ends. */
void tlt_spec_origin_open(tlt_spec *s, const tlt_spec_seq *q);
void tlt_spec_origin_close(tlt_spec *s, const tlt_spec_seq *q);
void tlt_spec_origin_step(tlt_spec *s, const tlt_spec_result *r);

/* stats.c: a verified node; one whose parent was accepted; a step. */
void tlt_spec_count_node(tlt_spec *s, const tlt_tree_node *n);
void tlt_spec_count_edge(tlt_spec *s, const tlt_tree_node *n, bool accepted);
void tlt_spec_count(tlt_spec *s, const tlt_spec_step *step);

#endif
