/* Speculation changes no token and no bit, whatever the speculator proposes.
 * Run alone: build/tests/unit/engine/test_speculate */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "../model/tiny.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "drafters.h"
#include "engine/internal.h"
#include "io/file.h"

/* ---- Requests: every setting, and every way for an answer to end ---- */

static void fill_prompt(int index, int vocab, int32_t *prompt, int *n) {
  static const int lengths[PROMPTS] = {1,   2,   15,  16,  17,  33,  64, 99,
                                       127, 128, 129, 150, 180, 190, 30, 31};
  *n = lengths[index];
  for (int i = 0; i < *n; i++) prompt[i] = (index * 97 + i * i * 13 + 5) % vocab;
}

static tlt_request request_of(int index, const int32_t *prompt, int n, bool stops) {
  static const float temperatures[] = {1, 0.6f, 0, 1.5f};
  static const char *const stop[] = {"a", "e", "\n", "th", "%", "B", "7", "xyzzy"};
  static const int most[] = {NEW_TOKENS, 40, 5, 2, 1, 23, NEW_TOKENS, 17};
  return (tlt_request){.prompt = prompt,
                       .n_prompt = n,
                       .rollout = (uint32_t)index,
                       .n_samples = 1 + index % SAMPLES,
                       .max_tokens = most[index % 8],
                       .temperature = temperatures[index % 4],
                       .top_p = index % 3 == 1 ? 0.9f : 1,
                       .top_k = index % 5 == 4 ? 20 : 0,
                       .min_p = index % 7 == 3 ? 0.05f : 0,
                       .ignore_eos = index % 6 == 5,
                       .stop = stop,
                       .n_stop = stops && index % 2 ? 8 : 0};
}

/* ---- Runs ---- */

typedef struct way {
  int batch, chunk, draft_rows;
  size_t kv_bytes;
} way;

typedef struct run {
  result result[ALL];
  int done;
  tlt_engine_stats stats;
} run;

static void keep(void *context, const tlt_sample *s) {
  run *r = context;
  result *to = &r->result[s->rollout * SAMPLES + s->sample];
  assert_int_equal(to->n_tokens, 0);
  to->n_tokens = s->n_tokens;
  to->finish = s->finish;
  to->by_eos = s->stopped_by_eos;
  memcpy(to->tokens, s->tokens, (size_t)s->n_tokens * sizeof *s->tokens);
  memcpy(to->logprobs, s->logprobs, (size_t)s->n_tokens * sizeof *s->logprobs);
  r->done++;
}

static void submit_all(tlt_engine *e, bool stops) {
  for (int p = 0; p < PROMPTS; p++) {
    int32_t prompt[POSITIONS];
    int n;
    fill_prompt(p, e->model->weights->config.vocab, prompt, &n);
    tlt_request r = request_of(p, prompt, n, stops);
    assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  }
}

static tlt_engine *engine_of(tlt_model *m, const tlt_tokenizer *t, const way *w) {
  tlt_engine_options o = {.batch = w->batch,
                          .max_positions = POSITIONS,
                          .prefill_chunk = w->chunk,
                          .kv_bytes = w->kv_bytes,
                          .seed = 3,
                          .draft_rows = w->draft_rows};
  tlt_engine *e;
  tlt_err err = {0};
  if (tlt_engine_create(m, t, &o, &e, &err) != TLT_OK) fail_msg("%s", err.text);
  return e;
}

static void drain(tlt_engine *e, run *r) {
  tlt_err err = {0};
  for (int steps = 0; tlt_engine_pending(e); steps++) {
    if (tlt_engine_step(e, keep, r, &err) != TLT_OK) fail_msg("%s", err.text);
    assert_true(steps < 5000);
  }
  assert_int_equal(e->blocks.n_free, e->blocks.count);
  assert_int_equal(e->blocks.reserved, 0);
  tlt_engine_stats_get(e, &r->stats);
}

