#include "engine/speculate.h"

#include "base/mem.h"
#include "engine/internal.h"

tlt_status tlt_engine_set_speculator(tlt_engine *e, const tlt_speculator *s, tlt_err *err) {
  if (tlt_engine_pending(e))
    return tlt_fail(err, TLT_EUSAGE, "speculator: got %d samples pending, expected none",
                    tlt_engine_pending(e));
  if (s && !e->o.draft_rows)
    return tlt_fail(err, TLT_EUSAGE, "draft_rows: got 0, expected more for a speculator");
  e->has_spec = s != NULL;
  if (s) e->spec = *s;
  return TLT_OK;
}

/* ---- Coming and going; these callbacks may allocate ---- */

void tlt__spec_group_open(tlt_engine *e, tlt_queued *q) {
  if (!e->has_spec) return;
  q->group_open = true;
  if (!e->spec.group_open) return;
  tlt_alloc_guard_end();
  e->spec.group_open(e->spec.context, &q->group);
  tlt_alloc_guard_begin();
}

void tlt__spec_group_close(tlt_engine *e, tlt_queued *q) {
  if (e->has_spec && q->group_open && e->spec.group_close)
    e->spec.group_close(e->spec.context, &q->group);
  q->group_open = false;
}

static tlt_spec_seq seq_of(const tlt_engine *e, const tlt_slot *s) {
  return (tlt_spec_seq){.slot = (int)(s - e->slot),
                        .group = &s->req->group,
                        .sample = s->sample,
                        .tokens = s->token,
                        .n_tokens = s->n_tokens,
                        .tokens_left = tlt__tokens_left(e, s),
                        .most_nodes = tlt__most_nodes(s)};
}

void tlt__spec_close(tlt_engine *e, tlt_slot *s, tlt_finish finish) {
  tlt_spec_seq seq = seq_of(e, s);
  if (e->has_spec && s->opened && e->spec.close) e->spec.close(e->spec.context, &seq, finish);
  s->opened = false;
}

static void tell_prompts(tlt_engine *e) {
  if (!e->spec.wants_hidden || !e->spec.prompt) return;
  for (int i = e->n_decode; i < e->batch.n_seqs; i++) {
    const tlt_seq_rows *r = &e->seq[i];
    e->spec.prompt(e->spec.context, &e->prefill[i - e->n_decode]->group, r->pos0, r->n_rows,
                   tlt__final_row(e, r->row0));
  }
}

static void tell_opened(tlt_engine *e) {
  for (int i = e->n_decode; i < e->n_picks; i++) {
    tlt_slot *s = &e->slot[e->pick[i].slot];
    if (s->finish != TLT_FINISH_NONE) continue;
    tlt_spec_seq seq = seq_of(e, s);
    s->opened = true;
    if (e->spec.open) e->spec.open(e->spec.context, &seq);
  }
}

/* ---- Drafts ---- */

static bool node_makes_sense(const tlt_engine *e, const tlt_draft *d, int i, const int16_t *kept) {
  int parent = d->parent[i];
  if (d->token[i] < 0 || d->token[i] >= e->model->weights->config.vocab) return false;
  return parent == -1 || (parent >= 0 && parent < i && kept[parent] >= 0);
}

/* Remove what makes no sense, whatever the speculator wrote: at most `room` nodes, none below depth
 * `deepest`; a node whose parent went goes too. Describe the rest as rows. */
