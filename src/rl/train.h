/* Reinforcement learning from a configuration file to a final model: what `tlt train` runs.
 *
 * One call at a time. Where several processes were started together (cluster/cluster.h) each calls
 * it with the same arguments: the first leads the run, the others follow it. Never prints: messages
 * go to base/log.h, progress to the hooks, results to the run directory (rundir.h) and the summary.
 */
#ifndef TLT_RL_TRAIN_H
#define TLT_RL_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events/metrics.h"
#include "events/spans.h"
#include "rl/stop.h"
#include "tlt/status.h"

typedef enum tlt_resume {
  TLT_RESUME_NO, /* a used run directory is TLT_EUSAGE */
  TLT_RESUME_YES,
  TLT_RESUME_LAST_GOOD, /* fall back past a damaged checkpoint, said in the log */
  TLT_RESUME_CHANGED    /* accept another model, data or numerics fingerprint, said in the log */
} tlt_resume;

/* "" or NULL (plain --resume), "last-good", "changed"; else TLT_EUSAGE. */
tlt_status tlt_resume_find(const char *name, tlt_resume *out, tlt_err *err);

typedef struct tlt_train_options {
  const char *program;     /* version and commit: workers must have the same */
  const char *config;      /* YAML file */
  const char *run;         /* run directory; NULL: runs/<name of config without extension> */
  const char *const *sets; /* "a.b=c", applied over the file in order */
  int n_sets;
  int workers;          /* that must have been started together; 0: any number */
  int threads;          /* per host; below 0: as configured */
  const char *numerics; /* NULL: as configured */
  tlt_resume resume;
} tlt_train_options;

typedef enum tlt_phase {
  TLT_PHASE_LOAD,
  TLT_PHASE_ROLLOUT,
  TLT_PHASE_UPDATE,
  TLT_PHASE_EVAL,
  TLT_PHASE_SAVE,
  TLT_PHASE_STEP_DONE /* once per step; the only phase in which the step's results are set */
} tlt_phase;

/* Where the run is. Given at most about five times a second and at every change of phase. */
typedef struct tlt_train_progress {
  tlt_phase phase;
  int64_t step, steps; /* 1-based step at work, of all */
  int64_t done, total; /* samples (rollout, eval) or groups (update) of this phase */
  int64_t tokens;      /* generated or trained in this phase so far */
  double seconds;      /* of this phase so far; STEP_DONE: of the step */
  double rate;         /* tokens per second of this phase */
  double left;         /* estimated seconds to the end of the run; below 0: not known yet */
  /* STEP_DONE */
  double reward_mean, loss, grad_norm, mean_length, clipped_ratio;
  bool has_loss;        /* false when no group had an advantage */
  double eval_accuracy; /* below 0: not evaluated at this step */
} tlt_train_progress;

/* Memory about to be taken by all workers of this host, bytes; given once before it is. */
typedef struct tlt_train_memory {
  size_t weights, training, engine, reference;
  size_t speculation; /* draft sources, remembered texts at their caps */
  size_t drafting;    /* the drafter in training, its buffer at its cap */
  size_t total;
} tlt_train_memory;

struct tlt_train_config;

typedef struct tlt_train_hooks {
  void *context;
  /* Once, on the leader, when the configuration is known to be good, before the run directory or
   * anything else is opened; an error ends the run. */
  tlt_status (*leading)(void *context, tlt_err *err);
  /* Once, on the leader, before the sinks are started: what they are may depend on it. */
  void (*configured)(void *context, const struct tlt_train_config *config);
  const tlt_metrics_sink *metrics; /* usually &tlt_metrics_jsonl of report/metrics.h */
  const tlt_trace_sink *trace;     /* usually &tlt_trace_json of report/trace.h */
  void (*progress)(void *context, const tlt_train_progress *p);
  void (*memory)(void *context, const tlt_train_memory *m);
} tlt_train_hooks; /* any member may be NULL */

/* A share with its 95 % interval (evaluate.h says how). */
typedef struct tlt_share {
  double value, low, high;
} tlt_share;

/* For the closing table. Valid after TLT_OK and TLT_ESTOPPED. Seconds are of this process. */
typedef struct tlt_train_summary {
  bool follower; /* a worker whose leader tells what there is to tell */
  int workers;
  bool already_complete;                       /* nothing was left to do */
  int64_t steps_done, steps_total, steps_here; /* all, configured, by this process */
  bool has_eval;
  tlt_share accuracy_first, accuracy_last;    /* before and after */
  tlt_share gain;                             /* paired difference of the two */
  double eval_length_first, eval_length_last; /* mean tokens of an answer */
  int64_t eval_problems, eval_samples;
  int64_t best_step; /* -1: none */
  double best_accuracy;
  double reward_first, reward_last; /* mean over the first and last 10 steps of this process */
  double length_first, length_last; /* mean tokens over the same */
  double seconds_rollout, seconds_update, seconds_eval, seconds_save, seconds_load, seconds_total;
  double seconds_reward; /* waiting for scores with nothing else to do */
  int64_t rollout_tokens, trained_tokens;
  double rollout_rate, update_rate; /* tokens per second */
  char weights_sha256[65];          /* fp32 masters in tensor-name order */
  char run[4096], final[4096];      /* directories; final "" when stopped */
} tlt_train_summary;

/* Returns TLT_OK when all steps are done and final/ is written (also when that was already so),
 * TLT_ESTOPPED after a signal with a text that says how to go on, or the error's status. stop is
 * usually &tlt_stop_flags; its `save` is cleared when served. hooks and summary may be NULL. */
tlt_status tlt_train(const tlt_train_options *options, const tlt_train_hooks *hooks, tlt_stop *stop,
                     tlt_train_summary *summary, tlt_err *err);

#endif
