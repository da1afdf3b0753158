#include "kernels/kernels.h"

float tlt_logprob(const tlt_kernels *k, const float *logits, int n, float temperature, int32_t token,
                  float *lse) {
  tlt_lse total = {-INFINITY, 0};
  for (int i = 0; i < n; i += TLT_VOCAB_CHUNK) {
    int count = n - i < TLT_VOCAB_CHUNK ? n - i : TLT_VOCAB_CHUNK;
    float max, sum;
    k->lse_chunk(logits + i, count, temperature, &max, &sum);
    tlt_lse_fold(&total, max, sum);
  }
  float value = tlt_lse_value(&total);
  if (lse) *lse = value;
  return logits[token] / tlt_lse_temperature(temperature) - value;
}
