/* Base: elementary functions against libm, Philox against its published vector, pool, arena.
 * Run alone: build/tests/unit/base/test_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/fmath.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "base/sha256.h"

static void exp_and_log_match_libm(void **state) {
  (void)state;
  for (float x = -100; x < 88; x += 0.0137f) {
    double want = exp((double)x), got = tlt_expf(x);
    assert_true(fabs(got - want) <= 3e-7 * want + 1e-45);
  }
  for (double x = 1e-6; x < 1e6; x *= 1.0037) {
    float xf = (float)x;
    double want = log((double)xf);
    assert_true(fabs(tlt_logf(xf) - want) <= 2e-7 * fabs(want) + 1e-7);
    assert_true(fabs(tlt_log(x) - log(x)) <= 4e-15 * fmax(1, fabs(log(x))));
    assert_true(fabs(tlt_exp(log(x)) / x - 1) < 2e-14);
    double s, c;
    tlt_sincos(x, &s, &c);
    assert_true(fabs(s - sin(x)) < 1e-13 && fabs(c - cos(x)) < 1e-13);
  }
}

static void gumbel_matches_double(void **state) {
  (void)state;
  for (uint64_t x = 0; x < 1ull << 32; x += 65521 * 16) {
    double u = tlt_uniform((uint32_t)x), want = -log(-log1p(-u));
    assert_true(fabs(tlt_gumbel((uint32_t)x) - want) < 2e-6);
  }
  assert_true(isfinite(tlt_gumbel(0)) && isfinite(tlt_gumbel(UINT32_MAX)));
}

static void philox_known_answer(void **state) {
  (void)state;
  tlt_random4 r = tlt_philox(0xa4093822u, (tlt_purpose)0x299f31d0u, 0x243f6a88u, 0x85a308d3u,
                             0x13198a2eu, 0x03707344u);
  assert_int_equal(r.v[0], 0xd16cfe09u);
  assert_int_equal(r.v[1], 0x94fdccebu);
  assert_int_equal(r.v[2], 0x5001e420u);
  assert_int_equal(r.v[3], 0x24126ea1u);
}

static void count(void *context, int64_t item, int thread) {
  (void)thread;
  atomic_fetch_add((atomic_int *)context + item, 1);
}

static void pool_runs_every_item_once(void **state) {
  (void)state;
  for (int threads = 1; threads <= 5; threads += 2) {
    tlt_pool *pool;
    assert_int_equal(tlt_pool_create(threads, &pool, NULL), TLT_OK);
    atomic_int seen[97] = {0};
    for (int round = 0; round < 2000; round++) tlt_pool_run(pool, count, seen, 97);
    for (int i = 0; i < 97; i++) assert_int_equal(seen[i], 2000);
    tlt_pool_free(pool);
  }
}

static void sha256_known_answer(void **state) {
  (void)state;
  tlt_sha256 h;
  char hex[TLT_SHA256_HEX];
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, "abc", 3);
  tlt_sha256_end(&h, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_int_equal(tlt_crc32(0, "123456789", 9), 0xcbf43926u);
}

static void error_text_is_one_line(void **state) {
  (void)state;
  tlt_err e = {0};
  assert_int_equal(tlt_fail(&e, TLT_EDATA, "a\nb %d", 7), TLT_EDATA);
  assert_int_equal(tlt_fail_prefix(&e, "file"), TLT_EDATA);
  assert_string_equal(e.text, "file: a b 7");
  assert_int_equal(tlt_status_exit_code(TLT_ENOMEM), 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exp_and_log_match_libm),  cmocka_unit_test(gumbel_matches_double),
      cmocka_unit_test(philox_known_answer),     cmocka_unit_test(pool_runs_every_item_once),
      cmocka_unit_test(sha256_known_answer),     cmocka_unit_test(error_text_is_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
