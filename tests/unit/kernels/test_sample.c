/* Sampling: every vector sampler against the definition on random, sharp, flat, tied and broken rows
 * with and without filters; the definition against the distribution it stands for (chi-square) and
 * against filters worked out by hand.
 * Run alone: build/tests/unit/kernels/test_sample */
#include "common.h"

#include <math.h>

#include "kernels/sample.h"

enum { MAX_N = 50000 };

static float logits[MAX_N];
static void *scratch;

static int open_scratch(void **state) {
  (void)state;
  scratch = tlt_calloc_aligned(tlt_sample_scratch_bytes(MAX_N), 1);
  return scratch ? 0 : -1;
}

static int close_scratch(void **state) {
  (void)state;
  tlt_free(scratch);
  return 0;
}

typedef enum row_kind { NORMAL, SHARP, FLAT, TIED, HUGE, BROKEN, EMPTY, STEEP, GRAINY, ROW_KINDS } row_kind;

static float odd_value(tlt_stream *s) {
  static const float odd[] = {-INFINITY, NAN, -0.0f, 0.0f, 1.0f, -1e38f};
  return odd[tlt_stream_below(s, 6)];
}

static void fill_row(row_kind kind, int n, tlt_stream *s) {
  for (int v = 0; v < n; v++) {
    float x = (test_unit(s) + test_unit(s) + test_unit(s)) * 3;
    switch (kind) {
      case NORMAL: logits[v] = x; break;
      case SHARP: logits[v] = x * 6; break;
      case FLAT: logits[v] = x * 1e-3f; break;
      case TIED: logits[v] = rintf(x); break;
      case HUGE: logits[v] = x * 1e5f; break;
      case BROKEN: logits[v] = tlt_stream_below(s, 3) ? x : odd_value(s); break;
      case EMPTY: logits[v] = tlt_stream_below(s, 2) ? -INFINITY : NAN; break;
      case GRAINY: logits[v] = tlt_stream_below(s, 100) ? 1e8f : 1e8f + 8; break; /* sums tie */
      default: logits[v] = -0.05f * (float)v + x * 0.1f; break;
    }
  }
  if (kind == BROKEN && tlt_stream_below(s, 8) == 0) logits[tlt_stream_below(s, (uint32_t)n)] = INFINITY;
}

static tlt_sampling random_sampling(tlt_stream *s, int n, bool filters) {
  static const float temperatures[] = {0.0f, 0.6f, 1.0f, 1.5f, 0.01f, 30.0f};
  static const float ps[] = {0.0f, 0.1f, 0.5f, 0.9f, 0.95f, 0.999f, 1.0f};
  static const float floors[] = {0.0f, 0.01f, 0.1f, 0.5f, 1.0f};
  tlt_sampling how = {.temperature = temperatures[tlt_stream_below(s, 6)], .top_p = 1};
  if (!filters) return how;
  uint32_t which = 1 + tlt_stream_below(s, 7);
  if (which & 1) how.top_k = 1 + (int)tlt_stream_below(s, (uint32_t)(tlt_stream_below(s, 2) ? 20 : n + 2));
  if (which & 2) how.top_p = ps[tlt_stream_below(s, 7)];
  if (which & 4) how.min_p = floors[tlt_stream_below(s, 5)];
  return how;
}

static void compare_row(const tlt_kernels *k, int n, row_kind kind, tlt_stream *s, uint32_t i,
                        bool filters) {
  fill_row(kind, n, s);
  tlt_sampling how = random_sampling(s, n, filters);
  tlt_draw draw = {tlt_stream_u32(s), i, i % 5, tlt_stream_u32(s)};
  int32_t want = tlt_sample_reference(logits, n, &how, &draw, scratch);
  int32_t got = k->sample(logits, n, &how, &draw, scratch);
  if (got != want)
    fail_msg("%s, row %u: n %d kind %d T %g k %d p %g min %g: got %d, expected %d", tlt_isa_name(k->isa),
             i, n, (int)kind, (double)how.temperature, how.top_k, (double)how.top_p,
             (double)how.min_p, got, want);
}

static void equals_reference(bool filters) {
  static const int sizes[] = {1, 2, 15, 63, 64, 65, 130, 777, 2000, 5001};
  const tlt_kernels *k[3];
  int tables = test_tables(TLT_NUMERICS_PORTABLE, k);
  for (int t = 0; t < tables; t++) {
    tlt_stream s = test_stream(11);
    for (uint32_t i = 0; i < 8000; i++) {
      int n = sizes[i / ROW_KINDS % (i % 97 ? 8 : 10)];
      compare_row(k[t], n, (row_kind)(i % ROW_KINDS), &s, i, filters);
    }
    for (uint32_t i = 0; i < 2 * ROW_KINDS; i++)
      compare_row(k[t], 49152 + (int)(i % 3), (row_kind)(i % ROW_KINDS), &s, i, filters);
  }
}

static void plain_equals_reference(void **state) {
  (void)state;
  equals_reference(false);
}

static void filtered_equals_reference(void **state) {
  (void)state;
  equals_reference(true);
}

