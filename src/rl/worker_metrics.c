#include "rl/worker_metrics.h"

#include <math.h>

/* Keys live as long as the program: metrics borrow them. */
static const char *const sum_keys[TLT_WORK_STATES] = {
#define SUM_KEY(id, name) "workers/" name,
    TLT_WORK_LIST(SUM_KEY)
#undef SUM_KEY
};

static const char *const own_keys[TLT_WORKER_KEYS_MAX][TLT_WORK_STATES] = {
#define KEY_0(id, name) "workers/0/" name,
#define KEY_1(id, name) "workers/1/" name,
#define KEY_2(id, name) "workers/2/" name,
#define KEY_3(id, name) "workers/3/" name,
#define KEY_4(id, name) "workers/4/" name,
#define KEY_5(id, name) "workers/5/" name,
#define KEY_6(id, name) "workers/6/" name,
#define KEY_7(id, name) "workers/7/" name,
    {TLT_WORK_LIST(KEY_0)}, {TLT_WORK_LIST(KEY_1)}, {TLT_WORK_LIST(KEY_2)}, {TLT_WORK_LIST(KEY_3)},
    {TLT_WORK_LIST(KEY_4)}, {TLT_WORK_LIST(KEY_5)}, {TLT_WORK_LIST(KEY_6)}, {TLT_WORK_LIST(KEY_7)},
};

void tlt_metrics_workers(tlt_metrics *m, const tlt_account *all, int n, double step_seconds) {
  double sum[TLT_WORK_STATES] = {0}, wall = 0;
  for (int w = 0; w < n; w++) {
    wall += all[w].end - all[w].begin;
    for (int i = 0; i < TLT_WORK_STATES; i++) sum[i] += all[w].seconds[i];
  }
  double idle = sum[TLT_WORK_IDLE] + sum[TLT_WORK_REWARD] + sum[TLT_WORK_WAITING];
  tlt_metrics_count(m, "workers/count", n);
  tlt_metrics_real(m, "workers/seconds", wall);
  tlt_metrics_real(m, "workers/idle_fraction", idle / (n * step_seconds));
  for (int i = 0; i < TLT_WORK_STATES; i++) tlt_metrics_real(m, sum_keys[i], sum[i]);
  for (int w = 0; n <= TLT_WORKER_KEYS_MAX && w < n; w++)
    for (int i = 0; i < TLT_WORK_STATES; i++)
      tlt_metrics_real(m, own_keys[w][i], all[w].seconds[i]);
}

void tlt_metrics_cost(tlt_metrics *m, const tlt_account *all, int n, const tlt_step_cost *c) {
  double cpu = 0, joules = 0;
  for (int w = 0; w < n; w++) {
    cpu += all[w].cpu;
    joules += all[w].joules; /* NaN of one host is that of all */
  }
  double core_hours = c->cores * (all[0].end - all[0].begin) / 3600;
  tlt_metrics_real(m, "cost/cpu_seconds", cpu);
  tlt_metrics_real(m, "cost/cpu_seconds_per_token", cpu / (double)c->tokens);
  tlt_metrics_real(m, "cost/cpu_seconds_per_accepted_token",
                   c->accepted ? cpu / (double)c->accepted : NAN);
  tlt_metrics_real(m, "cost/joules", joules);
  tlt_metrics_real(m, "cost/core_hours", core_hours);
  if (c->core_hour > 0) tlt_metrics_real(m, "cost/price", core_hours * c->core_hour);
}
