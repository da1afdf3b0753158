/* GEMM: every vector kernel against the scalar oracle bit for bit, over odd shapes and row counts,
 * rows alone and in a batch, panel ranges, bias, addition, guard zones; packing; the pool wrapper.
 * Run alone: build/tests/unit/kernels/test_gemm */
#include "common.h"

#include "kernels/gemm_run.h"

enum { GAP = 5 }; /* floats between and around output rows that must stay untouched */
#define CANARY 0x7fc0deadu

typedef struct gemm_case {
  tlt_packed w;
  void *memory;
  float *bias;
  unsigned char *x; /* [rows][stride] act */
  float *start;     /* what the output holds before a call */
  size_t ldx, ldy, y_floats;
  int rows;
} gemm_case;

static void case_open(gemm_case *c, const tlt_kernels *k, int n, int kk, int rows, bool bias) {
  tlt_stream s = test_stream((uint32_t)(n * 1000003 + kk * 1009 + rows));
  *c = (gemm_case){.rows = rows, .ldx = tlt_act_stride((size_t)kk), .ldy = (size_t)n + GAP};
  c->memory = tlt_calloc_aligned(tlt_packed_bytes(n, kk), 1);
  tlt_packed_init(&c->w, n, kk, c->memory);
  float *row = tlt_calloc((size_t)kk, sizeof *row);
  for (int r = 0; r < n; r++) {
    for (int i = 0; i < kk; i++) row[i] = test_value(&s);
    tlt_packed_set_rows(&c->w, r, 1, row);
  }
  c->bias = tlt_calloc((size_t)n, sizeof *c->bias);
  for (int i = 0; i < n; i++) c->bias[i] = test_unit(&s);
  if (bias) c->w.bias = c->bias;
  c->x = tlt_calloc_aligned((size_t)rows * c->ldx, k->act_size);
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < kk; i++) row[i] = test_value(&s);
    k->to_act(row, (size_t)kk, c->x + (size_t)r * c->ldx * k->act_size);
  }
  c->y_floats = (size_t)rows * c->ldy + GAP;
  c->start = tlt_calloc(c->y_floats, sizeof *c->start);
  for (size_t i = 0; i < c->y_floats; i++) {
    bool inside = i >= GAP && (i - GAP) % c->ldy < (size_t)n;
    c->start[i] = inside ? test_unit(&s) : tlt_f32_bits(CANARY);
  }
  tlt_free(row);
}

static void case_close(gemm_case *c) {
  tlt_free(c->memory);
  tlt_free(c->bias);
  tlt_free(c->x);
  tlt_free(c->start);
}

/* The whole output buffer, guard zones included, after one call; freed by the caller. */
static float *run_case(const gemm_case *c, const tlt_kernels *k, int row0, int rows, int panel0,
                       int panel1, bool add) {
  float *y = tlt_malloc(c->y_floats * sizeof *y);
  memcpy(y, c->start, c->y_floats * sizeof *y);
  k->gemm(&c->w, panel0, panel1, c->x + (size_t)row0 * c->ldx * k->act_size, c->ldx, rows,
          y + GAP + (size_t)row0 * c->ldy, c->ldy, add);
  return y;
}

static void compare_shape(const tlt_kernels *oracle, const tlt_kernels *k, int n, int kk, int rows) {
  gemm_case c;
  case_open(&c, oracle, n, kk, rows, rows % 2);
  for (int add = 0; add < 2; add++) {
    float *want = run_case(&c, oracle, 0, rows, 0, c.w.panels, add);
    float *got = run_case(&c, k, 0, rows, 0, c.w.panels, add);
    assert_same_bits(got, want, c.y_floats);
    tlt_free(got);
    tlt_free(want);
  }
  case_close(&c);
}

static void equals_oracle(tlt_numerics numerics) {
  static const int shapes[][2] = {{16, 2},  {1, 1},    {17, 3},   {31, 64},  {48, 65},
                                  {80, 66}, {100, 70}, {129, 31}, {64, 192}, {35, 577}};
  const tlt_kernels *oracle = tlt_kernels_get(numerics, TLT_ISA_SCALAR), *k[3];
  int tables = test_tables(numerics, k);
  for (int t = 0; t < tables; t++) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
      for (int rows = 1; rows <= 40; rows++)
        compare_shape(oracle, k[t], shapes[i][0], shapes[i][1], rows);
    }
    compare_shape(oracle, k[t], 35, 130, 64);
    compare_shape(oracle, k[t], 35, 67, 257);
  }
}

