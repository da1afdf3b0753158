/* Generation engine: continuous batching of many sequences over paged KV.
 *
 * A request is one prompt with n samples; samples share the prompt's full KV blocks. Rows of a step
 * are prefill chunks and decode rows of any mix of samples; no result depends on that mix. Steps
 * allocate nothing. An engine belongs to one thread (its pool does the parallel work).
 *
 * Samples are admitted in the order of submission, each once KV blocks for its longest possible
 * answer are free, so a running sample never waits for memory and there is no deadlock. */
#ifndef TLT_ENGINE_H
#define TLT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"
#include "tlt/tokenizer.h"

typedef struct tlt_model tlt_model; /* weights + kernels + pool, include/tlt/model.h */
typedef struct tlt_engine tlt_engine;

typedef enum tlt_finish { TLT_FINISH_NONE, TLT_FINISH_STOP, TLT_FINISH_LENGTH } tlt_finish;

typedef struct tlt_engine_options {
  int batch;         /* sequences decoded at once; > 0 */
  int max_positions; /* longest prompt + answer of one sequence */
  int prefill_chunk; /* prompt rows per sequence and step; 0: 512 */
  size_t kv_bytes;   /* KV memory cap; 0: enough for batch sequences of max_positions */
  uint32_t seed;
  int draft_rows; /* most draft nodes of one step, all sequences together; 0: no drafting */
} tlt_engine_options;

typedef struct tlt_request {
  const int32_t *prompt; /* copied */
  int n_prompt;          /* >= 1 */
  uint32_t rollout;      /* rollout index: first word of the noise counter */
  uint32_t sample0;      /* samples sample0 .. sample0 + n_samples - 1 */
  int n_samples;
  int max_tokens; /* new tokens at most; >= 1 */
  float temperature, top_p, min_p;
  int top_k;
  bool ignore_eos;
  const char *const *stop; /* stop strings, borrowed until the request is finished */
  int n_stop;
  void *user; /* handed back */
} tlt_request;

/* One finished sample. Pointers are valid during the callback only. tokens includes the final EOS
 * where finish is STOP by EOS; a stop string's tokens are kept in full. logprobs as design section
 * 2: log_softmax(logits / T) before filtering. */
typedef struct tlt_sample {
  uint32_t rollout, sample;
  int n_prompt, n_tokens;
  const int32_t *prompt, *tokens;
  const float *logprobs;
  tlt_finish finish;
  bool stopped_by_eos;
  void *user;
} tlt_sample;

typedef struct tlt_engine_stats {
  int64_t steps, prefill_tokens, decode_tokens, shared_tokens; /* shared: prompt positions reused */
  double prefill_seconds, decode_seconds; /* by the larger kind of rows of each step */
  int64_t peak_blocks;
  int64_t draft_tokens, accepted_tokens; /* nodes of draft trees: run, and found right */
} tlt_engine_stats;

/* Bytes the engine will take for these options; print it before creating. */
size_t tlt_engine_bytes(const tlt_model *m, const tlt_engine_options *o);

/* tokenizer is needed for stop strings only and may be NULL. */
tlt_status tlt_engine_create(tlt_model *m, const tlt_tokenizer *tokenizer,
                             const tlt_engine_options *o, tlt_engine **out, tlt_err *err);
void tlt_engine_free(tlt_engine *e);

/* Queue a request. TLT_EDATA: token out of range, or prompt not shorter than max_positions (an
 * answer that would cross max_positions finishes with LENGTH there). Allocates. */
tlt_status tlt_engine_submit(tlt_engine *e, const tlt_request *r, tlt_err *err);

/* Samples queued or running. */
int tlt_engine_pending(const tlt_engine *e);
/* Samples that could be admitted now without waiting: hand-out asks this. */
int tlt_engine_room(const tlt_engine *e);

/* One forward step over whatever is runnable; done(context, sample) for each finished sample, which
 * may submit. TLT_ENUMERIC: a log-probability is not finite; clear or free the engine then. */
typedef void (*tlt_sample_fn)(void *context, const tlt_sample *sample);
tlt_status tlt_engine_step(tlt_engine *e, tlt_sample_fn done, void *context, tlt_err *err);

/* Drop everything queued and running, without callbacks. */
void tlt_engine_clear(tlt_engine *e);

void tlt_engine_stats_get(const tlt_engine *e, tlt_engine_stats *out);

/* ---- hidden states ------------------------------------------------------------------------------
 */

/* Receives hidden states of chosen taps as they are computed. tap: layer index L means the fp32
 * residual stream entering layer L; TLT_TAP_FINAL the act-typed state after the final norm. */
enum { TLT_TAP_FINAL = -1, TLT_MAX_TAPS = 4 };
typedef struct tlt_hidden_row {
  uint32_t rollout, sample;
  int32_t token, position;
} tlt_hidden_row;
typedef struct tlt_hidden_sink {
  void *context;
  int n_taps;
  int taps[TLT_MAX_TAPS];
  /* rows [n], each once, and only rows that belong to a prompt or an answer; data: n rows of
   * `width` elements, element_size 4 (fp32) or 2 (bf16), stride in
   * elements. Called from the thread that steps the engine. */
  void (*put)(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
              size_t element_size, int width, size_t stride);
} tlt_hidden_sink;
void tlt_engine_set_sink(tlt_engine *e, const tlt_hidden_sink *sink); /* NULL: none */

#endif
