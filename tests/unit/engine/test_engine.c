/* Generation: the same bits whatever the batch, threads, chunks and sharing; stops, limits, sink.
 * Run alone: build/tests/unit/engine/test_engine */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "../model/tiny.h"
#include "base/mem.h"
#include "engine/internal.h"
#include "engine/request.h"
#include "io/file.h"

enum { PROMPTS = 9, SAMPLES = 5, ALL = PROMPTS * SAMPLES, LONGEST = 150, NEW_TOKENS = 37 };

/* ---- A job: nine prompts of 1 to 150 tokens, one to five samples each ---- */

typedef struct result {
  int n_tokens;
  int32_t tokens[NEW_TOKENS];
  float logprobs[NEW_TOKENS];
  tlt_finish finish;
  bool by_eos;
} result;

typedef struct job {
  const char *numerics;
  int threads, batch, chunk;
  size_t kv_bytes;
  bool unshared; /* every sample its own request */
  result result[ALL];
  int done;
  tlt_engine_stats stats;
} job;

static void fill_prompt(int index, int vocab, int32_t *prompt, int *n) {
  static const int lengths[PROMPTS] = {1, 2, 15, 16, 17, 33, 64, 99, LONGEST};
  *n = lengths[index];
  for (int i = 0; i < *n; i++) prompt[i] = (index * 97 + i * i * 13 + 5) % vocab;
}

static int samples_of(int index) {
  return index % SAMPLES + 1;
}

static tlt_request request_of(int index, const int32_t *prompt, int n) {
  static const float temperatures[] = {1, 0.6f, 0, 1.3f};
  return (tlt_request){
      .prompt = prompt,
      .n_prompt = n,
      .rollout = (uint32_t)index,
      .n_samples = samples_of(index),
      .max_tokens = NEW_TOKENS - index,
      .temperature = temperatures[index % 4],
      .top_p = index % 3 == 1 ? 0.9f : 1,
      .top_k = index == 4 ? 20 : 0,
      .min_p = index == 7 ? 0.05f : 0,
  };
}

static void keep(void *context, const tlt_sample *s) {
  job *j = context;
  result *r = &j->result[s->rollout * SAMPLES + s->sample];
  assert_int_equal(r->n_tokens, 0);
  r->n_tokens = s->n_tokens;
  r->finish = s->finish;
  r->by_eos = s->stopped_by_eos;
  memcpy(r->tokens, s->tokens, (size_t)s->n_tokens * sizeof *s->tokens);
  memcpy(r->logprobs, s->logprobs, (size_t)s->n_tokens * sizeof *s->logprobs);
  j->done++;
}

static void submit_all(const job *j, tlt_engine *e, int vocab) {
  for (int p = 0; p < PROMPTS; p++) {
    int32_t prompt[LONGEST];
    int n;
    fill_prompt(p, vocab, prompt, &n);
    tlt_request r = request_of(p, prompt, n);
    if (j->unshared) r.n_samples = 1;
    for (int s = 0; s < (j->unshared ? samples_of(p) : 1); s++) {
      r.sample0 = (uint32_t)s;
      assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
    }
  }
}

static void run_engine(job *j, tlt_engine *e) {
  tlt_err err = {0};
  for (int steps = 0; tlt_engine_pending(e); steps++) {
    if (tlt_engine_step(e, keep, j, &err) != TLT_OK) fail_msg("%s", err.text);
    assert_true(steps < 5000);
  }
  tlt_engine_stats_get(e, &j->stats);
}

static void run_on(job *j, tlt_model *m) {
  tlt_engine_options o = {.batch = j->batch,
                          .max_positions = 200,
                          .prefill_chunk = j->chunk,
                          .kv_bytes = j->kv_bytes,
                          .seed = 3};
  tlt_engine *e;
  tlt_err err = {0};
  memset(j->result, 0, sizeof j->result);
  j->done = 0;
  if (tlt_engine_create(m, NULL, &o, &e, &err) != TLT_OK) fail_msg("%s", err.text);
  submit_all(j, e, m->weights->config.vocab);
  run_engine(j, e);
  assert_int_equal(e->blocks.n_free, e->blocks.count);
  assert_int_equal(e->blocks.reserved, 0);
  tlt_engine_free(e);
}

