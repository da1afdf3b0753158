/* Choice of the table: names, refusals, TLT_ISA.
 * Run alone: build/tests/unit/kernels/test_dispatch */
#define _POSIX_C_SOURCE 200809L
#include "common.h"

#include <stdlib.h>

static void auto_takes_the_fastest(void **state) {
  (void)state;
  const tlt_kernels *k, *fast = tlt_kernels_get(TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16);
  tlt_err err;
  assert_int_equal(tlt_kernels_choose("auto", &k, &err), TLT_OK);
  if (fast) assert_ptr_equal(k, fast);
  else assert_int_equal(k->numerics, TLT_NUMERICS_PORTABLE);
}

static void forced_instruction_set_is_taken(void **state) {
  (void)state;
  const tlt_kernels *k;
  tlt_err err;
  for (int isa = TLT_ISA_SCALAR; isa <= TLT_ISA_AVX512; isa++) {
    setenv("TLT_ISA", tlt_isa_name((tlt_isa)isa), 1);
    tlt_status status = tlt_kernels_choose("portable", &k, &err);
    const tlt_kernels *want = tlt_kernels_get(TLT_NUMERICS_PORTABLE, (tlt_isa)isa);
    assert_int_equal(status, want ? TLT_OK : TLT_EUSAGE);
    if (want) assert_ptr_equal(k, want);
    else assert_non_null(strstr(err.text, "lacks"));
  }
  setenv("TLT_ISA", "sse9", 1);
  assert_int_equal(tlt_kernels_choose("portable", &k, &err), TLT_EUSAGE);
  assert_string_equal(err.text, "TLT_ISA: got \"sse9\", expected scalar, avx2 or avx512");
  unsetenv("TLT_ISA");
}

static void unknown_and_missing_paths_are_refused(void **state) {
  (void)state;
  const tlt_kernels *k;
  tlt_err err;
  assert_int_equal(tlt_kernels_choose("fast", &k, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "\"fast\""));
  assert_int_equal(tlt_kernels_choose("amx", &k, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "amx"));
  assert_null(tlt_kernels_get(TLT_NUMERICS_AMX, TLT_ISA_AMX));
}

static void every_table_is_complete(void **state) {
  (void)state;
  for (int numerics = 0; numerics <= TLT_NUMERICS_AMX; numerics++) {
    for (int isa = 0; isa <= TLT_ISA_AMX; isa++) {
      const tlt_kernels *k = tlt_kernels_get((tlt_numerics)numerics, (tlt_isa)isa);
      if (!k) continue;
      assert_int_equal(k->act_size, k->numerics == TLT_NUMERICS_PORTABLE ? 4 : 2);
      assert_true(k->gemm && k->rmsnorm && k->rmsnorm_f32 && k->to_act && k->from_act && k->rope);
      assert_true(k->silu_mul && k->embed && k->kv_store && k->attention && k->lse_chunk);
      assert_true(k->sample != NULL);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(auto_takes_the_fastest),
      cmocka_unit_test(forced_instruction_set_is_taken),
      cmocka_unit_test(unknown_and_missing_paths_are_refused),
      cmocka_unit_test(every_table_is_complete),
  };
  return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
