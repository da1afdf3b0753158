/* Configuration sections that `tlt train` and `tlt sft` share. */
#ifndef TLT_RL_SECTIONS_H
#define TLT_RL_SECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/yaml.h"
#include "tlt/status.h"

typedef struct tlt_conf_common {
  char *model;     /* Hugging Face directory */
  int64_t seed;    /* 0 .. 2^32 - 1 */
  char *numerics;  /* auto, portable, avx512bf16, amx */
  int64_t threads; /* 0: all cores */
} tlt_conf_common;

typedef struct tlt_conf_eval {
  int64_t every;   /* steps between evaluations; 0: never */
  int64_t count;   /* held-back problems */
  int64_t samples; /* per problem */
  double temperature;
  int64_t max_tokens; /* 0: as in training */
  char *file; /* held-back problems; NULL: split eval of the task, last lines of data.file */
} tlt_conf_eval;

typedef struct tlt_conf_optimizer {
  double lr;
  int schedule; /* tlt_schedule_kind */
  int64_t warmup;
  double betas[2], eps, weight_decay;
  double clip_norm; /* 0: no clipping */
} tlt_conf_optimizer;

typedef struct tlt_conf_gradient {
  int64_t micro_tokens, activation_mb;
} tlt_conf_gradient;

typedef struct tlt_conf_checkpoint {
  int64_t every; /* steps (sft: optimizer steps); 0: only at the end and when stopped */
  int64_t keep;
} tlt_conf_checkpoint;

/* Rows of these sections for TLT_YAML_SECTION; defaults are those of design and docs. `tlt sft` may
 * list them at offsets of its own. */
enum {
  TLT_ROWS_COMMON = 4,
  TLT_ROWS_EVAL = 6,
  TLT_ROWS_OPTIMIZER = 7,
  TLT_ROWS_GRADIENT = 2,
  TLT_ROWS_CHECKPOINT = 2,
};
extern const tlt_yaml_row tlt_rows_common[TLT_ROWS_COMMON]; /* section "" */
extern const tlt_yaml_row tlt_rows_eval[TLT_ROWS_EVAL];
extern const tlt_yaml_row tlt_rows_optimizer[TLT_ROWS_OPTIMIZER];
extern const tlt_yaml_row tlt_rows_gradient[TLT_ROWS_GRADIENT];
extern const tlt_yaml_row tlt_rows_checkpoint[TLT_ROWS_CHECKPOINT];

#endif
