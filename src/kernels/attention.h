/* Attention over KV blocks and the layout of KV blocks: one function per instruction set, put in the
 * table of kernels.h.
 *
 * The definition, for one query q with `visible` keys (Vaswani et al. 2017 with the online softmax of
 * Milakov and Gimelshein 2018 over fixed spans):
 *   span c holds positions 128 c .. 128 c + 127;   s_j = scale * (q . k_j)
 *   m_c = max s_j,  p_j = exp(s_j - m_c),  S_c = sum p_j,  o_c = sum p_j v_j   over visible j of c
 *   (M, S, O) folds spans in ascending order, the smaller maximum is scaled by exp(difference)
 *   out = O / S,  lse = M + ln S
 * Order of operations: q . k is one FMA chain over ascending d; S_c runs over 16 strided lanes and
 * the tree 8, 4, 2, 1; o_c[d] is one FMA chain over ascending j, then + 0.0. With bf16, dot products
 * step by pairs of d, o_c by pairs of positions, p_j rounded to bf16, each pair as VDPBF16PS does it
 * (dpbf16.h); a last position without a partner is paired with zeros.
 *
 * So the result is a function of q, visible and the keys and values at positions below visible only:
 * not of the other queries, nor of what lies in slots from `visible` on, be it NaN. */
#ifndef TLT_KERNELS_ATTENTION_H
#define TLT_KERNELS_ATTENTION_H

#include "kernels/kernels.h"

/* Portable: act = fp32. All give the same bits. */
void tlt_attention_scalar(const tlt_attn *a);
void tlt_attention_avx2(const tlt_attn *a);
void tlt_attention_avx512(const tlt_attn *a);

/* act = bf16. The scalar one is the oracle of the other: the same bits, slowly. */
void tlt_attention_bf16_scalar(const tlt_attn *a);
void tlt_attention_avx512bf16(const tlt_attn *a);

/* kv_store of kernels.h by element type; the instruction set does not matter. */
void tlt_kv_store_f32(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                      const float *key, const float *value);
void tlt_kv_store_bf16(unsigned char *panel, size_t k_bytes, int head_dim, int slot,
                       const float *key, const float *value);

#endif
