/* Drafting: committed pairs first, then tree rows level by level. Every pass takes rows of many
 * sequences; what it computes for a row does not depend on the others. */
#include <string.h>

#include "spec/eagle_internal.h"

#define GAP_ALONE 30.0f /* of a candidate without a rival */

/* ---- One pass of the drafter ---- */

static void start_pass(tlt_eagle *e) {
  e->n_rows = e->n_seqs = 0;
  e->pass++;
}

static int room_of(const tlt_eagle *e) {
  return e->o.max_rows - e->n_rows;
}

static void open_rows(tlt_eagle *e, int slot, int pos0, const tlt_tree_rows *tree) {
  size_t slot_bytes = (size_t)e->n_blocks * e->forward.forward.kv.block_bytes;
  e->seq[e->n_seqs++] = (tlt_seq_rows){
      .row0 = e->n_rows,
      .pos0 = pos0,
      .kv = {e->kv + (size_t)slot * slot_bytes, e->blocks},
      .tree = tree,
  };
}

static void add_row(tlt_eagle *e, int32_t token, const void *hidden, unsigned char *keep) {
  e->token[e->n_rows] = token;
  e->hidden[e->n_rows] = hidden;
  e->keep[e->n_rows++] = keep;
  e->seq[e->n_seqs - 1].n_rows++;
}

static bool is_finite(const float *x, int n) {
  uint32_t bad = 0;
  for (int i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, x + i, sizeof u);
    bad |= (u & 0x7f800000u) == 0x7f800000u;
  }
  return !bad;
}

static void run_pass(tlt_eagle *e) {
  tlt_batch b = {.n_rows = e->n_rows, .token = e->token, .n_seqs = e->n_seqs, .seq = e->seq};
  int hidden = e->d->weights.config.hidden;
  tlt_draft_forward_run(&e->forward, &b, e->hidden, e->out);
  for (int r = 0; r < e->n_rows; r++) {
    if (!e->keep[r]) continue;
    if (!is_finite(e->forward.ws.x + (size_t)r * (size_t)hidden, hidden))
      e->failed = "its output is not finite";
    memcpy(e->keep[r], e->out + (size_t)r * e->row_bytes, e->row_bytes);
  }
}

/* ---- Committed pairs ---- */

static const void *hidden_at(const tlt_eagle *e, const tlt_spec_seq *s, const tlt_eagle_slot *at,
                             int position) {
  if (position >= at->group->n_prompt)
    return tlt__eagle_answer(e, s->slot, position - at->group->n_prompt);
  return (const unsigned char *)at->group->hidden + (size_t)position * e->row_bytes;
}

static int32_t token_at(const tlt_spec_seq *s, int position) {
  int n = s->group->n_prompt;
  return position < n ? s->group->prompt[position] : s->tokens[position - n];
}

/* Pairs 0 .. pairs-1 are committed. */
static int pairs_of(const tlt_spec_seq *s) {
  return s->group->n_prompt + s->n_tokens - 1;
}

static bool has_hidden(const tlt_eagle_slot *at, const tlt_spec_seq *s) {
  return at->group->known == at->group->n_prompt && at->known >= s->n_tokens - 1;
}

/* As many of the sequence's missing pairs as fit. */
static void add_pairs(tlt_eagle *e, const tlt_spec_seq *s, tlt_eagle_slot *at) {
  int pairs = pairs_of(s), n = pairs - at->done;
  if (n > room_of(e)) n = room_of(e);
  if (n <= 0) return;
  open_rows(e, s->slot, at->done, NULL);
  for (int t = at->done; t < at->done + n; t++)
    add_row(e, token_at(s, t + 1), hidden_at(e, s, at, t),
            t == pairs - 1 ? tlt__eagle_kept(e, s->slot, -1) : NULL);
  at->done += n;
}

static tlt_eagle_slot *start_sequence(tlt_eagle *e, const tlt_spec_seq *s) {
  tlt_eagle_slot *at = tlt__eagle_find(e, s);
  if (!at) return NULL;
  at->ready = has_hidden(at, s) && pairs_of(s) <= e->o.max_positions;
  at->n_rows = at->n_pending = 0;
  for (int i = 0; i < TLT_DRAFT_MAX; i++) at->row_of[i] = TLT__ROW_NONE;
  return at->ready ? at : NULL;
}

void tlt__eagle_begin(void *context, int n, const tlt_spec_seq *seq) {
  tlt_eagle *e = context;
  if (e->failed) return;
  start_pass(e);
  for (int i = 0; i < n; i++) {
    tlt_eagle_slot *at = start_sequence(e, &seq[i]);
    while (at && at->done < pairs_of(&seq[i]) && !e->failed) {
      if (!room_of(e)) {
        run_pass(e);
        start_pass(e);
      }
      add_pairs(e, &seq[i], at);
    }
  }
  if (e->n_rows) run_pass(e);
}

/* ---- Tree rows ---- */

/* Whether the path to a node makes sense and is no deeper than anything that is verified. */
static bool is_sound(const tlt_eagle *e, const tlt_draft *draft, int node) {
  int depth = 0, vocab = e->m->weights->config.vocab;
  for (int i = node; i >= 0; i = draft->parent[i]) {
    if (i >= draft->n || draft->parent[i] >= i || ++depth > TLT_DRAFT_DEPTH) return false;
    if (draft->token[i] < 0 || draft->token[i] >= vocab) return false;
  }
  return true;
}

