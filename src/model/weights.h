/* Weights of a model in compute form, and the list of its parameters.
 *
 * Fused matrices: wqkv = [q; k; v] rows, wgu = [gate; up] rows. A parameter is a named tensor of
 * the Hugging Face file and lives in a row range of a packed matrix, or in an fp32 vector. */
#ifndef TLT_MODEL_WEIGHTS_H
#define TLT_MODEL_WEIGHTS_H

#include "base/pool.h"
#include "base/sha256.h"
#include "base/team.h"
#include "kernels/kernels.h"
#include "model/config.h"

typedef struct tlt_layer_weights {
  tlt_packed qkv;         /* [(heads + 2 kv_heads) D][H], bias for qwen2 */
  tlt_packed o;           /* [H][heads D] */
  tlt_packed gu;          /* [2 I][H] */
  tlt_packed down;        /* [H][I] */
  float *norm1, *norm2;   /* [H] input / post-attention RMSNorm gains */
  float *q_norm, *k_norm; /* [D], qwen3, else NULL */
  float *qkv_bias;        /* [N qkv], qwen2, else NULL */
} tlt_layer_weights;

/* A named tensor. Exactly one of matrix / vector is set. Compute values are bf16-rounded in both
 * (vectors hold bf16-representable fp32). */
typedef struct tlt_param {
  char name[96]; /* Hugging Face name, e.g. model.layers.3.self_attn.q_proj.weight */
  int n, k;      /* rows, columns; vectors: n elements, k = 1 */
  tlt_packed *matrix;
  int row0; /* first row inside *matrix */
  float *vector;
  uint64_t offset; /* of its first element in the flat order of all parameters */
} tlt_param;

typedef struct tlt_weights {
  tlt_config config;
  tlt_packed embed;         /* [V][H] */
  tlt_packed head;          /* [V][H]; shares embed.data when tied */
  float *final_norm;        /* [H] */
  tlt_layer_weights *layer; /* [layers] */
  tlt_param *param; /* [n_params] in tensor-name order (byte order of the names); a tied head is
                       not listed */
  int n_params;
  uint64_t elements; /* sum over params */
  void *memory;
  size_t bytes;
  const tlt_team *team; /* whose memory it is; NULL: this process's own */
} tlt_weights;

/* Memory that tlt_weights_create will take, bytes. */
size_t tlt_weights_bytes(const tlt_config *c);

/* All zero (norm gains 1). */
tlt_status tlt_weights_create(const tlt_config *c, tlt_weights **out, tlt_err *err);
/* The same in memory that the processes of a team share, one copy per host. Collective; fails on
 * all or none. The structure is each process's own, with pointers of its own. Who writes values
 * (tlt_weights_init, a trainer's step) does so once for all; a barrier then makes them visible. team
 * outlives the weights; NULL: tlt_weights_create. */
tlt_status tlt_weights_create_shared(const tlt_config *c, const tlt_team *team, tlt_weights **out,
                                     tlt_err *err);
void tlt_weights_free(tlt_weights *w); /* not collective; NULL is harmless */

/* Read a Hugging Face directory: config, then all tensors, streamed into panels by the pool.
 * Missing, unexpected (ignored ones: rotary inv_freq buffers) or wrongly shaped tensors: TLT_EDATA
 * with the name. */
tlt_status tlt_weights_load(const char *dir, tlt_pool *pool, tlt_weights **out, tlt_err *err);
/* The same into the memory of a team: all read config.json, its rank 0 checks and reads the tensors
 * and the others wait asleep. Collective; a failure of one is a failure of all. */
tlt_status tlt_weights_load_shared(const char *dir, tlt_pool *pool, const tlt_team *team,
                                   tlt_weights **out, tlt_err *err);

/* The parameter of that name, or NULL. */
const tlt_param *tlt_weights_find(const tlt_weights *w, const char *name);

/* fp32 values of a parameter [n][k] from the compute form: all, or rows row .. row+rows-1 (of a
 * vector: elements). */
void tlt_param_get(const tlt_param *p, float *to);
void tlt_param_get_rows(const tlt_param *p, int row, int rows, float *to);
/* Rows row .. row+rows-1 of a parameter from fp32, rounded to bf16 (vectors: elements). */
void tlt_param_set_rows(tlt_param *p, int row, int rows, const float *from);

/* Write config and model.safetensors (bf16) into dir, tokenizer files copied from tokenizer_dir
 * (NULL: none), so that transformers loads it unchanged. An existing complete model is replaced
 * atomically file by file. */
tlt_status tlt_weights_save(const tlt_weights *w, const char *dir, const char *tokenizer_dir,
                            tlt_err *err);

/* Random initial weights: normal(0, 0.02) from (seed, TLT_PURPOSE_INIT), residual outputs
 * (o_proj, down_proj) scaled by 1 / sqrt(2 layers), norms 1, biases 0. The counter's tensor index
 * is the parameter's place in the list. Only memory can fail. */
tlt_status tlt_weights_init(tlt_weights *w, uint32_t seed, tlt_err *err);

/* SHA-256 over the parameters in tensor-name order as bf16 little-endian row-major bytes.
 * Only memory can fail. */
tlt_status tlt_weights_sha256(const tlt_weights *w, char hex[TLT_SHA256_HEX], tlt_err *err);

#endif