static void go(tlt_model *m, const tlt_tokenizer *t, const way *w, drafter *d,
               const tlt_hidden_sink *sink, run *r) {
  tlt_engine *e = engine_of(m, t, w);
  *r = (run){0};
  if (d) {
    tlt_speculator s = speculator_of(d);
    d->m = m;
    d->forward = &e->forward;
    d->logits = calloc((size_t)m->weights->config.vocab, sizeof *d->logits);
    assert_int_equal(tlt_engine_set_speculator(e, &s, NULL), TLT_OK);
  }
  tlt_engine_set_sink(e, sink);
  submit_all(e, t != NULL);
  drain(e, r);
  tlt_engine_free(e);
  if (!d) return;
  free(d->logits);
  assert_int_equal(d->n_open, 0);
  assert_int_equal(d->n_groups, 0);
  assert_int_equal(r->stats.draft_tokens, d->drafted);
  assert_int_equal(r->stats.accepted_tokens, d->accepted);
}

static void assert_same(const run *a, const run *b, const char *what, int number) {
  assert_int_equal(a->done, b->done);
  if (memcmp(a->result, b->result, sizeof a->result))
    fail_msg("%s %d changed tokens or log-probabilities", what, number);
}

static tlt_tokenizer *tiny_tokenizer(void) {
  static const char *texts[] = {"the theme of the thesis then", "a b c 1 2 3"};
  static const char *specials[] = {"<end>"};
  const size_t lengths[] = {strlen(texts[0]), strlen(texts[1])};
  char folder[] = "/tmp/tlt-speculate-XXXXXX";
  tlt_tokenizer *t;
  tlt_err err = {0};
  assert_non_null(mkdtemp(folder));
  if (tlt_tokenizer_train(texts, lengths, 2, 270, specials, 1, "<end>", folder, &err) != TLT_OK ||
      tlt_tokenizer_open(folder, &t, &err) != TLT_OK)
    fail_msg("%s", err.text);
  assert_int_equal(tlt_path_remove(folder, NULL), TLT_OK);
  return t;
}

static tlt_model *model_of(tlt_arch arch, const char *numerics, int threads) {
  tlt_config c = tiny_config(arch);
  c.layers = 2;
  c.vocab = arch == TLT_ARCH_QWEN2 ? 1331 : 280;
  c.max_positions = POSITIONS;
  c.n_eos = 4;
  for (int i = 0; i < 4; i++) c.eos[i] = 11 + 60 * i;
  return tiny_model(&c, numerics, threads);
}

/* ---- No bit changes ---- */

static const way ways[] = {{16, 3, 4096, 0}, {3, 512, 64, 0}, {1, 20, 63, 0},
                           {16, 3, 7, 0},    {16, 40, 1, 0},  {5, 1, 200, 0}};
enum { WAYS = sizeof ways / sizeof *ways };

static void check_ways(tlt_arch arch, const char *numerics) {
  static run plain, other;
  tlt_model *m = model_of(arch, numerics, 1 + (int)arch);
  tlt_tokenizer *t = tiny_tokenizer();
  if (!m) skip();
  const way free_run = {16, 512, 0, 0};
  int ends[3] = {0};
  go(m, t, &free_run, NULL, NULL, &plain);
  for (int i = 0; i < ALL; i++) {
    const result *r = &plain.result[i];
    if (r->n_tokens) ends[r->finish == TLT_FINISH_LENGTH ? 0 : r->by_eos ? 1 : 2]++;
  }
  assert_true(ends[0] > 2 && ends[1] > 2 && (ends[2] > 1 || m->weights->config.vocab > 280));
  for (int how = 0; how < KINDS; how++) {
    drafter d = {.how = (kind)how, .depth = 4 + 5 * (int)arch, .truth = plain.result};
    d.seed = (uint32_t)how;
    go(m, t, &ways[(how + 2 * (int)arch) % WAYS], &d, NULL, &other);
    assert_same(&plain, &other, "speculation", how);
  }
  tlt_tokenizer_close(t);
  tlt_model_close(m);
}

static void portable_bits_do_not_change(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) check_ways((tlt_arch)arch, "portable");
}

static void bf16_bits_do_not_change(void **state) {
  (void)state;
  const tlt_kernels *k;
  if (tlt_kernels_choose("avx512bf16", &k, NULL) != TLT_OK) skip();
  for (int arch = 0; arch < 3; arch++) check_ways((tlt_arch)arch, "avx512bf16");
}

