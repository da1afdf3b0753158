/* What the parts of the weights code share, the drafter's included: creation in two steps, lists of
 * parameters, chunked access and files. */
#ifndef TLT_MODEL_WEIGHTS_INTERNAL_H
#define TLT_MODEL_WEIGHTS_INTERNAL_H

#include "io/safetensors.h"
#include "model/weights.h"

/* Names and shapes without memory: lets a loader check a file before anything large is taken. */
tlt_status tlt__weights_shell(const tlt_config *c, tlt_weights **out, tlt_err *err);

/* Take the memory of a shell, that of its team if it has one (collective): matrices 0, norm gains 1
 * (written by rank 0, not yet waited for). */
tlt_status tlt__weights_memory(tlt_weights *w, tlt_err *err);

/* ---- Layout: one region, carved; and the list ---- */

typedef struct tlt__carver {
  unsigned char *base; /* NULL: only add up sizes */
  size_t used;
} tlt__carver;

/* With base NULL a matrix stays as it is and a vector is NULL. Pieces are 64-aligned. */
void tlt__carve_matrix(tlt__carver *c, tlt_packed *w, int n, int k);
float *tlt__carve_vector(tlt__carver *c, int n);
/* input_norm false: norm1 = NULL. */
void tlt__carve_layer(tlt__carver *at, const tlt_config *c, bool input_norm, tlt_layer_weights *l);

enum { TLT__LAYER_PARAMS = 14 }; /* most that a layer lists */

/* Append to w->param, which has room: "<name>.weight", or all of layer i as "<layers>.<i>.". */
void tlt__list_matrix(tlt_weights *w, const char *name, tlt_packed *m, int n, int k);
void tlt__list_layer(tlt_weights *w, int i, const char *layers, bool input_norm);
/* Sort, and set offsets and w->elements. */
void tlt__list_end(tlt_weights *w);

/* ---- Files ---- */

/* All listed tensors are there, of the right shape and a float type; nothing else is, except those
 * of `optional`, whose shapes are checked too, and rotary buffers. what: "llama model". */
tlt_status tlt__weights_check(const char *dir, const tlt_weights *w, const tlt_st_set *set,
                              const tlt_param *optional, int n_optional, const char *what,
                              tlt_err *err);

/* Values of all listed tensors, read by the pool. twin: a tensor that must equal w->embed, or NULL.
 */
tlt_status tlt__weights_read(tlt_weights *w, const tlt_st_set *set, const tlt_st_tensor *twin,
                             tlt_pool *pool, tlt_err *err);

/* The listed tensors as one bf16 file, published atomically. */
tlt_status tlt__weights_write(const tlt_weights *w, const char *path, tlt_err *err);

/* Rows of a parameter that are read or written at once: about TLT__CHUNK_FLOATS values, whole
 * panels where a panel fits, at least one row. */
enum { TLT__CHUNK_FLOATS = 1 << 18 };
int tlt__param_chunk_rows(const tlt_param *p);

/* Floats of the largest chunk of any parameter. */
size_t tlt__weights_chunk_floats(const tlt_weights *w);

#endif
