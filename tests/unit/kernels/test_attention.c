/* Attention: against double precision, and bit for bit across instruction sets, groupings of
 * queries, decode against prefill, and whatever lies in slots that a query may not see.
 * Run alone: build/tests/unit/kernels/test_attention */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "base/philox.h"
#include "kernels/kernels.h"

enum { MAX_POSITIONS = 400, MAX_BLOCKS = MAX_POSITIONS / 16, MAX_D = 160, GUARD = 64 };

static const struct {
  tlt_numerics numerics;
  tlt_isa isa;
} paths[] = {{TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR},
             {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX2},
             {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX512},
             {TLT_NUMERICS_AVX512BF16, TLT_ISA_SCALAR},
             {TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16}};
enum { PATHS = sizeof paths / sizeof paths[0] };

static uint32_t seed = 1;
static float noise(void) { /* in [-1, 1), deterministic */
  seed = seed * 1664525u + 1013904223u;
  return (float)(int32_t)seed * 0x1p-31f;
}

/* One sequence in one KV head, and its queries. */
typedef struct problem {
  const tlt_kernels *k;
  int d, positions;
  tlt_kv_layout layout;
  unsigned char *block[MAX_BLOCKS];
  float *key, *value, *query; /* [positions][d], rounded to act */
  unsigned char *q;           /* [positions] act[d] */
  float *scratch;
} problem;

static void round_to_act(const tlt_kernels *k, float *x, int n) {
  for (int i = 0; i < n && k->act_size == 2; i++) x[i] = tlt_bf16_to_f32(tlt_f32_to_bf16(x[i]));
}

static void fill_slots(problem *p, int from, float with) {
  float row[MAX_D];
  for (int i = 0; i < p->d; i++) row[i] = with;
  for (int t = from; t < MAX_POSITIONS; t++)
    p->k->kv_store(p->block[t / 16], p->layout.k_bytes, p->d, t % 16, row, row);
}

static problem make(const tlt_kernels *k, int d, int positions) {
  problem p = {.k = k, .d = d, .positions = positions};
  size_t n = (size_t)positions * (size_t)d;
  seed = (uint32_t)(d * 1000 + positions);
  p.layout = tlt_kv_layout_of(1, 1, d, k->act_size);
  for (int i = 0; i < MAX_BLOCKS; i++) p.block[i] = tlt_calloc_aligned(1, p.layout.block_bytes);
  p.key = tlt_calloc(n, sizeof(float));
  p.value = tlt_calloc(n, sizeof(float));
  p.query = tlt_calloc(n, sizeof(float));
  p.q = tlt_calloc_aligned(n, k->act_size);
  p.scratch = tlt_calloc_aligned(tlt_attn_scratch_floats(d) + GUARD, sizeof(float));
  for (size_t i = 0; i < n; i++) {
    p.key[i] = 2 * noise();
    p.value[i] = noise();
    p.query[i] = 3 * noise();
  }
  for (int t = 0; t < positions; t++)
    k->kv_store(p.block[t / 16], p.layout.k_bytes, d, t % 16, p.key + t * d, p.value + t * d);
  round_to_act(k, p.key, (int)n);
  round_to_act(k, p.value, (int)n);
  round_to_act(k, p.query, (int)n);
  k->to_act(p.query, n, p.q);
  return p;
}

static void destroy(problem *p) {
  for (int i = 0; i < MAX_BLOCKS; i++) tlt_free(p->block[i]);
  tlt_free(p->key);
  tlt_free(p->value);
  tlt_free(p->query);
  tlt_free(p->q);
  tlt_free(p->scratch);
}

/* Queries t0 .. t0+n-1, each seeing the positions up to its own; out [n][d] act, lse [n]. */
static void attend(problem *p, int t0, int n, unsigned char *out, float *lse) {
  const void *q[TLT_ATTN_QUERIES];
  void *o[TLT_ATTN_QUERIES];
  int32_t visible[TLT_ATTN_QUERIES];
  size_t row = (size_t)p->d * p->k->act_size, floats = tlt_attn_scratch_floats(p->d);
  for (int i = 0; i < n; i++) {
    q[i] = p->q + (size_t)(t0 + i) * row;
    o[i] = out + (size_t)i * row;
    visible[i] = t0 + i + 1;
  }
  for (size_t i = 0; i < floats; i++) p->scratch[i] = NAN;
  for (int i = 0; i < GUARD; i++) p->scratch[floats + (size_t)i] = 42;
  tlt_attn a = {.n_q = n,
                .head_dim = p->d,
                .scale = 0.125f,
                .q = q,
                .visible = visible,
                .out = o,
                .panels = (const unsigned char *const *)p->block,
                .k_bytes = p->layout.k_bytes,
                .lse = lse,
                .scratch = p->scratch};
  p->k->attention(&a);
  for (int i = 0; i < GUARD; i++) assert_true(p->scratch[floats + (size_t)i] == 42);
}