/* ---- Accepted where right ---- */

static int64_t steps_of(const run *plain, int per_step) {
  int64_t steps = 0;
  for (int i = 0; i < ALL; i++)
    if (plain->result[i].n_tokens)
      steps += (plain->result[i].n_tokens - 1 + per_step - 1) / per_step;
  return steps;
}

static void right_drafts_are_accepted(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 2);
  const way free_run = {16, 512, 0, 0}, alone = {1, 512, 63, 0}, together = {16, 512, 2048, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  static const kind kinds[] = {CHAIN, SIBLINGS_AFTER, SIBLINGS_BEFORE, CHAIN};
  for (int i = 0; i < 4; i++) {
    drafter d = {.how = kinds[i], .depth = i == 3 ? 20 : 4, .truth = plain.result};
    go(m, NULL, i % 2 ? &alone : &together, &d, NULL, &other);
    assert_same(&plain, &other, "oracle", i);
    /* rows of last tokens: one for depth + 1 tokens of each sample */
    int64_t steps = steps_of(&plain, d.depth + 1), drawn = 0;
    for (int s = 0; s < ALL; s++)
      if (plain.result[s].n_tokens) drawn += plain.result[s].n_tokens - 1;
    assert_true(d.accepted >= drawn - steps && d.accepted <= drawn);
    if (i % 2) assert_true(other.stats.steps <= steps + PROMPTS + ALL);
  }
  drafter wrong = {.how = WRONG, .depth = 6, .truth = plain.result};
  go(m, NULL, &together, &wrong, NULL, &other);
  assert_int_equal(wrong.accepted, 0);
  assert_true(wrong.drafted > 0);
  tlt_model_close(m);
}

static void deepest_path_is_accepted(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 1);
  const way free_run = {16, 512, 0, 0}, alone = {1, 512, 63, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  drafter d = {.how = DEEP, .truth = plain.result};
  go(m, NULL, &alone, &d, NULL, &other);
  assert_same(&plain, &other, "deep", 0);
  assert_true(d.accepted >= steps_of(&plain, 1) - steps_of(&plain, TLT_DRAFT_DEPTH + 1));
  tlt_model_close(m);
}

/* ---- Memory ---- */

/* The least memory that one sequence needs is the same with drafts. */
static void little_memory_only_takes_longer(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 2);
  const way free_run = {16, 512, 0, 0};
  size_t block = tlt_kv_layout_of(2, 2, 10, m->kernels->act_size).block_bytes;
  go(m, NULL, &free_run, NULL, NULL, &plain);
  for (int blocks = 14; blocks < 60; blocks += 15) {
    const way w = {16, 40, 500, (size_t)blocks * block};
    drafter d = {.how = SIBLINGS_BEFORE, .depth = 9, .truth = plain.result};
    go(m, NULL, &w, &d, NULL, &other);
    assert_same(&plain, &other, "little memory", blocks);
    assert_true(other.stats.peak_blocks <= blocks);
  }
  tlt_model_close(m);
}

/* ---- Hidden states ---- */

/* Order does not count: a sum of hashes of everything that a row brings. */
typedef struct seen {
  int64_t rows[TLT_MAX_TAPS];
  uint64_t sum[8];
} seen;

static void look(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
                 size_t element_size, int width, size_t stride) {
  seen *s = context;
  for (int i = 0; i < n; i++) {
    char digest[TLT_SHA256_HEX];
    uint64_t part[8];
    tlt_sha256 h;
    tlt_sha256_begin(&h);
    tlt_sha256_add(&h, &tap, sizeof tap);
    tlt_sha256_add(&h, &rows[i], sizeof rows[i]);
    tlt_sha256_add(&h, (const unsigned char *)data + (size_t)i * stride * element_size,
                   (size_t)width * element_size);
    tlt_sha256_end(&h, digest);
    memcpy(part, digest, sizeof part);
    for (int j = 0; j < 8; j++) s->sum[j] += part[j];
    s->rows[tap + 1]++;
  }
}

