/* GEMM spread over a pool. */
#ifndef TLT_KERNELS_GEMM_RUN_H
#define TLT_KERNELS_GEMM_RUN_H

#include "base/pool.h"
#include "kernels/kernels.h"

/* Panels of one pool item: long runs, since each core streams its own weights and fetches ahead
 * within an item, yet a few items per thread for balance. */
int tlt_gemm_grain(const tlt_packed *w, int threads);

/* y = x W^T + bias (or y += that) for all panels of w; arguments as for tlt_kernels.gemm. */
void tlt_gemm_run(tlt_pool *pool, const tlt_kernels *k, const tlt_packed *w, const void *x,
                  size_t ldx, int rows, float *y, size_t ldy, bool add);

#endif
