/* The forward over the planned rows, and the draws from its logits. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/internal.h"

/* ---- Forward ---- */

/* The sink may allocate: it runs outside the guard. */
static void put(tlt_engine *e, int tap, const void *data, size_t element_size, size_t stride) {
  tlt_alloc_guard_end();
  e->sink.put(e->sink.context, tap, e->batch.n_rows, e->hidden_row, data, element_size,
              e->model->weights->config.hidden, stride);
  tlt_alloc_guard_begin();
}

static bool has_tap(const tlt_engine *e, int tap) {
  for (int i = 0; e->has_sink && i < e->sink.n_taps; i++)
    if (e->sink.taps[i] == tap) return true;
  return false;
}

static void put_taps(tlt_engine *e, int layer) {
  int hidden = e->model->weights->config.hidden;
  if (has_tap(e, layer)) put(e, layer, e->ws.x, sizeof(float), (size_t)hidden);
}

static void put_final(tlt_engine *e) {
  if (!has_tap(e, TLT_TAP_FINAL)) return;
  size_t stride = tlt_act_stride((size_t)e->model->weights->config.hidden);
  tlt_forward_final_norm(&e->forward, e->ws.x, e->batch.n_rows, e->ws.io.h1, NULL);
  put(e, TLT_TAP_FINAL, e->ws.io.h1, e->model->kernels->act_size, stride);
}

/* The last row of every prompt that is complete now. */
static void keep_prompt_ends(tlt_engine *e) {
  size_t hidden = (size_t)e->model->weights->config.hidden;
  for (int i = e->n_decode; i < e->batch.n_seqs; i++) {
    const tlt_seq_rows *r = &e->seq[i];
    tlt_queued *q = e->prefill[i - e->n_decode];
    const float *x = e->ws.x + (size_t)(r->row0 + r->n_rows - 1) * hidden;
    if (q->done == q->n_prompt) tlt_forward_final_norm(&e->forward, x, 1, q->hidden, NULL);
  }
}

void tlt__run_forward(tlt_engine *e) {
  int layers = e->model->weights->config.layers;
  if (!e->batch.n_rows) return;
  tlt_forward_embed(&e->forward, &e->batch, e->ws.x);
  for (int l = 0; l < layers; l++) {
    put_taps(e, l);
    tlt_forward_layer(&e->forward, l, &e->batch, &e->ws.io);
  }
  put_taps(e, layers);
  put_final(e);
  keep_prompt_ends(e);
}

/* ---- Draws ---- */

/* Final hidden states of logits rows row0 .. row0+n-1. Decode rows are the first rows of x. */
static void gather_hidden(tlt_engine *e, int n) {
  size_t bytes = tlt__hidden_bytes(e), width = (size_t)e->model->weights->config.hidden;
  int decode = e->n_decode - e->row0;
  if (decode > n) decode = n;
  if (decode < 0) decode = 0;
  if (decode)
    tlt_forward_final_norm(&e->forward, e->ws.x + (size_t)e->row0 * width, decode, e->hidden, NULL);
  for (int i = decode; i < n; i++)
    memcpy((unsigned char *)e->hidden + (size_t)i * bytes,
           e->first_draw[e->row0 + i - e->n_decode]->hidden, bytes);
}

typedef struct draw_job {
  tlt_engine *e;
  int first; /* pick */
} draw_job;

static void draw_item(void *context, int64_t item, int thread) {
  const draw_job *j = context;
  tlt_engine *e = j->e;
  const tlt_pick *p = &e->pick[j->first + item];
  tlt_slot *s = &e->slot[p->slot];
  const tlt_queued *q = s->req;
  int vocab = e->model->weights->config.vocab;
  const float *logits = e->logits + (size_t)(p->row - e->row0) * (size_t)vocab;
  tlt_draw counter = {e->o.seed, q->rollout, s->sample, (uint32_t)(q->n_prompt + s->n_tokens)};
  const tlt_kernels *k = e->model->kernels;
  int32_t token =
      k->sample(logits, vocab, &q->how, &counter, tlt_forward_scratch(&e->forward, thread));
  s->token[s->n_tokens] = token;
  s->logprob[s->n_tokens] = tlt_logprob(k, logits, vocab, q->how.temperature, token, NULL);
}

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

static tlt_status accept(tlt_engine *e, tlt_slot *s, tlt_err *err) {
  const tlt_queued *q = s->req;
  int32_t token = s->token[s->n_tokens];
  if (!isfinite(s->logprob[s->n_tokens]))
    return tlt_fail(err, TLT_ENUMERIC,
                    "rollout %u sample %u position %d: log-probability is not finite", q->rollout,
                    s->sample, q->n_prompt + s->n_tokens);
  s->n_tokens++;
  s->by_eos = !q->ignore_eos && is_eos(e, token);
  if (s->by_eos || hits_stop(e, s, token)) s->finish = TLT_FINISH_STOP;
  else if (s->n_tokens == q->max_tokens || q->n_prompt + s->n_tokens == e->o.max_positions)
    s->finish = TLT_FINISH_LENGTH;
  if (s->n_tokens == 1) tlt__fork(e, s);
  return TLT_OK;
}

tlt_status tlt__draw(tlt_engine *e, tlt_err *err) {
  draw_job job = {.e = e};
  for (e->row0 = 0; e->row0 < e->n_logit_rows; e->row0 += TLT__LOGIT_ROWS) {
    int rows = e->n_logit_rows - e->row0, end = job.first;
    if (rows > TLT__LOGIT_ROWS) rows = TLT__LOGIT_ROWS;
    gather_hidden(e, rows);
    tlt_forward_logits(&e->forward, e->hidden, rows, e->logits);
    while (end < e->n_picks && e->pick[end].row < e->row0 + rows) end++;
    tlt_pool_run(e->model->pool, draw_item, &job, end - job.first);
    job.first = end;
  }
  for (int i = 0; i < e->n_picks; i++) {
    tlt_status s = accept(e, &e->slot[e->pick[i].slot], err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}
