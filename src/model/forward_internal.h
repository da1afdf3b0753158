/* Parts of the forward pass that have files of their own. */
#ifndef TLT_MODEL_FORWARD_INTERNAL_H
#define TLT_MODEL_FORWARD_INTERNAL_H

#include "model/forward.h"

/* Byte offset of a K panel inside its block. */
static inline size_t tlt__panel_offset(const tlt_forward *f, int layer, int kv_head) {
  return (size_t)layer * f->kv.layer_bytes + (size_t)kv_head * f->kv.head_bytes;
}

/* Logical position of a row of s. */
static inline int tlt__position(const tlt_seq_rows *s, int row) {
  int i = row - s->row0;
  return s->pos0 + (s->tree ? s->tree->depth[s->tree->first + i] : i);
}

/* Slot that holds its key and value. */
static inline int tlt__kv_slot(const tlt_seq_rows *s, int row) {
  return s->pos0 + row - s->row0 + (s->tree ? s->tree->first : 0);
}

/* forward_attention.c: scratch of one thread, and attention of one layer: io->q -> io->ctx, lse. */
size_t tlt__attention_bytes(const tlt_config *c, int max_positions);
void tlt__run_attention(tlt_forward *f, int layer, const tlt_batch *b, const tlt_layer_io *io);

#endif