/* The node, and those of its ancestors that were passed over so far. */
static void want_rows(tlt_eagle_slot *at, const tlt_draft *draft, int node) {
  for (int i = node; i >= 0 && at->row_of[i] == TLT__ROW_NONE; i = draft->parent[i]) {
    at->row_of[i] = TLT__ROW_PENDING;
    at->pending[at->n_pending++] = (int16_t)i;
  }
}

/* Rows for the pending nodes whose parent's output is there already. */
static void add_nodes(tlt_eagle *e, const tlt_spec_seq *s, tlt_eagle_slot *at) {
  const tlt_draft *draft = s->draft;
  int left = 0, first = at->n_rows, pos0 = pairs_of(s);
  at->pass = e->pass;
  for (int j = 0; j < at->n_pending; j++) {
    int node = at->pending[j], parent = draft->parent[node];
    int above = parent < 0 ? -1 : at->row_of[parent];
    if (above < -1 || above >= first || !room_of(e)) {
      at->pending[left++] = (int16_t)node;
      continue;
    }
    int row = at->n_rows++;
    if (row == first) {
      at->tree = (tlt_tree_rows){at->parent, at->depth, first};
      open_rows(e, s->slot, pos0, &at->tree);
    }
    at->row_of[node] = (int16_t)row;
    at->parent[row] = (int16_t)above;
    at->depth[row] = (int16_t)(above < 0 ? 0 : at->depth[above] + 1);
    add_row(e, draft->token[node], tlt__eagle_kept(e, s->slot, above),
            tlt__eagle_kept(e, s->slot, row));
  }
  at->n_pending = left;
}

static tlt_eagle_slot *ready_slot(tlt_eagle *e, const tlt_spec_seq *seq, const tlt_grow *node) {
  tlt_eagle_slot *at = node->seq >= 0 ? tlt__eagle_find(e, &seq[node->seq]) : NULL;
  return at && at->ready ? at : NULL;
}

/* One pass, or as many as there are levels among the pending nodes. */
static void run_nodes(tlt_eagle *e, const tlt_spec_seq *seq, int n, const tlt_grow *node) {
  do {
    start_pass(e);
    for (int j = 0; j < n; j++) {
      tlt_eagle_slot *at = ready_slot(e, seq, &node[j]);
      if (at && at->n_pending && at->pass != e->pass && room_of(e))
        add_nodes(e, &seq[node[j].seq], at);
    }
    if (e->n_rows) run_pass(e);
  } while (e->n_rows && !e->failed);
}

/* ---- Candidates ---- */

static void choose_item(void *context, int64_t item, int thread) {
  tlt_eagle *e = context;
  const tlt_eagle_want *w = &e->want[item];
  tlt_draft_choice best[TLT_CANDIDATES];
  int at_least = e->k < 2 ? 2 : e->k; /* a second one for the gap */
  tlt_draw draw = {e->o.seed, w->group->rollout, w->sample, (uint32_t)w->node->position};
  int found = e->m->kernels->draft_top(e->logits + (size_t)item * (size_t)e->d->n_hot, e->d->hot,
                                       e->d->n_hot, &w->group->how, &draw, at_least, best,
                                       tlt_forward_scratch(&e->forward.forward, thread));
  w->node->n = found < e->k ? found : e->k;
  for (int r = 0; r < w->node->n; r++)
    w->node->candidate[r] = (tlt_candidate){
        .token = e->d->hot[best[r].index],
        .score = best[r].score,
        .gap = best[0].score - best[r].score,
    };
  if (found > 0) w->node->candidate[0].gap = found > 1 ? best[0].score - best[1].score : GAP_ALONE;
}

static void choose(tlt_eagle *e) {
  if (!e->n_wants) return;
  tlt_draft_forward_logits(&e->forward, e->out, e->n_wants, e->logits);
  tlt_pool_run(e->m->pool, choose_item, e, e->n_wants);
  e->n_wants = 0;
}

static void want_candidates(tlt_eagle *e, const tlt_spec_seq *s, int row, tlt_grow *node) {
  if (e->n_wants == e->logit_rows) choose(e);
  memcpy(e->out + (size_t)e->n_wants * e->row_bytes, tlt__eagle_kept(e, s->slot, row),
         e->row_bytes);
  e->want[e->n_wants++] = (tlt_eagle_want){node, s->group, s->sample};
}

void tlt__eagle_grow(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k) {
  tlt_eagle *e = context;
  e->k = k < TLT_CANDIDATES ? k : TLT_CANDIDATES;
  for (int j = 0; j < n; j++) node[j].n = 0;
  if (e->failed || e->k < 1) return;
  for (int j = 0; j < n; j++) {
    tlt_eagle_slot *at = ready_slot(e, seq, &node[j]);
    const tlt_draft *draft = at ? seq[node[j].seq].draft : NULL;
    if (at && node[j].node >= 0 && is_sound(e, draft, node[j].node))
      want_rows(at, draft, node[j].node);
  }
  run_nodes(e, seq, n, node);
  for (int j = 0; j < n && !e->failed; j++) {
    const tlt_eagle_slot *at = ready_slot(e, seq, &node[j]);
    if (!at || node[j].node >= TLT_DRAFT_MAX) continue;
    int row = node[j].node < 0 ? -1 : at->row_of[node[j].node];
    if (row >= 0 || node[j].node < 0) want_candidates(e, &seq[node[j].seq], row, &node[j]);
  }
  choose(e);
}
