/* One way of generating, for benches that compare ways side by side. */
#ifndef TLT_APP_BENCH_SIDE_H
#define TLT_APP_BENCH_SIDE_H

#include "app/bench_texts.h"
#include "tlt/engine.h"

typedef struct tlt_bench_side {
  char policy[24];
  tlt_model *model; /* borrowed */
  tlt_engine_options options;
  tlt_engine *engine;
  tlt_spec *spec; /* NULL: off */
} tlt_bench_side;

/* policy NULL: planner. drafter NULL: none. hostile (may be NULL) joins as a further source. */
tlt_status tlt_bench_side_open(tlt_model *m, const tlt_spec_options *o, const tlt_source *hostile,
                               tlt_bench_side *out, tlt_err *err);
void tlt_bench_side_close(tlt_bench_side *s); /* zeroed is harmless */

/* New engines for both, made in that order; speculators stay. Where its buffers happen to lie makes
 * one of two equal engines up to 0.7 % faster for as long as both live (embedded model), so that
 * differences of a percent need several, made by turns first and second. */
tlt_status tlt_bench_sides_renew(tlt_bench_side *first, tlt_bench_side *second, tlt_err *err);

typedef struct tlt_bench_round {
  const tlt_bench_prompt *prompt; /* [prompts] */
  int prompts, samples, max_tokens;
  float temperature;
  uint32_t rollout; /* index of the first: other indexes are other noise */
  int *length;      /* [prompts * samples] tokens of every answer, or NULL */
  int64_t tokens;   /* added up */
  int64_t cut;      /* answers that hit max_tokens, added up */
} tlt_bench_round;

enum { TLT_TURN_LEAST = 8, TLT_TURN_MOST = 64, TLT_TURN_US = 50000 };

/* Generate all answers on both sides, which take turns of TLT_TURN_MOST steps or, from
 * TLT_TURN_LEAST on, TLT_TURN_US, the one that `first` says first: what else the machine does
 * meanwhile hits both. seconds[2]: of a and b, submissions included. Tokens and lengths are counted
 * for both. */
tlt_status tlt_bench_sides_run(tlt_bench_side *a, tlt_bench_side *b, int first, tlt_bench_round *r,
                               double *seconds, tlt_err *err);

/* exp of the Hodges-Lehmann estimate of log ratios (the median over the means of all pairs of them)
 * with the 95 % interval of Wilcoxon's signed-rank test; 2 <= n <= TLT_BENCH_PAIRS_MAX. Below six
 * values the interval is their range. */
void tlt_bench_interval(const double *log_ratio, int n, double *ratio, double *low, double *high);

#endif
