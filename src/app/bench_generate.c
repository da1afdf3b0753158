#include "app/bench.h"
#include "base/clock.h"
#include "tlt/engine.h"

enum { PROMPT = 40, SHORT = 4, LONG = 68, PREFILL = 512, PREFILL_SEQS = 4, MAX_ROUNDS = 64 };

static void count_sample(void *context, const tlt_sample *s) {
  *(int64_t *)context += s->n_tokens;
}

static tlt_status submit(tlt_engine *e, int vocab, int index, int n_prompt, int max_tokens,
                         tlt_err *err) {
  int32_t prompt[PREFILL];
  for (int i = 0; i < n_prompt; i++) prompt[i] = (17 + 131 * index + 37 * i) % vocab;
  tlt_request r = {.prompt = prompt,
                   .n_prompt = n_prompt,
                   .rollout = (uint32_t)index,
                   .n_samples = 1,
                   .max_tokens = max_tokens,
                   .temperature = 1,
                   .top_p = 1,
                   .ignore_eos = true};
  return tlt_engine_submit(e, &r, err);
}

/* Seconds for `n` sequences from prompt to the last token. */
static tlt_status timed(tlt_engine *e, int vocab, int n, int n_prompt, int max_tokens,
                        double *seconds, tlt_err *err) {
  int64_t tokens = 0;
  double start = tlt_now();
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < n; i++) s = submit(e, vocab, i, n_prompt, max_tokens, err);
  while (s == TLT_OK && tlt_engine_pending(e)) s = tlt_engine_step(e, count_sample, &tokens, err);
  *seconds = tlt_now() - start;
  return s;
}

static tlt_status bench_decode(tlt_engine *e, int vocab, int batch, int rounds, tlt_bench_table *t,
                               tlt_err *err) {
  double rate[MAX_ROUNDS], brief, full;
  tlt_status s = timed(e, vocab, batch, PROMPT, SHORT, &brief, err); /* warm-up */
  for (int r = 0; s == TLT_OK && r < rounds; r++) {
    s = timed(e, vocab, batch, PROMPT, SHORT, &brief, err);
    if (s == TLT_OK) s = timed(e, vocab, batch, PROMPT, LONG, &full, err);
    rate[r] = batch * (LONG - SHORT) / (full - brief);
  }
  if (s == TLT_OK) tlt_bench_add(t, "decode", batch, rate, rounds, "tokens/s");
  return s;
}

static tlt_status bench_prefill(tlt_engine *e, int vocab, int rounds, tlt_bench_table *t,
                                tlt_err *err) {
  double rate[MAX_ROUNDS], seconds;
  tlt_status s = TLT_OK;
  for (int r = 0; s == TLT_OK && r < rounds; r++) {
    s = timed(e, vocab, PREFILL_SEQS, PREFILL, 1, &seconds, err);
    rate[r] = PREFILL_SEQS * PREFILL / seconds;
  }
  if (s == TLT_OK) tlt_bench_add(t, "prefill", PREFILL_SEQS * PREFILL, rate, rounds, "tokens/s");
  return s;
}

tlt_status tlt_bench_generate(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err) {
  static const int batches[] = {1, 2, 4, 8, 16, 32, 64};
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  tlt_engine_options o = {.batch = 64, .max_positions = PREFILL + LONG, .seed = 1};
  if (o.max_positions > info.max_positions)
    return tlt_fail(err, TLT_EDATA, "model: got %d positions, expected at least %d for the bench",
                    info.max_positions, o.max_positions);
  if (rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
  tlt_engine *e = NULL;
  tlt_status s = tlt_engine_create(m, NULL, &o, &e, err);
  for (size_t i = 0; s == TLT_OK && i < sizeof batches / sizeof *batches; i++)
    s = bench_decode(e, info.vocab, batches[i], rounds, t, err);
  if (s == TLT_OK) s = bench_prefill(e, info.vocab, rounds, t, err);
  tlt_engine_free(e);
  return s;
}
