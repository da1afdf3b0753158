/* Training of the learned drafter (model/drafter.h) from what the target left behind: the tokens of
 * its answers and its hidden states after the final norm.
 *
 * Step 1 of row t reads token t+1 and the target's hidden state h_t; its output o_t predicts
 * h_{t+1}. Step j of a chain that starts at row s reads token s+j and the drafter's own output of
 * step j-1; its row stands at position s+j-1 and attends to the step-1 keys of positions 0 .. s and
 * to the keys of steps 2 .. j of its own chain: what happens when the drafter drafts j deep behind
 * position s. Gradients flow through all steps.
 *
 * Loss of a row of step j, decay^(j-1) times
 *   w_hidden * mean over H of smooth-L1(o, h) (beta 1)
 *   + w_token * soft cross-entropy over the hot tokens, -sum p ln q,
 * p = softmax(head(h) / T), q = softmax(head(o) / T), h the target's hidden state that o predicts.
 * Embedding and LM head are the target's and stay as they are (EAGLE: Li et al. 2024,
 * arXiv 2401.15077; training on own outputs: HASS, Zhang et al. 2024, arXiv 2408.15766).
 *
 * Same determinism as trainer.h: a micro-batch's gradient depends only on that micro-batch and on
 * the weights, and is added as int64. One caller at a time. */
#ifndef TLT_TRAIN_DRAFTER_H
#define TLT_TRAIN_DRAFTER_H

#include "model/drafter.h"
#include "train/trainer.h"

enum { TLT_UNROLL_MAX = 8 };

typedef struct tlt_drafter_trainer tlt_drafter_trainer;

typedef struct tlt_drafter_options {
  int micro_tokens; /* most tokens of a micro-batch unless one sample is longer */
  int max_sample;   /* longest sample */
  int max_hot;      /* most hot tokens the drafter will have; 0: as many as it has now */
  int unroll;       /* J: 1 .. TLT_UNROLL_MAX steps that are trained */
  int eval_unroll;  /* steps that an evaluation looks at; below unroll: as many as are trained */
  float decay;      /* of the weight from step to step */
  float hidden_weight, token_weight; /* a weight of 0 leaves that loss out of gradient and cost,
                                        not out of the statistics */
} tlt_drafter_options;

/* The defaults, chosen by measurement (docs/performance.md); micro_tokens 1024. */
tlt_drafter_options tlt_drafter_options_default(int max_sample);

/* Bytes beside the drafter: per trainable weight 20 (master, moments, accumulator), activations of
 * all steps, teacher probabilities of a micro-batch. */
size_t tlt_drafter_trainer_bytes(const tlt_drafter *d, const tlt_kernels *k,
                                 const tlt_drafter_options *o, int threads);

/* Borrows d (whose weights it will change), kernels and pool. The hot rows of d may change between
 * calls. Errors: TLT_EUSAGE for impossible options, TLT_ENOMEM. */
tlt_status tlt_drafter_trainer_create(tlt_drafter *d, const tlt_kernels *k, tlt_pool *pool,
                                      const tlt_drafter_options *o, tlt_drafter_trainer **out,
                                      tlt_err *err);
void tlt_drafter_trainer_free(tlt_drafter_trainer *t); /* NULL is harmless */

/* ---- micro-batches --------------------------------------------------------------------------- */

/* Packed samples without padding. Sample s has N = cu[s+1] - cu[s] tokens and as many hidden
 * states: those tokens that the target has read. (The last token of an answer is drawn, never read,
 * and has no place here.) Chains start at rows prompt[s] - 1 .. N - 2; earlier rows only feed
 * attention. */
typedef struct tlt_draft_micro {
  int n_samples;
  const int32_t *tokens;     /* [cu[n_samples]] */
  const int32_t *cu;         /* [n_samples + 1] */
  const int32_t *prompt;     /* [n_samples] >= 1 */
  const void *const *hidden; /* [n_samples] act rows [N][tlt_act_stride(H)], after the final norm */
  float temperature;         /* of the rollout; below 1e-3: 1 */
} tlt_draft_micro;

/* Sums over the rows of step j + 1; divide by rows[j]. Calls add to them. */
typedef struct tlt_draft_stats {
  int64_t rows[TLT_UNROLL_MAX];
  double hidden[TLT_UNROLL_MAX];  /* smooth-L1, mean over H */
  double token[TLT_UNROLL_MAX];   /* soft cross-entropy, nats */
  double entropy[TLT_UNROLL_MAX]; /* of the teacher: what the cross-entropy cannot go below */
  double overlap[TLT_UNROLL_MAX]; /* sum over hot v of min(p, q) */
  double agree[TLT_UNROLL_MAX];   /* 1 where argmax p = argmax q */
  double top_p[TLT_UNROLL_MAX];   /* p of argmax q: acceptance of an uncoupled argmax draft */
} tlt_draft_stats;

/* Tokens per target step that a chain of guesses would give: 1 + a_1 + a_1 a_2 + ..., a_j the mean
 * of sum min(p, q) at step j: the most that exact drafting with one guess per place can reach. */
double tlt_drafter_chain_length(const tlt_draft_stats *s, int steps);

/* Mean loss of the rows of s, as o trains it. */
double tlt_drafter_mean_loss(const tlt_drafter_options *o, const tlt_draft_stats *s);

/* Forward, losses, backward; gradients added. stats may be NULL. Errors: TLT_EDATA for tokens
 * outside the vocabulary, too many of them, impossible offsets, more hot tokens than max_hot;
 * nothing added. NaN and overflow are reported by tlt_drafter_trainer_step. */
tlt_status tlt_drafter_trainer_accumulate(tlt_drafter_trainer *t, const tlt_draft_micro *m,
                                          tlt_draft_stats *stats, tlt_err *err);

/* Forward and statistics only: for samples that are held back. */
tlt_status tlt_drafter_trainer_evaluate(tlt_drafter_trainer *t, const tlt_draft_micro *m,
                                        tlt_draft_stats *stats, tlt_err *err);

/* ---- optimizer ------------------------------------------------------------------------------- */

/* tlt_trainer_step with the gradient of the mean loss: accumulated / sum over rows of their step's
 * weight decay^(j-1). A NaN, infinity or overflow changes nothing and sets result->skipped. */
tlt_status tlt_drafter_trainer_step(tlt_drafter_trainer *t, const tlt_adamw *how,
                                    tlt_step_result *result, tlt_err *err);

/* Drop accumulated gradients. */
void tlt_drafter_trainer_clear(tlt_drafter_trainer *t);

/* The trainer of the drafter's own parameters (d->weights.param), for state and tests:
 * tlt_trainer_masters, _moment1, _moment2, _elements, _steps, _restored, _sha256 and _gradient of
 * trainer.h; no other function applies to it. Belongs to t. */
tlt_trainer *tlt_drafter_trainer_state(tlt_drafter_trainer *t);

#endif
