#include "tlt/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/internal.h"

enum { PREFILL_ROWS = 512, BATCH_MAX = 1 << 16, DRAFT_ROWS_MAX = 1 << 16 };

/* ---- Sizes ---- */

typedef struct sizes {
  int chunk, prefill_rows, rows, seq_blocks, blocks;
  size_t block_bytes, slot_bytes, step_bytes, hidden, logits, tapped;
} sizes;

static int logit_rows(const tlt_engine_options *o) {
  int rows = o->batch + o->draft_rows;
  return rows < TLT__LOGIT_ROWS ? rows : TLT__LOGIT_ROWS;
}

static sizes sizes_of(const tlt_model *m, const tlt_engine_options *o) {
  const tlt_config *c = &m->weights->config;
  size_t act = m->kernels->act_size, batch = (size_t)o->batch;
  sizes z = {.chunk = o->prefill_chunk > 0 ? o->prefill_chunk : PREFILL_ROWS};
  if (z.chunk > o->max_positions) z.chunk = o->max_positions;
  z.prefill_rows = z.chunk > PREFILL_ROWS ? z.chunk : PREFILL_ROWS;
  z.rows = o->batch + o->draft_rows + z.prefill_rows;
  z.seq_blocks = (o->max_positions + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  z.block_bytes = tlt_kv_layout_of(c->layers, c->kv_heads, c->head_dim, act).block_bytes;
  /* One more block per sequence: while a prompt waits for further samples its last, partly filled
   * block exists beside the copies. */
  int64_t blocks = (int64_t)o->batch * (z.seq_blocks + 1);
  if (o->kv_bytes && (int64_t)(o->kv_bytes / z.block_bytes) < blocks)
    blocks = (int64_t)(o->kv_bytes / z.block_bytes);
  z.blocks = blocks > INT32_MAX ? INT32_MAX : (int)blocks;
  size_t positions = (size_t)o->max_positions * (sizeof(int32_t) + sizeof(float));
  z.slot_bytes = batch * (positions + (size_t)z.seq_blocks * sizeof(int32_t) + 3 * 64);
  z.step_bytes = batch * (sizeof(tlt_slot) + sizeof(tlt_pick) + 2 * sizeof(void *) +
                          2 * sizeof(tlt_seq_rows)) +
                 (size_t)z.rows * (sizeof(int32_t) + sizeof(tlt_hidden_row));
  if (o->draft_rows)
    z.step_bytes +=
        batch * (sizeof(tlt_slot_draft) + sizeof(tlt_spec_seq) + sizeof(tlt_spec_result));
  z.hidden = (size_t)logit_rows(o) * tlt_act_stride((size_t)c->hidden) * act;
  z.logits = (size_t)logit_rows(o) * (size_t)c->vocab * sizeof(float);
  if (o->draft_rows)
    z.tapped = TLT_MAX_TAPS * (batch + (size_t)o->draft_rows) * (size_t)c->hidden * sizeof(float);
  return z;
}

size_t tlt_engine_bytes(const tlt_model *m, const tlt_engine_options *o) {
  const tlt_config *c = &m->weights->config;
  sizes z = sizes_of(m, o);
  return sizeof(tlt_engine) + z.slot_bytes + z.step_bytes + z.hidden + z.logits + z.tapped +
         tlt__blocks_bytes(z.block_bytes, z.blocks) +
         tlt_workspace_bytes(c, m->kernels->act_size, z.rows) +
         tlt_forward_bytes(c, tlt_pool_threads(m->pool), z.rows, o->max_positions);
}

/* ---- Creation ---- */

static tlt_status check_options(const tlt_model *m, const tlt_engine_options *o, tlt_err *err) {
  int most = m->weights->config.max_positions;
  if (o->batch < 1 || o->batch > BATCH_MAX)
    return tlt_fail(err, TLT_EUSAGE, "batch: got %d, expected 1 .. %d", o->batch, BATCH_MAX);
  if (o->max_positions < 2 || o->max_positions > most)
    return tlt_fail(err, TLT_EUSAGE,
                    "max_positions: got %d, expected 2 .. %d (the model's context)",
                    o->max_positions, most);
  if (o->prefill_chunk < 0)
    return tlt_fail(err, TLT_EUSAGE, "prefill_chunk: got %d, expected 0 or more", o->prefill_chunk);
  if (o->draft_rows < 0 || o->draft_rows > DRAFT_ROWS_MAX)
    return tlt_fail(err, TLT_EUSAGE, "draft_rows: got %d, expected 0 .. %d", o->draft_rows,
                    DRAFT_ROWS_MAX);
  sizes z = sizes_of(m, o);
  if (z.blocks < z.seq_blocks + 1)
    return tlt_fail(err, TLT_EUSAGE,
                    "kv_bytes: got %zu, expected at least %zu for one sequence of %d positions",
                    o->kv_bytes, (size_t)(z.seq_blocks + 1) * z.block_bytes, o->max_positions);
  return TLT_OK;
}

static unsigned char *carve(unsigned char **at, size_t bytes) {
  unsigned char *p = *at;
  *at += (bytes + 63) & ~(size_t)63;
  return p;
}

static tlt_status create_slots(tlt_engine *e, const sizes *z, tlt_err *err) {
  size_t positions = (size_t)e->o.max_positions;
  e->slot = tlt_calloc((size_t)e->o.batch, sizeof *e->slot);
  e->slot_memory = tlt_pages_alloc(z->slot_bytes);
  e->slot_bytes = z->slot_bytes;
  if (!e->slot || !e->slot_memory) return tlt_fail_nomem(err, "sequences", z->slot_bytes);
  unsigned char *at = e->slot_memory;
  for (int i = 0; i < e->o.batch; i++) {
    tlt_slot *s = &e->slot[i];
    s->token = (int32_t *)(void *)carve(&at, positions * sizeof *s->token);
    s->logprob = (float *)(void *)carve(&at, positions * sizeof *s->logprob);
    s->block = (int32_t *)(void *)carve(&at, (size_t)z->seq_blocks * sizeof *s->block);
  }
  return TLT_OK;
}

static tlt_status create_step(tlt_engine *e, const sizes *z, tlt_err *err) {
  size_t batch = (size_t)e->o.batch, rows = (size_t)z->rows;
  e->token = tlt_calloc(rows, sizeof *e->token);
  e->hidden_row = tlt_calloc(rows, sizeof *e->hidden_row);
  e->seq = tlt_calloc(2 * batch, sizeof *e->seq);
  e->prefill = tlt_calloc(batch, sizeof(tlt_queued *));
  e->first_draw = tlt_calloc(batch, sizeof(tlt_queued *));
  e->pick = tlt_calloc(batch, sizeof *e->pick);
  e->hidden = tlt_calloc_aligned(1, z->hidden);
  e->logits = tlt_calloc_aligned(1, z->logits);
  if (!e->token || !e->hidden_row || !e->seq || !e->prefill || !e->first_draw || !e->pick ||
      !e->hidden || !e->logits)
    return tlt_fail_nomem(err, "engine step", z->step_bytes + z->hidden + z->logits);
  return TLT_OK;
}

static tlt_status create_drafts(tlt_engine *e, const sizes *z, tlt_err *err) {
  size_t batch = (size_t)e->o.batch;
  if (!e->o.draft_rows) return TLT_OK;
  e->draft = tlt_calloc(batch, sizeof *e->draft);
  e->spec_seq = tlt_calloc(batch, sizeof *e->spec_seq);
  e->spec_result = tlt_calloc(batch, sizeof *e->spec_result);
  e->tapped = tlt_pages_alloc(z->tapped);
  e->tapped_bytes = z->tapped;
  if (!e->draft || !e->spec_seq || !e->spec_result || !e->tapped)
    return tlt_fail_nomem(err, "drafts", z->step_bytes + z->tapped);
  return TLT_OK;
}

tlt_status tlt_engine_create(tlt_model *m, const tlt_tokenizer *tokenizer,
                             const tlt_engine_options *o, tlt_engine **out, tlt_err *err) {
  *out = NULL;
  tlt_status s = check_options(m, o, err);
  if (s != TLT_OK) return s;
  sizes z = sizes_of(m, o);
  tlt_engine *e = tlt_calloc(1, sizeof *e);
  if (!e) return tlt_fail_nomem(err, "engine", sizeof *e);
  e->model = m;
  e->tokenizer = tokenizer;
  e->o = *o;
  e->o.prefill_chunk = z.chunk;
  e->prefill_rows = z.prefill_rows;
  s = tlt_forward_init(&e->forward, m->kernels, m->weights, m->pool, z.rows, o->max_positions, err);
  if (s == TLT_OK)
    s = tlt_workspace_init(&e->ws, &m->weights->config, m->kernels->act_size, z.rows, err);
  if (s == TLT_OK) s = tlt__blocks_init(&e->blocks, z.block_bytes, z.blocks, err);
  if (s == TLT_OK) s = create_slots(e, &z, err);
  if (s == TLT_OK) s = create_step(e, &z, err);
  if (s == TLT_OK) s = create_drafts(e, &z, err);
  if (s == TLT_OK) *out = e;
  else tlt_engine_free(e);
  return s;
}

void tlt_engine_clear(tlt_engine *e) {
  for (int i = 0; i < e->o.batch; i++) {
    tlt_slot *s = &e->slot[i];
    if (!s->req) continue;
    tlt__spec_close(e, s, TLT_FINISH_NONE);
    tlt__release(e, s);
  }
  while (e->first) tlt__drop_request(e, e->first);
  e->admitting = NULL;
  e->queued = 0;
  e->blocks.reserved = 0;
}

void tlt_engine_free(tlt_engine *e) {
  if (!e) return;
  e->has_spec = false;
  if (e->slot) tlt_engine_clear(e);
  tlt_free(e->token);
  tlt_free(e->hidden_row);
  tlt_free(e->seq);
  tlt_free(e->prefill);
  tlt_free(e->first_draw);
  tlt_free(e->pick);
  tlt_free(e->hidden);
  tlt_free(e->logits);
  tlt_free(e->draft);
  tlt_free(e->spec_seq);
  tlt_free(e->spec_result);
  tlt_pages_free(e->tapped, e->tapped_bytes);
  tlt_free(e->slot);
  tlt_pages_free(e->slot_memory, e->slot_bytes);
  tlt__blocks_deinit(&e->blocks);
  tlt_workspace_deinit(&e->ws);
  tlt_forward_deinit(&e->forward);
  tlt_free(e);
}

/* ---- Requests ---- */

static tlt_status check_request(const tlt_engine *e, const tlt_request *r, tlt_err *err) {
  int vocab = e->model->weights->config.vocab;
  if (r->n_prompt >= e->o.max_positions)
    return tlt_fail(err, TLT_EDATA, "prompt: got %d tokens, expected fewer than %d positions",
                    r->n_prompt, e->o.max_positions);
  for (int i = 0; i < r->n_prompt; i++)
    if (r->prompt[i] < 0 || r->prompt[i] >= vocab)
      return tlt_fail(err, TLT_EDATA, "prompt[%d]: got token %d, expected 0 .. %d", i, r->prompt[i],
                      vocab - 1);
  if (r->n_stop > 0 && !e->tokenizer)
    return tlt_fail(err, TLT_EUSAGE, "stop: got %d strings, but the engine has no tokenizer",
                    r->n_stop);
  return TLT_OK;
}

/* The last token drawn is never an input: one position less is stored than there are tokens. Drafts
 * make do with the blocks that the answer would take itself. */
static int own_blocks(const tlt_engine *e, const tlt_queued *q) {
  int64_t stored = (int64_t)q->n_prompt + q->max_tokens - 1;
  if (stored > e->o.max_positions - 1) stored = e->o.max_positions - 1;
  return (int)((stored + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK) - q->n_prompt / TLT_KV_BLOCK;
}

tlt_status tlt_engine_submit(tlt_engine *e, const tlt_request *r, tlt_err *err) {
  tlt_queued *q;
  tlt_status s = check_request(e, r, err);
  if (s == TLT_OK) s = tlt__queued_create(r, tlt__hidden_bytes(e), &q, err);
  if (s != TLT_OK) return s;
  q->own_blocks = own_blocks(e, q);
  if (e->last) e->last->next = q;
  else e->first = q;
  e->last = q;
  if (!e->admitting) e->admitting = q;
  e->queued += q->n_samples;
  return TLT_OK;
}

int tlt_engine_pending(const tlt_engine *e) {
  return e->queued + e->used_slots;
}

int tlt_engine_room(const tlt_engine *e) {
  int per_seq = (e->o.max_positions + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK + 1;
  int slots = e->o.batch - e->used_slots, seqs = tlt__blocks_available(&e->blocks) / per_seq;
  int room = (slots < seqs ? slots : seqs) - e->queued;
  return room > 0 ? room : 0;
}

/* ---- A step ---- */

static void report(tlt_engine *e, tlt_slot *s, tlt_sample_fn done, void *context) {
  const tlt_queued *q = s->req;
  tlt_sample sample = {
      .rollout = q->rollout,
      .sample = s->sample,
      .n_prompt = q->n_prompt,
      .n_tokens = s->n_tokens,
      .prompt = q->prompt,
      .tokens = s->token,
      .logprobs = s->logprob,
      .finish = s->finish,
      .stopped_by_eos = s->by_eos,
      .user = q->user,
  };
  tlt__spec_close(e, s, s->finish);
  if (done) done(context, &sample);
  tlt__release(e, s);
}

static void count(tlt_engine *e, double seconds) {
  tlt_engine_stats *st = &e->stats;
  st->steps++;
  st->prefill_tokens += e->n_prefill_rows;
  for (int i = 0; i < e->n_picks; i++) {
    const tlt_pick *p = &e->pick[i];
    st->decode_tokens += e->slot[p->slot].n_tokens - p->before;
    st->draft_tokens += p->rows - 1;
    if (p->rows > 1) st->accepted_tokens += e->draft[p->slot].n_path;
  }
  st->peak_blocks = e->blocks.peak;
  if (e->n_prefill_rows > e->decode_rows) st->prefill_seconds += seconds;
  else st->decode_seconds += seconds;
}

tlt_status tlt_engine_step(tlt_engine *e, tlt_sample_fn done, void *context, tlt_err *err) {
  if (!tlt_engine_pending(e)) return TLT_OK;
  double start = tlt_now();
  tlt_alloc_guard_begin();
  tlt__admit(e);
  tlt__spec_propose(e);
  double proposed = tlt_now();
  tlt__plan_rows(e);
  tlt__run_forward(e);
  tlt__plan_picks(e);
  tlt_status s = tlt__draw(e, err);
  if (s == TLT_OK) {
    double seconds = tlt_now() - proposed;
    tlt__put_verified(e);
    tlt__spec_step_done(e, seconds);
  }
  tlt_alloc_guard_end();
  if (s != TLT_OK) return s;
  count(e, tlt_now() - start);
  for (int i = 0; i < e->o.batch; i++)
    if (e->slot[i].req && e->slot[i].finish != TLT_FINISH_NONE)
      report(e, &e->slot[i], done, context);
  return TLT_OK;
}

void tlt_engine_stats_get(const tlt_engine *e, tlt_engine_stats *out) {
  *out = e->stats;
}

void tlt_engine_set_sink(tlt_engine *e, const tlt_hidden_sink *sink) {
  e->has_sink = sink != NULL;
  if (sink) e->sink = *sink;
}
