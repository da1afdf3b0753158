/* The forward with stored activations: tlt_forward_layer with other buffers, hence the bits of the
 * rollout. */
#include "train/trainer_internal.h"

typedef struct keep_job {
  tlt_trainer *t;
  tlt_slot *slot;
  int rows;
} keep_job;

/* What later layers overwrite and the backward needs: gate and up, keys and values. */
static void keep_rows(void *context, int64_t block, int thread) {
  (void)thread;
  keep_job *j = context;
  tlt_trainer *t = j->t;
  const tlt_dims *d = &t->dim;
  int end = (int)(block + 1) * TLT_ROW_BLOCK < j->rows ? (int)(block + 1) * TLT_ROW_BLOCK : j->rows;
  for (int r = (int)block * TLT_ROW_BLOCK; r < end; r++) {
    tlt_act_row(t, t->gu + (size_t)r * 2 * (size_t)d->inter, 2 * d->inter,
                tlt_act_at(t, j->slot->gu, r, 2 * d->inter));
    tlt_act_row(t, t->qkv + (size_t)r * (size_t)d->qkv + d->q, 2 * d->kv,
                tlt_act_at(t, j->slot->kv, r, 2 * d->kv));
  }
}

void tlt_pass_layer(tlt_trainer *t, const tlt_batch *batch, int layer, const float *x_in,
                    float *x_out, tlt_slot *slot) {
  tlt_slot *s = slot ? slot : t->slot;
  tlt_layer_io io = {.x_in = x_in,
                     .x_mid = slot ? s->x_mid : x_out,
                     .x_out = x_out,
                     .h1 = t->h1,
                     .qkv = t->qkv,
                     .q = s->q,
                     .ctx = s->ctx,
                     .lse = slot ? s->lse : NULL,
                     .h2 = t->h2,
                     .gu = t->gu,
                     .m = t->m};
  tlt_forward_layer(&t->forward, layer, batch, &io);
  if (!slot) return;
  keep_job job = {t, slot, batch->n_rows};
  tlt_pool_run(t->pool, keep_rows, &job, tlt_row_blocks(batch->n_rows));
}

void tlt_pass_forward(tlt_trainer *t, const tlt_batch *batch, bool keep) {
  tlt_forward_embed(&t->forward, batch, t->x);
  int first_kept = t->dim.layers - t->slots;
  for (int l = 0; l < t->dim.layers; l++) {
    float *in = tlt_x_at(t, keep ? l : 0), *out = tlt_x_at(t, keep ? l + 1 : 0);
    tlt_slot *slot = keep && l >= first_kept ? &t->slot[l - first_kept] : NULL;
    tlt_pass_layer(t, batch, l, in, out, slot);
  }
}
