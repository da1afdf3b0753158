/* The forward pass of the target, used by rollout, scoring and training alike: the same kernels and
 * the same rounding points, hence bitwise equal hidden states and log-probabilities.
 *
 * One layer, for a ragged batch of R rows:
 *   h1 = act(rmsnorm(x)); qkv = Wqkv h1; q,k: QK-norm, rope; K,V -> KV view; ctx = attention(q)
 *   x += Wo ctx; h2 = act(rmsnorm(x)); gu = Wgu h2; m = act(silu(g) * u); x += Wd m
 * A layer whose norm1 is NULL has none: h1 = act(x), inv1 = 1 (the learned drafter). */
#ifndef TLT_MODEL_FORWARD_H
#define TLT_MODEL_FORWARD_H

#include "base/pool.h"
#include "kernels/kernels.h"
#include "model/weights.h"

/* KV of one sequence: block b holds positions 16 b .. 16 b + 15. The engine hands in paged tables,
 * training contiguous ones. */
typedef struct tlt_kv_view {
  unsigned char *base;   /* block i starts at base + i * layout.block_bytes */
  const int32_t *blocks; /* [ceil(slots / 16)] block indices */
} tlt_kv_view;

/* A tree of rows behind positions 0 .. pos0 - 1: siblings share a position, so position is not slot.
 * Node i keeps its KV in slot pos0 + i, has the logical position pos0 + depth[i] (below max_positions)
 * and sees positions below pos0, its ancestors and itself. Its hidden states are those of a chain
 * that ends with its path, bit for bit. Rows that follow their parent share attention. */
typedef struct tlt_tree_rows {
  const int16_t *parent; /* [first + n_rows] an earlier node, or -1: depth 0 */
  const int16_t *depth;  /* [first + n_rows] depth of the parent + 1; at most TLT_TREE_DEPTH */
  int first;             /* the rows are nodes first .. first + n_rows - 1; the KV of earlier nodes is
                            already there */
} tlt_tree_rows;

enum { TLT_TREE_DEPTH = 40 };

/* Rows of one sequence in a batch: consecutive positions pos0 .. pos0 + n_rows - 1, causal, or with
 * `tree` nodes of a tree behind pos0. The KV of positions below pos0 is already there. */
typedef struct tlt_seq_rows {
  int row0, n_rows;
  int pos0;
  tlt_kv_view kv;
  const tlt_tree_rows *tree; /* NULL: a chain */
} tlt_seq_rows;

typedef struct tlt_batch {
  int n_rows;
  const int32_t *token; /* [n_rows] */
  int n_seqs;
  const tlt_seq_rows *seq; /* [n_seqs], row ranges ascending and covering 0 .. n_rows-1 */
} tlt_batch;

/* Where a layer reads and leaves its intermediates. The engine gives the same buffers to every
 * layer (x_in = x_mid = x_out); training gives stored ones. Row strides: fp32 matrices exactly
 * their width; act matrices tlt_act_stride(width). */
typedef struct tlt_layer_io {
  const float *x_in;  /* [R][H] */
  float *x_mid;       /* [R][H] after attention */
  float *x_out;       /* [R][H] */
  void *h1;           /* act [R][H] */
  float *qkv;         /* [R][(heads + 2 kv_heads) D]; on return q and k are normed and roped;
                         training recomputes the pre-norm values of qwen3 */
  void *q;            /* act [R][heads D] */
  void *ctx;          /* act [R][heads D] */
  float *lse;         /* [R][heads] of attention, or NULL */
  void *h2;           /* act [R][H] */
  float *gu;          /* [R][2 I] */
  void *m;            /* act [R][I] */
  float *inv1, *inv2; /* [R] 1/rms of the two norms, or NULL */
} tlt_layer_io;

/* Forward state: pool, kernels, rope table, per-thread scratch. Not thread-safe: one caller. */
typedef struct tlt_forward {
  const tlt_kernels *k;
  const tlt_weights *w;
  tlt_pool *pool;
  tlt_kv_layout kv;
  int max_rows, max_positions;
  float *cosine, *sine; /* [max_positions][D / 2] */
  void *scratch;        /* per thread: attention, sampling */
  size_t scratch_stride;
  int64_t *item0; /* [max_rows + 1] first attention item of each sequence of a batch */
} tlt_forward;

/* Bytes that a forward state takes. */
size_t tlt_forward_bytes(const tlt_config *c, int threads, int max_rows, int max_positions);

tlt_status tlt_forward_init(tlt_forward *f, const tlt_kernels *k, const tlt_weights *w,
                            tlt_pool *pool, int max_rows, int max_positions, tlt_err *err);
void tlt_forward_deinit(tlt_forward *f); /* a zeroed or deinitialised state is fine */

/* Scratch of one pool thread, 64-aligned: enough for attention and for sampling
 * (tlt_sample_scratch_bytes). Free for the caller between calls of this file. */
void *tlt_forward_scratch(const tlt_forward *f, int thread);

/* x[R][H] = embedding rows of the batch. */
void tlt_forward_embed(tlt_forward *f, const tlt_batch *b, float *x);
void tlt_forward_layer(tlt_forward *f, int layer, const tlt_batch *b, const tlt_layer_io *io);
/* out act [R][stride H] = final RMSNorm of x; inv [R] or NULL. */
void tlt_forward_final_norm(tlt_forward *f, const float *x, int rows, void *out, float *inv);
/* logits fp32 [rows][V] of hidden act rows. */
void tlt_forward_logits(tlt_forward *f, const void *hidden, int rows, float *logits);

#endif
