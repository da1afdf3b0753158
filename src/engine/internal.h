/* State of the engine and the parts of a step. One thread owns all of it. */
#ifndef TLT_ENGINE_INTERNAL_H
#define TLT_ENGINE_INTERNAL_H

#include "engine/blocks.h"
#include "engine/request.h"
#include "model/model.h"

enum { TLT__LOGIT_ROWS = 64 }; /* rows of the LM head at once: bounds the logits buffer */

/* A sample being decoded. It waits for its prompt while n_tokens is 0; then token n_tokens - 1 is
 * the input of its next row. Blocks: the prompt's full ones (shared), then its own. */
typedef struct tlt_slot {
  tlt_queued *req; /* NULL: free */
  uint32_t sample;
  int n_tokens;
  int n_blocks, reserved;
  int32_t *block; /* [ceil(max_positions / 16)] */
  int32_t *token; /* [max_positions] */
  float *logprob; /* [max_positions] */
  int16_t stop_state[TLT__MAX_STOPS];
  tlt_finish finish;
  bool by_eos;
} tlt_slot;

/* A token to draw in this step: slot from logits row `row`; rows ascend. */
typedef struct tlt_pick {
  int slot, row;
} tlt_pick;

struct tlt_engine {
  tlt_model *model;
  const tlt_tokenizer *tokenizer;
  tlt_engine_options o;
  int prefill_rows; /* prompt rows per step, all sequences together */
  tlt_forward forward;
  tlt_workspace ws;
  tlt_blocks blocks;
  tlt_slot *slot; /* [batch] */
  int used_slots;
  void *slot_memory;
  size_t slot_bytes;

  tlt_queued *first, *last; /* all requests, oldest first */
  tlt_queued *admitting;    /* the oldest with samples that have no slot; NULL: none */
  int queued;               /* samples without a slot */

  /* the current step */
  tlt_batch batch;
  int32_t *token;       /* [rows] */
  tlt_seq_rows *seq;    /* [2 batch] */
  tlt_queued **prefill; /* [batch] owners of sequences n_decode .. n_seqs-1 */
  int n_decode, n_prefill_rows;
  tlt_pick *pick; /* [batch] */
  int n_picks;
  tlt_queued **first_draw; /* [batch] owners of logits rows n_decode .. n_logit_rows-1 */
  int n_logit_rows;
  int row0;      /* logits row that is row 0 of the buffers */
  void *hidden;  /* act [TLT__LOGIT_ROWS][stride H] */
  float *logits; /* [TLT__LOGIT_ROWS][V] */

  bool has_sink;
  tlt_hidden_sink sink;
  tlt_hidden_row *hidden_row; /* [rows] */
  tlt_engine_stats stats;
};

static inline size_t tlt__hidden_bytes(const tlt_engine *e) {
  return tlt_act_stride((size_t)e->model->weights->config.hidden) * e->model->kernels->act_size;
}

/* schedule.c: give slots and blocks to queued samples; choose the rows of a step; release. */
void tlt__admit(tlt_engine *e);
void tlt__plan_rows(tlt_engine *e);
void tlt__plan_picks(tlt_engine *e);
void tlt__fork(tlt_engine *e, tlt_slot *s);    /* after the first token: own tail of the prompt */
void tlt__release(tlt_engine *e, tlt_slot *s); /* and its request with the last sample */
void tlt__drop_request(tlt_engine *e, tlt_queued *q);

/* run.c: the forward over the planned rows; logits and draws. */
void tlt__run_forward(tlt_engine *e);
tlt_status tlt__draw(tlt_engine *e, tlt_err *err);

#endif
