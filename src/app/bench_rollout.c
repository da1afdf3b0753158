#include "app/bench_rollout.h"

#include <math.h>
#include <stdlib.h>

#include "app/bench_side.h"
#include "base/mem.h"

typedef struct bench {
  const tlt_bench_rollout_options *o;
  tlt_bench_texts texts;
  tlt_bench_side off, on;
  tlt_spec_stats seen[TLT_BENCH_PASSES_MAX];
  double log_ratio[TLT_BENCH_PASSES_MAX][TLT_BENCH_PAIRS_MAX];
  double off_seconds[TLT_BENCH_PASSES_MAX];
  int *length;
  int n_lengths;
  int64_t tokens, cut;
  uint32_t rollout;
  tlt_err *err;
} bench;

static tlt_status open_sides(bench *b, tlt_model *m) {
  const tlt_bench_rollout_options *o = b->o;
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  int longest = TLT_BENCH_PROMPT_MAX + o->max_tokens;
  tlt_spec_options so = {
      .batch = o->batch,
      .max_positions = longest < info.max_positions ? longest : info.max_positions,
      .seed = o->seed};
  tlt_status s = tlt_bench_side_open(m, &so, NULL, &b->off, b->err);
  so.draft = o->draft;
  so.policy = o->policy;
  so.drafter = o->drafter;
  return s == TLT_OK ? tlt_bench_side_open(m, &so, NULL, &b->on, b->err) : s;
}

static void add_stats(tlt_spec_stats *to, const tlt_spec_stats *s) {
  to->sequence_steps += s->sequence_steps;
  to->tokens += s->tokens;
  to->drafted_steps += s->drafted_steps;
  to->drafted_step_tokens += s->drafted_step_tokens;
}

/* One pass of both sides over the problems at hand, with noise of its own. */
static tlt_status run_pass(bench *b, int pass, int pair, bool count) {
  const tlt_bench_rollout_options *o = b->o;
  tlt_bench_round r = {.prompt = b->texts.prompt,
                       .prompts = o->prompts,
                       .samples = o->samples,
                       .max_tokens = o->max_tokens,
                       .temperature = o->temperature,
                       .rollout = b->rollout,
                       .length = b->length + b->n_lengths};
  double seconds[2] = {1, 1}; /* on, off */
  tlt_spec_stats stats;
  b->rollout += (uint32_t)o->prompts;
  if (b->on.spec) tlt_spec_stats_reset(b->on.spec);
  tlt_status s = tlt_bench_sides_run(&b->on, &b->off, pair % 2, &r, seconds, b->err);
  if (s != TLT_OK || !count) return s;
  b->log_ratio[pass][pair] = log(seconds[1] / seconds[0]);
  b->off_seconds[pass] += seconds[1] / o->pairs;
  b->n_lengths += o->prompts * o->samples;
  b->tokens += r.tokens / 2;
  b->cut += r.cut / 2;
  if (!b->on.spec) return TLT_OK;
  tlt_spec_stats_get(b->on.spec, &stats);
  add_stats(&b->seen[pass], &stats);
  return TLT_OK;
}

static tlt_status run_pair(bench *b, int pair, bool count) {
  uint32_t first = (uint32_t)((pair + (count ? 1 : 0)) * b->o->prompts);
  tlt_status s = tlt_bench_texts_fill(&b->texts, TLT_TEXT_TASK, first, b->o->prompts, b->err);
  for (int pass = 0; s == TLT_OK && pass < b->o->passes; pass++) s = run_pass(b, pass, pair, count);
  return s;
}

static int ascending(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return (x > y) - (x < y);
}

static void conclude(bench *b, tlt_bench_rollout_result *out) {
  int n = b->n_lengths;
  qsort(b->length, (size_t)n, sizeof *b->length, ascending);
  out->median_length = b->length[n / 2];
  out->p99_length = b->length[(n * 99 + 99) / 100 - 1];
  out->cut_share = (double)b->cut / n;
  out->tokens = b->tokens;
  for (int i = 0; i < b->o->passes; i++) {
    tlt_bench_rollout_pass *p = &out->pass[i];
    const tlt_spec_stats *s = &b->seen[i];
    tlt_bench_interval(b->log_ratio[i], b->o->pairs, &p->ratio, &p->low, &p->high);
    p->accept_length = tlt_spec_accept_length(s);
    p->accept_length_drafted =
        s->drafted_steps ? (double)s->drafted_step_tokens / (double)s->drafted_steps : 1;
    p->off_seconds = b->off_seconds[i];
  }
}

tlt_status tlt_bench_rollout(tlt_model *m, const tlt_tokenizer *t,
                             const tlt_bench_rollout_options *o,
                             void (*progress)(void *context, int pair), void *context,
                             tlt_bench_rollout_result *out, tlt_err *err) {
  bench b = {.o = o, .rollout = 1, .err = err};
  tlt_bench_policy_options texts = {.task = o->task,
                                    .task_options = o->task_options,
                                    .batch = {o->prompts},
                                    .n_batches = 1,
                                    .seed = o->seed};
  size_t lengths = (size_t)o->prompts * (size_t)o->samples * (size_t)(o->passes * (o->pairs + 1));
  *out = (tlt_bench_rollout_result){.tokens = 0};
  b.length = tlt_calloc(lengths, sizeof *b.length);
  tlt_status s = b.length ? TLT_OK : tlt_fail_nomem(err, "bench", lengths * sizeof *b.length);
  if (s == TLT_OK) s = tlt_bench_texts_open(&b.texts, m, t, &texts, err);
  if (s == TLT_OK) s = open_sides(&b, m);
  if (s == TLT_OK) s = run_pair(&b, 0, false); /* warm-up */
  for (int i = 0; s == TLT_OK && i < o->pairs; i++) {
    s = run_pair(&b, i, true);
    if (progress) progress(context, i + 1);
  }
  if (s == TLT_OK) conclude(&b, out);
  tlt_bench_side_close(&b.off);
  tlt_bench_side_close(&b.on);
  tlt_bench_texts_close(&b.texts);
  tlt_free(b.length);
  return s;
}
