/* Drafter training against torch (tests/golden/train, made by tools/golden_drafter_train.py), its
 * bits, and its edges. Alone: build/tests/unit/train/test_drafter */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "drafter_case.h"
#include "io/file.h"

static const char mixed[] =
    "portable 14 4 2 6 19 97 41 7 3 0.8 0.3 1 0.9 2 5 1 4 9 75 3 5 2 3 30 41";

static drafter_case read_case(const char *line) {
  drafter_case c;
  assert_true(case_read(&c, line));
  return c;
}

static const tlt_kernels *portable(void) {
  const tlt_kernels *best = NULL;
  for (tlt_isa isa = TLT_ISA_SCALAR; isa <= TLT_ISA_AVX512; isa++) {
    const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, isa);
    if (k) best = k;
  }
  return best;
}

/* ---- against torch --------------------------------------------------------------------------- */

/* Largest difference relative to the largest value. */
static double worst(const float *got, const float *want, size_t n) {
  double top = 0, off = 0;
  for (size_t i = 0; i < n; i++) {
    top = fmax(top, fabs((double)want[i]));
    off = fmax(off, fabs((double)got[i] - (double)want[i]));
  }
  return top > 0 ? off / top : off;
}

static const float *compare_params(const tlt_weights *w, const float *got, const float **want,
                                   const char *what) {
  for (int p = 0; p < w->n_params; p++) {
    const tlt_param *param = &w->param[p];
    double off =
        worst(got + param->offset, *want + param->offset, (size_t)param->n * (size_t)param->k);
    if (!(off <= 1e-4)) fail_msg("%s of %s: off by %.3g of its largest", what, param->name, off);
  }
  *want += w->elements;
  return got + w->elements;
}

static size_t compare_case(const char *line, const float *want) {
  drafter_case c = read_case(line);
  drafter_world w;
  case_open(&c, portable(), 2, &w);
  size_t n = case_results(&c, &w), sums = 6 * (size_t)c.options.unroll;
  float *result = tlt_calloc(n, sizeof *result);
  const float *got = result;
  case_run(&c, &w, result);
  for (size_t i = 0; i < sums; i++)
    assert_float_equal(got[i], want[i], 1e-5 * fabs((double)want[i]) + 1e-6);
  got += sums, want += sums;
  got = compare_params(&w.d->weights, got, &want, "gradient");
  if (c.steps) {
    got = compare_params(&w.d->weights, got, &want, "master");
    assert_float_equal(got[0], want[0], 1e-4 * fabs((double)want[0]));
  }
  tlt_free(result);
  case_close(&w);
  return n;
}

static void gradients_match_torch(void **state) {
  (void)state;
  char *text;
  float *want;
  size_t size, bytes, at = 0;
  tlt_err err;
  assert_int_equal(tlt_file_load(TLT_GOLDEN "/train/drafter.txt", 4096, &text, &size, &err), 0);
  assert_int_equal(
      tlt_file_load(TLT_GOLDEN "/train/drafter.f32", 1 << 20, (char **)&want, &bytes, &err), 0);
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    at += compare_case(line, want + at);
  }
  assert_int_equal(at * sizeof *want, bytes);
  tlt_free(text);
  tlt_free(want);
}

/* ---- bits ------------------------------------------------------------------------------------ */

static void hash_case(const char *line, const tlt_kernels *k, int threads, char hex[65]) {
  drafter_case c = read_case(line);
  drafter_world w;
  tlt_sha256 h;
  case_open(&c, k, threads, &w);
  size_t n = case_results(&c, &w);
  float *result = tlt_calloc(n, sizeof *result);
  case_run(&c, &w, result);
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, result, n * sizeof *result);
  tlt_sha256_end(&h, hex);
  tlt_free(result);
  case_close(&w);
}

static void threads_and_isa_change_nothing(void **state) {
  (void)state;
  char want[65], got[65];
  hash_case(mixed, tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR), 1, want);
  hash_case(mixed, tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR), 3, got);
  assert_string_equal(got, want);
  hash_case(mixed, portable(), 2, got);
  assert_string_equal(got, want);
  const tlt_kernels *fast = tlt_kernels_get(TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16);
  if (!fast) return;
  hash_case(mixed, fast, 1, want);
  hash_case(mixed, fast, 3, got);
  assert_string_equal(got, want);
}

