/* Drafters, targets and micro-batches that tools/golden_drafter_train.py makes too: every weight
 * and hidden state is a hash of (seed, tensor, element), exact in bf16. */
#ifndef TLT_TEST_DRAFTER_CASE_H
#define TLT_TEST_DRAFTER_CASE_H

#include "train/drafter.h"

enum { CASE_SAMPLES = 16 };

/* One line of a case file:
 *   numerics hidden heads kv_heads head_dim inter vocab hot seed unroll decay w_hidden w_token
 *   temperature steps samples, then prompt and tokens of each sample */
typedef struct drafter_case {
  char numerics[32];
  tlt_config config;
  int hot, steps, samples;
  uint32_t seed;
  float temperature;
  tlt_drafter_options options;
  int32_t cu[CASE_SAMPLES + 1], prompt[CASE_SAMPLES];
} drafter_case;

/* False when the line is no case. */
bool case_read(drafter_case *c, const char *line);

typedef struct drafter_world {
  const tlt_kernels *k;
  tlt_pool *pool;
  tlt_weights *target;
  tlt_drafter *d;
  tlt_drafter_trainer *t;
  tlt_draft_micro m;
  int32_t *tokens;
  void *hidden[CASE_SAMPLES];
} drafter_world;

/* Aborts on failure. k NULL: by name. */
void case_open(const drafter_case *c, const tlt_kernels *k, int threads, drafter_world *w);
void case_close(drafter_world *w);

/* What a case gives: for each step rows and the sums of tlt_draft_stats in their order, the
 * gradient of all parameters (unnormalised, flat order), then, with steps, the masters after that
 * many optimizer steps on the same micro-batch and the last gradient norm. */
size_t case_results(const drafter_case *c, const drafter_world *w);
void case_run(const drafter_case *c, drafter_world *w, float *to);

#endif
