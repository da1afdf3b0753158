/* Teacher, losses and statistics of drafter training. Logits of a chunk of rows are turned into
 * their gradient in place. */
#include <string.h>

#include "kernels/gemm_run.h"
#include "train/drafter_internal.h"
#include "train/elementwise.h"

static int chunk_size(const tlt_drafter_trainer *t) {
  return tlt_head_chunk(t->max_hot);
}

static size_t hot_row(const tlt_drafter_trainer *t, int row) {
  return (size_t)row * (size_t)t->d->n_hot;
}

/* t->logits of act rows first .. first+count-1 of `hidden`. */
static void hot_logits(tlt_drafter_trainer *t, const void *hidden, int first, int count,
                       float *logits) {
  int h = t->base.dim.hidden;
  tlt_gemm_run(t->base.pool, t->base.k, &t->d->hot_head, tlt_act_at(&t->base, hidden, first, h),
               tlt_act_stride((size_t)h), count, logits, (size_t)t->d->n_hot, false);
}

/* ln sum exp(logits / T) over the hot tokens. */
static float hot_lse(const tlt_drafter_trainer *t, const float *logits) {
  float lse;
  tlt_logprob(t->base.k, logits, t->d->n_hot, t->micro.temperature, 0, &lse);
  return lse;
}

/* ---- teacher --------------------------------------------------------------------------------- */

/* The hidden state that step 1 of each chain predicts. */
static void label_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int h = t->base.dim.hidden;
  size_t stride = tlt_act_stride((size_t)h) * t->base.k->act_size;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    int r = t->chain_row[c], s = t->row_sample[r], at = r + 1 - t->sample[s].first_row;
    memcpy(tlt_act_at(&t->base, t->label, c, h),
           (const unsigned char *)t->micro.hidden[s] + (size_t)at * stride,
           (size_t)h * t->base.k->act_size);
  }
}

static void teacher_row(void *context, int64_t row, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int c = j->first + (int)row, n = t->d->n_hot;
  float *p = t->teacher + hot_row(t, c);
  t->top[c] = tlt_argmax(p, n);
  t->entropy[c] = tlt_softmax(p, n, t->micro.temperature, hot_lse(t, p));
}

void tlt_draft_teacher(tlt_drafter_trainer *t, int step) {
  (void)step;
  tlt_draft_job job = {.t = t, .rows = t->chains};
  int chunk = chunk_size(t);
  tlt_draft_run(&job, label_rows);
  for (job.first = 0; job.first < t->chains; job.first += chunk) {
    int count = t->chains - job.first < chunk ? t->chains - job.first : chunk;
    hot_logits(t, t->label, job.first, count, t->teacher + hot_row(t, job.first));
    tlt_pool_run(t->base.pool, teacher_row, &job, count);
  }
}

/* ---- losses ---------------------------------------------------------------------------------- */

static float step_weight(const tlt_drafter_trainer *t, int step) {
  float w = 1;
  for (int i = 0; i < step; i++) w *= t->o.decay;
  return w;
}

/* Statistics of one row's logits, which become their gradient. */
static void logits_row(void *context, int64_t row, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int c = j->first + (int)row, n = t->d->n_hot;
  float *logits = t->logits + hot_row(t, (int)row);
  tlt_draft_row *stat = &t->row[c];
  *stat = (tlt_draft_row){0};
  if (j->step < t->chain_steps[c]) {
    float temperature = tlt_lse_temperature(t->micro.temperature);
    int top = tlt_argmax(logits, n);
    stat->agree = top == t->top[c + j->step];
    stat->top_p = t->teacher[hot_row(t, c + j->step) + (size_t)top];
    stat->token = tlt_soft_cross_entropy(
        t->teacher + hot_row(t, c + j->step), logits, n, temperature, hot_lse(t, logits),
        t->o.token_weight * step_weight(t, j->step), &stat->overlap);
  } else {
    memset(logits, 0, (size_t)n * sizeof *logits);
  }
  if (t->train) tlt_act_row(&t->base, logits, n, tlt_act_at(&t->base, t->dlogits, (int)row, n));
}

static void chunk_losses(tlt_drafter_trainer *t, tlt_draft_job *job, int count) {
  size_t h = (size_t)t->base.dim.hidden;
  float *dout = t->step[job->step].dout + (size_t)job->first * h;
  hot_logits(t, t->out, job->first, count, t->logits);
  tlt_pool_run(t->base.pool, logits_row, job, count);
  if (!t->train) return;
  if (t->o.token_weight == 0) {
    memset(dout, 0, (size_t)count * h * sizeof *dout);
    return;
  }
  tlt_backward_gemm(&t->base, &t->d->hot_head, NULL, t->dlogits,
                    tlt_act_stride((size_t)t->d->n_hot), NULL, 0, count, dout, h);
}

/* Without training dout is nobody's. */
static void hidden_rows(void *context, int64_t block, int thread) {
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  int h = t->base.dim.hidden;
  float *want = tlt_scratch_at(&t->base, thread);
  float scale = t->o.hidden_weight * step_weight(t, j->step) / (float)h;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    size_t at = (size_t)c * (size_t)h;
    if (j->step >= t->chain_steps[c]) continue;
    t->base.k->from_act(tlt_act_at(&t->base, t->label, c + j->step, h), (size_t)h, want);
    t->row[c].hidden =
        tlt_smooth_l1(t->x_out + at, want, h, scale, t->step[j->step].dout + at) / (float)h;
  }
}

void tlt_draft_loss(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  int chunk = chunk_size(t);
  for (; job.first < t->chains; job.first += chunk)
    chunk_losses(t, &job, t->chains - job.first < chunk ? t->chains - job.first : chunk);
  tlt_draft_run(&job, hidden_rows);
  int64_t rows = 0;
  for (int c = 0; c < t->chains; c++) {
    if (step >= t->chain_steps[c]) continue;
    const tlt_draft_row *r = &t->row[c];
    rows++;
    t->sums.hidden[step] += (double)r->hidden;
    t->sums.token[step] += (double)r->token;
    t->sums.entropy[step] += (double)t->entropy[c + step];
    t->sums.overlap[step] += (double)r->overlap;
    t->sums.agree[step] += r->agree;
    t->sums.top_p[step] += (double)r->top_p;
  }
  t->sums.rows[step] += rows;
  if (t->train) t->weight += (double)rows * (double)step_weight(t, step);
}
