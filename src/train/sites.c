/* Which accumulator belongs to which weight and parameter. */
#include "train/trainer_internal.h"

int64_t *tlt_site_matrix(tlt_site *s, const tlt_packed *w, int64_t *acc) {
  *s = (tlt_site){.acc = acc, .n = w->n, .k = w->k, .matrix = w};
  return acc + (size_t)w->n * (size_t)w->k;
}

int64_t *tlt_site_vector(tlt_site *s, const float *v, int n, int64_t *acc) {
  if (!v) return acc;
  *s = (tlt_site){.acc = acc, .n = n, .k = 1, .vector = v};
  return acc + n;
}

int64_t *tlt_sites_of_layer(const tlt_trainer *t, int layer, int64_t *acc) {
  const tlt_dims *d = &t->dim;
  const tlt_layer_weights *w = &t->w->layer[layer];
  tlt_site *s = &t->site[layer * TLT_SITES_PER_LAYER];
  acc = tlt_site_matrix(&s[TLT_SITE_QKV], &w->qkv, acc);
  acc = tlt_site_matrix(&s[TLT_SITE_O], &w->o, acc);
  acc = tlt_site_matrix(&s[TLT_SITE_GU], &w->gu, acc);
  acc = tlt_site_matrix(&s[TLT_SITE_DOWN], &w->down, acc);
  acc = tlt_site_vector(&s[TLT_SITE_NORM1], w->norm1, d->hidden, acc);
  acc = tlt_site_vector(&s[TLT_SITE_NORM2], w->norm2, d->hidden, acc);
  acc = tlt_site_vector(&s[TLT_SITE_QKV_BIAS], w->qkv_bias, d->qkv, acc);
  acc = tlt_site_vector(&s[TLT_SITE_Q_NORM], w->q_norm, d->head_dim, acc);
  return tlt_site_vector(&s[TLT_SITE_K_NORM], w->k_norm, d->head_dim, acc);
}

void tlt_sites_of_target(tlt_trainer *t) {
  const tlt_dims *d = &t->dim;
  int64_t *acc = t->acc;
  for (int l = 0; l < d->layers; l++) acc = tlt_sites_of_layer(t, l, acc);
  t->embed = &t->site[d->layers * TLT_SITES_PER_LAYER];
  t->head = t->w->config.tied ? t->embed : t->embed + 1;
  t->final_norm = t->embed + 2;
  acc = tlt_site_matrix(t->embed, &t->w->embed, acc);
  if (t->head != t->embed) acc = tlt_site_matrix(t->head, &t->w->head, acc);
  tlt_site_vector(t->final_norm, t->w->final_norm, d->hidden, acc);
}

/* First element of p inside site s, or -1. */
static int64_t place_in_site(const tlt_param *p, const tlt_site *s) {
  if (!s->acc) return -1;
  if (p->matrix) return p->matrix == s->matrix ? (int64_t)p->row0 * s->k : -1;
  return s->vector && p->vector >= s->vector && p->vector < s->vector + s->n ? p->vector - s->vector
                                                                             : -1;
}

static size_t locks_of(const tlt_trainer *t, const tlt_packed *w) {
  return (size_t)t->b->dw_tiles(w->n, w->k);
}

size_t tlt_sites_locks(const tlt_trainer *t) {
  enum { VECTORS = TLT_SITES_PER_LAYER - TLT_SITE_NORM1 };
  size_t locks = locks_of(t, &t->w->embed) + locks_of(t, &t->w->head) + 1;
  for (int l = 0; l < t->dim.layers; l++) {
    const tlt_layer_weights *w = &t->w->layer[l];
    locks += locks_of(t, &w->qkv) + locks_of(t, &w->o) + locks_of(t, &w->gu) +
             locks_of(t, &w->down) + VECTORS;
  }
  return locks;
}

static void place_sites(tlt_trainer *t) {
  tlt_shared_lock *lock = t->lock;
  for (int i = 0; i < t->n_sites; i++) {
    tlt_site *s = &t->site[i];
    if (!s->acc) continue;
    s->total = &t->total[i];
    s->bad = &t->bad[i];
    s->lock = lock;
    if (lock) lock += s->matrix ? locks_of(t, s->matrix) : 1;
  }
}

tlt_status tlt_sites_map(tlt_trainer *t, tlt_err *err) {
  place_sites(t);
  for (int p = 0; p < t->w->n_params; p++) {
    int64_t place = -1;
    for (int s = 0; s < t->n_sites && place < 0; s++) {
      place = place_in_site(&t->w->param[p], &t->site[s]);
      if (place < 0) continue;
      t->param_site[p] = s;
      t->param_acc[p] = t->site[s].acc + place;
    }
    if (place < 0)
      return tlt_fail(err, TLT_EINTERNAL, "parameter %s belongs to no weight of the model",
                      t->w->param[p].name);
  }
  return TLT_OK;
}
