/* The drafter's choice: every instruction set against a search over all tokens, on random, sharp,
 * flat, tied and broken rows, with scattered ids and with and without filters.
 * Run alone: build/tests/unit/kernels/test_draft_top */
#include "common.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/sample.h"

enum { MAX_N = 5000, MOST = 4 };

static float logits[MAX_N];
static int32_t ids[MAX_N];
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

static void fill_row(uint32_t kind, int n, tlt_stream *s) {
  static const float odd[] = {-INFINITY, NAN, -0.0f, 1.0f, -1e38f};
  int32_t id = (int32_t)tlt_stream_below(s, 3);
  uint32_t gap = 1 + 12 * tlt_stream_below(s, 2);
  for (int i = 0; i < n; i++) {
    float x = (test_unit(s) + test_unit(s) + test_unit(s)) * 3;
    const float of_kind[] = {x, 6 * x, x * 1e-3f, rintf(x), x * 1e5f, -0.05f * (float)i};
    logits[i] = kind < 6 ? of_kind[kind] : tlt_stream_below(s, 3) ? x : odd[tlt_stream_below(s, 5)];
    ids[i] = id;
    id += 1 + (int32_t)tlt_stream_below(s, gap);
  }
}

/* ---- The definition ---- */

typedef struct token {
  float s, sum;
  int32_t index;
} token;

static int by_s(const void *a, const void *b) {
  const token *x = a, *y = b;
  if (x->s != y->s) return x->s > y->s ? -1 : 1;
  return x->index - y->index;
}

static int by_sum(const void *a, const void *b) {
  const token *x = a, *y = b;
  if (x->sum != y->sum) return x->sum > y->sum ? -1 : 1;
  return x->index - y->index;
}

static int filtered(const token *t, int n, const tlt_sampling *how) {
  float m = t[0].s;
  if (how->top_k > 0 && how->top_k < n) n = how->top_k;
  if (how->top_p < 1) {
    uint64_t total = 0, gone = 0;
    for (int i = 0; i < n; i++) total += tlt_sample_units(t[i].s, m);
    uint64_t cut = tlt_sample_cut(how->top_p, total);
    while (n > 1 && (gone += tlt_sample_units(t[n - 1].s, m)) <= cut) n--;
  }
  float least = tlt_sample_min_p(how);
  while (least > 0 && tlt_sample_weight(t[n - 1].s, m) < least) n--;
  return n;
}

static int definition(int n, const tlt_sampling *how, const tlt_draw *draw, int k,
                      tlt_draft_choice *best) {
  static token t[MAX_N];
  bool greedy = how->temperature < TLT_GREEDY_BELOW;
  int count = 0;
  for (int i = 0; i < n; i++) {
    float s = greedy ? logits[i] : logits[i] / how->temperature;
    if (s == s && s > -INFINITY) t[count++] = (token){s, s, i};
  }
  if (!count) return 0;
  qsort(t, (size_t)count, sizeof *t, by_s);
  if (!greedy) {
    if (tlt_sample_filters(how)) count = filtered(t, count, how);
    while (t[count - 1].s < t[0].s - 100.0f) count--;
    for (int i = 0; i < count; i++) t[i].sum += tlt_sample_noise(draw, ids[t[i].index]);
    qsort(t, (size_t)count, sizeof *t, by_sum);
  }
  if (count > k) count = k;
  for (int i = 0; i < count; i++) best[i] = (tlt_draft_choice){t[i].index, t[i].sum};
  return count;
}

/* ---- Tests ---- */

static tlt_sampling random_sampling(tlt_stream *s) {
  static const float temperatures[] = {0.0f, 0.6f, 1.0f, 1.5f, 0.01f, 30.0f};
  static const float ps[] = {0.1f, 0.9f, 0.999f, 1.0f}, floors[] = {0.0f, 0.01f, 0.5f};
  tlt_sampling how = {.temperature = temperatures[tlt_stream_below(s, 6)], .top_p = 1};
  if (tlt_stream_below(s, 2)) return how;
  how.top_p = ps[tlt_stream_below(s, 4)];
  how.min_p = floors[tlt_stream_below(s, 3)];
  how.top_k = (int)tlt_stream_below(s, 30);
  return how;
}

static void compare(const tlt_kernels *table, int n, const tlt_sampling *how,
                    const tlt_draw *draw) {
  tlt_draft_choice want[MOST], got[MOST];
  for (int k = 1; k <= MOST; k++) {
    int count = definition(n, how, draw, k, want);
    int found = table->draft_top(logits, ids, n, how, draw, k, got, scratch);
    if (found != count)
      fail_msg("%s n %d k %d T %g: got %d choices, expected %d", tlt_isa_name(table->isa), n, k,
               (double)how->temperature, found, count);
    for (int i = 0; i < count; i++)
      if (got[i].index != want[i].index || got[i].score != want[i].score)
        fail_msg("%s n %d k %d T %g: choice %d: got %d %a, expected %d %a",
                 tlt_isa_name(table->isa), n, k, (double)how->temperature, i, got[i].index,
                 (double)got[i].score, want[i].index, (double)want[i].score);
  }
}

static void check_table(const tlt_kernels *table, uint32_t which, int trials) {
  static const int sizes[] = {1, 3, 16, 17, 63, 64, 65, 200, 256, 1000, 4096, 4999};
  tlt_stream s = test_stream(which);
  for (int trial = 0; trial < trials; trial++) {
    int n = sizes[tlt_stream_below(&s, 12)];
    fill_row(tlt_stream_below(&s, 7), n, &s);
    tlt_sampling how = random_sampling(&s);
    tlt_draw draw = {7, tlt_stream_u32(&s), tlt_stream_below(&s, 16), tlt_stream_below(&s, 999)};
    compare(table, n, &how, &draw);
  }
}

static void vector_choices_are_the_best(void **state) {
  const tlt_kernels *table[3];
  int tables = test_tables(TLT_NUMERICS_PORTABLE, table);
  (void)state;
  for (int i = 0; i < tables; i++) check_table(table[i], (uint32_t)i, 1500);
}

static void scalar_choices_are_the_best(void **state) {
  (void)state;
  check_table(tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR), 9, 300);
}

/* With all tokens in the slice and the target's own logits the first choice is the target's. */
static void the_first_choice_is_what_would_be_sampled(void **state) {
  const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR);
  tlt_stream s = test_stream(5);
  (void)state;
  for (int trial = 0; trial < 200; trial++) {
    fill_row(tlt_stream_below(&s, 4), 700, &s);
    for (int i = 0; i < 700; i++) ids[i] = i;
    tlt_sampling how = random_sampling(&s);
    tlt_draw draw = {7, tlt_stream_u32(&s), 1, 2};
    tlt_draft_choice best[1];
    assert_int_equal(k->draft_top(logits, ids, 700, &how, &draw, 1, best, scratch), 1);
    assert_int_equal(best[0].index, k->sample(logits, 700, &how, &draw, scratch));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vector_choices_are_the_best),
      cmocka_unit_test(scalar_choices_are_the_best),
      cmocka_unit_test(the_first_choice_is_what_would_be_sampled),
  };
  return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
