/* Random inputs and the list of tables to compare, shared by the kernel tests. */
#ifndef TESTS_UNIT_KERNELS_COMMON_H
#define TESTS_UNIT_KERNELS_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the five above first */
#include <cmocka.h>

#include "base/mem.h"
#include "base/philox.h"
#include "kernels/kernels.h"

static inline tlt_stream test_stream(uint32_t which) {
  return tlt_stream_open(42, TLT_PURPOSE_TASK, which, 0, 0);
}

/* Uniform in (-1, 1). */
static inline float test_unit(tlt_stream *s) {
  return (float)(int32_t)tlt_stream_u32(s) * 0x1p-31f;
}

/* Mostly of order 1, now and then zero, tiny (down to denormals of bf16) or large. */
static inline float test_value(tlt_stream *s) {
  uint32_t kind = tlt_stream_u32(s) % 64;
  if (kind == 0) return 0.0f;
  if (kind == 1) return test_unit(s) * 0x1p-126f;
  if (kind == 2) return test_unit(s) * 0x1p-60f;
  if (kind == 3) return test_unit(s) * 0x1p40f;
  return test_unit(s);
}

/* The vector tables to be compared with `oracle`; skips with a reason when this processor has none. */
static inline int test_tables(tlt_numerics numerics, const tlt_kernels *out[3]) {
  static const tlt_isa isas[] = {TLT_ISA_AVX2, TLT_ISA_AVX512, TLT_ISA_AVX512BF16};
  int count = 0;
  for (int i = 0; i < 3; i++) {
    const tlt_kernels *k = tlt_kernels_get(numerics, isas[i]);
    if (k) out[count++] = k;
  }
  if (count == 0) {
    print_message("skipped: this processor has no vector code for %s\n", tlt_numerics_name(numerics));
    skip();
  }
  return count;
}

static inline void assert_same_bits(const float *got, const float *want, size_t n) {
  if (!memcmp(got, want, n * sizeof *got)) return;
  for (size_t i = 0; i < n; i++) {
    if (tlt_bits_f32(got[i]) != tlt_bits_f32(want[i]))
      fail_msg("element %zu of %zu: got %a, expected %a", i, n, (double)got[i], (double)want[i]);
  }
}

#endif
