/* Exact training of the target: forward with stored activations, backward, int64 fixed-point
 * gradients, fp32 masters, AdamW.
 *
 * Determinism: a micro-batch's partial gradients depend only on that micro-batch; they are added in
 * int64 units of 2^-40, so order, threads and workers cannot matter. Gradients are accumulated
 * unnormalised and scaled once in fp32, before clipping.
 *
 * Memory per parameter: 2 (bf16 compute) + 4 (master) + 8 (moments) + 8 (accumulator) = 22 bytes.
 *
 * Several processes of one host may train one copy of all that (tlt_team): each has a trainer with
 * activations of its own, all add into the same accumulators at the same time, and the step is
 * divided among them. Functions marked collective are called by every process of the team, in the
 * same order and with the same arguments; they begin and end with a barrier, so what any process
 * wrote before is seen by all, and have the same outcome in all. Without a team, or in one of a
 * single process, they are ordinary functions and the barriers nothing.
 *
 * A paused pool (base/pool.h) pauses these functions too; when its work is abandoned, those on
 * micro-batches return TLT_ESTOPPED and leave a part of the gradient (clear it). */
#ifndef TLT_TRAIN_TRAINER_H
#define TLT_TRAIN_TRAINER_H

#include "base/pool.h"
#include "base/team.h"
#include "kernels/backward.h"
#include "model/weights.h"

typedef struct tlt_trainer tlt_trainer;

typedef struct tlt_trainer_options {
  int micro_tokens;     /* most tokens of a micro-batch unless one sample is longer */
  int max_sample;       /* longest sample (prompt + answer) */
  size_t activation_mb; /* budget for stored activations; decides only what is recomputed */
  bool forward_only;    /* log-probabilities only (scoring, KL reference): no optimizer state,
                           nothing collective */
  const tlt_team *team; /* that shares w; outlives the trainer. NULL: this process is alone */
} tlt_trainer_options;

/* Bytes that a trainer will take beside the weights. */
size_t tlt_trainer_bytes(const tlt_weights *w, const tlt_kernels *k, const tlt_trainer_options *o,
                         int threads);
/* The part of them that a team has once: n processes of a host take n (bytes - host_bytes) +
 * host_bytes. */
size_t tlt_trainer_host_bytes(const tlt_weights *w, const tlt_kernels *k,
                              const tlt_trainer_options *o);

/* Borrows w (whose compute values it will change), kernels and pool. Masters start as the compute
 * values (bf16 exactly), moments zero. Collective: fails on all or none; w must be shared by the
 * same team when that has more than one process. */
tlt_status tlt_trainer_create(tlt_weights *w, const tlt_kernels *k, tlt_pool *pool,
                              const tlt_trainer_options *o, tlt_trainer **out, tlt_err *err);
void tlt_trainer_free(tlt_trainer *t); /* not collective; NULL is harmless */

/* ---- micro-batches --------------------------------------------------------------------------- */

/* Packed samples. Sample s has tokens[cu[s] .. cu[s+1]-1]; its first prompt[s] >= 1 tokens are
 * given, the rest are targets: target j (0-based) is predicted by the row before it. */
typedef struct tlt_micro {
  int n_samples;
  const int32_t *tokens; /* [cu[n_samples]] */
  const int32_t *cu;     /* [n_samples + 1] */
  const int32_t *prompt; /* [n_samples] */
  float temperature;     /* of the log-probabilities; below 1e-3: 1 */
} tlt_micro;

/* Number of target tokens; target arrays below are sample after sample. */
int tlt_micro_targets(const tlt_micro *m);

/* Gradient of the loss by each target's log-probability.
 * logp [n] this forward's log-probabilities (sample-major over ALL targets of the micro-batch);
 * dlogp [n] to fill. Called once per micro-batch with targets, from the calling thread; it must
 * not call the trainer. */
typedef void (*tlt_loss_fn)(void *context, const tlt_micro *m, int n, const float *logp,
                            float *dlogp);

/* Log-probabilities only: forward without keeping activations. logp [targets]. TLT_ESTOPPED when
 * abandoned. */
tlt_status tlt_trainer_logprobs(tlt_trainer *t, const tlt_micro *m, float *logp, tlt_err *err);

