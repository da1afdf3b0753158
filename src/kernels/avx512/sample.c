#include "kernels/table.h"
int32_t tlt_sample_avx512(const float *logits, int n, const tlt_sampling *how, const tlt_draw *draw,
                          void *scratch) {
  return tlt_sample_reference(logits, n, how, draw, scratch);
}
