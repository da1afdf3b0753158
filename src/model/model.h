/* What stands behind the public tlt_model, for the folders above: engine, train, app. */
#ifndef TLT_MODEL_MODEL_H
#define TLT_MODEL_MODEL_H

#include "base/pool.h"
#include "kernels/kernels.h"
#include "model/forward.h"
#include "model/weights.h"
#include "tlt/model.h"

struct tlt_model {
  tlt_pool *pool;
  const tlt_kernels *kernels;
  tlt_weights *weights;
};

/* A model of this shape with weights as tlt_weights_create leaves them (matrices zero). */
tlt_status tlt_model_create(const tlt_config *c, const tlt_model_options *o, tlt_model **out,
                            tlt_err *err);

/* Buffers of a forward pass that keeps nothing for a backward: every layer reads and writes the
 * same ones. io.x_in = io.x_mid = io.x_out = x; inv1, inv2 and lse are NULL. */
typedef struct tlt_workspace {
  tlt_layer_io io;
  float *x; /* [rows][H] */
  void *memory;
  size_t bytes;
} tlt_workspace;

size_t tlt_workspace_bytes(const tlt_config *c, size_t act_size, int rows);
tlt_status tlt_workspace_init(tlt_workspace *ws, const tlt_config *c, size_t act_size, int rows,
                              tlt_err *err);
void tlt_workspace_deinit(tlt_workspace *ws); /* a zeroed one is fine */

#endif
