/* Small random models and micro-batches for the tests of this folder. */
#ifndef TLT_TEST_TRAIN_FIXTURE_H
#define TLT_TEST_TRAIN_FIXTURE_H

#include "train/trainer.h"

enum { FIX_ROWS = 230, FIX_SAMPLES = 5 };

/* Widths that are no multiple of a vector, a panel or a tile; tied for llama only. */
tlt_config fix_config(tlt_arch arch);

/* A model with every weight random, norm gains and biases included. */
tlt_weights *fix_weights(const tlt_config *c, uint32_t seed);
void fix_fill(tlt_weights *w, uint32_t seed); /* those values */

/* FIX_SAMPLES samples of 2 to 90 tokens (FIX_ROWS together); arrays live as long as the program and
 * differ by `seed` (below 4). */
tlt_micro fix_micro(const tlt_config *c, int seed);

/* A loss that is not constant: dlogp_i = (i % 3) - 1.2 + logp_i / 16. */
void fix_loss(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp);

#endif
