/* What the parts of the weights code share: creation in two steps and chunked access. */
#ifndef TLT_MODEL_WEIGHTS_INTERNAL_H
#define TLT_MODEL_WEIGHTS_INTERNAL_H

#include "model/weights.h"

/* Names and shapes without memory: lets a loader check a file before anything large is taken. */
tlt_status tlt__weights_shell(const tlt_config *c, tlt_weights **out, tlt_err *err);

/* Take the memory of a shell: matrices 0, norm gains 1. */
tlt_status tlt__weights_memory(tlt_weights *w, tlt_err *err);

/* Rows of a parameter that are read or written at once: about TLT__CHUNK_FLOATS values, whole
 * panels where a panel fits, at least one row. */
enum { TLT__CHUNK_FLOATS = 1 << 18 };
int tlt__param_chunk_rows(const tlt_param *p);

/* Floats of the largest chunk of any parameter. */
size_t tlt__weights_chunk_floats(const tlt_weights *w);

#endif