static void run_job(job *j, const tlt_config *c) {
  tlt_model *m = tiny_model(c, j->numerics, j->threads);
  assert_non_null(m);
  run_on(j, m);
  tlt_model_close(m);
}

static void assert_same(const job *a, const job *b, const char *what) {
  assert_int_equal(a->done, b->done);
  if (memcmp(a->result, b->result, sizeof a->result))
    fail_msg("%s changed tokens or log-probabilities", what);
}

static bool available(const char *numerics) {
  const tlt_kernels *k;
  return tlt_kernels_choose(numerics, &k, NULL) == TLT_OK;
}

/* ---- Invariance ---- */

static void check_invariance(const char *numerics, tlt_arch arch) {
  static job base, other;
  tlt_config c = tiny_config(arch);
  c.eos[0] = 11;
  c.n_eos = 1;
  base = (job){.numerics = numerics, .threads = 2, .batch = 64, .chunk = 512};
  run_job(&base, &c);
  static const struct {
    int threads, batch, chunk;
    bool unshared;
    const char *what;
  } ways[] = {
      {1, 64, 512, false, "1 thread"},    {3, 64, 512, false, "3 threads"},
      {16, 64, 512, false, "16 threads"}, {2, 1, 512, false, "batch 1"},
      {2, 7, 512, false, "batch 7"},      {2, 64, 1, false, "chunk 1"},
      {2, 64, 17, false, "chunk 17"},     {2, 64, 512, true, "unshared prompts"},
      {3, 7, 17, true, "all of them"},
  };
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    other = (job){.numerics = numerics,
                  .threads = ways[i].threads,
                  .batch = ways[i].batch,
                  .chunk = ways[i].chunk,
                  .unshared = ways[i].unshared};
    run_job(&other, &c);
    assert_same(&base, &other, ways[i].what);
  }
}

static void portable_bits_do_not_depend_on_scheduling(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) check_invariance("portable", (tlt_arch)arch);
}

static void bf16_bits_do_not_depend_on_scheduling(void **state) {
  (void)state;
  if (!available("avx512bf16")) skip();
  for (int arch = 0; arch < 3; arch++) check_invariance("avx512bf16", (tlt_arch)arch);
}

static void instruction_sets_agree(tlt_numerics numerics, const tlt_isa *isas, int n,
                                   const char *name) {
  static job base, other;
  tlt_config c = tiny_config(TLT_ARCH_QWEN3);
  base = (job){.numerics = name, .threads = 2, .batch = 16, .chunk = 32};
  run_job(&base, &c);
  for (int i = 0; i < n; i++) {
    const tlt_kernels *k = tlt_kernels_get(numerics, isas[i]);
    if (!k) continue;
    tlt_model *m = tiny_model(&c, name, 2);
    m->kernels = k;
    other = base;
    run_on(&other, m);
    assert_same(&base, &other, tlt_isa_name(isas[i]));
    tlt_model_close(m);
  }
}

static void portable_bits_do_not_depend_on_the_instruction_set(void **state) {
  (void)state;
  static const tlt_isa isas[] = {TLT_ISA_SCALAR, TLT_ISA_AVX2, TLT_ISA_AVX512};
  instruction_sets_agree(TLT_NUMERICS_PORTABLE, isas, 3, "portable");
}

static void bf16_agrees_with_its_oracle(void **state) {
  (void)state;
  static const tlt_isa isas[] = {TLT_ISA_SCALAR};
  if (!available("avx512bf16")) skip();
  instruction_sets_agree(TLT_NUMERICS_AVX512BF16, isas, 1, "avx512bf16");
}

