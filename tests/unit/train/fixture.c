#include "fixture.h"

#include <stdlib.h>

#include "base/philox.h"

tlt_config fix_config(tlt_arch arch) {
  return (tlt_config){.arch = arch,
                      .hidden = 58,
                      .layers = 3,
                      .heads = 6,
                      .kv_heads = 2,
                      .head_dim = 14,
                      .inter = 77,
                      .vocab = 1123,
                      .max_positions = 512,
                      .norm_eps = 1e-6f,
                      .rope_theta = 10000,
                      .tied = arch == TLT_ARCH_LLAMA,
                      .qkv_bias = arch == TLT_ARCH_QWEN2,
                      .qk_norm = arch == TLT_ARCH_QWEN3,
                      .bos = -1,
                      .pad = -1};
}

tlt_weights *fix_weights(const tlt_config *c, uint32_t seed) {
  tlt_weights *w;
  tlt_err err;
  if (tlt_weights_create(c, &w, &err)) abort();
  fix_fill(w, seed);
  return w;
}

void fix_fill(tlt_weights *w, uint32_t seed) {
  tlt_stream s = tlt_stream_open(seed, TLT_PURPOSE_INIT, 0, 0, 0);
  for (int p = 0; p < w->n_params; p++) {
    tlt_param *param = &w->param[p];
    float row[256];
    for (int r = 0; r < param->n; r++) {
      for (int i = 0; i < param->k; i++) {
        float u = (float)(int32_t)tlt_stream_u32(&s) * 0x1p-31f;
        row[i] = param->matrix ? 0.2f * u : 1.0f + 0.5f * u;
      }
      tlt_param_set_rows(param, r, 1, row);
    }
  }
}

tlt_micro fix_micro(const tlt_config *c, int seed) {
  static const int32_t cu[FIX_SAMPLES + 1] = {0, 2, 92, 155, 172, FIX_ROWS};
  static const int32_t prompt[FIX_SAMPLES] = {1, 30, 1, 16, 57};
  static int32_t tokens[4][FIX_ROWS];
  tlt_stream s = tlt_stream_open((uint32_t)seed, TLT_PURPOSE_TASK, 0, 0, 0);
  /* repeated tokens too: their embedding rows are summed */
  for (int i = 0; i < FIX_ROWS; i++)
    tokens[seed][i] = (int32_t)tlt_stream_below(&s, i % 3 ? 9 : (uint32_t)c->vocab);
  return (tlt_micro){FIX_SAMPLES, tokens[seed], cu, prompt, 0.8f};
}

void fix_loss(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  (void)context, (void)m;
  for (int i = 0; i < n; i++) dlogp[i] = (float)(i % 3) - 1.2f + logp[i] * 0.0625f;
}
