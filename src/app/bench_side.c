#include "app/bench_side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

tlt_status tlt_bench_side_open(tlt_model *m, const tlt_spec_options *o, const tlt_source *hostile,
                               tlt_bench_side *out, tlt_err *err) {
  *out = (tlt_bench_side){.engine = NULL};
  tlt_spec_options so = *o;
  snprintf(out->policy, sizeof out->policy, "%s", o->policy ? o->policy : "planner");
  so.policy = out->policy;
  out->model = m;
  out->options = (tlt_engine_options){.batch = o->batch,
                                      .max_positions = o->max_positions,
                                      .seed = o->seed,
                                      .draft_rows = tlt_spec_draft_rows(&so)};
  tlt_status s = tlt_engine_create(m, NULL, &out->options, &out->engine, err);
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

static tlt_status make_engine(tlt_bench_side *s, tlt_err *err) {
  tlt_status status = tlt_engine_create(s->model, NULL, &s->options, &s->engine, err);
  return status == TLT_OK && s->spec ? tlt_spec_attach(s->spec, s->engine, err) : status;
}

tlt_status tlt_bench_sides_renew(tlt_bench_side *first, tlt_bench_side *second, tlt_err *err) {
  tlt_engine_free(first->engine);
  tlt_engine_free(second->engine);
  first->engine = second->engine = NULL;
  tlt_status status = make_engine(first, err);
  return status == TLT_OK ? make_engine(second, err) : status;
}

static void count_sample(void *context, const tlt_sample *s) {
  tlt_bench_round *r = context;
  r->tokens += s->n_tokens;
  r->cut += s->finish == TLT_FINISH_LENGTH;
  if (r->length)
    r->length[(int)(s->rollout - r->rollout) * r->samples + (int)s->sample] = s->n_tokens;
}

static tlt_status submit(tlt_bench_side *s, const tlt_bench_round *r, tlt_err *err) {
  tlt_status status = TLT_OK;
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
  return status;
}

static tlt_status take_turn(tlt_bench_side *s, tlt_bench_round *r, double *seconds, tlt_err *err) {
  tlt_status status = TLT_OK;
  double from = tlt_now(), took = 0;
  if (s->spec) tlt_spec_interrupted(s->spec);
  for (int i = 0; status == TLT_OK && i < TLT_TURN_MOST && tlt_engine_pending(s->engine); i++) {
    if (i >= TLT_TURN_LEAST && took * 1e6 > TLT_TURN_US) break;
    status = tlt_engine_step(s->engine, count_sample, r, err);
    took = tlt_now() - from;
  }
  *seconds += took;
  return status;
}

tlt_status tlt_bench_sides_run(tlt_bench_side *a, tlt_bench_side *b, int first, tlt_bench_round *r,
                               double *seconds, tlt_err *err) {
  tlt_bench_side *side[] = {a, b};
  tlt_status status = TLT_OK;
  for (int i = 0; status == TLT_OK && i < 2; i++) {
    double from = tlt_now();
    status = submit(side[i], r, err);
    seconds[i] = tlt_now() - from;
  }
  for (int i = first; status == TLT_OK; i = 1 - i) {
    if (!tlt_engine_pending(side[i]->engine) && !tlt_engine_pending(side[1 - i]->engine)) break;
    status = take_turn(side[i], r, &seconds[i], err);
  }
  return status;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How many of the means of two values (each with itself too) are at most v; x ascends. */
static int means_up_to(const double *x, int n, double v) {
  int count = 0;
  for (int i = 0, j = n - 1; i < n; i++) {
    while (j >= 0 && x[i] + x[j] > 2 * v) j--;
    if (j >= i) count += j - i + 1;
  }
  return count;
}

/* The k-th smallest of those means, k from 1. */
static double mean_of_rank(const double *x, int n, int k) {
  double low = x[0], high = x[n - 1];
  for (int i = 0; i < 60; i++) {
    double v = 0.5 * (low + high);
    if (means_up_to(x, n, v) < k) low = v;
    else high = v;
  }
  return high;
}

void tlt_bench_interval(const double *log_ratio, int n, double *ratio, double *low, double *high) {
  double x[TLT_BENCH_PAIRS_MAX];
  memcpy(x, log_ratio, (size_t)n * sizeof *x);
  qsort(x, (size_t)n, sizeof *x, ascending);
  int means = n * (n + 1) / 2;
  double sd = sqrt((double)n * (n + 1) * (2 * n + 1) / 24);
  int outer = (int)(0.5 * means - 1.96 * sd);
  if (outer < 1) outer = 1;
  *ratio = exp(mean_of_rank(x, n, (means + 1) / 2));
  *low = exp(mean_of_rank(x, n, outer));
  *high = exp(mean_of_rank(x, n, means + 1 - outer));
}
