#include "spec/tree.h"

#include <string.h>

#define LUCK_PRIOR 8.0f /* edges' worth of belief that a sequence is like the others */
#define LUCK_KEEP 0.97f /* of what earlier edges count, per edge */
#define P_MOST 0.995f

void tlt_tree_clear(tlt_tree *t) {
  t->n = t->n_taken = t->n_final = t->level0 = 0;
  t->grow.n = 0;
}

void tlt_tree_reset(tlt_tree *t) {
  tlt_tree_clear(t);
  t->luck = t->weight = 1;
  t->hits = t->hoped = 0;
}

static float path_p(const tlt_tree *t, const tlt_calibration *c, int parent, const tlt_edge *edge,
                    float *edge_p) {
  float p = tlt_calibration_p(c, edge) * t->luck;
  *edge_p = p < P_MOST ? p : P_MOST;
  return tlt_tree_p(t, parent) * *edge_p;
}

static tlt_tree_node *sibling(tlt_tree *t, int parent, int32_t token) {
  for (int i = t->level0; i < t->n; i++)
    if (t->node[i].parent == parent && t->node[i].token == token) return &t->node[i];
  return NULL;
}

bool tlt_tree_add(tlt_tree *t, const tlt_calibration *c, int parent, int32_t token,
                  const tlt_edge *edge) {
  tlt_tree_node *n = sibling(t, parent, token);
  if (n) {
    if (n->edge.source == edge->source) return true;
    n->edge.source = TLT_EDGE_BOTH;
    if (edge->rank < n->edge.rank) n->edge.rank = edge->rank;
    if (edge->match > n->edge.match) n->edge.match = edge->match;
    if (edge->source == TLT_EDGE_EAGLE) n->edge.gap = edge->gap;
  } else {
    if (t->n == TLT_TREE_POOL) return false;
    n = &t->node[t->n++];
    *n = (tlt_tree_node){.token = token, .parent = (int16_t)parent, .grow = -1, .edge = *edge};
    n->depth = parent < 0 ? 0 : (int16_t)(t->node[parent].depth + 1);
    n->edge.depth = n->depth;
  }
  n->p = path_p(t, c, parent, &n->edge, &n->edge_p);
  return true;
}

bool tlt_tree_extend(tlt_tree *t, int node) {
  tlt_tree_node *n = &t->node[node];
  if (n->grow >= 0) return true;
  if (t->grow.n == TLT_DRAFT_MAX) return false;
  t->grow.token[t->grow.n] = n->token;
  t->grow.parent[t->grow.n] = n->parent < 0 ? -1 : t->node[n->parent].grow;
  n->grow = (int16_t)t->grow.n++;
  return true;
}

/* ---- finish ------------------------------------------------------------------------------------
 */

typedef struct links {
  int16_t child[TLT_TREE_POOL + 1]; /* likeliest taken child of node i - 1 */
  int16_t next[TLT_TREE_POOL];      /* next likely sibling */
} links;

static void link_children(const tlt_tree *t, links *l) {
  memset(l->child, -1, sizeof l->child);
  for (int i = 0; i < t->n; i++) {
    if (!t->node[i].taken) continue;
    int16_t *at = &l->child[t->node[i].parent + 1];
    while (*at >= 0 && t->node[*at].p >= t->node[i].p) at = &l->next[*at];
    l->next[i] = *at;
    *at = (int16_t)i;
  }
}

void tlt_tree_finish(tlt_tree *t, tlt_draft *out) {
  links l;
  int16_t place[TLT_TREE_POOL], stack[TLT_TREE_POOL];
  int depth = 0;
  out->n = 0;
  link_children(t, &l);
  if (l.child[0] >= 0) stack[depth++] = l.child[0];
  while (depth > 0 && out->n < TLT_DRAFT_MAX) {
    int i = stack[--depth], parent = t->node[i].parent;
    place[i] = (int16_t)out->n;
    t->final[out->n] = (int16_t)i;
    out->token[out->n] = t->node[i].token;
    out->parent[out->n++] = parent < 0 ? -1 : place[parent];
    if (l.next[i] >= 0) stack[depth++] = l.next[i];
    if (l.child[i + 1] >= 0) stack[depth++] = l.child[i + 1];
  }
  t->n_final = out->n;
}

void tlt_tree_learn(tlt_tree *t, const tlt_tree_node *n, bool accepted) {
  t->hits = t->hits * LUCK_KEEP + (accepted ? 1.0f : 0.0f);
  t->hoped = t->hoped * LUCK_KEEP + n->edge_p / t->luck;
  float luck = (t->hits + LUCK_PRIOR) / (t->hoped + LUCK_PRIOR);
  t->luck = luck < 0.2f ? 0.2f : luck > 1.3f ? 1.3f : luck;
}
