/* dX and dW of the bf16 table by oneDNN; contracts are those of tlt_backward. Where oneDNN fails
 * the result is NaN, which the fixed-point sums flag. */
#ifndef TLT_KERNELS_ONEDNN_BACKWARD_H
#define TLT_KERNELS_ONEDNN_BACKWARD_H

#include "kernels/backward.h"

int tlt_onednn_dx_tiles(const tlt_packed *w);
size_t tlt_onednn_dx_scratch(const tlt_packed *w, int rows);
void tlt_onednn_dx(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx,
                   size_t ld_dx, void *scratch);

enum { tlt_onednn_dw_rows = 96 };
int tlt_onednn_dw_tiles(int n, int k);
size_t tlt_onednn_dw_scratch(int n, int k, int rows);
void tlt_onednn_dw(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
                   int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
                   void *scratch);

#endif
