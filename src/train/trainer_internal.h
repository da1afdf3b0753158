/* State of a trainer, shared by the files of this folder.
 *
 * Letters as in kernels.h, and: R rows of a micro-batch (its tokens), L layers, I intermediate,
 * Q = heads D, N = (heads + 2 kv_heads) D. Act matrices have row stride tlt_act_stride(width). */
#ifndef TLT_TRAIN_TRAINER_INTERNAL_H
#define TLT_TRAIN_TRAINER_INTERNAL_H

#include <stdatomic.h>

#include "base/shared_lock.h"
#include "model/forward.h"
#include "train/trainer.h"

enum {
  TLT_ROW_BLOCK = 64,        /* rows whose norm-gain and bias gradients form one fp32 partial */
  TLT_NORM_BLOCK = 65536,    /* elements per partial sum of the gradient norm */
  TLT_HEAD_LOGITS = 1 << 24, /* logits of one head chunk, about; see head_chunk */
};

/* Widths of the model. */
typedef struct tlt_dims {
  int hidden, layers, heads, kv_heads, head_dim, inter, vocab;
  int q, kv, qkv; /* heads D; kv_heads D; N */
} tlt_dims;

/* Where the gradient of one weight matrix or vector is added up. Fused matrices (qkv, gate and up)
 * are one site. total: sum over all good partials added of ceil(max |partial|), the bound that tells
 * overflow; the accumulators themselves are never tested. What a site points to may be shared with
 * other processes, all of which add: integers, so that their order does not matter. */
typedef struct tlt_site {
  int64_t *acc; /* [n][k]; NULL: this model has no such weight */
  int n, k;
  const tlt_packed *matrix; /* exactly one of matrix and vector is set */
  const float *vector;
  _Atomic int64_t *total;
  _Atomic int64_t *bad;  /* partials with NaN, infinity or something beyond TLT_FIX_LIMIT */
  tlt_shared_lock *lock; /* one for dw_rows rows each, or for the vector; NULL: nobody shares */
} tlt_site;

enum {
  TLT_SITE_QKV,
  TLT_SITE_O,
  TLT_SITE_GU,
  TLT_SITE_DOWN,
  TLT_SITE_NORM1,
  TLT_SITE_NORM2,
  TLT_SITE_QKV_BIAS,
  TLT_SITE_Q_NORM,
  TLT_SITE_K_NORM,
  TLT_SITES_PER_LAYER
};

/* Intermediates of one layer that its backward needs beside x_in. gu is kept rounded to act: exact
 * in portable, as precise as bf16 autocast in the fast paths. */
typedef struct tlt_slot {
  float *x_mid; /* [R][H] */
  void *q;      /* act [R][Q], roped */
  void *kv;     /* act [R][2 kv_heads D]: keys, then values */
  void *ctx;    /* act [R][Q] */
  float *lse;   /* [R][heads] */
  void *gu;     /* act [R][2 I] */
} tlt_slot;

/* What a thread saw while adding partials; one cache line each. */
typedef struct tlt_seen {
  float max;
  bool bad;
  char pad[56];
} tlt_seen;

struct tlt_trainer {
  tlt_weights *w;
  const tlt_kernels *k;
  const tlt_backward *b;
  tlt_pool *pool;
  tlt_forward forward;
  tlt_dims dim;
  int threads, rows; /* most rows of a micro-batch */
  float scale;       /* of attention: 1 / sqrt(D), as the forward has it */
  bool forward_only;
  size_t activation_bytes;

  const tlt_team *team;  /* processes that share what `shared` holds; NULL: none */
  unsigned char *region; /* of this process: what is not carved from `shared` */
  size_t region_bytes;
  unsigned char *shared; /* one copy per team */
  size_t shared_bytes;

  /* Shared: optimizer state; masters and moments in tensor-name order. acc, total, bad and touched
   * lie one after the other: what hosts add up, sum_count of them. */
  int64_t *acc;
  _Atomic int64_t *total, *bad; /* [n_sites] each */
  _Atomic int64_t *touched;     /* not 0: something was added since the accumulators were cleared */
  size_t sum_count;
  float *master, *moment1, *moment2;
  double *norm_sum;      /* [elements / TLT_NORM_BLOCK + 1] */
  tlt_shared_lock *lock; /* of all sites; NULL: nobody shares */

  int64_t steps;
  tlt_site *site; /* [L * TLT_SITES_PER_LAYER], then embedding, head (unless tied), final norm */
  int n_sites;
  tlt_site *embed, *head, *final_norm; /* head == embed when tied */
  int *param_site;                     /* [n_params] */
  int64_t **param_acc;                 /* [n_params], [n][k] each */
  int64_t *param_task;                 /* [n_params + 1] first task of each parameter, step.c */

