/* State of the engine and the parts of a step. One thread owns all of it. */
#ifndef TLT_ENGINE_INTERNAL_H
#define TLT_ENGINE_INTERNAL_H

#include "engine/blocks.h"
#include "engine/request.h"
#include "engine/speculate.h"
#include "model/model.h"

enum { TLT__LOGIT_ROWS = 64 }; /* rows of the LM head at once: bounds the logits buffer */

/* The draft of a slot in this step as rows: node 0 is the last token, node 1 + i that of the draft.
 */
typedef struct tlt_slot_draft {
  tlt_draft draft;
  int16_t parent[TLT_DRAFT_MAX + 1], depth[TLT_DRAFT_MAX + 1];
  tlt_tree_rows rows;
  bool straight;                 /* every node follows the one before it */
  int16_t path[TLT_DRAFT_DEPTH]; /* nodes of the draft that were drawn */
  int n_path;
} tlt_slot_draft;

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
  bool opened; /* the speculator knows it */
  bool broken; /* a log-probability was not finite */
} tlt_slot;

/* Tokens to draw in this step: of a slot, from `rows` logits rows (the last token's and those of
 * its draft) from `row` on; rows ascend, and samples of one prompt share the row of their first
 * token. */
typedef struct tlt_pick {
  int slot, row, rows;
  int before; /* tokens that the slot had */
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
  int32_t *token;                            /* [rows] */
  tlt_seq_rows *seq;                         /* [2 batch] */
  tlt_queued **prefill;                      /* [batch] owners of sequences n_decode .. n_seqs-1 */
  int n_decode, decode_rows, n_prefill_rows; /* decode_rows: of n_decode sequences with drafts */
  tlt_pick *pick;                            /* [batch] */
  int n_picks, first_pick; /* first_pick: of those whose logits are in the buffer */
  tlt_queued **first_draw; /* [batch] owners of logits rows decode_rows .. n_logit_rows-1 */
  int n_logit_rows;
  int row0;      /* logits row that is row 0 of the buffers: < decode_rows are rows of the batch */
  void *hidden;  /* act [TLT__LOGIT_ROWS][stride H] */
  float *logits; /* [TLT__LOGIT_ROWS][V] */

  tlt_slot_draft *draft;        /* [batch], NULL without draft_rows; as the next two */
  tlt_spec_seq *spec_seq;       /* [batch] */
  tlt_spec_result *spec_result; /* [batch] */
  bool has_spec;
  bool drafting; /* the speculator is awake in this step: e->draft is of this step */
  tlt_speculator spec;

  bool has_sink;
  tlt_hidden_sink sink;
  tlt_hidden_row *hidden_row; /* [rows] */
  float *tapped; /* [TLT_MAX_TAPS][batch + draft_rows][H]: decode rows until they are verified */
  size_t tapped_bytes;
  tlt_engine_stats stats;
};

static inline size_t tlt__hidden_bytes(const tlt_engine *e) {
  return tlt_act_stride((size_t)e->model->weights->config.hidden) * e->model->kernels->act_size;
}

/* Final hidden state of a row of the step, from tlt__run_forward to the next one. */
static inline unsigned char *tlt__final_row(const tlt_engine *e, int row) {
  return (unsigned char *)e->ws.io.h1 + (size_t)row * tlt__hidden_bytes(e);
}

/* Tokens that a running sample may still draw; >= 1. */
static inline int tlt__tokens_left(const tlt_engine *e, const tlt_slot *s) {
  int tokens = s->req->max_tokens - s->n_tokens;
  int positions = e->o.max_positions - s->req->n_prompt - s->n_tokens;
  return tokens < positions ? tokens : positions;
}

/* Draft nodes that fit behind the last token into the blocks that a running sample has or reserved:
 * at least tokens_left - 1. */
static inline int tlt__most_nodes(const tlt_slot *s) {
  const tlt_queued *q = s->req;
  int slots = (q->n_prompt / TLT_KV_BLOCK + q->own_blocks) * TLT_KV_BLOCK;
  int nodes = slots - q->n_prompt - s->n_tokens;
  return nodes < TLT_DRAFT_MAX ? nodes : TLT_DRAFT_MAX;
}

/* schedule.c: give slots and blocks to queued samples; choose the rows of a step; release. */
void tlt__admit(tlt_engine *e);
void tlt__plan_rows(tlt_engine *e);
void tlt__plan_picks(tlt_engine *e);
void tlt__fork(tlt_engine *e, tlt_slot *s);    /* after the first token: own tail of the prompt */
void tlt__release(tlt_engine *e, tlt_slot *s); /* and its request with the last sample */
void tlt__drop_request(tlt_engine *e, tlt_queued *q);

int tlt__prefill_rows(const tlt_engine *e); /* prompt rows that tlt__plan_rows will choose */

/* run.c: the forward over the planned rows, and hidden states for those who want them: prompt rows
 * at once, decode rows too unless they have to be verified. */
void tlt__run_forward(tlt_engine *e);
void tlt__put_verified(tlt_engine *e);

/* draw.c: logits and draws; on the way drafts are verified, and KV of what was accepted is moved to
 * where it belongs. */
tlt_status tlt__draw(tlt_engine *e, tlt_err *err);

/* speculate.c: the speculator's side. Each does nothing where there is none. */
void tlt__spec_group_open(tlt_engine *e, tlt_queued *q);
void tlt__spec_group_close(tlt_engine *e, tlt_queued *q);
void tlt__spec_close(tlt_engine *e, tlt_slot *s, tlt_finish finish);
void tlt__spec_propose(tlt_engine *e);                   /* leaves rows in e->draft */
void tlt__spec_step_done(tlt_engine *e, double seconds); /* verified, prompt, open */

#endif
