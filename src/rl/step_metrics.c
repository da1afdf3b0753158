#include "rl/step_metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "rl/advantage.h"

/* Lengths and their keys, which must outlive the sink's call. */
static const struct {
  int tokens;
  const char *key;
} length_step[TLT_LENGTH_STEPS] = {
#define AT(n) \
  { n, "completions/length_le/" #n }
    AT(1),      AT(2),      AT(3),      AT(4),      AT(6),      AT(8),      AT(12),
    AT(16),     AT(24),     AT(32),     AT(48),     AT(64),     AT(96),     AT(128),
    AT(192),    AT(256),    AT(384),    AT(512),    AT(768),    AT(1024),   AT(1536),
    AT(2048),   AT(3072),   AT(4096),   AT(6144),   AT(8192),   AT(12288),  AT(16384),
    AT(24576),  AT(32768),  AT(49152),  AT(65536),  AT(98304),  AT(131072), AT(196608),
    AT(262144), AT(393216), AT(524288), AT(786432), AT(1048576)
#undef AT
};

static int ascending(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return (x > y) - (x < y);
}

static int nearest_rank(const int *sorted, int64_t n, int percent) {
  int64_t rank = (n * percent + 99) / 100;
  return sorted[rank > 0 ? rank - 1 : 0];
}

static void count_lengths(const int *sorted, int64_t n, int64_t at_most[TLT_LENGTH_STEPS]) {
  int64_t below = 0;
  for (int i = 0; i < TLT_LENGTH_STEPS; i++) {
    while (below < n && sorted[below] <= length_step[i].tokens) below++;
    at_most[i] = below;
  }
}

static void add_rewards(const tlt_group *g, int samples, double *reward, tlt_answers_summary *a,
                        int *rated, int *equal) {
  double mean, std;
  for (int s = 0; s < samples; s++) {
    reward[s] = g->answer[s].reward;
    a->reward_mean += reward[s];
    a->score_mean += g->answer[s].score;
    a->parsed_share += g->answer[s].parsed;
  }
  tlt_mean_std(reward, samples, &mean, &std);
  a->reward_std += std;
  a->scored += samples;
  *rated += 1;
  *equal += tlt_rewards_equal(reward, samples);
}

static void add_lengths(const tlt_group *g, int samples, int *length, tlt_answers_summary *a,
                        int64_t *stopped, int64_t *stopped_tokens) {
  for (int s = 0; s < samples; s++) {
    const tlt_answer *x = &g->answer[s];
    length[a->answers++] = x->n_tokens;
    a->tokens += x->n_tokens;
    for (int t = 0; t < x->n_tokens; t++) a->logprob_mean += x->logprobs[t];
    if (x->finish == TLT_FINISH_LENGTH) continue;
    *stopped += 1;
    *stopped_tokens += x->n_tokens;
  }
}

tlt_status tlt_answers_summarize(const tlt_groups *g, tlt_answers_summary *out, tlt_err *err) {
  tlt_answers_summary a = {0};
  size_t n = (size_t)g->n * (size_t)g->samples;
  int *length = tlt_malloc(n * sizeof *length), rated = 0, equal = 0;
  double *reward = tlt_malloc((size_t)g->samples * sizeof *reward);
  int64_t stopped = 0, stopped_tokens = 0;
  if (!length || !reward) {
    tlt_free(length);
    tlt_free(reward);
    return tlt_fail_nomem(err, "metrics", n * sizeof *length);
  }
  for (int i = 0; i < g->n; i++) {
    const tlt_group *group = &g->group[i];
    add_lengths(group, g->samples, length, &a, &stopped, &stopped_tokens);
    a.constant += group->constant;
    a.replaced += group->replaced;
    a.masked += group->masked;
    if (!group->masked) add_rewards(group, g->samples, reward, &a, &rated, &equal);
  }
  qsort(length, n, sizeof *length, ascending);
  count_lengths(length, a.answers, a.length_le);
  a.length_min = length[0];
  a.length_max = length[n - 1];
  a.p50 = nearest_rank(length, a.answers, 50);
  a.p90 = nearest_rank(length, a.answers, 90);
  a.p95 = nearest_rank(length, a.answers, 95);
  a.p99 = nearest_rank(length, a.answers, 99);
  double all = (double)a.answers, scored = (double)a.scored;
  a.reward_mean = scored > 0 ? a.reward_mean / scored : NAN;
  a.score_mean = scored > 0 ? a.score_mean / scored : NAN;
  a.parsed_share = scored > 0 ? a.parsed_share / scored : NAN;
  a.reward_std = rated ? a.reward_std / rated : NAN;
  a.frac_zero_std = rated ? (double)equal / rated : NAN;
  a.cut_share = (all - (double)stopped) / all;
  a.length_mean = (double)a.tokens / all;
  a.length_stopped_mean = stopped ? (double)stopped_tokens / (double)stopped : NAN;
  a.logprob_mean /= (double)a.tokens;
  tlt_free(length);
  tlt_free(reward);
  *out = a;
  return TLT_OK;
}

void tlt_metrics_answers(tlt_metrics *m, const tlt_groups *g, const tlt_answers_summary *a,
                         int64_t max_tokens) {
  tlt_metrics_real(m, "reward/mean", a->reward_mean);
  tlt_metrics_real(m, "reward/std", a->reward_std);
  tlt_metrics_real(m, "score/mean", a->score_mean);
  tlt_metrics_real(m, "score/parsed_ratio", a->parsed_share);
  tlt_metrics_real(m, "frac_reward_zero_std", a->frac_zero_std);
  tlt_metrics_real(m, "completions/mean_length", a->length_mean);
  tlt_metrics_real(m, "completions/mean_terminated_length", a->length_stopped_mean);
  tlt_metrics_count(m, "completions/min_length", a->length_min);
  tlt_metrics_count(m, "completions/max_length", a->length_max);
  tlt_metrics_count(m, "completions/p50_length", a->p50);
  tlt_metrics_count(m, "completions/p90_length", a->p90);
  tlt_metrics_count(m, "completions/p95_length", a->p95);
  tlt_metrics_count(m, "completions/p99_length", a->p99);
  for (int i = 0; i < TLT_LENGTH_STEPS && length_step[i].tokens <= max_tokens; i++)
    tlt_metrics_count(m, length_step[i].key, a->length_le[i]);
  tlt_metrics_real(m, "completions/clipped_ratio", a->cut_share);
  tlt_metrics_count(m, "completions/count", a->answers);
  tlt_metrics_count(m, "completions/tokens", a->tokens);
  tlt_metrics_real(m, "sampling/logprob_mean", a->logprob_mean);
  tlt_metrics_count(m, "groups/handed_out", g->n);
  tlt_metrics_count(m, "groups/constant", a->constant);
  tlt_metrics_count(m, "groups/replaced", a->replaced);
  tlt_metrics_count(m, "groups/masked", a->masked);
}

void tlt_metrics_update(tlt_metrics *m, const tlt_update_result *u) {
  tlt_metrics_count(m, "groups/trained", u->groups);
  tlt_metrics_count(m, "update/steps", u->steps);
  tlt_metrics_count(m, "update/tokens", u->tokens);
  tlt_metrics_real(m, "loss", u->loss);
  tlt_metrics_real(m, "grad_norm", u->grad_norm);
  tlt_metrics_real(m, "lr", u->lr);
  tlt_metrics_real(m, "entropy", u->entropy);
  tlt_metrics_real(m, "kl", u->kl);
  tlt_metrics_real(m, "update/approx_kl", u->old_kl);
  tlt_metrics_real(m, "update/ratio_mean", u->ratio);
  tlt_metrics_real(m, "clip_ratio/low_mean", u->clip_low);
  tlt_metrics_real(m, "clip_ratio/high_mean", u->clip_high);
  tlt_metrics_real(m, "clip_ratio/region_mean", u->clip_low + u->clip_high);
}

void tlt_metrics_eval(tlt_metrics *m, const tlt_eval_result *e, const tlt_share *accuracy,
                      const tlt_share *pass_k) {
  tlt_metrics_real(m, "eval/accuracy", accuracy->value);
  tlt_metrics_real(m, "eval/accuracy_low", accuracy->low);
  tlt_metrics_real(m, "eval/accuracy_high", accuracy->high);
  if (e->samples > 1) {
    tlt_metrics_count(m, "eval/k", e->samples);
    tlt_metrics_real(m, "eval/pass_at_k", pass_k->value);
  }
  tlt_metrics_real(m, "eval/score", e->score_mean);
  tlt_metrics_real(m, "eval/parsed_ratio", e->parsed_share);
  tlt_metrics_real(m, "eval/mean_length", e->mean_length);
  tlt_metrics_real(m, "eval/clipped_ratio", e->cut_share);
}
