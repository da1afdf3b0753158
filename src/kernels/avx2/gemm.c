#include "kernels/table.h"
void tlt_gemm_f32_avx2(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx,
                         int rows, float *y, size_t ldy, bool add) { tlt_gemm_f32_scalar(w,panel0,panel1,x,ldx,rows,y,ldy,add);}