static void sanitise(const tlt_engine *e, tlt_slot_draft *d, int deepest, int room) {
  tlt_draft *t = &d->draft;
  int16_t kept[TLT_DRAFT_MAX]; /* new index, or -1 */
  int given = t->n < 0 ? 0 : t->n > TLT_DRAFT_MAX ? TLT_DRAFT_MAX : t->n, n = 0;
  d->straight = true;
  d->parent[0] = -1;
  d->depth[0] = 0;
  for (int i = 0; i < given; i++) {
    kept[i] = -1;
    if (n == room || !node_makes_sense(e, t, i, kept)) continue;
    int parent = t->parent[i] < 0 ? -1 : kept[t->parent[i]];
    if (d->depth[parent + 1] >= deepest) continue;
    kept[i] = (int16_t)n;
    t->token[n] = t->token[i];
    t->parent[n] = (int16_t)parent;
    d->parent[n + 1] = (int16_t)(parent + 1);
    d->depth[n + 1] = (int16_t)(d->depth[parent + 1] + 1);
    d->straight = d->straight && parent == n - 1;
    n++;
  }
  t->n = n;
  d->n_path = 0;
  d->rows = (tlt_tree_rows){d->parent, d->depth, 0};
}

static bool is_awake(const tlt_engine *e) {
  int n = 0;
  for (int i = 0; i < e->o.batch; i++) n += e->slot[i].req && e->slot[i].n_tokens;
  if (n == 0 || !e->spec.propose) return false;
  return !e->spec.wake || e->spec.wake(e->spec.context, n);
}

void tlt__spec_propose(tlt_engine *e) {
  int n = 0, room = e->o.draft_rows;
  e->drafting = e->has_spec && is_awake(e);
  if (!e->drafting) return;
  for (int i = 0; i < e->o.batch; i++) {
    tlt_slot *s = &e->slot[i];
    e->draft[i].draft.n = 0;
    if (!s->req || !s->n_tokens) continue;
    e->spec_seq[n] = seq_of(e, s);
    e->spec_seq[n++].draft = &e->draft[i].draft;
  }
  e->spec.propose(e->spec.context, n, e->spec_seq, room, tlt__prefill_rows(e));
  for (int i = 0; i < e->o.batch; i++) {
    const tlt_slot *s = &e->slot[i];
    if (!s->req || !s->n_tokens) continue;
    int left = tlt__tokens_left(e, s) - 1, most = tlt__most_nodes(s);
    sanitise(e, &e->draft[i], left < TLT_DRAFT_DEPTH ? left : TLT_DRAFT_DEPTH,
             most < room ? most : room);
    room -= e->draft[i].draft.n;
  }
}

/* ---- What became of them ---- */

static tlt_spec_result result_of(const tlt_engine *e, const tlt_pick *p) {
  const tlt_slot *s = &e->slot[p->slot];
  const tlt_slot_draft *d = &e->draft[p->slot];
  return (tlt_spec_result){.slot = p->slot,
                           .group = &s->req->group,
                           .sample = s->sample,
                           .tokens = s->token,
                           .n_tokens = s->n_tokens,
                           .n_new = s->n_tokens - p->before,
                           .draft = e->drafting ? &d->draft : NULL,
                           .n_path = e->drafting ? d->n_path : 0,
                           .path = d->path,
                           .row0 = p->row,
                           .finish = s->finish};
}

static void tell_verified(tlt_engine *e, double seconds) {
  double keys = 0;
  bool shown = e->drafting || e->spec.wants_hidden;
  if (!e->n_decode || !e->spec.verified) return;
  for (int i = 0; shown && i < e->n_decode; i++) e->spec_result[i] = result_of(e, &e->pick[i]);
  for (int i = 0; i < e->decode_rows; i++) keys += e->hidden_row[i].position + 1;
  tlt_spec_step step = {.n = e->n_decode,
                        .result = shown ? e->spec_result : NULL,
                        .hidden = e->spec.wants_hidden ? e->ws.io.h1 : NULL,
                        .decode_rows = e->decode_rows,
                        .prompt_rows = e->n_prefill_rows,
                        .context = keys / e->decode_rows,
                        .seconds = seconds};
  e->spec.verified(e->spec.context, &step);
}

void tlt__spec_step_done(tlt_engine *e, double seconds) {
  if (!e->has_spec) return;
  tell_verified(e, seconds);
  tlt_alloc_guard_end();
  tell_prompts(e);
  tell_opened(e);
  tlt_alloc_guard_begin();
}
