#include <pthread.h>

#include "kernels/backward_internal.h"

static const struct {
  tlt_numerics numerics;
  tlt_isa isa;
  const tlt_backward *code;
} choices[] = {
    {TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR, &tlt_backward_scalar},
    {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX2, &tlt_backward_avx2},
    {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX512, &tlt_backward_avx512},
    {TLT_NUMERICS_AVX512BF16, TLT_ISA_SCALAR, &tlt_backward_bf16_scalar},
    {TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16, &tlt_backward_avx512bf16},
};

enum { CHOICES = sizeof choices / sizeof choices[0] };

static tlt_backward tables[CHOICES]; /* written once by fill */
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void) {
  for (int i = 0; i < CHOICES; i++) {
    tables[i] = *choices[i].code;
    tables[i].forward = tlt_kernels_get(choices[i].numerics, choices[i].isa);
  }
}

const tlt_backward *tlt_backward_of(const tlt_kernels *forward) {
  pthread_once(&filled, fill);
  for (int i = 0; i < CHOICES; i++)
    if (choices[i].numerics == forward->numerics && choices[i].isa == forward->isa)
      return &tables[i];
  return NULL;
}
