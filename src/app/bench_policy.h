/* Figures of `tlt bench policy`: a speculation setting against none, or against all fixed ones.
 *
 * Both sides of a pair generate the very same tokens (speculation changes none), so a ratio of
 * times is a ratio of speeds. Sides take turns of some steps; every round has new prompts and new
 * noise; the speculator lives through all rounds of a cell, as it does in a training run, and one
 * round before them warms it up. Intervals: tlt_bench_interval over the log ratios of the rounds. */
#ifndef TLT_APP_BENCH_POLICY_H
#define TLT_APP_BENCH_POLICY_H

#include "spec/speculator.h"
#include "tlt/tokenizer.h"

typedef enum tlt_bench_text {
  TLT_TEXT_TASK,       /* problems of a task generator, split eval */
  TLT_TEXT_CHAT,       /* everyday questions under the chat template */
  TLT_TEXT_RANDOM,     /* random token ids */
  TLT_TEXT_REPETITIVE, /* a phrase over and over */
  TLT_TEXT_HOSTILE,    /* the task, with a drafter that is always sure and always wrong */
  TLT_BENCH_TEXTS
} tlt_bench_text;

enum { TLT_BENCH_PAIRS_MAX = 256, TLT_BENCH_BATCHES_MAX = 16 };

typedef struct tlt_bench_policy_options {
  const char *task, *task_options;
  tlt_draft_kind draft;
  const char *policy, *drafter;
  int batch[TLT_BENCH_BATCHES_MAX], n_batches;
  bool text[TLT_BENCH_TEXTS];
  int pairs;      /* per cell, 2 .. TLT_BENCH_PAIRS_MAX */
  int answers;    /* per round; 0: as many as the batch, at least 4 */
  int max_tokens; /* per answer */
  float temperature;
  uint32_t seed;
  /* Also find the best fixed setting of every cell, of these draft kinds, and compare with it. */
  bool fixed[TLT_DRAFT_AUTO + 1];
  bool against_fixed;
} tlt_bench_policy_options;

/* One comparison. ratio: speed of the setting over that of `against`. */
typedef struct tlt_bench_cell {
  const char *text;
  int batch;
  char against[40]; /* "off", or draft and strategy of a fixed setting */
  double ratio, low, high;
  double off_rate;      /* tokens per second without speculation (against off) */
  double accept_length; /* of the setting */
  double overhead;      /* of the setting: planning, drafting and bookkeeping / all of its time */
  int64_t tokens;       /* per round, on average */
} tlt_bench_cell;

tlt_status tlt_bench_policy(tlt_model *m, const tlt_tokenizer *t, const tlt_bench_policy_options *o,
                            void (*cell)(void *context, const tlt_bench_cell *c), void *context,
                            tlt_err *err);

const char *tlt_bench_text_name(tlt_bench_text t);

#endif