static void sink_sees_the_same_rows(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 2);
  tlt_tokenizer *t = tiny_tokenizer();
  const way free_run = {7, 30, 0, 0};
  seen want = {0};
  tlt_hidden_sink sink = {&want, 4, {TLT_TAP_FINAL, 0, 2, 1}, look};
  go(m, t, &free_run, NULL, &sink, &plain);
  for (int how = 0; how < KINDS; how++) {
    drafter d = {.how = (kind)how, .depth = 5, .truth = plain.result};
    seen got = {0};
    sink.context = &got;
    go(m, t, &ways[how % WAYS], &d, &sink, &other);
    assert_same(&plain, &other, "sink", how);
    assert_memory_equal(&got, &want, sizeof got);
  }
  tlt_tokenizer_close(t);
  tlt_model_close(m);
}

/* ---- Use ---- */

static void clearing_tells_the_speculator(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 2);
  const way free_run = {16, 512, 0, 0}, w = {5, 40, 100, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  tlt_engine *e = engine_of(m, NULL, &w);
  drafter d = {.how = RANDOM, .truth = plain.result, .m = m, .forward = &e->forward};
  d.logits = calloc((size_t)m->weights->config.vocab, sizeof *d.logits);
  tlt_speculator s = speculator_of(&d);
  assert_int_equal(tlt_engine_set_speculator(e, &s, NULL), TLT_OK);
  for (int steps = 0; steps < 30; steps++) {
    other = (run){0};
    submit_all(e, false);
    for (int i = 0; i < steps; i++)
      assert_int_equal(tlt_engine_step(e, keep, &other, NULL), TLT_OK);
    tlt_engine_clear(e);
    assert_int_equal(d.n_open, 0);
    assert_int_equal(d.n_groups, 0);
    assert_int_equal(tlt__blocks_available(&e->blocks), e->blocks.count);
  }
  other = (run){0};
  submit_all(e, false);
  drain(e, &other);
  assert_same(&plain, &other, "clearing", 0);
  free(d.logits);
  tlt_engine_free(e);
  tlt_model_close(m);
}

/* The same answers with a speculator that keeps no account of its own. */
static void check_bits(tlt_model *m, const tlt_speculator *s, const run *plain, const char *what,
                       int number, run *out) {
  const way w = {6, 17, 300, 0};
  tlt_engine *e = engine_of(m, NULL, &w);
  assert_int_equal(tlt_engine_set_speculator(e, s, NULL), TLT_OK);
  *out = (run){0};
  submit_all(e, false);
  drain(e, out);
  assert_same(plain, out, what, number);
  tlt_engine_free(e);
}

/* Only drafts, and not even these; nobody asks for hidden states. */
static void callbacks_are_optional(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 3);
  const way free_run = {16, 512, 0, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  for (int i = 0; i < 2; i++) {
    drafter d = {.how = SIBLINGS_BEFORE, .depth = 7, .truth = plain.result, .m = m};
    tlt_speculator s = {.context = &d, .propose = i ? propose : NULL};
    check_bits(m, &s, &plain, "optional callbacks", i, &other);
    assert_true((other.stats.accepted_tokens > 0) == (i > 0));
  }
  tlt_model_close(m);
}

/* ---- sleeping ---- */

/* Awake in every third step. */
typedef struct sleeper {
  drafter d;
  bool awake, hidden;
  int wakes, slept, drafted;
} sleeper;

static bool wake(void *context, int n) {
  sleeper *s = context;
  assert_true(n >= 1);
  s->awake = s->wakes++ % 3 == 0;
  return s->awake;
}

static void propose_awake(void *context, int n, tlt_spec_seq *seq, int room, int prompt_rows) {
  sleeper *s = context;
  assert_true(s->awake);
  propose(&s->d, n, seq, room, prompt_rows);
}