static void rollout_logprobs_equal_scores(void **state) {
  (void)state;
  static job j;
  for (int arch = 0; arch < 3; arch++) {
    tlt_config c = tiny_config((tlt_arch)arch);
    tlt_model *m = tiny_model(&c, "auto", 2);
    j = (job){.batch = 13, .chunk = 23};
    run_on(&j, m);
    for (int p = 0; p < PROMPTS; p++) {
      int32_t prompt[LONGEST];
      int n;
      fill_prompt(p, c.vocab, prompt, &n);
      float temperature = request_of(p, prompt, n).temperature;
      for (int s = 0; s < samples_of(p); s++) {
        const result *r = &j.result[p * SAMPLES + s];
        float out[NEW_TOKENS];
        assert_int_equal(
            tlt_model_score(m, prompt, n, r->tokens, r->n_tokens, temperature, out, NULL), TLT_OK);
        assert_memory_equal(out, r->logprobs, (size_t)r->n_tokens * sizeof *out);
      }
    }
    tlt_model_close(m);
  }
}

static void samples_of_a_prompt_differ(void **state) {
  (void)state;
  static job j;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  j = (job){.threads = 2, .batch = 64};
  run_job(&j, &c);
  for (int s = 1; s < 4; s++)
    assert_memory_not_equal(j.result[3 * SAMPLES].tokens, j.result[3 * SAMPLES + s].tokens,
                            4 * sizeof(int32_t));
  /* T = 0: the noise plays no part */
  for (int s = 1; s < 2; s++)
    assert_memory_equal(j.result[6 * SAMPLES].tokens, j.result[6 * SAMPLES + s].tokens,
                        20 * sizeof(int32_t));
  assert_true(j.stats.shared_tokens > 0 &&
              j.stats.prefill_tokens == 1 + 2 + 15 + 16 + 17 + 33 + 64 + 99 + LONGEST);
}

/* ---- Limits ---- */

static void little_memory_only_takes_longer(void **state) {
  (void)state;
  static job base, other;
  tlt_config c = tiny_config(TLT_ARCH_QWEN2);
  tlt_model *m = tiny_model(&c, "auto", 2);
  size_t block =
      tlt_kv_layout_of(c.layers, c.kv_heads, c.head_dim, m->kernels->act_size).block_bytes;
  base = (job){.batch = 64, .chunk = 512};
  run_on(&base, m);
  for (int blocks = 14; blocks < 40; blocks += 5) {
    other = (job){.batch = 64, .chunk = 512, .kv_bytes = (size_t)blocks * block};
    run_on(&other, m);
    assert_same(&base, &other, "less KV memory");
    assert_true(other.stats.peak_blocks <= blocks && other.stats.steps > base.stats.steps);
  }
  tlt_engine_options o = {.batch = 64, .max_positions = 200, .kv_bytes = 13 * block};
  tlt_engine *e;
  tlt_err err = {0};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "kv_bytes"));
  tlt_model_close(m);
}

static void answers_end_at_the_last_position(void **state) {
  (void)state;
  static job j;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "auto", 2);
  tlt_engine_options o = {.batch = 3, .max_positions = 48};
  tlt_engine *e;
  tlt_err err = {0};
  int32_t prompt[48] = {0};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, &err), TLT_OK);
  assert_int_equal(tlt_engine_room(e), 3);
  for (int left = 1; left <= 18; left++) {
    tlt_request r = {.prompt = prompt,
                     .n_prompt = 48 - left,
                     .n_samples = 3,
                     .max_tokens = 30,
                     .temperature = 1,
                     .top_p = 1,
                     .ignore_eos = true};
    j = (job){0};
    assert_int_equal(tlt_engine_submit(e, &r, &err), TLT_OK);
    assert_int_equal(tlt_engine_pending(e), 3);
    assert_int_equal(tlt_engine_room(e), 0);
    run_engine(&j, e);
    for (int s = 0; s < 3; s++) {
      assert_int_equal(j.result[s].n_tokens, left);
      assert_int_equal(j.result[s].finish, TLT_FINISH_LENGTH);
    }
  }
  tlt_request r = {.prompt = prompt,
                   .n_prompt = 48,
                   .n_samples = 1,
                   .max_tokens = 1,
                   .temperature = 1,
                   .top_p = 1};
  assert_int_equal(tlt_engine_submit(e, &r, &err), TLT_EDATA);
  tlt_engine_free(e);
  tlt_model_close(m);
}

