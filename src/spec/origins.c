#include <string.h>

#include "spec/internal.h"

static const char character[TLT_EDGE_SOURCES] = {
    [TLT_EDGE_SUFFIX] = 's', [TLT_EDGE_EAGLE] = 'e', [TLT_EDGE_BOTH] = 'b'};

static char *origins_of(const tlt_spec *s, int slot) {
  return s->origin + (size_t)slot * (size_t)s->o.max_positions;
}

void tlt_spec_origin_open(tlt_spec *s, const tlt_spec_seq *q) {
  if (!s->answer) return;
  s->answer[q->slot] = (tlt_spec_answer){.rollout = q->group->rollout, .sample = q->sample};
  memset(origins_of(s, q->slot), '.', (size_t)s->o.max_positions);
}

void tlt_spec_origin_close(tlt_spec *s, const tlt_spec_seq *q) {
  if (s->answer) s->answer[q->slot].n = q->n_tokens;
}

/* A draft that the engine had to mend no longer tells whose its nodes are, here as in the
 * statistics. */
void tlt_spec_origin_step(tlt_spec *s, const tlt_spec_result *r) {
  if (!s->answer) return;
  const tlt_tree *t = &s->tree[r->slot];
  if (!r->draft || r->draft->n != t->n_final) return;
  char *to = origins_of(s, r->slot) + r->n_tokens - r->n_new;
  for (int i = 0; i < r->n_path; i++)
    to[i] = character[t->node[t->final[r->path[i]]].edge.source];
}

void tlt_spec_origins(const tlt_spec *s, uint32_t rollout, uint32_t sample, int n, char *out) {
  memset(out, '.', (size_t)n);
  for (int slot = 0; s->answer && slot < s->o.batch; slot++) {
    const tlt_spec_answer *a = &s->answer[slot];
    if (a->rollout != rollout || a->sample != sample || a->n != n) continue;
    memcpy(out, origins_of(s, slot), (size_t)n);
    return;
  }
}
