/* State of drafter training, shared by train/drafter*.c.
 *
 * Letters as in trainer_internal.h; R rows are the tokens of a micro-batch, C chains its rows with
 * a loss. Step 1 runs fc and q, k, v for all R rows, since prompts feed attention, and the rest for
 * the C rows where chains start; steps 2 .. J run C rows, row c always belonging to chain c. A
 * chain whose step j has no label runs that step all the same, with a loss of exactly 0.
 *
 * Attention of step j (row-wise flash attention, Dao et al. 2022): the queries of all chains
 * against the step-1 keys, an ordinary causal attention, merged by log-sum-exp with the few keys of
 * the own chain. The backward of the first part is the ordinary one too, given the merged lse and
 * output. */
#ifndef TLT_TRAIN_DRAFTER_INTERNAL_H
#define TLT_TRAIN_DRAFTER_INTERNAL_H

#include "train/drafter.h"
#include "train/trainer_internal.h"

/* A sample's rows and chains; chain c starts at row first_row + prompt - 1 + (c - first_chain). */
typedef struct tlt_draft_sample {
  int first_row, rows;
  int first_chain, chains;
  int start; /* row of the first chain, counted from first_row: prompt - 1 */
  int first_block;
} tlt_draft_sample;

/* What one step keeps for its backward; n = R in step 1, C after it. slot.kv has n rows (roped
 * keys, values), the rest of slot C rows. */
typedef struct tlt_draft_step {
  void *pair; /* act [n][2 H] input of fc */
  void *h1;   /* act [n][H] its output */
  tlt_slot slot;
  float *dout; /* [C][H] gradient of the loss by this step's output */
  float *dkv;  /* [n][2 kv_heads D] gradient of slot.kv, summed over steps */
} tlt_draft_step;

/* Statistics of one row; zero where the row has no label. */
typedef struct tlt_draft_row {
  float hidden, token, overlap, top_p;
  int agree;
} tlt_draft_row;

struct tlt_drafter_trainer {
  tlt_trainer base; /* of d->weights: optimizer, sites and workspace of the one layer; what belongs
                       to embedding, LM head and micro-batches of the target is unset */
  tlt_drafter *d;
  tlt_drafter_options o;
  int max_hot, max_steps;
  tlt_site *fc;
  double weight; /* sum of step weights of the rows accumulated */

  /* one micro-batch */
  tlt_draft_micro micro;
  tlt_draft_sample *sample; /* [R] */
  int rows, chains;
  bool train;           /* with gradients */
  int steps;            /* of this micro-batch */
  tlt_draft_stats sums; /* of this micro-batch */
  int32_t *row_sample;  /* [R] */
  int32_t *chain_row;   /* [C] */
  int32_t *chain_steps; /* [C] steps with a label, at most J */

  tlt_draft_step step[TLT_UNROLL_MAX];

  /* workspace */
  float *x;       /* [R][H] output of fc */
  float *x_out;   /* [C][H] */
  void *out;      /* act [C][H] */
  void *label;    /* act [C][H] hidden state that step 1 of each chain predicts; that of step j is
                     j - 1 chains further */
  float *teacher; /* [C][hot] p of the same */
  float *entropy; /* [C] of p */
  int32_t *top;   /* [C] argmax of p */
  float *logits;  /* [chunk][hot] */
  void *dlogits;  /* act [chunk][hot] */
  float *dpair;   /* [C][2 H] gradient of the input of the step after this one */
  tlt_draft_row *row; /* [C] */
  /* the causal part of attention's backward wants queries at their positions: [R] rows */
  void *q_rows, *ctx_rows;   /* act [R][Q] */
  float *lse_rows;           /* [R][heads] */
  float *dctx_rows;          /* [R][Q] */
  float *dq_rows, *dkv_rows; /* [R][Q], [R][2 kv_heads D] */
};

static inline int tlt_draft_rows(const tlt_drafter_trainer *t, int step) {
  return step ? t->chains : t->rows;
}

/* Sample of chain c. */
static inline const tlt_draft_sample *tlt_chain_sample(const tlt_drafter_trainer *t, int c) {
  return &t->sample[t->row_sample[t->chain_row[c]]];
}

/* Chain that starts at a row, or -1. */
static inline int tlt_chain_of_row(const tlt_drafter_trainer *t, int row) {
  const tlt_draft_sample *s = &t->sample[t->row_sample[row]];
  int i = row - s->first_row - s->start;
  return i >= 0 && i < s->chains ? s->first_chain + i : -1;
}

/* Position of a row of step j = step + 1. */
static inline int tlt_draft_position(const tlt_drafter_trainer *t, int step, int row) {
  int at = step ? t->chain_row[row] : row;
  return at - t->sample[t->row_sample[at]].first_row + step;
}

/* Run task over blocks of TLT_ROW_BLOCK rows; tlt_draft_block gives the rows of a block. */
typedef struct tlt_draft_job {
  tlt_drafter_trainer *t;
  int step, rows, first; /* first: of a chunk of chains */
  tlt_key_range keys;    /* of attention's backward */
} tlt_draft_job;

typedef struct tlt_draft_range {
  int first, end;
} tlt_draft_range;

static inline tlt_draft_range tlt_draft_block(const tlt_draft_job *j, int64_t block) {
  int first = (int)block * TLT_ROW_BLOCK, end = first + TLT_ROW_BLOCK;
  return (tlt_draft_range){first, end < j->rows ? end : j->rows};
}

static inline void tlt_draft_run(tlt_draft_job *j, tlt_pool_task task) {
  tlt_pool_run(j->t->base.pool, task, j, tlt_row_blocks(j->rows));
}

/* drafter_micro.c: check a micro-batch and lay it out. */
tlt_status tlt_draft_prepare(tlt_drafter_trainer *t, const tlt_draft_micro *m, tlt_err *err);

/* drafter_memory.c: carve everything (base.region NULL: count); bytes. */
size_t tlt_draft_carve(tlt_drafter_trainer *t);

/* Every pass is a sequence of phases, each a few parallel runs, that leave the state in t: step is
 * 0 .. J-1. */
typedef void (*tlt_draft_phase)(tlt_drafter_trainer *t, int step);

/* drafter_forward.c */
void tlt_draft_input(tlt_drafter_trainer *t, int step); /* pair, fc, h1 */
void tlt_draft_qkv(tlt_drafter_trainer *t, int step);   /* q, k, v, rope, KV blocks */
void tlt_draft_after_attention(tlt_drafter_trainer *t, int step);
void tlt_draft_mlp(tlt_drafter_trainer *t, int step); /* x_out, out */

/* drafter_attention.c. The backward starts from base.dh = dctx [C][Q]; it fills the query part of
 * base.qkv [C][N] and adds to dkv of this and all earlier steps. */
void tlt_draft_attention(tlt_drafter_trainer *t, int step);
void tlt_draft_attention_backward(tlt_drafter_trainer *t, int step);

/* drafter_loss.c: teacher probabilities of the micro-batch (step is ignored); losses, statistics
 * and dout of a step. */
void tlt_draft_teacher(tlt_drafter_trainer *t, int step);
void tlt_draft_loss(tlt_drafter_trainer *t, int step);

/* drafter_backward.c */
void tlt_draft_backward_mlp(tlt_drafter_trainer *t, int step);
void tlt_draft_backward_attention(tlt_drafter_trainer *t, int step);
void tlt_draft_backward_input(tlt_drafter_trainer *t, int step);

#endif
