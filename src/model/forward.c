#include "model/forward_internal.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/gemm_run.h"

/* Row-wise work up to this many elements is done by the calling thread: a join costs 1-2
 * microseconds, about what one thread needs for it. */
enum { INLINE_ELEMENTS = 4096 };

static size_t align64(size_t bytes) {
  return (bytes + 63) & ~(size_t)63;
}

static size_t scratch_bytes(const tlt_config *c, int max_positions) {
  size_t attention = align64(tlt__attention_bytes(c, max_positions));
  size_t sampling = align64(tlt_sample_scratch_bytes(c->vocab));
  return attention > sampling ? attention : sampling;
}

size_t tlt_forward_bytes(const tlt_config *c, int threads, int max_rows, int max_positions) {
  size_t rope = 2 * (size_t)max_positions * (size_t)(c->head_dim / 2) * sizeof(float);
  size_t items = ((size_t)max_rows + 1) * sizeof(int64_t);
  return rope + items + (size_t)threads * scratch_bytes(c, max_positions);
}

tlt_status tlt_forward_init(tlt_forward *f, const tlt_kernels *k, const tlt_weights *w,
                            tlt_pool *pool, int max_rows, int max_positions, tlt_err *err) {
  const tlt_config *c = &w->config;
  int threads = tlt_pool_threads(pool);
  size_t angles = (size_t)max_positions * (size_t)(c->head_dim / 2);
  *f = (tlt_forward){
      .k = k, .w = w, .pool = pool, .max_rows = max_rows, .max_positions = max_positions};
  f->kv = tlt_kv_layout_of(c->layers, c->kv_heads, c->head_dim, k->act_size);
  f->scratch_stride = scratch_bytes(c, max_positions);
  f->scratch = tlt_calloc_aligned((size_t)threads, f->scratch_stride);
  f->item0 = tlt_calloc((size_t)max_rows + 1, sizeof *f->item0);
  f->cosine = tlt_calloc_aligned(angles, sizeof(float));
  f->sine = tlt_calloc_aligned(angles, sizeof(float));
  if (!f->scratch || !f->item0 || !f->cosine || !f->sine) {
    tlt_forward_deinit(f);
    return tlt_fail_nomem(err, "forward pass",
                          tlt_forward_bytes(c, threads, max_rows, max_positions));
  }
  tlt_rope_table(c, max_positions, f->cosine, f->sine);
  return TLT_OK;
}

void tlt_forward_deinit(tlt_forward *f) {
  tlt_free(f->scratch);
  tlt_free(f->item0);
  tlt_free(f->cosine);
  tlt_free(f->sine);
  *f = (tlt_forward){0};
}

void *tlt_forward_scratch(const tlt_forward *f, int thread) {
  return (unsigned char *)f->scratch + (size_t)thread * f->scratch_stride;
}

/* ---- Row-wise passes ---- */

typedef struct row_pass {
  tlt_forward *f;
  void (*work)(const struct row_pass *p, int row, int end);
  int rows, block;
  const tlt_batch *batch;
  const tlt_layer_io *io;
  const tlt_layer_weights *layer;
  int index; /* of the layer */
  const float *x, *gain;
  float *copy, *inv;
  void *out;
} row_pass;

static void row_item(void *context, int64_t item, int thread) {
  const row_pass *p = context;
  int row = (int)item * p->block, end = row + p->block;
  (void)thread;
  p->work(p, row, end < p->rows ? end : p->rows);
}

/* Rows in a few blocks per thread, or all at once where they are too little work for a join. */
static void run_rows(row_pass *p, int rows, int width) {
  int threads = tlt_pool_active(p->f->pool);
  p->rows = rows;
  if (threads == 1 || (size_t)rows * (size_t)width <= INLINE_ELEMENTS) {
    p->work(p, 0, rows);
    return;
  }
  p->block = (rows + 4 * threads - 1) / (4 * threads);
  tlt_pool_run(p->f->pool, row_item, p, (rows + p->block - 1) / p->block);
}

static void norm_work(const row_pass *p, int row, int end) {
  const tlt_kernels *k = p->f->k;
  int n = p->f->w->config.hidden;
  size_t stride = tlt_act_stride((size_t)n) * k->act_size;
  for (; row < end; row++) {
    const float *x = p->x + (size_t)row * (size_t)n;
    void *out = (unsigned char *)p->out + (size_t)row * stride;
    float inv = 1;
    if (p->gain) inv = k->rmsnorm(x, p->gain, n, p->f->w->config.norm_eps, out);
    else k->to_act(x, (size_t)n, out);
    if (p->inv) p->inv[row] = inv;
    if (p->copy) memcpy(p->copy + (size_t)row * (size_t)n, x, (size_t)n * sizeof *x);
  }
}

/* out = norm(x), or act(x) where there is no gain; copy (where it is another buffer than x) = x. */
static void run_norm(tlt_forward *f, const float *x, int rows, const float *gain, float *copy,
                     void *out, float *inv) {
  row_pass p = {.f = f, .work = norm_work, .x = x, .gain = gain, .out = out, .inv = inv};
  p.copy = copy == x ? NULL : copy;
  run_rows(&p, rows, f->w->config.hidden);
}