/* The fast path rounds gradients to bf16: its gradient points the same way. */
static void fast_path_is_close(void **state) {
  (void)state;
  const tlt_kernels *k[2] = {portable(),
                             tlt_kernels_get(TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16)};
  if (!k[1]) skip();
  drafter_case c = read_case(mixed);
  float *result[2];
  size_t n = 0;
  for (int i = 0; i < 2; i++) {
    drafter_world w;
    case_open(&c, k[i], 2, &w);
    n = case_results(&c, &w);
    result[i] = tlt_calloc(n, sizeof **result);
    case_run(&c, &w, result[i]);
    n = w.d->weights.elements;
    case_close(&w);
  }
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 6 * (size_t)c.options.unroll; i < n + 6 * (size_t)c.options.unroll; i++) {
    ab += (double)result[0][i] * (double)result[1][i];
    aa += (double)result[0][i] * (double)result[0][i];
    bb += (double)result[1][i] * (double)result[1][i];
  }
  assert_true(ab / sqrt(aa * bb) > 0.9995);
  for (int j = 0; j < 3; j++)
    for (int i = 0; i < 5; i++)
      assert_float_equal(result[1][6 * j + i], result[0][6 * j + i],
                         0.01 * fabs((double)result[0][6 * j + i]));
  tlt_free(result[0]);
  tlt_free(result[1]);
}

/* Two samples in one micro-batch or in two: the same statistics, nearly the same gradient. */
static void packing_changes_nothing(void **state) {
  (void)state;
  drafter_case c = read_case(mixed);
  drafter_world w;
  tlt_err err;
  case_open(&c, portable(), 1, &w);
  tlt_trainer *s = tlt_drafter_trainer_state(w.t);
  const tlt_param *fc = &w.d->weights.param[0];
  float together[14 * 28], apart[14 * 28];
  tlt_draft_stats all = {.rows = {0}}, each = {.rows = {0}};
  assert_int_equal(tlt_drafter_trainer_accumulate(w.t, &w.m, &all, &err), 0);
  tlt_trainer_gradient(s, fc, together);
  tlt_drafter_trainer_clear(w.t);
  for (int i = 0; i < w.m.n_samples; i++) {
    int32_t cu[2] = {0, w.m.cu[i + 1] - w.m.cu[i]};
    tlt_draft_micro one = {
        1, w.m.tokens + w.m.cu[i], cu, &w.m.prompt[i], &w.m.hidden[i], w.m.temperature};
    assert_int_equal(tlt_drafter_trainer_accumulate(w.t, &one, &each, &err), 0);
  }
  tlt_trainer_gradient(s, fc, apart);
  assert_true(worst(apart, together, 14 * 28) < 1e-5);
  for (int j = 0; j < 3; j++) {
    assert_int_equal(each.rows[j], all.rows[j]);
    assert_float_equal(each.token[j], all.token[j], 1e-6 * all.token[j]);
    assert_true(each.agree[j] == all.agree[j]);
  }
  /* evaluation: the same numbers and no gradient */
  tlt_draft_stats held = {.rows = {0}};
  tlt_drafter_trainer_clear(w.t);
  assert_int_equal(tlt_drafter_trainer_evaluate(w.t, &w.m, &held, &err), 0);
  assert_memory_equal(&held, &all, sizeof all);
  tlt_trainer_gradient(s, fc, apart);
  for (int i = 0; i < 14 * 28; i++) assert_true(apart[i] == 0);
  case_close(&w);
}

/* Step 1 is what the drafter computes when it drafts, bit for bit. */
static void first_step_is_the_drafter(void **state) {
  (void)state;
  drafter_case c = read_case("portable 14 4 2 6 19 97 41 7 1 1 1 0 1 0 1 1 20");
  drafter_world w;
  tlt_err err;
  case_open(&c, portable(), 2, &w);
  enum { ROWS = 19 };
  tlt_draft_forward f;
  assert_int_equal(tlt_draft_forward_init(&f, w.d, w.k, w.pool, ROWS, 64, &err), 0);
  unsigned char *kv = tlt_calloc_aligned(2, f.forward.kv.block_bytes);
  const int32_t blocks[] = {0, 1};
  const float *h = w.hidden[0];
  const void *hidden[ROWS];
  size_t stride = tlt_act_stride(14);
  for (int r = 0; r < ROWS; r++) hidden[r] = h + (size_t)r * stride;
  tlt_seq_rows seq = {.n_rows = ROWS, .kv = {kv, blocks}};
  tlt_batch b = {ROWS, w.tokens + 1, 1, &seq};
  float *out = tlt_calloc_aligned(ROWS, stride * sizeof *out);
  tlt_draft_forward_run(&f, &b, hidden, out);
  double sum = 0;
  for (int r = 0; r < ROWS; r++) {
    double row = 0;
    for (int i = 0; i < 14; i++) {
      double d = fabs((double)out[(size_t)r * stride + (size_t)i] -
                      (double)h[(size_t)(r + 1) * stride + (size_t)i]);
      row += d < 1 ? 0.5 * d * d : d - 0.5;
    }
    sum += row / 14;
  }
  tlt_draft_stats s = {.rows = {0}};
  assert_int_equal(tlt_drafter_trainer_evaluate(w.t, &w.m, &s, &err), 0);
  assert_int_equal(s.rows[0], ROWS);
  assert_float_equal(s.hidden[0], sum, 1e-6 * sum);
  tlt_free(out);
  tlt_free(kv);
  tlt_draft_forward_deinit(&f);
  case_close(&w);
}

