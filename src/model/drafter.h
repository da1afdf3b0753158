/* The learned drafter: EAGLE-1 form (formats.md; Li et al. 2024, arXiv 2401.15077).
 *
 *   x_t = fc(concat(embed(token_{t+1}), h_t));  one decoder layer without input norm;
 *   output = residual sum = prediction of h_{t+1};  target's LM head applied directly.
 *
 * h_t is the target's hidden state after the final norm at position t, or the drafter's own output
 * when it drafts further. Position ids are t. Embedding and LM head are the target's. Only a slice
 * of the LM head, the hot tokens, is computed when drafting.
 *
 * On disk: a directory with config.json and model.safetensors (bare tensor names, bf16) that vLLM
 * and SGLang load as it is, and hot_tokens.json, which they ignore:
 * {"hot_tokens": [ids ascending], "target": {"hidden_size": H, "vocab_size": V}}. */
#ifndef TLT_MODEL_DRAFTER_H
#define TLT_MODEL_DRAFTER_H

#include "model/forward.h"
#include "model/model.h"
#include "model/weights.h"

enum { TLT_HOT_DEFAULT = 4096 };

/* weights.config is that of the one layer (llama form, layers = 1, no bias, no QK-norm; heads,
 * head_dim and rope settings of the target). weights.layer[0].norm1 is NULL: identity.
 * weights.embed is the target's matrix, shared; weights.head and final_norm are unset.
 * weights.param lists fc.weight and layers.0.*: what training changes and, with fc.bias, what files
 * hold. */
typedef struct tlt_drafter {
  tlt_weights weights;
  tlt_packed fc;         /* [H][2 H], bias = fc_bias */
  float *fc_bias;        /* [H]; zero unless a file brought one; not trained */
  tlt_param *file_param; /* fc.bias, then weights.param */
  int n_hot;
  int32_t *hot;        /* [n_hot] ascending */
  tlt_packed hot_head; /* [n_hot][H] rows of the target's LM head */
  void *hot_memory;    /* of the two above */
} tlt_drafter;

/* Weights to start from: random as tlt_weights_init, identities added to both halves of fc; hot
 * tokens 0 .. min(V, TLT_HOT_DEFAULT) - 1. inter: width of the MLP, 0: the target's. The target's
 * matrices are shared: it must outlive the drafter. */
tlt_status tlt_drafter_create(const tlt_weights *target, int inter, uint32_t seed,
                              tlt_drafter **out, tlt_err *err);

/* Read a directory, or the newest of a run's drafter/ (LATEST). Wrong hidden size, vocabulary, head
 * shape, tensor set or shape, or damage: TLT_EDATA with file, field or tensor, what it has and what
 * the target needs. Rope settings, norm epsilon and MLP width are the file's own.
 * embed_tokens.weight and lm_head.weight may be there and are passed over: embedding and head are
 * the target's. Without hot_tokens.json the first TLT_HOT_DEFAULT ids are hot. */
tlt_status tlt_drafter_load(const char *dir, const tlt_weights *target, tlt_pool *pool,
                            tlt_drafter **out, tlt_err *err);

/* Publish as a directory, file by file atomically. fc.bias is always written: a loader that expects
 * one (SGLang) must not leave it random, one that has none (vLLM) passes over it. */
tlt_status tlt_drafter_save(const tlt_drafter *d, const char *dir, tlt_err *err);
void tlt_drafter_free(tlt_drafter *d); /* NULL is harmless */

/* A drafter of the same weights and hot tokens. from's matrices and those of the target that they
 * share must outlive it. */
tlt_status tlt_drafter_copy(const tlt_drafter *from, const tlt_weights *target, tlt_drafter **out,
                            tlt_err *err);
/* Take over the weights and hot tokens of a drafter of the same shape; false, and nothing changed,
 * where shape or number of hot tokens differ or memory is short. */
bool tlt_drafter_assign(tlt_drafter *d, const tlt_drafter *from, const tlt_weights *target);

/* hot [n] ascending, distinct, inside the vocabulary. Copies the head rows. */
tlt_status tlt_drafter_set_hot(tlt_drafter *d, const tlt_weights *target, const int32_t *hot, int n,
                               tlt_err *err);
/* Copy the hot rows of the target's LM head again, after the target changed. */
void tlt_drafter_refresh(tlt_drafter *d, const tlt_weights *target);

/* ---- Forward ---- */

/* State of drafting. Not thread-safe: one caller. */
typedef struct tlt_draft_forward {
  const tlt_drafter *d;
  tlt_forward forward; /* over d->weights: rope table, scratch, attention */
  tlt_workspace ws;
  void *pair; /* act [rows][2 H] input of fc */
  int max_rows;
} tlt_draft_forward;

size_t tlt_draft_forward_bytes(const tlt_drafter *d, const tlt_kernels *k, int threads,
                               int max_rows, int max_positions);
tlt_status tlt_draft_forward_init(tlt_draft_forward *f, const tlt_drafter *d, const tlt_kernels *k,
                                  tlt_pool *pool, int max_rows, int max_positions, tlt_err *err);
void tlt_draft_forward_deinit(tlt_draft_forward *f);

/* One pass. b->token[r] is token_{t+1} of row r, whose position t and KV come from b->seq (tree
 * rows allowed; layout f->forward.kv); hidden[r] points to act [H]: h_t. out: act rows
 * [R][stride H], predicted h_{t+1}; it may hold the hidden states of later passes. */
void tlt_draft_forward_run(tlt_draft_forward *f, const tlt_batch *b, const void *const *hidden,
                           void *out);
/* logits fp32 [rows][n_hot] of output rows. */
void tlt_draft_forward_logits(tlt_draft_forward *f, const void *hidden, int rows, float *logits);

#endif
