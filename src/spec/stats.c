#include "spec/internal.h"

static int depth_bin(int depth) {
  return depth < TLT_SPEC_DEPTHS ? depth : TLT_SPEC_DEPTHS - 1;
}

void tlt_spec_count_node(tlt_spec *s, const tlt_tree_node *n) {
  s->stats.drafted[n->edge.source][depth_bin(n->depth)]++;
}

void tlt_spec_count_edge(tlt_spec *s, const tlt_tree_node *n, bool accepted) {
  tlt_spec_stats *st = &s->stats;
  int d = depth_bin(n->depth), tenth = (int)(n->edge_p * 10);
  double p = (double)n->edge_p, miss = p - (accepted ? 1.0 : 0.0);
  st->tried[n->edge.source][d]++;
  st->accepted[n->edge.source][d] += accepted;
  st->expected += p;
  st->brier += miss * miss;
  st->bin_tried[tenth]++;
  st->bin_accepted[tenth] += accepted;
  st->bin_expected[tenth] += p;
}

void tlt_spec_count(tlt_spec *s, const tlt_spec_step *step) {
  tlt_spec_stats *st = &s->stats;
  st->steps++;
  st->planned_steps += s->planned;
  st->sequence_steps += step->n;
  st->verify_seconds += step->seconds;
  if (!s->nodes) { /* one token each */
    st->tokens += step->n;
    st->plan_nodes[0] += step->n;
    return;
  }
  for (int i = 0; i < step->n; i++) {
    const tlt_spec_result *r = &step->result[i];
    int nodes = r->draft ? r->draft->n : 0;
    st->tokens += r->n_new;
    st->plan_nodes[nodes]++;
    if (!nodes) continue;
    st->drafted_steps++;
    st->drafted_step_tokens += r->n_new;
  }
}

void tlt_spec_stats_get(const tlt_spec *s, tlt_spec_stats *out) {
  *out = s->stats;
  for (int i = 0; i < TLT_SOURCES; i++) out->plan_seconds -= out->draft_seconds[i];
}

void tlt_spec_stats_reset(tlt_spec *s) {
  s->stats = (tlt_spec_stats){0};
}

const char *tlt_edge_source_name(tlt_edge_source source) {
  static const char *const name[TLT_EDGE_SOURCES] = {"suffix", "eagle", "both"};
  return name[source];
}

int64_t tlt_spec_total(const int64_t by[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS]) {
  int64_t sum = 0;
  for (int i = 0; i < TLT_EDGE_SOURCES; i++)
    for (int d = 0; d < TLT_SPEC_DEPTHS; d++) sum += by[i][d];
  return sum;
}

double tlt_spec_accept_length(const tlt_spec_stats *s) {
  return s->sequence_steps ? (double)s->tokens / (double)s->sequence_steps : 1;
}

static void add_counts(int64_t *to, const int64_t *from, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] += from[i];
}

void tlt_spec_stats_add(tlt_spec_stats *to, const tlt_spec_stats *from) {
  enum { EDGES = TLT_EDGE_SOURCES * TLT_SPEC_DEPTHS };
  to->steps += from->steps;
  to->sequence_steps += from->sequence_steps;
  to->tokens += from->tokens;
  to->drafted_steps += from->drafted_steps;
  to->drafted_step_tokens += from->drafted_step_tokens;
  to->planned_steps += from->planned_steps;
  add_counts(to->drafted[0], from->drafted[0], EDGES);
  add_counts(to->tried[0], from->tried[0], EDGES);
  add_counts(to->accepted[0], from->accepted[0], EDGES);
  add_counts(to->plan_nodes, from->plan_nodes, TLT_DRAFT_MAX + 1);
  add_counts(to->bin_tried, from->bin_tried, 10);
  add_counts(to->bin_accepted, from->bin_accepted, 10);
  for (int i = 0; i < 10; i++) to->bin_expected[i] += from->bin_expected[i];
  for (int i = 0; i < TLT_SOURCES; i++) to->draft_seconds[i] += from->draft_seconds[i];
  to->expected += from->expected;
  to->brier += from->brier;
  to->plan_seconds += from->plan_seconds;
  to->observe_seconds += from->observe_seconds;
  to->verify_seconds += from->verify_seconds;
}
