/* Answers of the target together with its hidden states after the final norm, recorded while they
 * are generated. */
#ifndef TLT_APP_DRAFT_RECORD_H
#define TLT_APP_DRAFT_RECORD_H

#include "app/prompts.h"
#include "model/model.h"
#include "rl/stop.h"
#include "tlt/engine.h"
#include "train/replay.h"

typedef struct tlt_draft_record_options {
  int samples, max_tokens; /* answers per prompt and their most tokens */
  int batch;               /* sequences decoded at once */
  int hold_every;          /* all answers of every hold_every-th prompt are held back; 0: none */
  float temperature;
  uint32_t seed;
} tlt_draft_record_options;

typedef struct tlt_draft_record {
  int64_t answers, tokens; /* generated */
  int64_t *seen;           /* [V] how often each token was drawn */
  double seconds;
} tlt_draft_record;

typedef void (*tlt_record_progress)(void *context, int64_t done, int64_t total, int64_t tokens,
                                    double seconds);

/* Bytes of the engine and of the answers that are being recorded, without the buffer. */
size_t tlt_draft_record_bytes(const tlt_model *m, const tlt_prompts *prompts,
                              const tlt_draft_record_options *o);

/* Fill the buffer. The memory of what is being recorded is bounded by batch x (longest prompt +
 * max_tokens) hidden states. TLT_ESTOPPED when `stop` is set meanwhile. Free *out in any case. */
tlt_status tlt_draft_record_run(tlt_model *m, const tlt_tokenizer *t, const tlt_prompts *prompts,
                                const tlt_draft_record_options *o, tlt_record_progress progress,
                                void *context, const tlt_stop *stop, tlt_replay *replay,
                                tlt_draft_record *out, tlt_err *err);
void tlt_draft_record_free(tlt_draft_record *r); /* zeroed is harmless */

#endif
