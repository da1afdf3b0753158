/* LM head: log-probabilities and gradients of the target rows, a chunk of rows at a time. Logits of
 * a chunk are turned into their gradient in place, so one pass over the head suffices where the
 * gradient by log-probability is known before. */
#include <string.h>

#include "train/elementwise.h"
#include "train/trainer_internal.h"

int tlt_head_chunk(int vocab) {
  int rows = TLT_HEAD_LOGITS / vocab / TLT_ROW_BLOCK * TLT_ROW_BLOCK;
  if (rows < TLT_ROW_BLOCK) return TLT_ROW_BLOCK;
  return rows < 2048 ? rows : 2048;
}

typedef struct head_job {
  tlt_trainer *t;
  const float *x;
  int first, count; /* targets of this chunk */
  float temperature;
  float *entropy;
  bool score, backward;
} head_job;

/* ---- hidden states of the target rows -------------------------------------------------------- */

static void hidden_rows(void *context, int64_t block, int thread) {
  (void)thread;
  head_job *j = context;
  tlt_trainer *t = j->t;
  int h = t->dim.hidden, first = (int)block * TLT_ROW_BLOCK;
  for (int i = first; i < j->count && i < first + TLT_ROW_BLOCK; i++)
    t->inv[i] = t->k->rmsnorm(j->x + (size_t)t->target_row[i] * (size_t)h, t->w->final_norm, h,
                              t->w->config.norm_eps, tlt_act_at(t, t->hidden, i, h));
}

void tlt_head_hidden(tlt_trainer *t, const float *x, int targets) {
  head_job job = {.t = t, .x = x, .count = targets};
  tlt_pool_run(t->pool, hidden_rows, &job, tlt_row_blocks(targets));
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void chunk_logits(tlt_trainer *t, int first, int count) {
  tlt_forward_logits(&t->forward, tlt_act_at(t, t->hidden, first, t->dim.hidden), count, t->logits);
}

/* One target: log-probability, lse and entropy; then the gradient of its logits. */
static void logits_row(void *context, int64_t row, int thread) {
  (void)thread;
  head_job *j = context;
  tlt_trainer *t = j->t;
  int v = t->dim.vocab, i = j->first + (int)row;
  float *logits = t->logits + (size_t)row * (size_t)v;
  if (j->score) {
    t->logp[i] = tlt_logprob(t->k, logits, v, j->temperature, t->target[i], &t->lse[i]);
    if (j->entropy) j->entropy[i] = tlt_entropy(logits, v, j->temperature, t->lse[i]);
  }
  if (!j->backward) return;
  t->b->dlogits(logits, v, j->temperature, t->lse[i], t->target[i], t->dlogp[i]);
  tlt_act_row(t, logits, v, tlt_act_at(t, t->dlogits, (int)row, v));
}

void tlt_head_logprobs(tlt_trainer *t, int targets, float temperature, float *entropy) {
  int chunk = tlt_head_chunk(t->dim.vocab);
  head_job job = {.t = t, .temperature = temperature, .entropy = entropy, .score = true};
  for (job.first = 0; job.first < targets; job.first += chunk) {
    job.count = targets - job.first < chunk ? targets - job.first : chunk;
    chunk_logits(t, job.first, job.count);
    tlt_pool_run(t->pool, logits_row, &job, job.count);
  }
}

static void chunk_backward(head_job *j) {
  tlt_trainer *t = j->t;
  size_t h = (size_t)t->dim.hidden, v = (size_t)t->dim.vocab;
  tlt_pool_run(t->pool, logits_row, j, j->count);
  tlt_backward_gemm(t, &t->w->head, t->head, t->dlogits, tlt_act_stride(v),
                    tlt_act_at(t, t->hidden, j->first, t->dim.hidden), tlt_act_stride(h), j->count,
                    t->dh + (size_t)j->first * h, h);
}

/* ---- final norm ------------------------------------------------------------------------------ */

/* Targets of a block: rmsnorm' from t->dh (by target) into t->dx (by row), which starts zero. */
static void final_norm_rows(void *context, int64_t block, int thread) {
  (void)thread;
  head_job *j = context;
  tlt_trainer *t = j->t;
  int h = t->dim.hidden, first = (int)block * TLT_ROW_BLOCK;
  float *dgain = t->partial + (size_t)block * (size_t)h;
  memset(dgain, 0, (size_t)h * sizeof *dgain);
  for (int i = first; i < j->count && i < first + TLT_ROW_BLOCK; i++) {
    size_t at = (size_t)t->target_row[i] * (size_t)h;
    t->b->rmsnorm(t->dh + (size_t)i * (size_t)h, j->x + at, t->w->final_norm, t->inv[i], h,
                  t->dx + at, dgain);
  }
}

void tlt_head_backward(tlt_trainer *t, int rows, int targets, float temperature, bool score,
                       float *entropy) {
  int chunk = tlt_head_chunk(t->dim.vocab);
  head_job job = {
      .t = t, .temperature = temperature, .entropy = entropy, .score = score, .backward = true};
  for (job.first = 0; job.first < targets; job.first += chunk) {
    job.count = targets - job.first < chunk ? targets - job.first : chunk;
    if (score || targets > chunk) chunk_logits(t, job.first, job.count);
    chunk_backward(&job);
  }
  size_t h = (size_t)t->dim.hidden;
  memset(t->dx, 0, (size_t)rows * h * sizeof *t->dx);
  job = (head_job){.t = t, .x = tlt_x_at(t, t->dim.layers), .count = targets};
  tlt_pool_run(t->pool, final_norm_rows, &job, tlt_row_blocks(targets));
  tlt_backward_partials(t, t->final_norm, t->partial, tlt_row_blocks(targets), h);
}
