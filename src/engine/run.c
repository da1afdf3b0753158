/* The forward over the planned rows, and what the sink gets of it. */
#include <string.h>

#include "base/mem.h"
#include "engine/internal.h"

/* ---- Sink ---- */

/* Rows row .. row+n-1 of the step; data starts with the first of them. The sink may allocate: it
 * runs outside the guard. */
static void put(tlt_engine *e, int tap, int row, int n, const void *data) {
  int width = e->model->weights->config.hidden;
  bool final = tap == TLT_TAP_FINAL;
  if (n < 1) return;
  tlt_alloc_guard_end();
  e->sink.put(e->sink.context, tap, n, e->hidden_row + row, data,
              final ? e->model->kernels->act_size : sizeof(float), width,
              final ? tlt_act_stride((size_t)width) : (size_t)width);
  tlt_alloc_guard_begin();
}

static bool has_tap(const tlt_engine *e, int tap) {
  for (int i = 0; e->has_sink && i < e->sink.n_taps; i++)
    if (e->sink.taps[i] == tap) return true;
  return false;
}

/* Decode rows that wait for their verification. */
static int waiting_rows(const tlt_engine *e) {
  return e->has_spec ? e->decode_rows : 0;
}

static float *tapped_row(const tlt_engine *e, int tap, int row) {
  size_t rows = (size_t)(e->o.batch + e->o.draft_rows);
  return e->tapped + ((size_t)tap * rows + (size_t)row) * (size_t)e->model->weights->config.hidden;
}

static void put_layer(tlt_engine *e, int layer) {
  size_t hidden = (size_t)e->model->weights->config.hidden;
  int waiting = waiting_rows(e);
  for (int i = 0; e->has_sink && i < e->sink.n_taps; i++) {
    if (e->sink.taps[i] != layer) continue;
    memcpy(tapped_row(e, i, 0), e->ws.x, (size_t)waiting * hidden * sizeof(float));
    put(e, layer, waiting, e->batch.n_rows - waiting, e->ws.x + (size_t)waiting * hidden);
  }
}

/* Row i of a verified sequence: the last token's, then those of its path. */
static int verified_row(const tlt_engine *e, const tlt_pick *p, int i) {
  return p->row + (i ? 1 + e->draft[p->slot].path[i - 1] : 0);
}

/* A sequence's rows that became inputs, in runs of adjacent ones. */
static void put_sequence(tlt_engine *e, int tap, const tlt_pick *p) {
  int rows = e->slot[p->slot].n_tokens - p->before, number = e->sink.taps[tap];
  for (int i = 0, end; i < rows; i = end) {
    int row = verified_row(e, p, i);
    for (end = i + 1; end < rows && verified_row(e, p, end) == row + end - i;) end++;
    const void *data = tlt__final_row(e, row);
    if (number != TLT_TAP_FINAL) data = tapped_row(e, tap, row);
    put(e, number, row, end - i, data);
  }
}

void tlt__put_verified(tlt_engine *e) {
  if (!e->has_sink || !e->has_spec) return;
  for (int tap = 0; tap < e->sink.n_taps; tap++)
    for (int i = 0; i < e->n_decode; i++) put_sequence(e, tap, &e->pick[i]);
}

/* ---- Forward ---- */

/* Final norm of all rows that somebody looks at; decode rows come first. */
static void finish_rows(tlt_engine *e) {
  bool tap = has_tap(e, TLT_TAP_FINAL), all = tap || (e->has_spec && e->spec.wants_hidden);
  int rows = all ? e->batch.n_rows : e->decode_rows, waiting = waiting_rows(e);
  if (rows) tlt_forward_final_norm(&e->forward, e->ws.x, rows, e->ws.io.h1, NULL);
  if (tap) put(e, TLT_TAP_FINAL, waiting, e->batch.n_rows - waiting, tlt__final_row(e, waiting));
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
    put_layer(e, l);
    tlt_forward_layer(&e->forward, l, &e->batch, &e->ws.io);
  }
  put_layer(e, layers);
  finish_rows(e);
  keep_prompt_ends(e);
}
