/* Small random models for tests. Weights are eight times the usual initial ones, so that logits
 * differ enough between tokens for a wrong bit to show. */
#ifndef TLT_TESTS_TINY_H
#define TLT_TESTS_TINY_H

#include <stdlib.h>
#include <string.h>

#include "model/model.h"

/* Odd sizes on purpose: nothing but head_dim is even, nothing a multiple of 16. */
static inline tlt_config tiny_config(tlt_arch arch) {
  return (tlt_config){
      .arch = arch,
      .hidden = 45,
      .layers = 3,
      .heads = 6,
      .kv_heads = 2,
      .head_dim = 10,
      .inter = 77,
      .vocab = 1331,
      .max_positions = 640,
      .norm_eps = 1e-5f,
      .rope_theta = 10000,
      .tied = arch == TLT_ARCH_LLAMA,
      .qkv_bias = arch == TLT_ARCH_QWEN2,
      .qk_norm = arch == TLT_ARCH_QWEN3,
      .bos = -1,
      .pad = -1,
  };
}

static inline int tiny_randomize(tlt_weights *w, uint32_t seed) {
  if (tlt_weights_init(w, seed, NULL) != TLT_OK) return -1;
  for (int i = 0; i < w->n_params; i++) {
    tlt_param *p = &w->param[i];
    size_t n = (size_t)p->n * (size_t)p->k;
    float *x = malloc(n * sizeof *x);
    if (!x) return -1;
    tlt_param_get(p, x);
    for (size_t j = 0; j < n; j++)
      x[j] = p->matrix ? 8 * x[j] : x[j] + 0.1f * (float)((int)((j * 7 + (size_t)i) % 11) - 5);
    tlt_param_set_rows(p, 0, p->n, x);
    free(x);
  }
  return 0;
}

/* NULL where the processor lacks the numerics. */
static inline tlt_model *tiny_model(const tlt_config *c, const char *numerics, int threads) {
  tlt_model_options o = {.numerics = numerics, .threads = threads};
  tlt_model *m;
  if (tlt_model_create(c, &o, &m, NULL) != TLT_OK) return NULL;
  if (tiny_randomize(m->weights, 7) == 0) return m;
  tlt_model_close(m);
  return NULL;
}

#endif
