/* The learned drafter as a draft source: its KV cache, the target's hidden states of live
 * sequences, catching up, and drafting to any depth over the hot tokens. */
#ifndef TLT_SPEC_EAGLE_H
#define TLT_SPEC_EAGLE_H

#include "model/drafter.h"
#include "model/model.h"
#include "spec/source.h"

typedef struct tlt_eagle_options {
  int batch, max_positions;
  uint32_t seed; /* of sampling */
  int max_rows;  /* nodes drafted in one pass, all sequences together */
} tlt_eagle_options;

/* Bytes: drafter KV, hidden states (one act row per position and slot; prompts once per group),
 * pass buffers. */
size_t tlt_eagle_bytes(const tlt_model *m, const tlt_drafter *d, const tlt_eagle_options *o);

/* Takes over d and frees it with the source. m is the target. */
tlt_status tlt_eagle_create(tlt_model *m, tlt_drafter *d, const tlt_eagle_options *o,
                            tlt_source *out, tlt_err *err);

/* Between rollouts: draft with the weights and hot tokens of d from now on; whatever is known of
 * sequences is forgotten. False, and nothing changed, where tlt_drafter_assign cannot. */
bool tlt_eagle_assign(const tlt_source *eagle, const tlt_drafter *d);

#endif
