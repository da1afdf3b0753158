/* Trees of a fixed strategy: DEPTH levels, the TOPK likeliest nodes of a level extended by TOPK
 * children each, the VERIFY - 1 likeliest of all verified (EAGLE-2, Li et al. 2024,
 * arXiv 2406.16858). */
#include "spec/internal.h"

/* The topk likeliest nodes of the newest level of every tree, to s->grow. */
static int frontier(tlt_spec *s, int depth, int topk) {
  int n = 0;
  for (int q = 0; q < s->n; q++) {
    tlt_tree *t = &s->tree[s->seq[q].slot];
    if (depth > s->seq[q].tokens_left - 2) continue;
    if (depth == 0) {
      s->grow_node[n] = -1;
      s->grow[n++].seq = q;
      continue;
    }
    int level0 = t->level0;
    for (int k = 0; k < topk; k++) {
      int best = -1;
      for (int i = level0; i < t->n; i++)
        if (t->node[i].grow < 0 && (best < 0 || t->node[i].p > t->node[best].p)) best = i;
      if (best < 0 || !tlt_tree_extend(t, best)) break;
      s->grow_node[n] = (int16_t)best;
      s->grow[n++].seq = q;
    }
  }
  return n;
}

void tlt_spec_fixed(tlt_spec *s, const tlt_strategy *how, int room) {
  s->planned = true;
  for (int depth = 0; depth < how->depth; depth++) {
    int n = frontier(s, depth, how->topk);
    if (n == 0) break;
    for (int q = 0; q < s->n; q++) {
      tlt_tree *t = &s->tree[s->seq[q].slot];
      t->level0 = t->n;
    }
    for (int i = 0; i < s->n_sources; i++) tlt_spec_grow(s, i, n, how->topk);
  }
  int n = tlt_spec_rank(s, 0);
  int each = how->verify - 1 < TLT_DRAFT_MAX ? how->verify - 1 : TLT_DRAFT_MAX;
  tlt_spec_take(s, n, room, each);
}
