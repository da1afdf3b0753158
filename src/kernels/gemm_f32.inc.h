/* The portable step of gemm.inc.h. The low half of a 32-bit weight lane is the even k. */
TLT_INLINE tlt_vf gemm_weights(const char *p, int half) {
  tlt_vi pair = tlt_vi_load((const uint32_t *)p);
  return tlt_vi_as_float(half ? tlt_vi_and(pair, tlt_vi_set(0xffff0000u)) : tlt_vi_sll(pair, 16));
}
TLT_INLINE tlt_vf gemm_input(const void *p, int half) { return tlt_vf_set(((const float *)p)[half]); }
TLT_INLINE tlt_vf gemm_step(tlt_vf c, tlt_vf x, tlt_vf w) { return tlt_vf_fma(x, w, c); }

#include "kernels/gemm.inc.h"
