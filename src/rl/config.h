/* Configuration of `tlt train`: one struct, one schema table.
 *
 * Sections that `tlt sft` shares are structs of their own, filled by the same rows (sections.h).
 * Every key has a default, printed by the resolved configuration in the run directory. Unknown
 * keys, wrong types and values out of range are TLT_EUSAGE with file and line; rules over several
 * keys are checked by tlt_train_config_check and name the rule. */
#ifndef TLT_RL_CONFIG_H
#define TLT_RL_CONFIG_H

#include "rl/sections.h"
#include "tasks/reward.h"

typedef enum tlt_algorithm {
  TLT_ALG_GRPO,
  TLT_ALG_DR_GRPO,
  TLT_ALG_RLOO,
  TLT_ALG_DAPO,
  TLT_ALG_GSPO
} tlt_algorithm;

typedef enum tlt_scale { TLT_SCALE_GROUP, TLT_SCALE_BATCH, TLT_SCALE_NONE } tlt_scale;

/* How per-token losses become one number: sum over all tokens / tokens; mean over samples of the
 * mean over tokens; sum / (samples * max_tokens). */
typedef enum tlt_loss_mean {
  TLT_LOSS_TOKEN_MEAN,
  TLT_LOSS_SEQUENCE_MEAN,
  TLT_LOSS_CONSTANT
} tlt_loss_mean;

typedef enum tlt_kl_kind { TLT_KL_K1, TLT_KL_K2, TLT_KL_K3 } tlt_kl_kind;
typedef enum tlt_too_long { TLT_TOO_LONG_ERROR, TLT_TOO_LONG_DROP } tlt_too_long;
typedef enum tlt_log_rollouts { TLT_LOG_NONE, TLT_LOG_SAMPLE, TLT_LOG_ALL } tlt_log_rollouts;

typedef struct tlt_conf_data {
  char *task;     /* generator, or NULL */
  int64_t count;  /* problems to generate */
  int64_t seed;   /* of the generator */
  char *file;     /* JSONL, or NULL; exactly one of task and file */
  char *verifier; /* of a file */
  char *options;  /* task options as "name=value,name=value", or NULL */
  bool chat;      /* plain prompts become one user message under the chat template */
  int too_long;   /* tlt_too_long: prompts beyond the context */
} tlt_conf_data;

typedef struct tlt_conf_reward {
  char *command; /* NULL: the data's verifier */
  int64_t workers;
  double timeout_s;
  int on_error;      /* tlt_reward_on_error */
  double mask_share; /* masked share of items above which the run ends */
} tlt_conf_reward;

typedef struct tlt_conf_rollout {
  int64_t prompts, samples, max_tokens;
  double temperature, top_p, min_p;
  int64_t top_k;
  int64_t batch;         /* sequences decoded at once */
  int64_t prefill_chunk; /* prompt rows per sequence and step */
} tlt_conf_rollout;

typedef struct tlt_conf_speculation {
  int draft;         /* tlt_draft_kind */
  char *policy;      /* planner, beg-mab, eg, ucb1, fixed:DEPTH_TOPK_VERIFY */
  int64_t max_depth; /* longest drafted path */
} tlt_conf_speculation;

typedef enum tlt_drafter_train { TLT_DRAFTER_OFF, TLT_DRAFTER_IDLE } tlt_drafter_train;
typedef enum tlt_idle_work {
  TLT_IDLE_GRADIENT,
  TLT_IDLE_DRAFTER,
  TLT_IDLE_LEND,
  TLT_IDLE_WORKS
} tlt_idle_work;

typedef struct tlt_conf_drafter {
  char *path;                     /* directory of a learned drafter to start from, or NULL */
  int train;                      /* tlt_drafter_train */
  int idle_order[TLT_IDLE_WORKS]; /* tlt_idle_work, first choice first; -1: none */
  int64_t buffer_mb;              /* answers of the last two steps */
  double min_share;               /* of a step, where idle time does not give as much */
  double lr;
  int64_t unroll;                 /* steps of its own output that are trained */
  double hidden_loss, token_loss; /* weights of the two losses */
} tlt_conf_drafter;

typedef struct tlt_conf_algorithm {
  int name; /* tlt_algorithm */
  double clip_low, clip_high;
  double kl;        /* weight of the KL term; 0: no reference is loaded */
  int kl_estimator; /* tlt_kl_kind */
  int loss;         /* tlt_loss_mean */
  int scale;        /* tlt_scale */
  int64_t updates, minibatches;
  int64_t max_gen;       /* above 1: constant groups are replaced */
  int64_t overlong;      /* last tokens before max_tokens that are penalised; 0: off */
  double overlong_scale; /* penalty at max_tokens */
} tlt_conf_algorithm;

typedef struct tlt_conf_cost {
  double core_hour; /* price; 0: not known */
  char *currency;   /* for people; may be empty */
} tlt_conf_cost;

typedef struct tlt_conf_log {
  bool tensorboard; /* event files in the run directory */
  int rollouts;     /* tlt_log_rollouts */
} tlt_conf_log;

typedef struct tlt_train_config {
  tlt_conf_common common; /* model, seed, numerics, threads */
  int64_t steps;
  tlt_conf_data data;
  tlt_conf_eval eval;
  tlt_conf_reward reward;
  tlt_conf_rollout rollout;
  tlt_conf_speculation speculation;
  tlt_conf_drafter drafter;
  tlt_conf_algorithm algorithm;
  tlt_conf_optimizer optimizer;
  tlt_conf_gradient gradient;
  tlt_conf_checkpoint checkpoint;
  tlt_conf_log log;
  tlt_conf_cost cost;
} tlt_train_config;

extern const tlt_yaml_schema tlt_train_schema;

/* Read the file, apply sets ("a.b=c", may be NULL), fill what the algorithm decides where neither
 * gives it (loss, scale, clip range, max_gen, overlong: docs/configuration.md), and check the rules
 * over several keys: one of data.task and data.file, samples >= 2 where the advantage needs a
 * group, prompts a multiple of minibatches, temperature above 0, overlong below max_tokens.
 * TLT_EUSAGE names the key and the rule. */
tlt_status tlt_train_config_load(const char *path, const char *const *sets, int n_sets,
                                 tlt_train_config *out, tlt_err *err);
void tlt_train_config_free(tlt_train_config *c);

#endif
