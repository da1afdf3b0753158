/* What memory and files of the learned drafter share. */
#ifndef TLT_MODEL_DRAFTER_INTERNAL_H
#define TLT_MODEL_DRAFTER_INTERNAL_H

#include "model/drafter.h"

/* The layer's configuration for a target: llama form, one layer. */
tlt_config tlt__drafter_config(const tlt_config *target);

/* Names and shapes without memory; then the memory: matrices 0, norm gains 1, fc.bias 0, the
 * target's embedding. */
tlt_status tlt__drafter_shell(const tlt_config *c, tlt_drafter **out, tlt_err *err);
tlt_status tlt__drafter_memory(tlt_drafter *d, const tlt_weights *target, tlt_err *err);

/* The first TLT_HOT_DEFAULT tokens. */
tlt_status tlt__drafter_first_hot(tlt_drafter *d, const tlt_weights *target, tlt_err *err);

/* d->weights with fc.bias in the list. Valid as long as d; not to be freed. */
tlt_weights tlt__drafter_file_view(const tlt_drafter *d);

#endif
