#include "app/bench_side.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"

tlt_status tlt_bench_side_open(tlt_model *m, const tlt_spec_options *o, const tlt_source *hostile,
                               tlt_bench_side *out, tlt_err *err) {
  *out = (tlt_bench_side){.engine = NULL};
  tlt_spec_options so = *o;
  snprintf(out->policy, sizeof out->policy, "%s", o->policy ? o->policy : "planner");
  so.policy = out->policy;
  tlt_engine_options eo = {.batch = o->batch,
                           .max_positions = o->max_positions,
                           .seed = o->seed,
                           .draft_rows = tlt_spec_draft_rows(&so)};
  tlt_status s = tlt_engine_create(m, NULL, &eo, &out->engine, err);
  if (s != TLT_OK || o->draft == TLT_DRAFT_OFF) return s;
  s = tlt_spec_create(m, &so, &out->spec, err);
  if (s == TLT_OK && hostile) s = tlt_spec_add(out->spec, hostile, TLT_EDGE_EAGLE, err);
  return s == TLT_OK ? tlt_spec_attach(out->spec, out->engine, err) : s;
}

void tlt_bench_side_close(tlt_bench_side *s) {
  tlt_engine_free(s->engine);
  tlt_spec_free(s->spec);
  *s = (tlt_bench_side){.engine = NULL};
}

static void count_sample(void *context, const tlt_sample *s) {
  tlt_bench_round *r = context;
  r->tokens += s->n_tokens;
  r->cut += s->finish == TLT_FINISH_LENGTH;
  if (r->length)
    r->length[(int)(s->rollout - r->rollout) * r->samples + (int)s->sample] = s->n_tokens;
}

tlt_status tlt_bench_side_run(tlt_bench_side *s, tlt_bench_round *r, double *seconds,
                              tlt_err *err) {
  tlt_status status = TLT_OK;
  double from = tlt_now();
  if (s->spec) tlt_spec_refresh(s->spec);
  for (int i = 0; status == TLT_OK && i < r->prompts; i++) {
    tlt_request request = {.prompt = r->prompt[i].token,
                           .n_prompt = r->prompt[i].n,
                           .rollout = r->rollout + (uint32_t)i,
                           .n_samples = r->samples,
                           .max_tokens = r->max_tokens,
                           .temperature = r->temperature,
                           .top_p = 1};
    status = tlt_engine_submit(s->engine, &request, err);
  }
  while (status == TLT_OK && tlt_engine_pending(s->engine))
    status = tlt_engine_step(s->engine, count_sample, r, err);
  *seconds = tlt_now() - from;
  return status;
}

/* Two-sided 95 % quantiles of Student's t for 1 .. 30 degrees of freedom. */
static double student(int degrees) {
  static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                             2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                             2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  return degrees > 30 ? 1.96 + 2.5 / degrees : t[degrees - 1];
}

void tlt_bench_interval(const double *log_ratio, int n, double *ratio, double *low, double *high) {
  double mean = 0, square = 0;
  for (int i = 0; i < n; i++) mean += log_ratio[i] / n;
  for (int i = 0; i < n; i++) square += (log_ratio[i] - mean) * (log_ratio[i] - mean);
  double half = student(n - 1) * sqrt(square / (n - 1) / n);
  *ratio = exp(mean);
  *low = exp(mean - half);
  *high = exp(mean + half);
}