static void naive(const problem *p, int t, double *out, double *lse) {
  double s[MAX_POSITIONS], max = -1e30, sum = 0;
  for (int j = 0; j <= t; j++) {
    s[j] = 0;
    for (int i = 0; i < p->d; i++)
      s[j] += (double)p->query[t * p->d + i] * (double)p->key[j * p->d + i] * 0.125;
    max = s[j] > max ? s[j] : max;
  }
  for (int j = 0; j <= t; j++) sum += exp(s[j] - max);
  for (int i = 0; i < p->d; i++) {
    out[i] = 0;
    for (int j = 0; j <= t; j++) out[i] += exp(s[j] - max) / sum * (double)p->value[j * p->d + i];
  }
  *lse = max + log(sum);
}

static const int dims[] = {2, 15, 16, 24, 33, 48, 64, 80, 128, 160};
static const int lengths[] = {1, 2, 15, 16, 17, 33, 127, 128, 129, 257, 300};
enum { DIMS = sizeof dims / sizeof dims[0], LENGTHS = sizeof lengths / sizeof lengths[0] };

static void close_to_double(void **state) {
  (void)state;
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    for (int a = 0; a < DIMS * LENGTHS; a++) {
      int d = dims[a / LENGTHS], t = lengths[a % LENGTHS];
      problem p = make(k, d, t);
      unsigned char out[MAX_D * 4];
      float lse, y[MAX_D];
      double want[MAX_D], want_lse;
      attend(&p, t - 1, 1, out, &lse);
      k->from_act(out, (size_t)d, y);
      naive(&p, t - 1, want, &want_lse);
      double tolerance = k->act_size == 2 ? 8e-3 : 3e-6;
      for (int i = 0; i < d; i++) assert_true(fabs(y[i] - want[i]) <= tolerance);
      assert_true(fabs(lse - want_lse) <= 1e-5);
      destroy(&p);
    }
  }
}

/* All positions one query at a time are the reference; groups of n must repeat it. */
static void grouping_changes_nothing(void **state) {
  (void)state;
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    for (int a = 0; a < 3; a++) {
      int d = (const int[]){16, 64, 33}[a], t = 290;
      problem p = make(k, d, t);
      size_t row = (size_t)d * k->act_size;
      unsigned char *one = tlt_calloc((size_t)t, row), *many = tlt_calloc((size_t)t, row);
      float *lse_one = tlt_calloc((size_t)t, 4), *lse_many = tlt_calloc((size_t)t, 4);
      for (int i = 0; i < t; i++) attend(&p, i, 1, one + (size_t)i * row, lse_one + i);
      for (int n = 2; n <= TLT_ATTN_QUERIES; n++) {
        for (int i = 0; i < t; i += n)
          attend(&p, i, t - i < n ? t - i : n, many + (size_t)i * row, lse_many + i);
        assert_memory_equal(one, many, (size_t)t * row);
        assert_memory_equal(lse_one, lse_many, (size_t)t * 4);
      }
      tlt_free(one);
      tlt_free(many);
      tlt_free(lse_one);
      tlt_free(lse_many);
      destroy(&p);
    }
  }
}

/* Slots from `visible` on may hold anything: zeros, another sequence's data, infinity, NaN. */
static void stale_slots_do_not_matter(void **state) {
  (void)state;
  const float stale[] = {0.0f, 3.5f, -1e30f, INFINITY, NAN};
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    for (int a = 0; a < LENGTHS; a++) {
      int t = lengths[a], n = t < 7 ? t : 7;
      unsigned char first[7 * 64 * 4], again[7 * 64 * 4];
      float lse_first[7], lse_again[7];
      for (int s = 0; s < 5; s++) {
        problem p = make(k, 64, t);
        fill_slots(&p, t, stale[s]);
        attend(&p, t - n, n, s ? again : first, s ? lse_again : lse_first);
        destroy(&p);
        if (!s) continue;
        assert_memory_equal(first, again, (size_t)n * 64 * k->act_size);
        assert_memory_equal(lse_first, lse_again, (size_t)n * 4);
      }
    }
  }
}

