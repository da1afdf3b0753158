/* Who runs in a step. Samples are admitted strictly in order; decode rows come first, then prompt
 * rows of the oldest requests up to the budget. */
#include "base/mem.h"
#include "engine/internal.h"

static int prompt_blocks(const tlt_queued *q) {
  return (q->n_prompt + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
}

static int full_blocks(const tlt_queued *q) {
  return q->n_prompt / TLT_KV_BLOCK;
}

/* ---- Admission ---- */

static tlt_slot *free_slot(tlt_engine *e) {
  for (int i = 0; i < e->o.batch; i++)
    if (!e->slot[i].req) return &e->slot[i];
  return NULL;
}

static void admit_sample(tlt_engine *e, tlt_queued *q, tlt_slot *s) {
  s->req = q;
  s->sample = q->sample0 + (uint32_t)q->admitted;
  s->n_tokens = s->n_blocks = 0;
  s->reserved = q->own_blocks;
  s->finish = TLT_FINISH_NONE;
  s->by_eos = s->opened = s->broken = false;
  for (int i = 0; i < TLT__MAX_STOPS; i++) s->stop_state[i] = 0;
  if (q->admitted) e->stats.shared_tokens += q->n_prompt;
  if (!q->admitted++) tlt__spec_group_open(e, q);
  e->queued--;
  e->used_slots++;
}

void tlt__admit(tlt_engine *e) {
  while (e->admitting && e->used_slots < e->o.batch) {
    tlt_queued *q = e->admitting;
    int need = q->own_blocks + (q->admitted ? 0 : prompt_blocks(q));
    if (tlt__blocks_available(&e->blocks) < need) return;
    tlt__blocks_reserve(&e->blocks, need);
    admit_sample(e, q, free_slot(e));
    if (q->admitted == q->n_samples) e->admitting = q->next;
  }
}

/* ---- Rows ---- */

static void describe_rows(tlt_engine *e, const tlt_seq_rows *r, uint32_t rollout, uint32_t sample) {
  for (int i = 0; i < r->n_rows; i++)
    e->hidden_row[r->row0 + i] = (tlt_hidden_row){rollout, sample, e->token[r->row0 + i],
                                                  r->pos0 + (r->tree ? r->tree->depth[i] : i)};
}

static tlt_seq_rows *add_seq(tlt_engine *e, int pos0, int rows, const int32_t *block) {
  tlt_seq_rows *r = &e->seq[e->batch.n_seqs++];
  *r = (tlt_seq_rows){e->batch.n_rows, rows, pos0, {e->blocks.base, block}, NULL};
  e->batch.n_rows += rows;
  return r;
}

static void add_decode_rows(tlt_engine *e, tlt_slot *s, int index) {
  const tlt_slot_draft *d = e->drafting ? &e->draft[index] : NULL;
  int position = s->req->n_prompt + s->n_tokens - 1, rows = d ? 1 + d->draft.n : 1;
  while ((position + rows - 1) / TLT_KV_BLOCK >= s->n_blocks) {
    s->block[s->n_blocks++] = tlt__blocks_take(&e->blocks);
    s->reserved--;
  }
  e->token[e->batch.n_rows] = s->token[s->n_tokens - 1];
  for (int i = 1; i < rows; i++) e->token[e->batch.n_rows + i] = d->draft.token[i - 1];
  e->pick[e->n_picks++] = (tlt_pick){index, e->batch.n_rows, rows, s->n_tokens};
  tlt_seq_rows *r = add_seq(e, position, rows, s->block);
  if (rows > 1 && !d->straight) r->tree = &d->rows;
  describe_rows(e, r, s->req->rollout, s->sample);
  e->n_decode++;
  e->decode_rows += rows;
}

/* Rows of q in a step that has `taken` prompt rows already. */
static int chunk_of(const tlt_engine *e, const tlt_queued *q, int taken) {
  int rows = q->n_prompt - q->done, left = e->prefill_rows - taken;
  if (rows > e->o.prefill_chunk) rows = e->o.prefill_chunk;
  return rows < left ? rows : left;
}

int tlt__prefill_rows(const tlt_engine *e) {
  int rows = 0;
  for (const tlt_queued *q = e->first; q && q->admitted; q = q->next) rows += chunk_of(e, q, rows);
  return rows;
}

static void add_prefill_rows(tlt_engine *e, tlt_queued *q) {
  int rows = chunk_of(e, q, e->n_prefill_rows);
  while (q->n_blocks * TLT_KV_BLOCK < q->done + rows)
    q->block[q->n_blocks++] = tlt__blocks_take(&e->blocks);
  for (int i = 0; i < rows; i++) e->token[e->batch.n_rows + i] = q->prompt[q->done + i];
  e->prefill[e->batch.n_seqs - e->n_decode] = q;
  describe_rows(e, add_seq(e, q->done, rows, q->block), q->rollout, q->sample0);
  e->n_prefill_rows += rows;
  q->done += rows;
}

void tlt__plan_rows(tlt_engine *e) {
  e->batch = (tlt_batch){.token = e->token, .seq = e->seq};
  e->n_decode = e->decode_rows = e->n_prefill_rows = e->n_picks = 0;
  for (int i = 0; i < e->o.batch; i++)
    if (e->slot[i].req && e->slot[i].n_tokens) add_decode_rows(e, &e->slot[i], i);
  for (tlt_queued *q = e->first; q && q->admitted && e->n_prefill_rows < e->prefill_rows;
       q = q->next)
    if (q->done < q->n_prompt) add_prefill_rows(e, q);
}

/* First tokens: one logits row per request whose prompt is complete, for all its waiting samples.
 */
void tlt__plan_picks(tlt_engine *e) {
  e->n_logit_rows = e->decode_rows;
  for (tlt_queued *q = e->first; q && q->admitted; q = q->next) {
    if (q->done < q->n_prompt || q->forked == q->admitted) continue;
    for (int i = 0; i < e->o.batch; i++)
      if (e->slot[i].req == q && !e->slot[i].n_tokens)
        e->pick[e->n_picks++] = (tlt_pick){i, e->n_logit_rows, 1, 0};
    e->first_draw[e->n_logit_rows++ - e->decode_rows] = q;
  }
}

/* ---- Blocks of a sample ---- */

static void drop_prompt(tlt_engine *e, tlt_queued *q) {
  for (int i = 0; i < q->n_blocks; i++) tlt__blocks_drop(&e->blocks, q->block[i]);
  q->n_blocks = 0;
}

void tlt__fork(tlt_engine *e, tlt_slot *s) {
  tlt_queued *q = s->req;
  int full = full_blocks(q);
  bool last = ++q->forked == q->n_samples;
  if (s->finish == TLT_FINISH_NONE) {
    for (int i = 0; i < full; i++) {
      tlt__blocks_share(&e->blocks, q->block[i]);
      s->block[i] = q->block[i];
    }
    s->n_blocks = full;
    if (full < q->n_blocks && last) {
      tlt__blocks_share(&e->blocks, q->block[full]);
      s->block[s->n_blocks++] = q->block[full];
    } else if (full < q->n_blocks) {
      s->block[full] = tlt__blocks_take(&e->blocks);
      s->reserved--;
      s->n_blocks++;
      tlt__blocks_copy(&e->blocks, s->block[full], q->block[full]);
    }
  }
  if (last) drop_prompt(e, q);
}

static void unlink_request(tlt_engine *e, tlt_queued *q) {
  tlt_queued *before = NULL;
  for (tlt_queued *at = e->first; at != q; at = at->next) before = at;
  if (before) before->next = q->next;
  else e->first = q->next;
  if (e->last == q) e->last = before;
}

void tlt__drop_request(tlt_engine *e, tlt_queued *q) {
  tlt__spec_group_close(e, q);
  drop_prompt(e, q);
  unlink_request(e, q);
  tlt__queued_free(q);
}

void tlt__release(tlt_engine *e, tlt_slot *s) {
  tlt_queued *q = s->req;
  for (int i = 0; i < s->n_blocks; i++) tlt__blocks_drop(&e->blocks, s->block[i]);
  tlt__blocks_unreserve(&e->blocks, s->reserved);
  s->req = NULL;
  s->n_blocks = s->reserved = 0;
  e->used_slots--;
  if (++q->finished == q->n_samples) tlt__drop_request(e, q);
}