  /* stored by the forward */
  float *x;       /* [L + 1][R][H]: x_in of every layer, then the last layer's output */
  tlt_slot *slot; /* [slots] */
  int slots;      /* the last `slots` layers keep their intermediates; at least 1 */

  /* one micro-batch */
  tlt_seq_rows *seq;                 /* [R] */
  int32_t *identity;                 /* [R + R / 16 + 1] block numbers 0, 1, 2, ... */
  unsigned char *kv;                 /* KV blocks of one layer */
  int32_t *position;                 /* [R] */
  int32_t *target_row;               /* [R] row that predicts each target */
  int32_t *target;                   /* [R] token of each target */
  int32_t *chain_first, *chain_next; /* [V], [R]: rows of each token, step of the embedding */
  int32_t *distinct;                 /* [R] */

  /* workspace */
  void *h1, *h2, *m;         /* act [R][H], [R][H], [R][I] */
  float *qkv, *qkv_pre;      /* [R][N]; qkv_pre for QK-norm only */
  float *gu;                 /* [R][2 I]; the backward keeps dm [R][I] here */
  float *dx;                 /* [R][H] gradient of the residual stream */
  float *dh;                 /* [R][max(H, Q)] */
  void *dy;                  /* act [R][max(H, 2 I, N)] */
  float *inv;                /* [R] */
  float *partial;            /* [blocks of R][tlt_partial_stride] */
  void *hidden;              /* act [R][H] of the target rows, after the final norm */
  float *logits;             /* [C][V] */
  void *dlogits;             /* act [C][V] */
  float *logp, *dlogp, *lse; /* [R] by target */
  char (*block_hash)[TLT_SHA256_HEX]; /* [tlt_hash_blocks] */
  tlt_seen *seen;            /* [threads] */
  unsigned char *scratch;    /* [threads][scratch_stride] */
  size_t scratch_stride;
};

/* The hash of the masters is one of hashes, so that threads can share the work. */
enum { TLT_HASH_BLOCK = 1 << 18 };
static inline size_t tlt_hash_blocks(uint64_t elements) {
  return (size_t)((elements + TLT_HASH_BLOCK - 1) / TLT_HASH_BLOCK);
}

/* ---- rows and blocks ------------------------------------------------------------------------- */

static inline int tlt_row_blocks(int rows) {
  return (rows + TLT_ROW_BLOCK - 1) / TLT_ROW_BLOCK;
}

static inline void *tlt_act_at(const tlt_trainer *t, const void *act, int row, int width) {
  return (unsigned char *)act + (size_t)row * tlt_act_stride((size_t)width) * t->k->act_size;
}

static inline float *tlt_x_at(const tlt_trainer *t, int layer) {
  return t->x + (size_t)layer * (size_t)t->rows * (size_t)t->dim.hidden;
}

static inline void *tlt_scratch_at(const tlt_trainer *t, int thread) {
  return t->scratch + (size_t)thread * t->scratch_stride;
}

/* Floats of one row block's partial: norm gains [H], or QK-norm gains [2 D] and bias [N]. */
static inline int tlt_partial_stride(const tlt_dims *d) {
  int attention = d->qkv + 2 * d->head_dim;
  return attention > d->hidden ? attention : d->hidden;
}

/* fp32 [n] rounded to act; an odd last pair is completed with zero. */
void tlt_act_row(const tlt_trainer *t, const float *from, int n, void *to);

/* Rows of head logits handled at once: fixed by the vocabulary, never by memory options. */
int tlt_head_chunk(int vocab);

/* ---- memory and sites ------------------------------------------------------------------------ */

/* Hands out 64-aligned pieces of a region; with base NULL it only counts. */
typedef struct tlt_carver {
  unsigned char *base;
  size_t used;
} tlt_carver;

/* memory.c */
void *tlt_carve(tlt_carver *c, size_t count, size_t size);
void *tlt_carve_act(tlt_carver *c, const tlt_trainer *t, int rows, int width);
void tlt_carve_slot(tlt_carver *c, const tlt_trainer *t, tlt_slot *s); /* s NULL: only count */
void tlt_carve_shared(tlt_carver *c, tlt_trainer *t); /* what a team has one copy of */
void tlt_carve_sites(tlt_carver *c, tlt_trainer *t);
/* Buffers of one layer's forward and backward, and per-thread scratch. */
void tlt_carve_workspace(tlt_carver *c, tlt_trainer *t, size_t scratch_bytes);
size_t tlt_layer_scratch(const tlt_trainer *t); /* bytes per thread for the backward of a layer */
size_t tlt_scratch_for(const tlt_trainer *t, const tlt_packed *w, int rows); /* of one matrix */
/* Everything of t->region and of t->shared; where they are NULL it only counts, into region_bytes and
 * shared_bytes. */
void tlt_carve_trainer(tlt_trainer *t);

