/* The job behind `tlt generate`: sample n answers for each prompt and write them in order. */
#ifndef TLT_APP_GENERATE_H
#define TLT_APP_GENERATE_H

#include "app/prompts.h"
#include "spec/speculator.h"
#include "tlt/engine.h"
#include "tlt/model.h"

typedef struct tlt_generate_options {
  int n, max_tokens, batch, prefill_chunk;
  float temperature, top_p, min_p;
  int top_k;
  uint32_t seed;
  bool ignore_eos;
  const char *const *stop;
  int n_stop;
  tlt_draft_kind draft;
  const char *policy, *drafter; /* as in tlt_spec_options */
  int max_depth;
} tlt_generate_options;

typedef struct tlt_generate_stats {
  int64_t samples, tokens, prompt_tokens;
  double seconds;
  tlt_engine_stats engine;
  tlt_spec_stats spec; /* all zero with draft off */
} tlt_generate_stats;

/* One sample in final order: prompts as given, samples 0 .. n-1 each. Valid during the call. */
typedef struct tlt_generated {
  const tlt_prompt *prompt;
  int sample, n_tokens;
  const int32_t *tokens;
  const float *logprobs;
  const char *text; /* special tokens left out; n_text bytes, may be cut UTF-8 */
  size_t n_text;
  tlt_finish finish;
} tlt_generated;

typedef struct tlt_generate_hooks {
  void *context;
  /* In final order, each as soon as all before it are done. */
  tlt_status (*sample)(void *context, const tlt_generated *g, tlt_err *err);
  /* After each step; may be NULL. done samples of total. */
  void (*progress)(void *context, int64_t done, int64_t total, int64_t tokens, double seconds);
  /* Bytes about to be taken for KV; may be NULL. */
  void (*memory)(void *context, size_t kv_bytes);
} tlt_generate_hooks;

tlt_status tlt_generate(tlt_model *m, const tlt_tokenizer *t, const tlt_prompts *prompts,
                        const tlt_generate_options *o, const tlt_generate_hooks *hooks,
                        tlt_generate_stats *stats, tlt_err *err);

/* A sample as the JSONL line of `generate --out` (design: id, sample, prompt_tokens, tokens,
 * logprobs, text, finish), with newline, caller frees. NULL when out of memory. */
char *tlt_generated_json(const tlt_generated *g, size_t *n);

#endif
