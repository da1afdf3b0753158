#include "rl/gradient.h"

#include <string.h>

#include "base/mem.h"
#include "train/pack.h"

int64_t tlt_group_tokens(const tlt_group *g, int samples) {
  int64_t n = 0;
  for (int s = 0; s < samples; s++) n += g->answer[s].n_tokens;
  return n;
}

tlt_status tlt_gradient_open(tlt_gradient *w, const tlt_train_config *c, tlt_trainer *trainer,
                             tlt_trainer *reference, tlt_err *err) {
  const tlt_conf_algorithm *a = &c->algorithm;
  size_t samples = (size_t)c->rollout.samples;
  *w = (tlt_gradient){.trainer = trainer,
                      .reference = reference,
                      .loss = {.algorithm = (tlt_algorithm)a->name,
                               .mean = (tlt_loss_mean)a->loss,
                               .clip_low = (float)a->clip_low,
                               .clip_high = (float)a->clip_high,
                               .kl = (float)a->kl,
                               .kl_kind = (tlt_kl_kind)a->kl_estimator},
                      .samples = (int)c->rollout.samples,
                      .micro_tokens = (int)c->gradient.micro_tokens,
                      .temperature = (float)c->rollout.temperature};
  w->cu = tlt_calloc(4 * samples + 2, sizeof *w->cu);
  if (!w->cu) return tlt_fail_nomem(err, "update buffers", (4 * samples + 2) * sizeof *w->cu);
  w->prompt = w->cu + samples + 1;
  w->length = w->prompt + samples;
  w->first = w->length + samples;
  return TLT_OK;
}

void tlt_gradient_close(tlt_gradient *w) {
  tlt_free(w->tokens);
  tlt_free(w->cu);
  tlt_free(w->old);
  *w = (tlt_gradient){0};
}

static tlt_status make_room(tlt_gradient *w, size_t n, tlt_err *err) {
  if (n <= w->room) return TLT_OK;
  tlt_free(w->tokens);
  tlt_free(w->old);
  w->room = n;
  w->tokens = tlt_malloc(n * sizeof *w->tokens);
  w->old = tlt_malloc(2 * n * sizeof *w->old);
  w->entropy = w->old + n;
  if (w->tokens && w->old) return TLT_OK;
  w->room = 0;
  return tlt_fail_nomem(err, "update buffers", n * 12);
}

/* Runs of samples that form micro-batches: a pure function of lengths. */
static tlt_status cut(tlt_gradient *w, const tlt_group *g, int *runs, tlt_err *err) {
  size_t tokens = 0;
  for (int s = 0; s < w->samples; s++) {
    w->length[s] = g->n_prompt + g->answer[s].n_tokens;
    tokens += (size_t)w->length[s];
  }
  *runs = tlt_pack_micro(w->length, NULL, w->samples, w->micro_tokens, w->first);
  return make_room(w, tokens, err);
}

/* Pack samples s0 .. s1-1 of a group into the buffers. */
static tlt_micro pack(const tlt_gradient *w, const tlt_group *g, int s0, int s1) {
  int32_t at = 0, targets = 0;
  for (int s = s0; s < s1; s++) {
    const tlt_answer *a = &g->answer[s];
    w->cu[s - s0] = at;
    w->prompt[s - s0] = g->n_prompt;
    memcpy(w->tokens + at, g->prompt, (size_t)g->n_prompt * sizeof *w->tokens);
    memcpy(w->tokens + at + g->n_prompt, a->tokens, (size_t)a->n_tokens * sizeof *w->tokens);
    memcpy(w->old + targets, a->logprobs, (size_t)a->n_tokens * sizeof *w->old);
    at += g->n_prompt + a->n_tokens;
    targets += a->n_tokens;
  }
  w->cu[s1 - s0] = at;
  return (tlt_micro){.n_samples = s1 - s0,
                     .tokens = w->tokens,
                     .cu = w->cu,
                     .prompt = w->prompt,
                     .temperature = w->temperature};
}

tlt_status tlt_gradient_reference(tlt_gradient *w, const tlt_group *g, float *to, tlt_err *err) {
  int runs = 0;
  tlt_status s = cut(w, g, &runs, err);
  for (int r = 0; s == TLT_OK && r < runs; r++) {
    tlt_micro m = pack(w, g, w->first[r], w->first[r + 1]);
    s = tlt_trainer_logprobs(w->reference, &m, to, err);
    to += tlt_micro_targets(&m);
  }
  return s;
}

/* A micro-batch with what its loss needs. */
typedef struct micro_loss {
  const tlt_gradient *w;
  const tlt_group *group;
  const float *ref; /* of the first sample of the micro-batch, or NULL */
  int sample0;
  tlt_measured *measured;
} micro_loss;

static void policy_loss(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  const micro_loss *l = context;
  int64_t at = 0;
  (void)n;
  for (int i = 0; i < m->n_samples; i++) {
    int s = l->sample0 + i;
    const tlt_answer *a = &l->group->answer[s];
    tlt_policy_loss(&l->w->loss, a->n_tokens, a->advantage, logp + at, a->logprobs,
                    l->ref ? l->ref + at : NULL, dlogp + at, &l->measured[s].sums);
    at += a->n_tokens;
  }
}

static void keep_entropy(const tlt_gradient *w, const tlt_group *g, int s0, int s1,
                         tlt_measured *measured) {
  int64_t at = 0;
  for (int s = s0; s < s1; s++) {
    double sum = 0;
    int n = g->answer[s].n_tokens;
    for (int t = 0; t < n; t++) sum += (double)w->entropy[at + t];
    measured[s].entropy = sum;
    at += n;
  }
}

static tlt_status check_finite(const tlt_group *g, int s0, int s1, const tlt_measured *measured,
                               tlt_err *err) {
  for (int s = s0; s < s1; s++)
    if (!measured[s].sums.finite)
      return tlt_fail(err, TLT_ENUMERIC,
                      "loss: got a value that is not finite in rollout %u, sample %d, expected "
                      "finite numbers; weights are as before this step",
                      g->rollout, s);
  return TLT_OK;
}

tlt_status tlt_gradient_group(tlt_gradient *w, const tlt_group *g, bool known, bool entropy,
                              const float *ref, tlt_measured *measured, tlt_err *err) {
  int runs = 0;
  tlt_status s = cut(w, g, &runs, err);
  for (int r = 0; s == TLT_OK && r < runs; r++) {
    int s0 = w->first[r], s1 = w->first[r + 1];
    tlt_micro m = pack(w, g, s0, s1);
    micro_loss loss = {w, g, ref, s0, measured};
    if (ref) ref += tlt_micro_targets(&m);
    s = tlt_trainer_accumulate(w->trainer, &m, policy_loss, &loss, known ? w->old : NULL, NULL,
                               entropy ? w->entropy : NULL, err);
    if (s == TLT_OK) s = check_finite(g, s0, s1, measured, err);
    if (s == TLT_OK && entropy) keep_entropy(w, g, s0, s1, measured);
  }
  return s;
}