static void embed_work(const row_pass *p, int row, int end) {
  int n = p->f->w->config.hidden;
  for (; row < end; row++)
    p->f->k->embed(&p->f->w->embed, p->batch->token[row], p->copy + (size_t)row * (size_t)n);
}

void tlt_forward_embed(tlt_forward *f, const tlt_batch *b, float *x) {
  row_pass p = {.f = f, .work = embed_work, .batch = b, .copy = x};
  run_rows(&p, b->n_rows, f->w->config.hidden);
}

static void silu_work(const row_pass *p, int row, int end) {
  const tlt_kernels *k = p->f->k;
  int n = p->f->w->config.inter;
  size_t stride = tlt_act_stride((size_t)n) * k->act_size;
  for (; row < end; row++) {
    const float *gate = p->io->gu + (size_t)row * 2 * (size_t)n;
    k->silu_mul(gate, gate + n, n, (unsigned char *)p->io->m + (size_t)row * stride);
  }
}

/* ---- Queries, keys and values ---- */

static int seq_of_row(const tlt_batch *b, int row) {
  int low = 0, high = b->n_seqs - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (b->seq[middle].row0 <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

static void norm_and_rope(const row_pass *p, float *x, const float *gain, int position) {
  const tlt_forward *f = p->f;
  int d = f->w->config.head_dim;
  size_t angle = (size_t)position * (size_t)(d / 2);
  if (gain) (void)f->k->rmsnorm_f32(x, gain, d, f->w->config.norm_eps, x);
  f->k->rope(x, f->cosine + angle, f->sine + angle, d);
}

static void finish_row(const row_pass *p, const tlt_seq_rows *s, int row) {
  const tlt_forward *f = p->f;
  const tlt_config *c = &f->w->config;
  int d = c->head_dim, position = tlt__position(s, row), slot = tlt__kv_slot(s, row);
  int width = (c->heads + 2 * c->kv_heads) * d;
  float *q = p->io->qkv + (size_t)row * (size_t)width, *key = q + c->heads * d;
  const float *value = key + c->kv_heads * d;
  for (int h = 0; h < c->heads; h++) norm_and_rope(p, q + h * d, p->layer->q_norm, position);
  size_t stride = tlt_act_stride((size_t)c->heads * (size_t)d) * f->k->act_size;
  f->k->to_act(q, (size_t)c->heads * (size_t)d, (unsigned char *)p->io->q + (size_t)row * stride);
  unsigned char *block = s->kv.base + (size_t)s->kv.blocks[slot / TLT_KV_BLOCK] * f->kv.block_bytes;
  for (int h = 0; h < c->kv_heads; h++) {
    norm_and_rope(p, key + h * d, p->layer->k_norm, position);
    f->k->kv_store(block + tlt__panel_offset(f, p->index, h), f->kv.k_bytes, d, slot % TLT_KV_BLOCK,
                   key + h * d, value + h * d);
  }
}

static void finish_qkv_work(const row_pass *p, int row, int end) {
  const tlt_batch *b = p->batch;
  for (int s = seq_of_row(b, row); row < end; row++) {
    while (row >= b->seq[s].row0 + b->seq[s].n_rows) s++;
    finish_row(p, &b->seq[s], row);
  }
}

/* ---- A layer, and the ends ---- */

static void run_gemm(tlt_forward *f, const tlt_packed *w, const void *x, int rows, float *y,
                     bool add) {
  tlt_gemm_run(f->pool, f->k, w, x, tlt_act_stride((size_t)w->k), rows, y, (size_t)w->n, add);
}

void tlt_forward_layer(tlt_forward *f, int layer, const tlt_batch *b, const tlt_layer_io *io) {
  const tlt_config *c = &f->w->config;
  const tlt_layer_weights *l = &f->w->layer[layer];
  int rows = b->n_rows;
  row_pass qkv = {
      .f = f, .work = finish_qkv_work, .batch = b, .io = io, .layer = l, .index = layer};
  row_pass silu = {.f = f, .work = silu_work, .io = io};
  run_norm(f, io->x_in, rows, l->norm1, io->x_mid, io->h1, io->inv1);
  run_gemm(f, &l->qkv, io->h1, rows, io->qkv, false);
  run_rows(&qkv, rows, l->qkv.n);
  tlt__run_attention(f, layer, b, io);
  run_gemm(f, &l->o, io->ctx, rows, io->x_mid, true);
  run_norm(f, io->x_mid, rows, l->norm2, io->x_out, io->h2, io->inv2);
  run_gemm(f, &l->gu, io->h2, rows, io->gu, false);
  run_rows(&silu, rows, c->inter);
  run_gemm(f, &l->down, io->m, rows, io->x_out, true);
}

void tlt_forward_final_norm(tlt_forward *f, const float *x, int rows, void *out, float *inv) {
  run_norm(f, x, rows, f->w->final_norm, NULL, out, inv);
}

void tlt_forward_logits(tlt_forward *f, const void *hidden, int rows, float *logits) {
  run_gemm(f, &f->w->head, hidden, rows, logits, false);
}
