/* Architecture of a model, read from config.json (and generation_config.json). */
#ifndef TLT_MODEL_CONFIG_H
#define TLT_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "tlt/status.h"

typedef enum tlt_arch { TLT_ARCH_LLAMA, TLT_ARCH_QWEN2, TLT_ARCH_QWEN3 } tlt_arch;
typedef enum tlt_rope_kind { TLT_ROPE_PLAIN, TLT_ROPE_LINEAR, TLT_ROPE_LLAMA3 } tlt_rope_kind;

enum { TLT_MAX_EOS = 16 };

typedef struct tlt_config {
  tlt_arch arch;
  int hidden, layers, heads, kv_heads, head_dim, inter, vocab;
  int max_positions;
  float norm_eps;
  double rope_theta;
  tlt_rope_kind rope;
  double rope_factor, rope_low, rope_high; /* linear: factor; llama3: all and rope_original */
  int rope_original;
  bool tied;     /* LM head shares the embedding */
  bool qkv_bias; /* qwen2 */
  bool qk_norm;  /* qwen3 */
  int32_t bos;   /* -1: none */
  int32_t pad;   /* -1: none */
  int32_t eos[TLT_MAX_EOS];
  int n_eos; /* union of config.json and generation_config.json */
} tlt_config;

/* "llama", "qwen2", "qwen3". */
const char *tlt_arch_name(tlt_arch arch);

/* Every field that is missing gets the default of its architecture (logged), impossible values are
 * TLT_EDATA with the JSON path; unknown model_type, rope type, sliding window in use, quantisation:
 * TLT_EDATA naming what is supported. Limits: layers <= 512, every width <= 2^20, vocab <= 2^22. */
tlt_status tlt_config_load(const char *dir, tlt_config *out, tlt_err *err);

/* config.json and generation_config.json that transformers loads (dtype bfloat16). */
tlt_status tlt_config_store(const tlt_config *c, const char *dir, tlt_err *err);

/* cosine, sine [positions][head_dim / 2] as transformers computes them: inverse frequencies and
 * angles rounded to fp32, the functions themselves in double. */
void tlt_rope_table(const tlt_config *c, int positions, float *cosine, float *sine);

#endif
