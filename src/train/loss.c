#include "train/loss.h"

void tlt_loss_sft(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  (void)m;
  for (int i = 0; i < n; i++) dlogp[i] = -1.0f;
  tlt_sft_loss *loss = context;
  if (!loss) return;
  for (int i = 0; i < n; i++) loss->sum -= (double)logp[i];
  loss->targets += n;
}