/* What ranks drafts: logits / T + tlt_sample_noise, token by token. */
static void noise_of_one_token_is_the_samplers(void **state) {
  (void)state;
  enum { N = 1000 };
  const tlt_kernels *k[3];
  int tables = test_tables(TLT_NUMERICS_PORTABLE, k);
  tlt_stream s = test_stream(12);
  for (uint32_t i = 0; i < 500; i++) {
    fill_row(NORMAL, N, &s);
    tlt_sampling how = {.temperature = i % 2 ? 1.0f : 0.6f, .top_p = 1};
    tlt_draw draw = {tlt_stream_u32(&s), i, i % 7, tlt_stream_u32(&s)};
    int32_t best = 0;
    float best_score = -INFINITY;
    for (int32_t v = 0; v < N; v++) {
      float score = logits[v] / how.temperature + tlt_sample_noise(&draw, v);
      if (score > best_score) best = v, best_score = score;
    }
    assert_int_equal(tlt_sample_reference(logits, N, &how, &draw, scratch), best);
    for (int t = 0; t < tables; t++)
      assert_int_equal(k[t]->sample(logits, N, &how, &draw, scratch), best);
  }
}

/* One token far above 49,151 equal ones: now and then the winner comes from 13 nats below, where only
 * extreme noise reaches. */
static void deep_tail_is_not_pruned(void **state) {
  (void)state;
  enum { N = 49152, DRAWS = 100 };
  const tlt_kernels *k[3];
  int tables = test_tables(TLT_NUMERICS_PORTABLE, k), deep = 0;
  for (int v = 0; v < N; v++) logits[v] = v == 30000 ? 13.0f : 0.0f;
  tlt_sampling how = {.temperature = 1, .top_p = 1};
  for (uint32_t i = 0; i < DRAWS; i++) {
    tlt_draw draw = {7, i, 0, 3};
    int32_t want = tlt_sample_reference(logits, N, &how, &draw, scratch);
    deep += want != 30000;
    for (int t = 0; t < tables; t++)
      assert_int_equal(k[t]->sample(logits, N, &how, &draw, scratch), want);
  }
  assert_true(deep >= 3);
}

static void greedy_takes_the_first_of_equals(void **state) {
  (void)state;
  for (int v = 0; v < 200; v++) logits[v] = v == 70 || v == 150 ? 2.0f : v == 3 ? NAN : 1.0f;
  tlt_sampling how = {.temperature = 0, .top_p = 1};
  tlt_draw draw = {0};
  const tlt_kernels *k;
  tlt_err err;
  assert_int_equal(tlt_kernels_choose("auto", &k, &err), TLT_OK);
  assert_int_equal(k->sample(logits, 200, &how, &draw, scratch), 70);
  for (int v = 0; v < 200; v++) logits[v] = NAN;
  assert_int_equal(k->sample(logits, 200, &how, &draw, scratch), 0);
  how.temperature = 1;
  assert_int_equal(k->sample(logits, 200, &how, &draw, scratch), 0);
}

/* Draws must follow softmax(logits / T) over `kept`: chi-square below its 1e-6 quantile (7 degrees of
 * freedom: 40.5), nothing outside. */
static void follows(const tlt_kernels *k, const tlt_sampling *how, uint32_t kept) {
  enum { N = 8, DRAWS = 60000 };
  static const float row[N] = {0.3f, -1.0f, 1.7f, 0.3f, -2.5f, 0.9f, 1.2f, -0.2f};
  double p[N], total = 0, chi = 0;
  int seen[N] = {0};
  memcpy(logits, row, sizeof row);
  for (int v = 0; v < N; v++) {
    p[v] = kept >> v & 1 ? exp((double)row[v] / (double)how->temperature) : 0;
    total += p[v];
  }
  for (uint32_t i = 0; i < DRAWS; i++) {
    tlt_draw draw = {123, i / 100, i % 10, i / 10 % 10};
    seen[k->sample(logits, N, how, &draw, scratch)]++;
  }
  for (int v = 0; v < N; v++) {
    double want = p[v] / total * DRAWS;
    if (want == 0) assert_int_equal(seen[v], 0);
    else chi += (seen[v] - want) * (seen[v] - want) / want;
  }
  assert_true(chi < 40.5);
}

static void draws_follow_the_distribution(void **state) {
  (void)state;
  const tlt_kernels *k;
  tlt_err err;
  assert_int_equal(tlt_kernels_choose("auto", &k, &err), TLT_OK);
  follows(k, &(tlt_sampling){.temperature = 1, .top_p = 1}, 0xff);
  follows(k, &(tlt_sampling){.temperature = 0.6f, .top_p = 1}, 0xff);
  follows(k, &(tlt_sampling){.temperature = 1.5f, .top_p = 1}, 0xff);
  /* Order: 2 6 5 0 3 7 1 4; probabilities 0.350 0.212 0.157 0.086 0.086 0.052 0.024 0.005. */
  follows(k, &(tlt_sampling){.temperature = 1, .top_k = 4, .top_p = 1}, 0x65); /* id 3 loses the tie */
  follows(k, &(tlt_sampling){.temperature = 1, .top_p = 0.6f}, 0x64);
  follows(k, &(tlt_sampling){.temperature = 1, .top_p = 0.5f}, 0x44);
  follows(k, &(tlt_sampling){.temperature = 1, .top_p = 1, .min_p = 0.2f}, 0x6d);
  follows(k, &(tlt_sampling){.temperature = 1, .top_k = 3, .top_p = 0.7f}, 0x44); /* p of the three */
  follows(k, &(tlt_sampling){.temperature = 1, .top_p = 0}, 0x04);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_equals_reference),
      cmocka_unit_test(filtered_equals_reference),
      cmocka_unit_test(noise_of_one_token_is_the_samplers),
      cmocka_unit_test(deep_tail_is_not_pruned),
      cmocka_unit_test(greedy_takes_the_first_of_equals),
      cmocka_unit_test(draws_follow_the_distribution),
  };
  return cmocka_run_group_tests_name("sample", tests, open_scratch, close_scratch);
}