/* A query must not feel the later positions that its neighbours see. */
static void later_positions_do_not_matter(void **state) {
  (void)state;
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    problem p = make(k, 64, 140);
    unsigned char alone[64 * 4], group[12 * 64 * 4];
    float lse[12], bad[64];
    attend(&p, 125, 1, alone, lse);
    for (int i = 0; i < 64; i++) bad[i] = NAN;
    for (int t = 126; t < 140; t++)
      k->kv_store(p.block[t / 16], p.layout.k_bytes, 64, t % 16, bad, bad);
    attend(&p, 125, 12, group, lse);
    assert_memory_equal(alone, group, 64 * k->act_size);
    destroy(&p);
  }
}

static void instruction_sets_agree(void **state) {
  (void)state;
  for (int c = 1; c < PATHS; c++) {
    const tlt_kernels *fast = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    const tlt_kernels *oracle = tlt_kernels_get(paths[c].numerics, TLT_ISA_SCALAR);
    if (!fast || !oracle || fast == oracle) continue;
    for (int a = 0; a < DIMS * LENGTHS; a++) {
      int d = dims[a / LENGTHS], t = lengths[a % LENGTHS], n = t < 12 ? t : 1 + (a * 5) % 12;
      problem p = make(fast, d, t), o = make(oracle, d, t);
      unsigned char got[12 * MAX_D * 4], want[12 * MAX_D * 4];
      float lse_got[12], lse_want[12];
      for (int i = 0; i < MAX_BLOCKS; i++)
        assert_memory_equal(p.block[i], o.block[i], p.layout.block_bytes);
      attend(&p, t - n, n, got, lse_got);
      attend(&o, t - n, n, want, lse_want);
      assert_memory_equal(got, want, (size_t)(n * d) * fast->act_size);
      assert_memory_equal(lse_got, lse_want, (size_t)n * 4);
      destroy(&p);
      destroy(&o);
    }
  }
}

/* Denormal probabilities, ties of huge scores, and values whose products underflow. */
static void extremes_agree(void **state) {
  (void)state;
  for (int c = 1; c < PATHS; c++) {
    const tlt_kernels *fast = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    const tlt_kernels *oracle = tlt_kernels_get(paths[c].numerics, TLT_ISA_SCALAR);
    if (!fast || !oracle || fast == oracle) continue;
    problem pair[2] = {make(fast, 64, 150), make(oracle, 64, 150)};
    unsigned char out[2][64 * 4];
    float lse[2];
    for (int w = 0; w < 2; w++) {
      for (int t = 0; t < 150; t++) {
        float key[64] = {0}, value[64];
        key[0] = -(float)t * 2.8f;
        for (int i = 0; i < 64; i++) value[i] = (i % 2 ? -1.0f : 1.0f) * ldexpf(1.0f, -(t % 149));
        fast->kv_store(pair[w].block[t / 16], pair[w].layout.k_bytes, 64, t % 16, key, value);
      }
      float query[64] = {5.0f};
      fast->to_act(query, 64, pair[w].q + (size_t)149 * 64 * fast->act_size);
      attend(&pair[w], 149, 1, out[w], &lse[w]);
    }
    assert_memory_equal(out[0], out[1], 64 * fast->act_size);
    assert_true(lse[0] == lse[1]);
    destroy(&pair[0]);
    destroy(&pair[1]);
  }
}

/* ---- Tails of draft trees ---- */

enum { TAIL_BLOCKS = 12, TAIL_POSITIONS = TAIL_BLOCKS * 16 };

/* Blocks of random keys and values for each group of queries. */
static void fill_tails(problem *p, unsigned char *tail[][TAIL_BLOCKS], int groups) {
  float key[MAX_D], value[MAX_D];
  for (int g = 0; g < groups; g++)
    for (int t = 0; t < TAIL_POSITIONS; t++) {
      for (int i = 0; i < p->d; i++) key[i] = 2 * noise(), value[i] = noise();
      p->k->kv_store(tail[g][t / 16], p->layout.k_bytes, p->d, t % 16, key, value);
    }
}

static int below(int n) {
  return (int)((noise() + 1) * 0.5f * (float)n);
}

