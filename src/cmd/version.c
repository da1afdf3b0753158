#include "cmd/version.h"

#include <stdio.h>

#include "io/checkpoint.h"
#include "kernels/kernels.h"
#include "tlt_build.h"

const char *tlt_program_version(void) {
  return TLT_VERSION " (" TLT_COMMIT ")";
}

void tlt_print_version(void) {
  static const struct {
    const char *name;
    tlt_numerics numerics;
    tlt_isa isa;
  } tables[] = {{"portable/avx2", TLT_NUMERICS_PORTABLE, TLT_ISA_AVX2},
                {"portable/avx512", TLT_NUMERICS_PORTABLE, TLT_ISA_AVX512},
                {"avx512bf16", TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16},
                {"amx", TLT_NUMERICS_AMX, TLT_ISA_AMX}};
  printf("tlt %s (%s)\ncompiler: %s\nkernels: portable/scalar", TLT_VERSION, TLT_COMMIT,
         TLT_COMPILER);
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (tlt_kernels_get(tables[i].numerics, tables[i].isa)) printf(" %s", tables[i].name);
  const tlt_kernels *k;
  if (tlt_kernels_choose("auto", &k, NULL) == TLT_OK)
    printf("\nnumerics: %s (%s)", tlt_numerics_name(k->numerics), tlt_isa_name(k->isa));
  printf("\ncheckpoint format: %d\n", TLT_CKPT_FORMAT);
}
