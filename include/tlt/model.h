/* A model ready to run: weights, kernels of the chosen numerics path, thread pool. */
#ifndef TLT_MODEL_H
#define TLT_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_model tlt_model;

struct tlt_team;

typedef struct tlt_model_options {
  const char *numerics; /* "auto", "portable", "avx512bf16", "amx"; NULL: auto */
  int threads;          /* 0: all cores */
  const struct tlt_team *team; /* processes of this host that share one copy of the weights; opening
                                  is then collective and fails on all or none. NULL: alone */
} tlt_model_options;

typedef struct tlt_model_info {
  const char *arch, *numerics, *isa;
  int hidden, layers, heads, kv_heads, head_dim, inter, vocab, max_positions, threads;
  uint64_t parameters;
  size_t weight_bytes;
} tlt_model_info;

/* Open a Hugging Face directory. Errors: TLT_EDATA (file and field or tensor), TLT_EUSAGE
 * (numerics the processor lacks), TLT_ENOMEM. */
tlt_status tlt_model_open(const char *dir, const tlt_model_options *o, tlt_model **out,
                          tlt_err *err);
void tlt_model_close(tlt_model *m); /* NULL is harmless */
void tlt_model_info_get(const tlt_model *m, tlt_model_info *out);

/* Bytes that opening will take, from config.json alone. */
tlt_status tlt_model_bytes(const char *dir, size_t *bytes, tlt_err *err);

/* Log-probabilities by the training forward: tokens[i] given prompt and tokens before it.
 * prompt [n_prompt] >= 1, tokens [n_tokens], out fp32 [n_tokens]. Bitwise equal to what generation
 * reports for the same temperature. */
tlt_status tlt_model_score(tlt_model *m, const int32_t *prompt, int n_prompt, const int32_t *tokens,
                           int n_tokens, float temperature, float *out, tlt_err *err);

#endif
