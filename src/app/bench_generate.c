#include "app/bench.h"
#include "base/clock.h"
#include "tlt/engine.h"

enum {
  PROMPT = 40,
  SHORT = 4,
  LONG = 68,
  PREFILL = 512,
  PREFILL_SEQS = 4,
  MAX_ROUNDS = 64,
  NOISE_BATCH = 32
};

static void count_sample(void *context, const tlt_sample *s) {
  *(int64_t *)context += s->n_tokens;
}

/* Random prompts. */
typedef struct work {
  int n, n_prompt, max_tokens;
  float temperature;
} work;

static tlt_status submit(tlt_engine *e, int vocab, int index, const work *w, tlt_err *err) {
  int32_t prompt[PREFILL];
  for (int i = 0; i < w->n_prompt; i++) prompt[i] = (17 + 131 * index + 37 * i) % vocab;
  tlt_request r = {.prompt = prompt,
                   .n_prompt = w->n_prompt,
                   .rollout = (uint32_t)index,
                   .n_samples = 1,
                   .max_tokens = w->max_tokens,
                   .temperature = w->temperature,
                   .top_p = 1,
                   .ignore_eos = true};
  return tlt_engine_submit(e, &r, err);
}

/* Seconds from the prompts to the last token. */
static tlt_status timed(tlt_engine *e, int vocab, work w, double *seconds, tlt_err *err) {
  int64_t tokens = 0;
  double start = tlt_now();
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < w.n; i++) s = submit(e, vocab, i, &w, err);
  while (s == TLT_OK && tlt_engine_pending(e)) s = tlt_engine_step(e, count_sample, &tokens, err);
  *seconds = tlt_now() - start;
  return s;
}

/* Seconds of a decode step: a long run minus a brief one. */
static tlt_status step_seconds(tlt_engine *e, int vocab, int batch, float temperature,
                               double *seconds, tlt_err *err) {
  double brief, full;
  tlt_status s = timed(e, vocab, (work){batch, PROMPT, SHORT, temperature}, &brief, err);
  if (s == TLT_OK) s = timed(e, vocab, (work){batch, PROMPT, LONG, temperature}, &full, err);
  if (s == TLT_OK) *seconds = (full - brief) / (LONG - SHORT);
  return s;
}

static tlt_status bench_decode(tlt_engine *e, int vocab, int batch, int rounds, tlt_bench_table *t,
                               tlt_err *err) {
  double rate[MAX_ROUNDS], seconds;
  tlt_status s = timed(e, vocab, (work){batch, PROMPT, SHORT, 1}, &seconds, err); /* warm-up */
  for (int r = 0; s == TLT_OK && r < rounds; r++) {
    s = step_seconds(e, vocab, batch, 1, &seconds, err);
    rate[r] = batch / seconds;
  }
  if (s == TLT_OK) tlt_bench_add(t, "decode", batch, rate, rounds, "tokens/s");
  return s;
}

/* The same steps with noise and without: at temperature 0 a draw is a search for the largest. */
static tlt_status bench_noise(tlt_engine *e, int vocab, int batch, int rounds, tlt_bench_table *t,
                              tlt_err *err) {
  double with[MAX_ROUNDS], without[MAX_ROUNDS], cost[MAX_ROUNDS];
  tlt_status s = step_seconds(e, vocab, batch, 1, with, err); /* warm-up */
  for (int r = 0; s == TLT_OK && r < rounds; r++) {
    s = step_seconds(e, vocab, batch, (float)(r % 2), r % 2 ? &with[r] : &without[r], err);
    if (s == TLT_OK)
      s = step_seconds(e, vocab, batch, (float)(1 - r % 2), r % 2 ? &without[r] : &with[r], err);
    cost[r] = 100 * (with[r] / without[r] - 1);
    with[r] *= 1e3;
    without[r] *= 1e3;
  }
  if (s != TLT_OK) return s;
  tlt_bench_add(t, "step with noise", batch, with, rounds, "ms");
  tlt_bench_add(t, "step without noise", batch, without, rounds, "ms");
  tlt_bench_add(t, "cost of noise", batch, cost, rounds, "%");
  return s;
}

static tlt_status bench_prefill(tlt_engine *e, int vocab, int rounds, tlt_bench_table *t,
                                tlt_err *err) {
  double rate[MAX_ROUNDS], seconds;
  tlt_status s = TLT_OK;
  for (int r = 0; s == TLT_OK && r < rounds; r++) {
    s = timed(e, vocab, (work){PREFILL_SEQS, PREFILL, 1, 1}, &seconds, err);
    rate[r] = PREFILL_SEQS * PREFILL / seconds;
  }
  if (s == TLT_OK) tlt_bench_add(t, "prefill", PREFILL_SEQS * PREFILL, rate, rounds, "tokens/s");
  return s;
}

static tlt_status open_engine(tlt_model *m, tlt_engine **e, int *vocab, tlt_err *err) {
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  tlt_engine_options o = {.batch = 64, .max_positions = PREFILL + LONG, .seed = 1};
  *vocab = info.vocab;
  if (o.max_positions > info.max_positions)
    return tlt_fail(err, TLT_EDATA, "model: got %d positions, expected at least %d for the bench",
                    info.max_positions, o.max_positions);
  return tlt_engine_create(m, NULL, &o, e, err);
}

tlt_status tlt_bench_generate(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err) {
  static const int batches[] = {1, 2, 4, 8, 16, 32, 64};
  tlt_engine *e = NULL;
  int vocab;
  if (rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
  tlt_status s = open_engine(m, &e, &vocab, err);
  for (size_t i = 0; s == TLT_OK && i < sizeof batches / sizeof *batches; i++)
    s = bench_decode(e, vocab, batches[i], rounds, t, err);
  if (s == TLT_OK) s = bench_prefill(e, vocab, rounds, t, err);
  tlt_engine_free(e);
  return s;
}

tlt_status tlt_bench_noise(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err) {
  tlt_engine *e = NULL;
  int vocab;
  tlt_status s = open_engine(m, &e, &vocab, err);
  if (s == TLT_OK)
    s = bench_noise(e, vocab, NOISE_BATCH, rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS, t, err);
  tlt_engine_free(e);
  return s;
}