/* Forward, loss, backward; gradients added to the accumulators.
 * loss: tlt_loss_sft (train/loss.h) is known not to need log-probabilities for its gradient and is
 * called after the backward.
 * logp_known (may be NULL): log-probabilities known to be bitwise what this forward gives (rollout
 * ones before the first update); saves the first pass over the LM head. Checked all the same: a
 * difference is TLT_EINTERNAL "rollout/training mismatch" naming sample and position, after which
 * the accumulators hold a part of the gradient (clear them).
 * logp_out (may be NULL) [targets] receives the log-probabilities; entropy_out (may be NULL)
 * [targets] the entropy of softmax(logits / T) in nats.
 * Errors: TLT_EDATA for tokens outside the vocabulary, samples longer than max_sample or
 * impossible offsets, nothing added; TLT_ESTOPPED when abandoned. NaN and overflow are reported by
 * tlt_trainer_step. Other processes of a team may add at the same time. */
tlt_status tlt_trainer_accumulate(tlt_trainer *t, const tlt_micro *m, tlt_loss_fn loss,
                                  void *context, const float *logp_known, float *logp_out,
                                  float *entropy_out, tlt_err *err);

/* ---- optimizer ------------------------------------------------------------------------------- */

typedef struct tlt_adamw {
  float lr, beta1, beta2, eps, weight_decay; /* decay on matrices only, as lr * wd * master */
  float clip_norm;                           /* 0: no clipping */
} tlt_adamw;

typedef struct tlt_step_result {
  float grad_norm;    /* after scaling, before clipping */
  bool skipped;       /* NaN, infinity or overflow: no weight or moment was changed */
  char bad_param[96]; /* first bad tensor when skipped; of fused ones (q, k, v; gate, up) one */
} tlt_step_result;

/* gradient = accumulated * scale; clip; AdamW on fp32 masters (torch.optim.AdamW formula, bias
 * correction with the trainer's own step count); compute weights = bf16(master); accumulators
 * cleared, also when the step is skipped. The gradient norm is summed in double over fixed blocks
 * of 65,536 elements in tensor order. A step without any gradient still takes its optimizer step.
 * Collective: gradients of all hosts are added up (sum_hosts), each process takes its contiguous
 * share of the norm's blocks and of the update, cut at those blocks.
 * Errors: TLT_EINTERNAL for a forward-only trainer; those of the team. */
tlt_status tlt_trainer_step(tlt_trainer *t, float scale, const tlt_adamw *how,
                            tlt_step_result *result, tlt_err *err);

/* Drop accumulated gradients. Collective; only the team can fail. */
tlt_status tlt_trainer_clear(tlt_trainer *t, tlt_err *err);

/* ---- state ----------------------------------------------------------------------------------- */

/* Flat arrays of `elements` fp32 in tensor-name order: masters and moments; borrowed, for
 * checkpoints. Shared by a team: one process writes into them. After that call tlt_trainer_restored
 * with the step count. */
float *tlt_trainer_masters(tlt_trainer *t);
float *tlt_trainer_moment1(tlt_trainer *t);
float *tlt_trainer_moment2(tlt_trainer *t);
uint64_t tlt_trainer_elements(const tlt_trainer *t);
int64_t tlt_trainer_steps(const tlt_trainer *t);
/* Repacks compute weights. Collective; only the team can fail. */
tlt_status tlt_trainer_restored(tlt_trainer *t, int64_t steps, tlt_err *err);

/* Identity of the fp32 masters in tensor-name order: SHA-256 of the SHA-256s, in hexadecimal and one
 * after the other, of blocks of 2^18 elements. Not collective; between steps. Not for a
 * forward-only trainer. */
void tlt_trainer_sha256(tlt_trainer *t, char hex[65]);

/* Gradient of one parameter as fp32 (accumulator * 2^-40), for tests: [n][k]. Of this host. */
void tlt_trainer_gradient(const tlt_trainer *t, const tlt_param *p, float *to);

/* Hash of fixed GEMM, attention and backward outputs of this path on this processor: a checkpoint
 * is refused where it differs. Empty when out of memory. */
void tlt_numerics_fingerprint(const tlt_kernels *k, char hex[65]);

#endif