static void bad_requests_are_refused(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "auto", 1);
  tlt_engine_options o = {.batch = 2, .max_positions = 64};
  tlt_engine *e;
  int32_t prompt[2] = {1, 2};
  const char *stop[1] = {"x"};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, NULL), TLT_OK);
  tlt_request good = {.prompt = prompt,
                      .n_prompt = 2,
                      .n_samples = 1,
                      .max_tokens = 4,
                      .temperature = 1,
                      .top_p = 1};
  tlt_request bad[9];
  for (int i = 0; i < 9; i++) bad[i] = good;
  bad[0].n_prompt = 0;
  bad[1].n_samples = 0;
  bad[2].max_tokens = 0;
  bad[3].temperature = NAN;
  bad[4].top_p = 0;
  bad[5].min_p = 2;
  bad[6].top_k = -1;
  bad[7].stop = stop;
  bad[7].n_stop = 1; /* no tokenizer */
  bad[8].temperature = -1;
  for (int i = 0; i < 9; i++) {
    tlt_err err = {0};
    assert_int_not_equal(tlt_engine_submit(e, &bad[i], &err), TLT_OK);
    assert_true(err.text[0]);
  }
  int32_t outside[2] = {0, c.vocab};
  good.prompt = outside;
  assert_int_equal(tlt_engine_submit(e, &good, NULL), TLT_EDATA);
  assert_int_equal(tlt_engine_pending(e), 0);
  o.max_positions = c.max_positions + 1;
  tlt_engine *none;
  assert_int_equal(tlt_engine_create(m, NULL, &o, &none, NULL), TLT_EUSAGE);
  assert_null(none);
  tlt_engine_free(e);
  tlt_model_close(m);
}

static void clearing_frees_everything(void **state) {
  (void)state;
  static job j, again;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "auto", 2);
  tlt_engine_options o = {.batch = 7, .max_positions = 200, .prefill_chunk = 40, .seed = 3};
  tlt_engine *e;
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, NULL), TLT_OK);
  for (int steps = 0; steps < 40; steps++) {
    again = (job){0};
    submit_all(&j, e, c.vocab);
    for (int i = 0; i < steps; i++)
      assert_int_equal(tlt_engine_step(e, keep, &again, NULL), TLT_OK);
    tlt_engine_clear(e);
    assert_int_equal(tlt_engine_pending(e), 0);
    assert_int_equal(tlt__blocks_available(&e->blocks), e->blocks.count);
  }
  j = again = (job){.batch = 7, .chunk = 40};
  submit_all(&j, e, c.vocab);
  run_engine(&j, e);
  run_on(&again, m);
  assert_same(&j, &again, "clearing");
  tlt_engine_free(e);
  tlt_model_close(m);
}

/* ---- Hidden states ---- */

typedef struct seen {
  const tlt_model *m;
  int rows[3];  /* per tap */
  float *final; /* [640][H] of rollout 0, by position */
  float *entering;
} seen;

static void look(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
                 size_t element_size, int width, size_t stride) {
  seen *s = context;
  for (int i = 0; i < n; i++) {
    const unsigned char *x = (const unsigned char *)data + (size_t)i * stride * element_size;
    float *to = (tap == TLT_TAP_FINAL ? s->final : s->entering) + rows[i].position * width;
    s->rows[tap + 1]++;
    if (tap == TLT_TAP_FINAL) s->m->kernels->from_act(x, (size_t)width, to);
    else memcpy(to, x, (size_t)width * sizeof *to);
  }
}

