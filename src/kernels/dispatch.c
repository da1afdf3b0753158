/* The tables, and which of them this processor can run. */
#include <stdlib.h>
#include <string.h>

#include "kernels/table.h"

#define PORTABLE_TABLE(suffix, isa_value)                                                          \
  {                                                                                                \
    .numerics = TLT_NUMERICS_PORTABLE, .isa = isa_value, .act_size = 4,                            \
    .gemm = tlt_gemm_f32_##suffix, .rmsnorm = tlt_rmsnorm_act_f32_##suffix,                        \
    .rmsnorm_f32 = tlt_rmsnorm_f32_##suffix, .to_act = tlt_to_act_f32_##suffix,                    \
    .from_act = tlt_from_act_f32_##suffix, .rope = tlt_rope_##suffix,                              \
    .silu_mul = tlt_silu_mul_f32_##suffix, .embed = tlt_embed, .kv_store = tlt_kv_store_##suffix,  \
    .attention = tlt_attention_##suffix, .lse_chunk = tlt_lse_chunk_##suffix,                      \
    .sample = tlt_sample_##suffix, .draft_top = tlt_draft_top_##suffix,                            \
  }

#define BF16_TABLE(suffix, isa_value, gemm_name, attention_suffix)                                 \
  {                                                                                                \
    .numerics = TLT_NUMERICS_AVX512BF16, .isa = isa_value, .act_size = 2, .gemm = gemm_name,       \
    .rmsnorm = tlt_rmsnorm_act_bf16_##suffix, .rmsnorm_f32 = tlt_rmsnorm_f32_##suffix,             \
    .to_act = tlt_to_act_bf16_##suffix, .from_act = tlt_from_act_bf16_##suffix,                    \
    .rope = tlt_rope_##suffix, .silu_mul = tlt_silu_mul_bf16_##suffix, .embed = tlt_embed,         \
    .kv_store = tlt_kv_store_##attention_suffix, .attention = tlt_attention_##attention_suffix,    \
    .lse_chunk = tlt_lse_chunk_##suffix, .sample = tlt_sample_##suffix,                            \
    .draft_top = tlt_draft_top_##suffix,                                                           \
  }

/* Fastest first within a path. */
static const tlt_kernels tables[] = {
    BF16_TABLE(avx512, TLT_ISA_AVX512BF16, tlt_gemm_bf16_avx512bf16, avx512bf16),
    BF16_TABLE(scalar, TLT_ISA_SCALAR, tlt_gemm_bf16_scalar, scalar_bf16),
    PORTABLE_TABLE(avx512, TLT_ISA_AVX512),
    PORTABLE_TABLE(avx2, TLT_ISA_AVX2),
    PORTABLE_TABLE(scalar, TLT_ISA_SCALAR),
};
enum { TABLES = sizeof tables / sizeof *tables };

static const char *const numerics_names[] = {"portable", "avx512bf16", "amx"};
static const char *const isa_names[] = {"scalar", "avx2", "avx512", "avx512bf16", "amx"};

const char *tlt_numerics_name(tlt_numerics n) { return numerics_names[n]; }
const char *tlt_isa_name(tlt_isa isa) { return isa_names[isa]; }

/* Name of the first feature that isa needs and the processor or the operating system lacks, or NULL.
 * __builtin_cpu_supports includes the operating system's saving of the registers (XGETBV). */
static const char *missing_feature(tlt_isa isa) {
  __builtin_cpu_init();
  if (isa == TLT_ISA_SCALAR) return NULL;
  if (!__builtin_cpu_supports("avx2")) return "avx2";
  if (!__builtin_cpu_supports("fma")) return "fma";
  if (isa == TLT_ISA_AVX2) return NULL;
  if (!__builtin_cpu_supports("avx512f")) return "avx512f";
  if (!__builtin_cpu_supports("avx512bw")) return "avx512bw";
  if (!__builtin_cpu_supports("avx512dq")) return "avx512dq";
  if (!__builtin_cpu_supports("avx512vl")) return "avx512vl";
  if (isa == TLT_ISA_AVX512) return NULL;
  if (!__builtin_cpu_supports("avx512bf16")) return "avx512bf16";
  return NULL;
}

const tlt_kernels *tlt_kernels_get(tlt_numerics numerics, tlt_isa isa) {
  for (int i = 0; i < TABLES; i++) {
    const tlt_kernels *t = &tables[i];
    if (t->numerics == numerics && t->isa == isa) return missing_feature(isa) ? NULL : t;
  }
  return NULL;
}

static tlt_status choose_forced(const char *isa_name, const tlt_kernels **out, tlt_err *err) {
  for (tlt_isa isa = TLT_ISA_SCALAR; isa <= TLT_ISA_AVX512; isa++) {
    if (strcmp(isa_name, isa_names[isa])) continue;
    *out = tlt_kernels_get(TLT_NUMERICS_PORTABLE, isa);
    if (*out) return TLT_OK;
    return tlt_fail(err, TLT_EUSAGE, "TLT_ISA: this processor lacks %s, needed by %s",
                    missing_feature(isa), isa_name);
  }
  return tlt_fail(err, TLT_EUSAGE, "TLT_ISA: got \"%s\", expected scalar, avx2 or avx512", isa_name);
}

static tlt_status choose_portable(const tlt_kernels **out, tlt_err *err) {
  const char *forced = getenv("TLT_ISA");
  if (forced && *forced) return choose_forced(forced, out, err);
  for (int i = TLT_ISA_AVX512; i >= 0; i--) {
    *out = tlt_kernels_get(TLT_NUMERICS_PORTABLE, (tlt_isa)i);
    if (*out) break;
  }
  return TLT_OK; /* the scalar table runs everywhere */
}

tlt_status tlt_kernels_choose(const char *numerics, const tlt_kernels **out, tlt_err *err) {
  const char *missing = missing_feature(TLT_ISA_AVX512BF16);
  if (!strcmp(numerics, "portable")) return choose_portable(out, err);
  if (!strcmp(numerics, "auto") && missing) return choose_portable(out, err);
  if (!strcmp(numerics, "auto") || !strcmp(numerics, "avx512bf16")) {
    if (missing)
      return tlt_fail(err, TLT_EUSAGE, "numerics avx512bf16: this processor lacks %s", missing);
    *out = tlt_kernels_get(TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16);
    return TLT_OK;
  }
  if (!strcmp(numerics, "amx"))
    return tlt_fail(err, TLT_EUSAGE, "numerics amx: not built into this program; "
                    "use avx512bf16 or portable");
  return tlt_fail(err, TLT_EUSAGE, "numerics: got \"%s\", expected auto, portable, avx512bf16 or amx",
                  numerics);
}
