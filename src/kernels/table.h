/* What each instruction-set folder provides; dispatch.c makes the tables of kernels.h from it.
 * Contracts are those of the table's members. Suffix of a name: the instruction set that the code
 * needs; _f32 and _bf16: the act type. bf16 code for scalar is the oracle of the avx512bf16 path. */
#ifndef TLT_KERNELS_TABLE_H
#define TLT_KERNELS_TABLE_H

#include "kernels/kernels.h"

#define TLT_DECLARE_GEMM(name)                                                                     \
  void name(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx, int rows,      \
            float *y, size_t ldy, bool add);

#define TLT_DECLARE_ELEMENTWISE(isa)                                                               \
  float tlt_rmsnorm_f32_##isa(const float *x, const float *gain, int n, float eps, float *out);    \
  float tlt_rmsnorm_act_f32_##isa(const float *x, const float *gain, int n, float eps, void *out); \
  float tlt_rmsnorm_act_bf16_##isa(const float *x, const float *gain, int n, float eps,            \
                                   void *out);                                                     \
  void tlt_to_act_f32_##isa(const float *x, size_t n, void *out);                                  \
  void tlt_to_act_bf16_##isa(const float *x, size_t n, void *out);                                 \
  void tlt_from_act_f32_##isa(const void *x, size_t n, float *out);                                \
  void tlt_from_act_bf16_##isa(const void *x, size_t n, float *out);                               \
  void tlt_rope_##isa(float *x, const float *cosine, const float *sine, int head_dim);             \
  void tlt_silu_mul_f32_##isa(const float *gate, const float *up, int n, void *out);               \
  void tlt_silu_mul_bf16_##isa(const float *gate, const float *up, int n, void *out);              \
  void tlt_lse_chunk_##isa(const float *x, int n, float temperature, float *max, float *sum);      \
  int32_t tlt_sample_##isa(const float *logits, int n, const tlt_sampling *how,                    \
                           const tlt_draw *draw, void *scratch);                                   \
  int tlt_draft_top_##isa(const float *logits, const int32_t *id, int n, const tlt_sampling *how,  \
                          const tlt_draw *draw, int k, tlt_draft_choice *best, void *scratch);

#define TLT_DECLARE_ATTENTION(suffix)                                                              \
  void tlt_kv_store_##suffix(unsigned char *panel, size_t k_bytes, int head_dim, int slot,         \
                             const float *key, const float *value);                                \
  void tlt_attention_##suffix(const tlt_attn *a);

TLT_DECLARE_ELEMENTWISE(scalar)
TLT_DECLARE_ELEMENTWISE(avx2)
TLT_DECLARE_ELEMENTWISE(avx512)

TLT_DECLARE_GEMM(tlt_gemm_f32_scalar)
TLT_DECLARE_GEMM(tlt_gemm_f32_avx2)
TLT_DECLARE_GEMM(tlt_gemm_f32_avx512)
TLT_DECLARE_GEMM(tlt_gemm_bf16_scalar)
TLT_DECLARE_GEMM(tlt_gemm_bf16_avx512bf16)

TLT_DECLARE_ATTENTION(scalar)
TLT_DECLARE_ATTENTION(avx2)
TLT_DECLARE_ATTENTION(avx512)
TLT_DECLARE_ATTENTION(avx512bf16)
TLT_DECLARE_ATTENTION(scalar_bf16)

/* Row of W as fp32; the same for every instruction set. */
void tlt_embed(const tlt_packed *w, int32_t token, float *out);

#endif