/* ---- edges ----------------------------------------------------------------------------------- */

static void bad_micro_batches(void **state) {
  (void)state;
  drafter_case c = read_case(mixed);
  drafter_world w;
  tlt_err err;
  case_open(&c, portable(), 1, &w);
  tlt_drafter_trainer *t = w.t;
  int32_t keep = w.tokens[3];
  w.tokens[3] = 97;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "got token 97 at position 3, expected 0 to 96"));
  w.tokens[3] = -1;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_EDATA);
  w.tokens[3] = keep;
  c.prompt[0] = 0;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_EDATA);
  c.prompt[0] = 50; /* nothing to learn from this one */
  tlt_draft_stats s = {.rows = {0}};
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, &s, &err), TLT_OK);
  assert_int_equal(s.rows[0], 75 - 9 + 5 - 3 + 3 - 2 + 41 - 30);
  c.cu[c.samples]++;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_EDATA);
  c.cu[c.samples]--;
  w.m.n_samples = 0;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_OK);
  int32_t hot[42];
  for (int i = 0; i < 42; i++) hot[i] = i;
  assert_int_equal(tlt_drafter_set_hot(w.d, w.target, hot, 42, &err), TLT_OK);
  w.m.n_samples = c.samples;
  assert_int_equal(tlt_drafter_trainer_accumulate(t, &w.m, NULL, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "got 42 hot tokens, expected at most 41"));
  case_close(&w);
}

static void bad_numbers_skip_the_step(void **state) {
  (void)state;
  const tlt_adamw how = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f};
  drafter_case c = read_case(mixed);
  drafter_world w;
  tlt_err err;
  tlt_step_result r;
  char before[65], after[65];
  case_open(&c, portable(), 1, &w);
  tlt_trainer *s = tlt_drafter_trainer_state(w.t);
  tlt_trainer_sha256(s, before);
  ((float *)w.hidden[1])[100] = NAN;
  assert_int_equal(tlt_drafter_trainer_accumulate(w.t, &w.m, NULL, &err), TLT_OK);
  assert_int_equal(tlt_drafter_trainer_step(w.t, &how, &r, &err), TLT_OK);
  assert_true(r.skipped);
  tlt_trainer_sha256(s, after);
  assert_string_equal(after, before);
  assert_int_equal(tlt_trainer_steps(s), 0);
  /* and goes on */
  ((float *)w.hidden[1])[100] = 0;
  assert_int_equal(tlt_drafter_trainer_accumulate(w.t, &w.m, NULL, &err), TLT_OK);
  assert_int_equal(tlt_drafter_trainer_step(w.t, &how, &r, &err), TLT_OK);
  assert_false(r.skipped);
  assert_true(isfinite(r.grad_norm));
  case_close(&w);
}

static void refused_options(void **state) {
  (void)state;
  drafter_case c = read_case(mixed);
  drafter_world w;
  tlt_err err;
  tlt_drafter_trainer *t;
  case_open(&c, portable(), 1, &w);
  tlt_drafter_options bad[] = {c.options, c.options, c.options, c.options};
  bad[0].unroll = TLT_UNROLL_MAX + 1;
  bad[1].hidden_weight = bad[1].token_weight = 0;
  bad[2].decay = NAN;
  bad[3].max_sample = 0;
  for (int i = 0; i < 4; i++) {
    assert_int_equal(tlt_drafter_trainer_create(w.d, w.k, w.pool, &bad[i], &t, &err), TLT_EUSAGE);
    assert_null(t);
  }
  case_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_match_torch),     cmocka_unit_test(threads_and_isa_change_nothing),
      cmocka_unit_test(fast_path_is_close),        cmocka_unit_test(packing_changes_nothing),
      cmocka_unit_test(first_step_is_the_drafter), cmocka_unit_test(bad_micro_batches),
      cmocka_unit_test(bad_numbers_skip_the_step), cmocka_unit_test(refused_options),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
