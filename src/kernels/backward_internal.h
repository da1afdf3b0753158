/* Backward tables by instruction set; their `forward` is filled in by backward.c. */
#ifndef TLT_KERNELS_BACKWARD_INTERNAL_H
#define TLT_KERNELS_BACKWARD_INTERNAL_H

#include "kernels/backward.h"

/* portable: the same bits from all */
extern const tlt_backward tlt_backward_scalar;
extern const tlt_backward tlt_backward_avx2;
extern const tlt_backward tlt_backward_avx512;

/* act = bf16 */
extern const tlt_backward tlt_backward_bf16_scalar;
extern const tlt_backward tlt_backward_avx512bf16;

#endif