/* n queries in groups with own tails, in one call and one by one over the panels that each sees. */
static void check_tails(problem *p, int n, unsigned char *tail[][TAIL_BLOCKS]) {
  const unsigned char *const *group_panels[TLT_ATTN_QUERIES];
  const unsigned char *seen[MAX_BLOCKS + TAIL_BLOCKS];
  const void *q[TLT_ATTN_QUERIES];
  void *out[TLT_ATTN_QUERIES], *again[TLT_ATTN_QUERIES];
  unsigned char results[2][TLT_ATTN_QUERIES][MAX_D * 4];
  int32_t visible[TLT_ATTN_QUERIES], end[TLT_ATTN_QUERIES];
  float lse[2][TLT_ATTN_QUERIES];
  int groups = 0, tail_first = below(3) * TLT_ATTN_SPAN;
  for (int i = 0; i < n; i++) {
    q[i] = p->q + (size_t)i * (size_t)p->d * p->k->act_size;
    out[i] = results[0][i];
    again[i] = results[1][i];
    visible[i] = 1 + below(tail_first + (i % 5 || !tail_first ? TAIL_POSITIONS : 0));
    if (i + 1 == n || below(2)) {
      group_panels[groups] = (const unsigned char *const *)tail[groups];
      end[groups++] = i + 1;
    }
  }
  tlt_attn a = {.n_q = n,
                .head_dim = p->d,
                .scale = 0.125f,
                .q = q,
                .visible = visible,
                .panels = (const unsigned char *const *)p->block,
                .n_groups = groups,
                .tail_first = tail_first,
                .group_end = end,
                .group_panels = group_panels,
                .k_bytes = p->layout.k_bytes,
                .out = out,
                .lse = lse[0],
                .scratch = p->scratch};
  p->k->attention(&a);
  for (int i = 0, g = 0; i < n; i++) {
    if (i == end[g]) g++;
    for (int b = 0; b < tail_first / 16; b++) seen[b] = p->block[b];
    for (int b = 0; b < TAIL_BLOCKS; b++) seen[tail_first / 16 + b] = tail[g][b];
    tlt_attn alone = a;
    alone.n_q = 1;
    alone.n_groups = 0;
    alone.q = q + i;
    alone.visible = visible + i;
    alone.panels = seen;
    alone.out = again + i;
    alone.lse = &lse[1][i];
    p->k->attention(&alone);
    assert_memory_equal(results[0][i], results[1][i], (size_t)p->d * p->k->act_size);
  }
  assert_memory_equal(lse[0], lse[1], (size_t)n * sizeof(float));
}

static void tails_equal_plain_calls(void **state) {
  (void)state;
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    for (int a = 0; a < DIMS; a++) {
      problem p = make(k, dims[a], 300);
      unsigned char *tail[TLT_ATTN_QUERIES][TAIL_BLOCKS];
      for (int i = 0; i < TLT_ATTN_QUERIES * TAIL_BLOCKS; i++)
        tail[i / TAIL_BLOCKS][i % TAIL_BLOCKS] = tlt_calloc_aligned(1, p.layout.block_bytes);
      fill_tails(&p, tail, TLT_ATTN_QUERIES);
      for (int round = 0; round < 12; round++)
        check_tails(&p, 1 + (round * 5 + a) % TLT_ATTN_QUERIES, tail);
      for (int i = 0; i < TLT_ATTN_QUERIES * TAIL_BLOCKS; i++)
        tlt_free(tail[i / TAIL_BLOCKS][i % TAIL_BLOCKS]);
      destroy(&p);
    }
  }
}

/* A copied position is the stored one, and its neighbours stay. */
static void copies_keep_bits(void **state) {
  (void)state;
  for (int c = 0; c < PATHS; c++) {
    const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
    if (!k) continue;
    for (int a = 0; a < DIMS * 16; a++) {
      int d = dims[a / 16], to = a % 16, from = (a * 7 + 3) % 32;
      problem p = make(k, d, 64), want = make(k, d, 64);
      k->kv_store(want.block[0], p.layout.k_bytes, d, to, p.key + from * d, p.value + from * d);
      tlt_kv_copy(&p.layout, p.block[0], to, p.block[from / 16], from % 16);
      assert_memory_equal(p.block[0], want.block[0], p.layout.block_bytes);
      destroy(&p);
      destroy(&want);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(close_to_double),           cmocka_unit_test(grouping_changes_nothing),
      cmocka_unit_test(stale_slots_do_not_matter), cmocka_unit_test(later_positions_do_not_matter),
      cmocka_unit_test(instruction_sets_agree),    cmocka_unit_test(extremes_agree),
      cmocka_unit_test(tails_equal_plain_calls),   cmocka_unit_test(copies_keep_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
