/* GEMM spread over a pool. */
#ifndef TLT_KERNELS_GEMM_RUN_H
#define TLT_KERNELS_GEMM_RUN_H

#include "base/pool.h"
#include "kernels/kernels.h"

/* Panels of one pool item: enough work to hide the hand-out, few enough to balance the threads. */
int tlt_gemm_grain(const tlt_packed *w, int rows);

/* y = x W^T + bias (or y += that) for all panels of w; arguments as for tlt_kernels.gemm. */
void tlt_gemm_run(tlt_pool *pool, const tlt_kernels *k, const tlt_packed *w, const void *x,
                  size_t ldx, int rows, float *y, size_t ldy, bool add);

#endif
