/* The passes of one micro-batch in order: forward, head and loss, backward. */
#include <string.h>

#include "base/mem.h"
#include "train/loss.h"
#include "train/trainer_internal.h"

static tlt_status abandoned(tlt_err *err) {
  return tlt_fail(err, TLT_ESTOPPED, "work abandoned");
}

tlt_status tlt_trainer_logprobs(tlt_trainer *t, const tlt_micro *m, float *logp, tlt_err *err) {
  tlt_batch batch;
  int n;
  tlt_status status = tlt_micro_prepare(t, m, &batch, &n, err);
  if (status || !n) return status;
  tlt_alloc_guard_begin();
  tlt_pass_forward(t, &batch, false);
  tlt_head_hidden(t, t->x, n);
  tlt_head_logprobs(t, n, m->temperature, NULL);
  tlt_alloc_guard_end();
  if (tlt_pool_abandoned(t->pool)) return abandoned(err);
  memcpy(logp, t->logp, (size_t)n * sizeof *logp);
  return TLT_OK;
}

/* The product's guarantee: rollout log-probabilities are training's, bit for bit. */
static tlt_status check_known(const tlt_trainer *t, const tlt_micro *m, const float *known,
                              tlt_err *err) {
  int i = 0;
  for (int s = 0; s < m->n_samples; s++) {
    for (int32_t p = m->cu[s] + m->prompt[s]; p < m->cu[s + 1]; p++, i++)
      if (memcmp(&known[i], &t->logp[i], sizeof *known) != 0)
        return tlt_fail(err, TLT_EINTERNAL,
                        "rollout/training mismatch: sample %d position %d: got "
                        "log-probability %.9g, expected %.9g",
                        s, p - m->cu[s], (double)known[i], (double)t->logp[i]);
  }
  return TLT_OK;
}

static bool all_zero(const float *x, int n) {
  for (int i = 0; i < n; i++)
    if (!(x[i] == 0)) return false;
  return true;
}

/* Layers from the last to the first. A layer that kept nothing is run again from its x_in, into a
 * slot that a later layer no longer needs; its x_out lands where it was. */
static void backward_layers(tlt_trainer *t, const tlt_batch *batch) {
  int first_kept = t->dim.layers - t->slots;
  for (int l = t->dim.layers - 1; l >= 0 && !tlt_pool_abandoned(t->pool); l--) {
    tlt_slot *slot = &t->slot[l >= first_kept ? l - first_kept : 0];
    if (l < first_kept) tlt_pass_layer(t, batch, l, tlt_x_at(t, l), tlt_x_at(t, l + 1), slot);
    tlt_backward_layer(t, batch, l, slot);
  }
  tlt_backward_embedding(t, batch);
}

/* Losses whose gradient does not wait for this forward's log-probabilities need one pass over the
 * head; the others a first one for those. A gradient of exact zeros adds nothing and is skipped. */
static void head_and_loss(tlt_trainer *t, const tlt_micro *m, const tlt_batch *batch, int n,
                          tlt_loss_fn loss, void *context, const float *known, float *entropy) {
  bool early = known || loss == tlt_loss_sft;
  tlt_head_hidden(t, tlt_x_at(t, t->dim.layers), n);
  if (!early) tlt_head_logprobs(t, n, m->temperature, entropy);
  if (tlt_pool_abandoned(t->pool)) return; /* the loss must not see what is not there */
  tlt_alloc_guard_end();
  if (loss == tlt_loss_sft) tlt_loss_sft(NULL, m, n, NULL, t->dlogp);
  else loss(context, m, n, known ? known : t->logp, t->dlogp);
  tlt_alloc_guard_begin();
  if (!all_zero(t->dlogp, n)) {
    tlt_touch(t);
    tlt_head_backward(t, batch->n_rows, n, m->temperature, early, entropy);
    backward_layers(t, batch);
  } else if (early) {
    tlt_head_logprobs(t, n, m->temperature, entropy);
  }
  if (loss == tlt_loss_sft && !tlt_pool_abandoned(t->pool)) tlt_loss_sft(context, m, n, t->logp, t->dlogp);
}

tlt_status tlt_trainer_accumulate(tlt_trainer *t, const tlt_micro *m, tlt_loss_fn loss,
                                  void *context, const float *logp_known, float *logp_out,
                                  float *entropy_out, tlt_err *err) {
  if (t->forward_only) return tlt_fail(err, TLT_EINTERNAL, "this trainer has no gradients");
  tlt_batch batch;
  int n;
  tlt_status status = tlt_micro_prepare(t, m, &batch, &n, err);
  if (status || !n) return status;
  tlt_alloc_guard_begin();
  tlt_pass_forward(t, &batch, true);
  head_and_loss(t, m, &batch, n, loss, context, logp_known, entropy_out);
  tlt_alloc_guard_end();
  if (tlt_pool_abandoned(t->pool)) return abandoned(err);
  if (logp_out) memcpy(logp_out, t->logp, (size_t)n * sizeof *logp_out);
  return logp_known ? check_known(t, m, logp_known, err) : TLT_OK;
}
