/* Row-wise kernels: exp and log per lane against base/fmath.h, norm, rope, gate, conversions and
 * log-sum-exp bit for bit across instruction sets and near double-precision formulas.
 * Run alone: build/tests/unit/kernels/test_elementwise */
#include "common.h"

#include <math.h>

enum { MAX_N = 1100 };

static const int sizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 63, 64, 100, 192, 577, 1024};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* One of each output of a table for one size, guards included. */
typedef struct outputs {
  float norm[MAX_N], norm32[MAX_N], silu[MAX_N], act[MAX_N], back[MAX_N], rope[MAX_N];
  float inverse, inverse32, max, sum;
} outputs;

typedef struct inputs {
  float x[MAX_N], gain[MAX_N], cosine[MAX_N], sine[MAX_N];
} inputs;

static void fill(inputs *in, uint32_t which, float scale) {
  tlt_stream s = test_stream(which);
  for (int i = 0; i < MAX_N; i++) {
    in->x[i] = test_unit(&s) * scale;
    in->gain[i] = test_unit(&s);
    float angle = test_unit(&s) * 3;
    in->cosine[i] = (float)cos((double)angle);
    in->sine[i] = (float)sin((double)angle);
  }
}

static void run(const tlt_kernels *k, const inputs *in, int n, outputs *o) {
  memset(o, 0x7b, sizeof *o);
  o->inverse = k->rmsnorm(in->x, in->gain, n, 1e-5f, o->norm);
  o->inverse32 = k->rmsnorm_f32(in->x, in->gain, n, 1e-5f, o->norm32);
  k->silu_mul(in->x, in->gain, n, o->silu);
  k->to_act(in->x, (size_t)n, o->act);
  k->from_act(o->act, (size_t)n, o->back);
  memcpy(o->rope, in->x, (size_t)n * sizeof *o->rope);
  k->rope(o->rope, in->cosine, in->sine, n & ~1);
  k->lse_chunk(in->x, n < TLT_VOCAB_CHUNK ? n : TLT_VOCAB_CHUNK, 0.7f, &o->max, &o->sum);
}

static void same_bits_across_instruction_sets(void **state) {
  (void)state;
  static const float scales[] = {1e-20f, 1.0f, 30.0f, 200.0f};
  static inputs in;
  static outputs want, got;
  for (int numerics = 0; numerics <= TLT_NUMERICS_AVX512BF16; numerics++) {
    const tlt_kernels *oracle = tlt_kernels_get((tlt_numerics)numerics, TLT_ISA_SCALAR), *k[3];
    int tables = test_tables((tlt_numerics)numerics, k);
    for (int i = 0; i < SIZES * 4 * tables; i++) {
      int n = sizes[i % SIZES];
      fill(&in, (uint32_t)i, scales[i / SIZES % 4]);
      run(oracle, &in, n, &want);
      run(k[i / SIZES / 4], &in, n, &got);
      assert_memory_equal(&got, &want, sizeof got);
    }
  }
}

static void portable_is_near_double(void **state) {
  (void)state;
  static inputs in;
  static outputs o;
  enum { N = 577 };
  fill(&in, 99, 4.0f);
  run(tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR), &in, N, &o);
  double squares = 0, max = -1e30, sum = 0;
  for (int i = 0; i < N; i++) {
    squares += (double)in.x[i] * in.x[i];
    max = fmax(max, (double)in.x[i] / (double)0.7f);
  }
  for (int i = 0; i < N; i++) sum += exp((double)in.x[i] / (double)0.7f - max);
  double inverse = 1 / sqrt(squares / N + 1e-5);
  assert_true(fabs(o.inverse / inverse - 1) < 1e-6);
  assert_true(fabs((double)o.max - max) < 1e-6 && fabs(o.sum / sum - 1) < 1e-6);
  for (int i = 0; i < N; i++) {
    double x = in.x[i], g = in.gain[i], silu = x / (1 + exp(-x)) * g;
    assert_true(fabs(o.norm[i] - x * inverse * g) < 1e-6);
    assert_true(fabs(o.silu[i] - silu) < 2e-6);
  }
  for (int i = 0; i < N / 2; i++) {
    double a = in.x[i], b = in.x[N / 2 + i], c = in.cosine[i], s = in.sine[i];
    assert_true(fabs(o.rope[i] - (a * c - b * s)) < 2e-6);
    assert_true(fabs(o.rope[N / 2 + i] - (b * c + a * s)) < 2e-6);
  }
}

/* silu_mul and lse_chunk of single elements expose exp; special values included. */
static void exp_of_lanes_equals_base(void **state) {
  (void)state;
  const tlt_kernels *k[3];
  int tables = test_tables(TLT_NUMERICS_PORTABLE, k);
  for (int t = 0; t < tables; t++) {
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 99991) {
      float x = tlt_f32_bits((uint32_t)bits), one = 1, out;
      k[t]->silu_mul(&x, &one, 1, &out);
      float want = x / (1.0f + tlt_expf(0.0f - x)) * 1.0f;
      if (want != want) assert_true(out != out);
      else assert_int_equal(tlt_bits_f32(out), tlt_bits_f32(want));
    }
  }
}

static void bf16_conversion_equals_base(void **state) {
  (void)state;
  const tlt_kernels *k[3];
  int tables = test_tables(TLT_NUMERICS_AVX512BF16, k);
  for (int t = 0; t < tables; t++) {
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 9973) {
      float x = tlt_f32_bits((uint32_t)bits), back;
      tlt_bf16 h;
      k[t]->to_act(&x, 1, &h);
      assert_int_equal(h, tlt_f32_to_bf16(x));
      k[t]->from_act(&h, 1, &back);
      assert_int_equal(tlt_bits_f32(back), (uint32_t)h << 16);
    }
  }
}

static void logprobs_of_odd_logits(void **state) {
  (void)state;
  enum { N = 2500 };
  const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR);
  static float logits[N];
  for (int i = 0; i < N; i++) logits[i] = -INFINITY; /* the first two chunks are empty */
  logits[2100] = logits[2400] = 3.0f;
  float lse;
  float lp = tlt_logprob(k, logits, N, 0.0f, 2100, &lse);
  assert_true(fabsf(lp + 0.6931472f) < 1e-6f && fabsf(lse - 3.6931472f) < 1e-6f);
  assert_true(tlt_logprob(k, logits, N, 1.0f, 5, NULL) == -INFINITY);
  logits[7] = NAN;
  lp = tlt_logprob(k, logits, N, 1.0f, 2100, NULL);
  assert_true(lp != lp);
}

static void logprob_is_near_double(void **state) {
  (void)state;
  enum { N = 5000 };
  static float logits[N];
  tlt_stream s = test_stream(5);
  const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR);
  for (int i = 0; i < N; i++) logits[i] = test_unit(&s) * 20;
  for (int t = 0; t < 3; t++) {
    float temperature = (float[]){0.6f, 1.0f, 1.5f}[t];
    double sum = 0;
    for (int i = 0; i < N; i++) sum += exp((double)logits[i] / (double)temperature);
    double want = (double)logits[17] / (double)temperature - log(sum);
    assert_true(fabs(tlt_logprob(k, logits, N, temperature, 17, NULL) - want) < 5e-6);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bits_across_instruction_sets),
      cmocka_unit_test(portable_is_near_double),
      cmocka_unit_test(exp_of_lanes_equals_base),
      cmocka_unit_test(bf16_conversion_equals_base),
      cmocka_unit_test(logprobs_of_odd_logits),
      cmocka_unit_test(logprob_is_near_double),
  };
  return cmocka_run_group_tests_name("elementwise", tests, NULL, NULL);
}
