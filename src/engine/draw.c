/* Draws from the logits of a step. A sequence with a draft is walked from its last token: the drawn
 * token leads to the child that carries it, whose logits row gives the next token, until no child
 * does. So every token comes from the row, the noise and the checks that it would have without. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/internal.h"

/* ---- One token ---- */

static bool is_eos(const tlt_engine *e, int32_t token) {
  const tlt_config *c = &e->model->weights->config;
  for (int i = 0; i < c->n_eos; i++)
    if (c->eos[i] == token) return true;
  return false;
}

static bool hits_stop(const tlt_engine *e, tlt_slot *s, int32_t token) {
  const tlt_queued *q = s->req;
  bool hit = false;
  if (!q->n_stop || token >= tlt_tokenizer_vocab(e->tokenizer)) return false;
  size_t n;
  const char *bytes = tlt_tokenizer_bytes(e->tokenizer, token, &n);
  for (int i = 0; i < q->n_stop; i++)
    hit |= tlt__stop_feed(&q->stop[i], &s->stop_state[i], bytes, n);
  return hit;
}

/* Draw the next token of s and see whether it is the last. False: its log-probability is not
 * finite.
 */
static bool draw_token(tlt_engine *e, tlt_slot *s, const float *logits, void *scratch) {
  const tlt_queued *q = s->req;
  const tlt_kernels *k = e->model->kernels;
  int vocab = e->model->weights->config.vocab;
  bool last = tlt__tokens_left(e, s) == 1;
  tlt_draw counter = {e->o.seed, q->rollout, s->sample, (uint32_t)(q->n_prompt + s->n_tokens)};
  int32_t token = k->sample(logits, vocab, &q->how, &counter, scratch);
  float logprob = tlt_logprob(k, logits, vocab, q->how.temperature, token, NULL);
  s->broken = !isfinite(logprob);
  if (s->broken) return false;
  s->token[s->n_tokens] = token;
  s->logprob[s->n_tokens++] = logprob;
  s->by_eos = !q->ignore_eos && is_eos(e, token);
  if (s->by_eos || hits_stop(e, s, token)) s->finish = TLT_FINISH_STOP;
  else if (last) s->finish = TLT_FINISH_LENGTH;
  return true;
}

/* ---- One sequence ---- */

/* The first child of a node that carries the token, as node of the rows (0: the last token); -1:
 * none.
 */
static int child_with(const tlt_slot_draft *d, int node, int32_t token) {
  for (int i = node; i < d->draft.n; i++)
    if (d->parent[i + 1] == node && d->draft.token[i] == token) return i + 1;
  return -1;
}

static void draw_item(void *context, int64_t item, int thread) {
  tlt_engine *e = context;
  const tlt_pick *p = &e->pick[e->first_pick + item];
  tlt_slot *s = &e->slot[p->slot];
  tlt_slot_draft *d = p->rows > 1 ? &e->draft[p->slot] : NULL;
  size_t vocab = (size_t)e->model->weights->config.vocab;
  void *scratch = tlt_forward_scratch(&e->forward, thread);
  for (int node = 0; node >= 0;) {
    const float *logits = e->logits + (size_t)(p->row + node - e->row0) * vocab;
    if (!draw_token(e, s, logits, scratch) || !d) return;
    node = child_with(d, node, s->token[s->n_tokens - 1]);
    if (node > 0) d->path[d->n_path++] = (int16_t)(node - 1);
    if (s->finish != TLT_FINISH_NONE) return;
  }
}

/* ---- KV of accepted nodes ---- */

static void settle_sequence(tlt_engine *e, const tlt_pick *p, int layer) {
  const tlt_slot *s = &e->slot[p->slot];
  const tlt_slot_draft *d = &e->draft[p->slot];
  const tlt_kv_layout *kv = &e->forward.kv;
  int first = s->req->n_prompt + p->before; /* slot of node 0 of the draft */
  if (s->finish != TLT_FINISH_NONE) return;
  for (int i = 0; i < d->n_path; i++) {
    int from = first + d->path[i], to = first + i;
    if (from == to) continue;
    unsigned char *source =
        e->blocks.base + (size_t)s->block[from / TLT_KV_BLOCK] * kv->block_bytes;
    unsigned char *target = e->blocks.base + (size_t)s->block[to / TLT_KV_BLOCK] * kv->block_bytes;
    for (int h = 0; h < kv->kv_heads; h++) {
      size_t at = (size_t)layer * kv->layer_bytes + (size_t)h * kv->head_bytes;
      tlt_kv_copy(kv, target + at, to % TLT_KV_BLOCK, source + at, from % TLT_KV_BLOCK);
    }
  }
}

/* Paths ascend, so no node is overwritten before it was moved. */
static void settle_layer(void *context, int64_t layer, int thread) {
  tlt_engine *e = context;
  (void)thread;
  for (int i = 0; i < e->n_decode; i++)
    if (e->pick[i].rows > 1) settle_sequence(e, &e->pick[i], (int)layer);
}

static bool out_of_place(const tlt_slot_draft *d) {
  return d->n_path && d->path[d->n_path - 1] != d->n_path - 1;
}

static void settle(tlt_engine *e) {
  bool any = false;
  for (int i = 0; i < e->n_decode && !any; i++)
    any = e->pick[i].rows > 1 && out_of_place(&e->draft[e->pick[i].slot]);
  if (any) tlt_pool_run(e->model->pool, settle_layer, e, e->forward.kv.layers);
}

/* ---- The step ---- */

/* Final hidden states of logits rows row0 .. row0+n-1. */
static void gather_hidden(tlt_engine *e, int n) {
  size_t bytes = tlt__hidden_bytes(e);
  for (int i = 0; i < n; i++) {
    int row = e->row0 + i;
    const void *from = row < e->decode_rows ? (const void *)tlt__final_row(e, row)
                                            : e->first_draw[row - e->decode_rows]->hidden;
    memcpy((unsigned char *)e->hidden + (size_t)i * bytes, from, bytes);
  }
}

/* Whole sequences from pick `first` on, as many as the logits buffer takes. Returns the next pick.
 */
static int draw_chunk(tlt_engine *e, int first) {
  int end = first, rows = 0;
  e->first_pick = first;
  e->row0 = e->pick[first].row;
  for (; end < e->n_picks; end++) {
    int need = e->pick[end].row + e->pick[end].rows - e->row0;
    if (need > TLT__LOGIT_ROWS) break;
    rows = need;
  }
  gather_hidden(e, rows);
  tlt_forward_logits(&e->forward, e->hidden, rows, e->logits);
  tlt_pool_run(e->model->pool, draw_item, e, end - first);
  return end;
}

tlt_status tlt__draw(tlt_engine *e, tlt_err *err) {
  for (int i = 0; i < e->n_picks;) i = draw_chunk(e, i);
  for (int i = 0; i < e->n_picks; i++) {
    tlt_slot *s = &e->slot[e->pick[i].slot];
    if (s->broken)
      return tlt_fail(err, TLT_ENUMERIC,
                      "rollout %u sample %u position %d: log-probability is not finite",
                      s->req->rollout, s->sample, s->req->n_prompt + s->n_tokens);
    if (!e->pick[i].before) tlt__fork(e, s);
  }
  settle(e);
  return TLT_OK;
}