static void sink_sees_every_row_once(void **state) {
  (void)state;
  static job j;
  tlt_config c = tiny_config(TLT_ARCH_QWEN3);
  tlt_model *m = tiny_model(&c, "auto", 2);
  tlt_engine_options o = {.batch = 2, .max_positions = 100, .prefill_chunk = 9, .seed = 5};
  seen s = {.m = m,
            .final = calloc(640, (size_t)c.hidden * sizeof(float)),
            .entering = calloc(640, (size_t)c.hidden * sizeof(float))};
  tlt_hidden_sink sink = {&s, 2, {TLT_TAP_FINAL, 0}, look};
  tlt_engine *e;
  int32_t prompt[30];
  for (int i = 0; i < 30; i++) prompt[i] = i * 3;
  tlt_request r = {.prompt = prompt,
                   .n_prompt = 30,
                   .n_samples = 1,
                   .max_tokens = 20,
                   .temperature = 1,
                   .top_p = 1};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, NULL), TLT_OK);
  tlt_engine_set_sink(e, &sink);
  assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  j = (job){0};
  run_engine(&j, e);
  assert_int_equal(s.rows[0], 30 + 19);
  assert_int_equal(s.rows[1], 30 + 19);
  /* the layer-0 tap is the embedding of the token; the final tap gives the log-probabilities */
  size_t stride = tlt_act_stride((size_t)c.hidden) * m->kernels->act_size;
  void *act = tlt_calloc_aligned(1, stride);
  float *row = calloc((size_t)c.hidden, sizeof *row),
        *logits = calloc((size_t)c.vocab, sizeof *logits);
  for (int i = 0; i < 20; i++) {
    int position = 29 + i;
    int32_t token = i ? j.result[0].tokens[i - 1] : prompt[29];
    m->kernels->embed(&m->weights->embed, token, row);
    assert_memory_equal(row, s.entering + position * c.hidden, (size_t)c.hidden * sizeof *row);
    m->kernels->to_act(s.final + position * c.hidden, (size_t)c.hidden, act);
    tlt_forward_logits(&e->forward, act, 1, logits);
    float got = tlt_logprob(m->kernels, logits, c.vocab, 1, j.result[0].tokens[i], NULL);
    assert_true(got == j.result[0].logprobs[i]);
  }
  free(row);
  free(logits);
  tlt_free(act);
  free(s.final);
  free(s.entering);
  tlt_engine_free(e);
  tlt_model_close(m);
}

/* ---- Stops ---- */

static void end_token_stops_unless_ignored(void **state) {
  (void)state;
  static job plain, stopped;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  plain = stopped = (job){.threads = 2, .batch = 64};
  run_job(&plain, &c);
  const result *r = &plain.result[8 * SAMPLES + 2];
  assert_int_equal(r->n_tokens, NEW_TOKENS - 8);
  c.eos[0] = r->tokens[5];
  c.n_eos = 1;
  run_job(&stopped, &c);
  int cut = 0;
  while (r->tokens[cut] != c.eos[0]) cut++;
  const result *s = &stopped.result[8 * SAMPLES + 2];
  assert_int_equal(s->n_tokens, cut + 1);
  assert_int_equal(s->finish, TLT_FINISH_STOP);
  assert_true(s->by_eos);
  assert_memory_equal(s->tokens, r->tokens, (size_t)(cut + 1) * sizeof *s->tokens);
  assert_memory_equal(s->logprobs, r->logprobs, (size_t)(cut + 1) * sizeof *s->logprobs);
}

static tlt_tokenizer *tiny_tokenizer(void) {
  static const char *texts[] = {"the theme of the thesis then", "a b c 1 2 3"};
  static const char *specials[] = {"<end>"};
  const size_t lengths[] = {strlen(texts[0]), strlen(texts[1])};
  char folder[] = "/tmp/tlt-engine-XXXXXX";
  tlt_tokenizer *t;
  tlt_err err = {0};
  assert_non_null(mkdtemp(folder));
  if (tlt_tokenizer_train(texts, lengths, 2, 270, specials, 1, "<end>", folder, &err) != TLT_OK ||
      tlt_tokenizer_open(folder, &t, &err) != TLT_OK)
    fail_msg("%s", err.text);
  assert_int_equal(tlt_path_remove(folder, NULL), TLT_OK);
  return t;
}

