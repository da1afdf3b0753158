/* Backward of one step of drafter training, read from the end of drafter_forward.c:
 *   dx = dout + what the next step's input passes back;  MLP as in backward_layer.c
 *   dctx = dx Wo;  dq, dk, dv = attention'(dctx), keys of earlier steps included
 *   inverse rope;  dx += dqkv Wqkv;  dpair = dx Wfc, whose second half is for the step before. */
#include <string.h>

#include "train/drafter_internal.h"

/* base.dx = dout (+ second half of dpair). */
static void output_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  size_t h = (size_t)t->base.dim.hidden;
  bool last = j->step + 1 == t->steps;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int c = rows.first; c < rows.end; c++) {
    float *dx = t->base.dx + (size_t)c * h;
    const float *later = t->dpair + (size_t)c * 2 * h + h;
    memcpy(dx, t->step[j->step].dout + (size_t)c * h, h * sizeof *dx);
    for (size_t i = 0; !last && i < h; i++) dx[i] += later[i];
  }
}

void tlt_draft_backward_mlp(tlt_drafter_trainer *t, int step) {
  tlt_draft_job job = {.t = t, .step = step, .rows = t->chains};
  tlt_draft_run(&job, output_rows);
  tlt_backward_mlp(&t->base, 0, t->chains, &t->step[step].slot, NULL);
}

void tlt_draft_backward_attention(tlt_drafter_trainer *t, int step) {
  tlt_trainer *b = &t->base;
  size_t h = (size_t)b->dim.hidden, q = (size_t)b->dim.q;
  if (step + 1 == t->steps)
    for (int i = 0; i <= step; i++)
      memset(t->step[i].dkv, 0,
             (size_t)tlt_draft_rows(t, i) * 2 * (size_t)b->dim.kv * sizeof(float));
  tlt_backward_gemm(b, &b->w->layer->o, &b->site[TLT_SITE_O], b->dy, tlt_act_stride(h),
                    t->step[step].slot.ctx, tlt_act_stride(q), t->chains, b->dh, q);
  tlt_draft_attention_backward(t, step);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* Gradients of q, k and v of a row side by side in `to`, rotated back; rows of step 1 without a
 * chain have no query. */
static void gather_row(tlt_drafter_trainer *t, int step, int row, float *to) {
  const tlt_trainer *b = &t->base;
  const tlt_dims *d = &b->dim;
  int c = step ? row : tlt_chain_of_row(t, row);
  size_t angle = (size_t)tlt_draft_position(t, step, row) * (size_t)(d->head_dim / 2);
  if (c < 0) memset(to, 0, (size_t)d->q * sizeof *to);
  else memcpy(to, b->qkv + (size_t)c * (size_t)d->qkv, (size_t)d->q * sizeof *to);
  memcpy(to + d->q, t->step[step].dkv + (size_t)row * 2 * (size_t)d->kv,
         2 * (size_t)d->kv * sizeof *to);
  for (int h = 0; h < d->heads + d->kv_heads; h++)
    b->b->rope(to + h * d->head_dim, b->forward.cosine + angle, b->forward.sine + angle,
               d->head_dim);
}

static void qkv_rows(void *context, int64_t block, int thread) {
  const tlt_draft_job *j = context;
  const tlt_trainer *b = &j->t->base;
  float *row = tlt_scratch_at(b, thread);
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    gather_row(j->t, j->step, r, row);
    tlt_act_row(b, row, b->dim.qkv, tlt_act_at(b, b->dy, r, b->dim.qkv));
  }
}

/* base.dh += what passes attention by; base.dy = act of it: the gradient of fc's output. */
static void input_rows(void *context, int64_t block, int thread) {
  (void)thread;
  const tlt_draft_job *j = context;
  tlt_drafter_trainer *t = j->t;
  const tlt_trainer *b = &t->base;
  size_t h = (size_t)b->dim.hidden;
  tlt_draft_range rows = tlt_draft_block(j, block);
  for (int r = rows.first; r < rows.end; r++) {
    float *dx = b->dh + (size_t)r * h;
    int c = j->step ? r : tlt_chain_of_row(t, r);
    for (size_t i = 0; c >= 0 && i < h; i++) dx[i] += b->dx[(size_t)c * h + i];
    tlt_act_row(b, dx, (int)h, tlt_act_at(b, b->dy, r, (int)h));
  }
}

void tlt_draft_backward_input(tlt_drafter_trainer *t, int step) {
  tlt_trainer *b = &t->base;
  tlt_draft_job job = {.t = t, .step = step, .rows = tlt_draft_rows(t, step)};
  size_t h = (size_t)b->dim.hidden, n = (size_t)b->dim.qkv;
  tlt_draft_run(&job, qkv_rows);
  tlt_backward_gemm(b, &b->w->layer->qkv, &b->site[TLT_SITE_QKV], b->dy, tlt_act_stride(n),
                    t->step[step].h1, tlt_act_stride(h), job.rows, b->dh, h);
  tlt_draft_run(&job, input_rows);
  tlt_backward_gemm(b, &t->d->fc, t->fc, b->dy, tlt_act_stride(h), t->step[step].pair,
                    tlt_act_stride(2 * h), job.rows, step ? t->dpair : NULL, 2 * h);
}
