/* Log-probabilities of given tokens: one sequence, contiguous KV, rows in chunks. Chunking changes
 * no bit, so the sizes below are free choices. */
#include "base/mem.h"
#include "model/model.h"

enum {
  CHUNK_ROWS = 512, /* rows per forward */
  LOGIT_ROWS = 64,  /* rows of the LM head at once: bounds the logits buffer */
};

typedef struct scorer {
  tlt_model *m;
  tlt_forward forward;
  tlt_workspace ws;
  unsigned char *kv;
  size_t kv_bytes;
  int32_t *token, *block;
  void *hidden;    /* act [LOGIT_ROWS][stride H] */
  float *logits;   /* [LOGIT_ROWS][V] */
  int n, n_prompt; /* all tokens, prompt tokens */
  float temperature;
  float *out;
  int first; /* target of the current row 0 of logits */
} scorer;

static tlt_status check_tokens(const tlt_model *m, const char *what, const int32_t *token, int n,
                               tlt_err *err) {
  int vocab = m->weights->config.vocab;
  for (int i = 0; i < n; i++)
    if (token[i] < 0 || token[i] >= vocab)
      return tlt_fail(err, TLT_EDATA, "%s[%d]: got token %d, expected 0 .. %d", what, i, token[i],
                      vocab - 1);
  return TLT_OK;
}

static tlt_status take_memory(scorer *s, int rows, tlt_err *err) {
  const tlt_config *c = &s->m->weights->config;
  size_t act = s->m->kernels->act_size, n = (size_t)s->n;
  int chunk = rows < CHUNK_ROWS ? rows : CHUNK_ROWS;
  tlt_status status =
      tlt_forward_init(&s->forward, s->m->kernels, s->m->weights, s->m->pool, chunk, s->n, err);
  if (status == TLT_OK) status = tlt_workspace_init(&s->ws, c, act, chunk, err);
  if (status != TLT_OK) return status;
  size_t blocks = (n + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK,
         logits = (size_t)LOGIT_ROWS * (size_t)c->vocab;
  s->kv_bytes = blocks * s->forward.kv.block_bytes;
  s->kv = tlt_pages_alloc(s->kv_bytes);
  s->token = tlt_malloc(n * sizeof *s->token);
  s->block = tlt_malloc(blocks * sizeof *s->block);
  s->hidden = tlt_calloc_aligned(LOGIT_ROWS, tlt_act_stride((size_t)c->hidden) * act);
  s->logits = tlt_calloc_aligned(logits, sizeof *s->logits);
  if (!s->kv || !s->token || !s->block || !s->hidden || !s->logits)
    return tlt_fail_nomem(err, "scoring", s->kv_bytes + logits * sizeof *s->logits);
  for (size_t i = 0; i < blocks; i++) s->block[i] = (int32_t)i;
  return TLT_OK;
}

static void logprob_item(void *context, int64_t item, int thread) {
  const scorer *s = context;
  int vocab = s->m->weights->config.vocab, target = s->first + (int)item;
  (void)thread;
  s->out[target] = tlt_logprob(s->m->kernels, s->logits + (size_t)item * (size_t)vocab, vocab,
                               s->temperature, s->token[s->n_prompt + target], NULL);
}

/* Rows row .. row+rows-1 of the current chunk predict targets first .. first+rows-1. */
static void score_rows(scorer *s, int row, int rows, int first) {
  size_t hidden = (size_t)s->m->weights->config.hidden;
  for (int i = 0; i < rows; i += LOGIT_ROWS) {
    int n = rows - i < LOGIT_ROWS ? rows - i : LOGIT_ROWS;
    tlt_forward_final_norm(&s->forward, s->ws.x + (size_t)(row + i) * hidden, n, s->hidden, NULL);
    tlt_forward_logits(&s->forward, s->hidden, n, s->logits);
    s->first = first + i;
    tlt_pool_run(s->m->pool, logprob_item, s, n);
  }
}

static void score_chunk(scorer *s, int pos0, int rows) {
  tlt_seq_rows seq = {.n_rows = rows, .pos0 = pos0, .kv = {s->kv, s->block}};
  tlt_batch batch = {.n_rows = rows, .token = s->token + pos0, .n_seqs = 1, .seq = &seq};
  tlt_forward_embed(&s->forward, &batch, s->ws.x);
  for (int l = 0; l < s->m->weights->config.layers; l++)
    tlt_forward_layer(&s->forward, l, &batch, &s->ws.io);
  int skip = s->n_prompt - 1 - pos0; /* rows that only see prompt tokens */
  if (skip < 0) skip = 0;
  if (skip < rows) score_rows(s, skip, rows - skip, pos0 + skip - (s->n_prompt - 1));
}

tlt_status tlt_model_score(tlt_model *m, const int32_t *prompt, int n_prompt, const int32_t *tokens,
                           int n_tokens, float temperature, float *out, tlt_err *err) {
  scorer s = {.m = m, .n_prompt = n_prompt, .temperature = temperature, .out = out};
  int most = m->weights->config.max_positions;
  if (n_prompt < 1) return tlt_fail(err, TLT_EDATA, "prompt: got no tokens, expected at least one");
  if (n_tokens < 1) return TLT_OK;
  if (n_prompt > most || n_tokens > most - n_prompt)
    return tlt_fail(err, TLT_EDATA,
                    "tokens: got %d after a prompt of %d, expected at most %d together", n_tokens,
                    n_prompt, most);
  tlt_status status = check_tokens(m, "prompt", prompt, n_prompt, err);
  if (status == TLT_OK) status = check_tokens(m, "tokens", tokens, n_tokens, err);
  if (status != TLT_OK) return status;
  s.n = n_prompt + n_tokens;
  int rows = s.n - 1;
  if ((status = take_memory(&s, rows, err))) goto out;
  for (int i = 0; i < s.n; i++) s.token[i] = i < n_prompt ? prompt[i] : tokens[i - n_prompt];
  for (int pos = 0; pos < rows; pos += CHUNK_ROWS)
    score_chunk(&s, pos, rows - pos < CHUNK_ROWS ? rows - pos : CHUNK_ROWS);
out:
  tlt_free(s.logits);
  tlt_free(s.hidden);
  tlt_free(s.block);
  tlt_free(s.token);
  tlt_pages_free(s.kv, s.kv_bytes);
  tlt_workspace_deinit(&s.ws);
  tlt_forward_deinit(&s.forward);
  return status;
}