static void hear_sleeping(void *context, const tlt_spec_step *step) {
  sleeper *s = context;
  bool shown = s->awake || s->hidden;
  assert_true((step->result != NULL) == shown && (step->hidden != NULL) == s->hidden);
  for (int i = 0; shown && i < step->n; i++) {
    const tlt_spec_result *r = &step->result[i];
    assert_true((r->draft != NULL) == s->awake);
    if (!s->awake) assert_true(r->n_new == 1 && r->n_path == 0);
  }
  s->slept += !s->awake;
  s->drafted += s->awake && step->decode_rows > step->n;
  if (!s->awake) assert_int_equal(step->decode_rows, step->n);
}

static void who_sleeps_is_left_alone(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 3);
  const way free_run = {16, 512, 0, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  for (int hidden = 0; hidden < 2; hidden++) {
    sleeper z = {.d = {.how = SIBLINGS_BEFORE, .depth = 7, .truth = plain.result, .m = m},
                 .hidden = hidden};
    tlt_speculator s = {.context = &z,
                        .wants_hidden = hidden,
                        .wake = wake,
                        .propose = propose_awake,
                        .verified = hear_sleeping};
    check_bits(m, &s, &plain, "a sleeper", hidden, &other);
    assert_true(z.slept > 5 && z.drafted > 3);
  }
  tlt_model_close(m);
}

/* Weights that become NaN: the step says so, whether drafts are deep or not. */
static void lost_numbers_are_reported(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 2);
  const way free_run = {16, 512, 0, 0}, w = {5, 40, 100, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  float kept = m->weights->final_norm[3];
  tlt_engine *e = engine_of(m, NULL, &w);
  drafter d = {.how = SIBLINGS_AFTER, .depth = 3, .truth = plain.result, .m = m};
  tlt_speculator s = speculator_of(&d);
  s.wants_hidden = false;
  s.open = NULL; /* it would miss the prompts */
  s.close = NULL;
  s.verified = NULL;
  assert_int_equal(tlt_engine_set_speculator(e, &s, NULL), TLT_OK);
  for (int steps = 0; steps < 6; steps++) {
    tlt_err err = {0};
    other = (run){0};
    submit_all(e, false);
    for (int i = 0; i < steps; i++)
      assert_int_equal(tlt_engine_step(e, keep, &other, &err), TLT_OK);
    m->weights->final_norm[3] = NAN;
    assert_int_equal(tlt_engine_step(e, keep, &other, &err), TLT_ENUMERIC);
    assert_non_null(strstr(err.text, "rollout"));
    m->weights->final_norm[3] = kept;
    tlt_engine_clear(e);
    assert_int_equal(d.n_groups, 0);
    assert_int_equal(tlt__blocks_available(&e->blocks), e->blocks.count);
  }
  tlt_engine_free(e);
  tlt_model_close(m);
}

static void misuse_is_refused(void **state) {
  (void)state;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 1);
  drafter d = {.how = SILENT};
  tlt_speculator s = speculator_of(&d);
  way w = {2, 40, 0, 0};
  tlt_err err = {0};
  tlt_engine *e = engine_of(m, NULL, &w);
  assert_int_equal(tlt_engine_set_speculator(e, &s, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "draft_rows"));
  assert_int_equal(tlt_engine_set_speculator(e, NULL, &err), TLT_OK);
  tlt_engine_free(e);
  w.draft_rows = 5;
  e = engine_of(m, NULL, &w);
  submit_all(e, false);
  assert_int_equal(tlt_engine_set_speculator(e, &s, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "pending"));
  tlt_engine_free(e);
  tlt_engine_options o = {.batch = 1, .max_positions = 100, .draft_rows = -1};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "draft_rows"));
  tlt_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(portable_bits_do_not_change),
      cmocka_unit_test(bf16_bits_do_not_change),
      cmocka_unit_test(right_drafts_are_accepted),
      cmocka_unit_test(deepest_path_is_accepted),
      cmocka_unit_test(little_memory_only_takes_longer),
      cmocka_unit_test(sink_sees_the_same_rows),
      cmocka_unit_test(clearing_tells_the_speculator),
      cmocka_unit_test(callbacks_are_optional),
      cmocka_unit_test(who_sleeps_is_left_alone),
      cmocka_unit_test(lost_numbers_are_reported),
      cmocka_unit_test(misuse_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