/* trainer.c: sizes of a trainer, before it has memory. */
void tlt_trainer_describe(tlt_trainer *t, const tlt_weights *w, const tlt_kernels *k,
                          const tlt_trainer_options *o, int threads);

/* sites.c. The first three return what follows `acc`; a vector that is NULL gets no site. */
int64_t *tlt_site_matrix(tlt_site *s, const tlt_packed *w, int64_t *acc);
int64_t *tlt_site_vector(tlt_site *s, const float *v, int n, int64_t *acc);
int64_t *tlt_sites_of_layer(const tlt_trainer *t, int layer, int64_t *acc);
void tlt_sites_of_target(tlt_trainer *t);
/* Give every site its totals and locks, and find the site of every parameter. */
tlt_status tlt_sites_map(tlt_trainer *t, tlt_err *err);
size_t tlt_sites_locks(const tlt_trainer *t); /* locks that the sites of a target need */

/* ---- passes ---------------------------------------------------------------------------------- */

/* step.c: cut the parameters into tasks of whole rows. */
void tlt_step_list_tasks(tlt_trainer *t);
/* Masters from the compute weights: the part of them that is this process's share. */
void tlt_step_take_masters(tlt_trainer *t);
/* Wait for the other processes of the team, if there are any. */
tlt_status tlt_step_barrier(tlt_trainer *t, tlt_err *err);

/* micro.c: check a micro-batch and lay it out: batch, positions, KV blocks, targets. */
tlt_status tlt_micro_prepare(tlt_trainer *t, const tlt_micro *m, tlt_batch *batch, int *targets,
                             tlt_err *err);

/* forward_pass.c: all layers; with keep, x of every layer and the slots of the last layers are
 * left for the backward, otherwise only x of layer 0 is used and holds the result. */
void tlt_pass_forward(tlt_trainer *t, const tlt_batch *batch, bool keep);
/* Fill `slot` (or nothing when NULL) by running one layer from x_in to x_out. */
void tlt_pass_layer(tlt_trainer *t, const tlt_batch *batch, int layer, const float *x_in,
                    float *x_out, tlt_slot *slot);

/* head.c. x: output of the last layer. */
void tlt_head_hidden(tlt_trainer *t, const float *x, int targets);
/* Log-probabilities, lse and entropy (may be NULL) of all targets. */
void tlt_head_logprobs(tlt_trainer *t, int targets, float temperature, float *entropy);
/* Gradients of the head and of the final norm, from t->dlogp; leaves t->dx. With score, the pass
 * also computes logp, lse and entropy; otherwise lse is taken as given and, where the targets fit
 * one chunk, the logits too. */
void tlt_head_backward(tlt_trainer *t, int rows, int targets, float temperature, bool score,
                       float *entropy);

/* backward_layer.c: t->dx from gradient of x_out to gradient of x_in. */
void tlt_backward_layer(tlt_trainer *t, const tlt_batch *batch, int layer, const tlt_slot *slot);
/* Its first half: t->dx [rows][H] from gradient of x_out to gradient of x_mid, t->dy = act of that;
 * with an input norm also t->h1 and t->inv from x_in (else it may be NULL). */
void tlt_backward_mlp(tlt_trainer *t, int layer, int rows, const tlt_slot *slot, const float *x_in);

/* backward_common.c: dX = dY W (skipped when dx is NULL) and site += dY^T X (skipped when site is
 * NULL) in one parallel run. */
void tlt_backward_gemm(tlt_trainer *t, const tlt_packed *w, tlt_site *site, const void *dy,
                       size_t ld_dy, const void *x, size_t ldx, int rows, float *dx, size_t ld_dx);
/* Sum partial[block][offset .. offset+n-1] over blocks in order and add it to the site. stride:
 * floats per block. */
void tlt_backward_partials(tlt_trainer *t, tlt_site *site, const float *partial, int blocks,
                           size_t stride);
/* Run attention's backward over the items in pieces of keys, so that no item takes long; with key0
 * and key1 in *range. longest: rows of the longest sequence. */
typedef struct tlt_key_range {
  int key0, key1; /* of a sequence: up to its own end */
} tlt_key_range;
void tlt_backward_keys(tlt_trainer *t, tlt_key_range *range, int longest, tlt_pool_task task,
                       void *context, int64_t items);
/* Say, before anything is added, that the accumulators are no longer clear. */
void tlt_touch(tlt_trainer *t);
/* Account one added partial. */
void tlt_site_note(tlt_site *site, float max, bool bad);
/* The same from what all threads saw, which is reset. */
void tlt_site_collect(tlt_trainer *t, tlt_site *site);
/* embedding rows: t->dx added by token. */
void tlt_backward_embedding(tlt_trainer *t, const tlt_batch *batch);

#endif
