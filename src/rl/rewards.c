#include "rl/rewards.h"

#include <math.h>

#include "rl/advantage.h"

static double batch_std(const tlt_groups *g) {
  double mean = 0, squares = 0;
  int64_t n = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < g->n; i++)
      for (int s = 0; s < g->samples && !g->group[i].masked && !g->group[i].replaced; s++) {
        double r = g->group[i].answer[s].reward;
        if (pass == 0) mean += r, n++;
        else squares += (r - mean) * (r - mean);
      }
    if (pass == 0 && n) mean /= (double)n;
  }
  return n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

void tlt_group_rewards(tlt_group *g, int samples, const tlt_train_config *c) {
  const tlt_conf_algorithm *a = &c->algorithm;
  for (int s = 0; s < samples; s++) {
    tlt_answer *x = &g->answer[s];
    x->reward = x->score + tlt_overlong_penalty(x->n_tokens, c->rollout.max_tokens, a->overlong,
                                                a->overlong_scale);
  }
}

/* spread: standard deviation over the whole batch where the scale asks for it. */
void tlt_group_advantages(tlt_group *g, int samples, double spread, const tlt_train_config *c) {
  double reward[4096] = {0}; /* rollout.samples is at most this */
  float advantage[4096];
  for (int s = 0; s < samples; s++) reward[s] = g->answer[s].reward;
  tlt_advantages((tlt_algorithm)c->algorithm.name, (tlt_scale)c->algorithm.scale, reward, samples,
                 spread, advantage);
  for (int s = 0; s < samples; s++) g->answer[s].advantage = g->masked ? 0.0f : advantage[s];
}

void tlt_groups_advantages(tlt_groups *g, const tlt_train_config *c) {
  for (int i = 0; i < g->n; i++) tlt_group_rewards(&g->group[i], g->samples, c);
  double spread = c->algorithm.scale == TLT_SCALE_BATCH ? batch_std(g) : 0;
  for (int i = 0; i < g->n; i++) tlt_group_advantages(&g->group[i], g->samples, spread, c);
}
