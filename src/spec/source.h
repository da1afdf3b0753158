/* A draft source: sees tokens, proposes continuations with a score per edge.
 *
 * Trees grow level by level over many sequences at once, so that several sources can contribute to
 * one tree and a source that computes can do it in one batch: the tree builder asks for children of
 * the nodes that it means to extend.
 *
 * Ranking is coupled (docs/decisions.md): a candidate's score is its log-weight plus the very noise
 * that the target will use at that position; at temperature 0 the log-weight alone. */
#ifndef TLT_SPEC_SOURCE_H
#define TLT_SPEC_SOURCE_H

#include "engine/speculate.h"

enum {
  TLT_SOURCE_SUFFIX,
  TLT_SOURCE_EAGLE,
  TLT_SOURCES,
  TLT_CANDIDATES = 4, /* most children that one source proposes for a node */
};

typedef struct tlt_candidate {
  int32_t token;
  float score; /* log-weight + noise; descending */
  float gap;   /* best score minus that of the next best candidate (rank 0), or minus this one's */
  int match;   /* suffix: matched tokens; else 0 */
} tlt_candidate;

/* Node of a growing tree whose children are wanted. */
typedef struct tlt_grow {
  int seq;      /* index into the seqs given to begin */
  int node;     /* node of that sequence's draft, or -1: behind the last token */
  int position; /* absolute position of the children: n_prompt + n_tokens + depth of the node */
  int n;        /* filled: candidates, 0 .. k */
  tlt_candidate *candidate; /* [k] to fill, best first, distinct tokens */
} tlt_grow;

typedef struct tlt_source {
  const char *name;
  void *context;
  bool wants_hidden;
  /* As in tlt_speculator; each may be NULL. */
  void (*group_open)(void *context, const tlt_spec_group *g);
  void (*group_close)(void *context, const tlt_spec_group *g);
  void (*prompt)(void *context, const tlt_spec_group *g, int pos0, int n, const void *hidden);
  void (*open)(void *context, const tlt_spec_seq *s);
  void (*close)(void *context, const tlt_spec_seq *s, tlt_finish finish);
  /* Observe. Steps without drafts are shown to sources that want hidden states only; */
  void (*verified)(void *context, const tlt_spec_step *step);
  /* the others see all sequences as they are when drafting begins again. */
  void (*catch_up)(void *context, int n, const tlt_spec_seq *seq);
  /* Drafting starts for these sequences; drafts are empty. The array stays valid until the step is
   * verified and draft fills up between calls of grow. */
  void (*begin)(void *context, int n, const tlt_spec_seq *seq);
  /* Fill candidates of n nodes, at most k each; noise by seed. NULL-safe against nodes it never
   * saw: then n = 0. A broken source fills nothing and says why in `failed`. */
  void (*grow)(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k);
  /* Tokens that `begin` would first have to catch up on for this sequence (rows), for the planner's
   * price; NULL: none. */
  int (*behind)(void *context, const tlt_spec_seq *s);
  /* A reason why the source is of no more use (NaN weights), or NULL. */
  const char *(*failed)(void *context);
  /* Between rollouts: the target's weights may have changed. */
  void (*refresh)(void *context);
  void (*free)(void *context);
} tlt_source;

#endif
