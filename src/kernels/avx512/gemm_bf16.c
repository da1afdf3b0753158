#include "kernels/table.h"
void tlt_gemm_bf16_avx512bf16(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx,
                         int rows, float *y, size_t ldy, bool add) { tlt_gemm_bf16_scalar(w,panel0,panel1,x,ldx,rows,y,ldy,add);}