/* The stop string is the end of one token and the start of the next. */
static void stop_string_across_tokens(void **state) {
  (void)state;
  static job plain, stopped;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  c.vocab = 280; /* a few ids beyond the tokenizer: they have no bytes */
  tlt_tokenizer *t = tiny_tokenizer();
  tlt_model *m = tiny_model(&c, "auto", 2);
  tlt_engine_options o = {.batch = 4, .max_positions = 200, .seed = 3};
  tlt_engine *e;
  int32_t prompt[3] = {5, 6, 7};
  tlt_request r = {.prompt = prompt,
                   .n_prompt = 3,
                   .n_samples = 3,
                   .max_tokens = NEW_TOKENS,
                   .temperature = 1,
                   .top_p = 1};
  assert_int_equal(tlt_engine_create(m, t, &o, &e, NULL), TLT_OK);
  assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  plain = stopped = (job){0};
  run_engine(&plain, e);
  int at = 3;
  char text[3] = {0};
  for (;; at++) {
    size_t n1 = 0, n2 = 0;
    assert_true(at + 1 < NEW_TOKENS);
    int32_t first = plain.result[1].tokens[at], second = plain.result[1].tokens[at + 1];
    if (first >= tlt_tokenizer_vocab(t) || second >= tlt_tokenizer_vocab(t)) continue;
    const char *b1 = tlt_tokenizer_bytes(t, first, &n1), *b2 = tlt_tokenizer_bytes(t, second, &n2);
    if (!n1 || !n2 || !b1[n1 - 1] || !b2[0]) continue;
    text[0] = b1[n1 - 1];
    text[1] = b2[0];
    break;
  }
  const char *stops[2] = {"never seen here", text};
  r.stop = stops;
  r.n_stop = 2;
  assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  run_engine(&stopped, e);
  const result *s = &stopped.result[1];
  assert_true(s->n_tokens <= at + 2 && s->finish == TLT_FINISH_STOP && !s->by_eos);
  assert_memory_equal(s->tokens, plain.result[1].tokens, (size_t)s->n_tokens * sizeof *s->tokens);
  tlt_engine_free(e);
  tlt_model_close(m);
  tlt_tokenizer_close(t);
}

/* Against the plain definition: the first prefix that ends with the string. */
static void stop_strings_match_in_any_cut(void **state) {
  (void)state;
  static const char text[] = "aabaabaaabaababaabaaabab";
  static const char *stops[] = {"a", "ab", "aabaaab", "abab", "aaaa", "aabaabaaabaababaabaaabab",
                                "b"};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
    for (size_t cut = 1; cut < 6; cut++) {
      const char *where = strstr(text, stops[i]);
      size_t want = where ? (size_t)(where - text) + strlen(stops[i]) : sizeof text;
      tlt_stop s;
      int16_t at = 0;
      size_t fed = 0;
      bool hit = false;
      tlt__stop_init(&s, stops[i], strlen(stops[i]));
      while (!hit && fed < sizeof text - 1) {
        size_t n = sizeof text - 1 - fed < cut ? sizeof text - 1 - fed : cut;
        hit = tlt__stop_feed(&s, &at, text + fed, n);
        fed += n;
      }
      assert_int_equal(hit, where != NULL);
      if (hit) assert_true(fed >= want && fed - want < cut);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(portable_bits_do_not_depend_on_scheduling),
      cmocka_unit_test(bf16_bits_do_not_depend_on_scheduling),
      cmocka_unit_test(portable_bits_do_not_depend_on_the_instruction_set),
      cmocka_unit_test(bf16_agrees_with_its_oracle),
      cmocka_unit_test(rollout_logprobs_equal_scores),
      cmocka_unit_test(samples_of_a_prompt_differ),
      cmocka_unit_test(little_memory_only_takes_longer),
      cmocka_unit_test(answers_end_at_the_last_position),
      cmocka_unit_test(bad_requests_are_refused),
      cmocka_unit_test(clearing_frees_everything),
      cmocka_unit_test(sink_sees_every_row_once),
      cmocka_unit_test(end_token_stops_unless_ignored),
      cmocka_unit_test(stop_string_across_tokens),
      cmocka_unit_test(stop_strings_match_in_any_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