static void portable_equals_oracle(void **state) {
  (void)state;
  equals_oracle(TLT_NUMERICS_PORTABLE);
}

static void avx512bf16_equals_oracle(void **state) {
  (void)state;
  equals_oracle(TLT_NUMERICS_AVX512BF16);
}

/* Each row alone and each panel alone give what the whole call gives, and touch nothing else. */
static void rows_and_panels_are_independent(void **state) {
  (void)state;
  enum { N = 101, K = 90, ROWS = 29 };
  for (int numerics = 0; numerics <= TLT_NUMERICS_AVX512BF16; numerics++) {
    const tlt_kernels *k[3];
    int tables = test_tables((tlt_numerics)numerics, k);
    for (int t = 0; t < tables; t++) {
      gemm_case c;
      case_open(&c, k[t], N, K, ROWS, true);
      float *whole = run_case(&c, k[t], 0, ROWS, 0, c.w.panels, false);
      for (int r = 0; r < ROWS; r++) {
        float *alone = run_case(&c, k[t], r, 1, 0, c.w.panels, false);
        assert_same_bits(alone + GAP + (size_t)r * c.ldy, whole + GAP + (size_t)r * c.ldy, N);
        memcpy(alone + GAP + (size_t)r * c.ldy, c.start + GAP + (size_t)r * c.ldy, N * sizeof(float));
        assert_same_bits(alone, c.start, c.y_floats);
        tlt_free(alone);
      }
      memcpy(c.start, whole, c.y_floats * sizeof *whole);
      for (int p = 0; p < c.w.panels; p++) {
        float *part = run_case(&c, k[t], 0, ROWS, p, p + 1, false);
        assert_same_bits(part, whole, c.y_floats);
        tlt_free(part);
      }
      tlt_free(whole);
      case_close(&c);
    }
  }
}

static void packing_round_trips_and_pads_with_zeros(void **state) {
  (void)state;
  enum { N = 37, K = 19 };
  tlt_packed w;
  tlt_bf16 *memory = tlt_calloc_aligned(tlt_packed_bytes(N, K), 1);
  tlt_packed_init(&w, N, K, memory);
  assert_int_equal(w.panels, 3);
  assert_int_equal(w.pairs, 10);
  float rows[N * K], back[N * K], one[K];
  tlt_stream s = test_stream(7);
  for (int i = 0; i < N * K; i++) rows[i] = tlt_bf16_to_f32(tlt_f32_to_bf16(test_value(&s) + 2.0f));
  tlt_packed_set_rows(&w, 0, 30, rows);
  tlt_packed_set_rows(&w, 30, N - 30, rows + 30 * K);
  tlt_packed_get_rows(&w, 0, N, back);
  assert_same_bits(back, rows, N * K);
  tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR)->embed(&w, 33, one);
  assert_same_bits(one, rows + 33 * K, K);
  size_t filled = 0;
  for (size_t i = 0; i < tlt_packed_bytes(N, K) / sizeof *memory; i++) filled += memory[i] != 0;
  size_t nonzero = 0;
  for (int i = 0; i < N * K; i++) nonzero += rows[i] != 0;
  assert_int_equal(filled, nonzero); /* nothing but the elements themselves: padding is zero */
  tlt_free(memory);
}

static void pool_gives_the_same_bits(void **state) {
  (void)state;
  enum { N = 1000, K = 64, ROWS = 18 };
  const tlt_kernels *k;
  tlt_err err;
  assert_int_equal(tlt_kernels_choose("auto", &k, &err), TLT_OK);
  gemm_case c;
  case_open(&c, k, N, K, ROWS, false);
  float *want = run_case(&c, k, 0, ROWS, 0, c.w.panels, false);
  for (int threads = 1; threads <= 5; threads += 2) {
    tlt_pool *pool;
    assert_int_equal(tlt_pool_create(threads, &pool, &err), TLT_OK);
    float *got = tlt_malloc(c.y_floats * sizeof *got);
    memcpy(got, c.start, c.y_floats * sizeof *got);
    tlt_gemm_run(pool, k, &c.w, c.x, c.ldx, ROWS, got + GAP, c.ldy, false);
    assert_same_bits(got, want, c.y_floats);
    tlt_free(got);
    tlt_pool_free(pool);
  }
  tlt_free(want);
  case_close(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(portable_equals_oracle),
      cmocka_unit_test(avx512bf16_equals_oracle),
      cmocka_unit_test(rows_and_panels_are_independent),
      cmocka_unit_test(packing_round_trips_and_pads_with_zeros),
      cmocka_unit_test(pool_gives_the_same_bits),
  };
  return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
