/* The learned drafter's weights in memory: layout, random start, hot tokens. */
#include "model/drafter.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/drafter_internal.h"
#include "model/weights_internal.h"

/* ---- Layout ---- */

static void carve(tlt__carver *at, tlt_drafter *d) {
  const tlt_config *c = &d->weights.config;
  tlt__carve_matrix(at, &d->fc, c->hidden, 2 * c->hidden);
  d->fc.bias = d->fc_bias = tlt__carve_vector(at, c->hidden);
  tlt__carve_layer(at, c, false, &d->weights.layer[0]);
}

/* fc.bias stands before weights.param, where its name belongs, so that one array serves both. */
static void list(tlt_drafter *d) {
  tlt_weights *w = &d->weights;
  int hidden = w->config.hidden;
  d->file_param[0] = (tlt_param){.name = "fc.bias", .n = hidden, .k = 1, .vector = d->fc_bias};
  w->param = d->file_param + 1;
  w->n_params = 0;
  tlt__list_matrix(w, "fc", &d->fc, hidden, 2 * hidden);
  tlt__list_layer(w, 0, "layers", false);
  tlt__list_end(w);
}

tlt_weights tlt__drafter_file_view(const tlt_drafter *d) {
  tlt_weights w = d->weights;
  w.param = d->file_param;
  w.n_params++;
  return w;
}

tlt_config tlt__drafter_config(const tlt_config *target) {
  tlt_config c = *target;
  c.arch = TLT_ARCH_LLAMA;
  c.layers = 1;
  c.qkv_bias = c.qk_norm = false;
  return c;
}

/* ---- Creation ---- */

tlt_status tlt__drafter_shell(const tlt_config *c, tlt_drafter **out, tlt_err *err) {
  enum { FC_PARAMS = 2 };
  *out = NULL;
  tlt_drafter *d = tlt_calloc(1, sizeof *d);
  if (!d) return tlt_fail_nomem(err, "drafter", sizeof *d);
  d->weights.config = *c;
  d->weights.layer = tlt_calloc(1, sizeof *d->weights.layer);
  d->file_param = tlt_calloc(FC_PARAMS + TLT__LAYER_PARAMS, sizeof *d->file_param);
  if (!d->weights.layer || !d->file_param) {
    tlt_drafter_free(d);
    return tlt_fail_nomem(err, "drafter", sizeof *d->file_param * TLT__LAYER_PARAMS);
  }
  list(d);
  *out = d;
  return TLT_OK;
}

tlt_status tlt__drafter_memory(tlt_drafter *d, const tlt_weights *target, tlt_err *err) {
  tlt_weights *w = &d->weights;
  tlt__carver sizes = {0};
  carve(&sizes, d);
  w->bytes = sizes.used;
  w->memory = tlt_pages_alloc(w->bytes);
  if (!w->memory) return tlt_fail_nomem(err, "drafter", w->bytes);
  tlt__carver at = {w->memory, 0};
  carve(&at, d);
  for (int i = 0; i < w->config.hidden; i++) w->layer[0].norm2[i] = 1;
  w->embed = target->embed;
  list(d);
  return TLT_OK;
}

void tlt_drafter_free(tlt_drafter *d) {
  if (!d) return;
  tlt_pages_free(d->weights.memory, d->weights.bytes);
  tlt_free(d->weights.layer);
  tlt_free(d->file_param);
  tlt_free(d->hot_memory);
  tlt_free(d);
}

/* fc starts as embedding + hidden state: the same training then reaches a sum of min(p, q) of 0.848
 * instead of 0.804 (docs/performance.md). */
static tlt_status add_identity(tlt_drafter *d, tlt_err *err) {
  int h = d->weights.config.hidden;
  tlt_param *fc = (tlt_param *)tlt_weights_find(&d->weights, "fc.weight");
  float *row = tlt_malloc(2 * (size_t)h * sizeof *row);
  if (!row) return tlt_fail_nomem(err, "drafter", 2 * (size_t)h * sizeof *row);
  for (int r = 0; r < h; r++) {
    tlt_param_get_rows(fc, r, 1, row);
    row[r] += 1;
    row[h + r] += 1;
    tlt_param_set_rows(fc, r, 1, row);
  }
  tlt_free(row);
  return TLT_OK;
}

tlt_status tlt_drafter_create(const tlt_weights *target, int inter, uint32_t seed,
                              tlt_drafter **out, tlt_err *err) {
  tlt_config c = tlt__drafter_config(&target->config);
  tlt_drafter *d = NULL;
  if (inter > 0) c.inter = inter;
  *out = NULL;
  tlt_status s = tlt__drafter_shell(&c, &d, err);
  if (s == TLT_OK) s = tlt__drafter_memory(d, target, err);
  if (s == TLT_OK) s = tlt_weights_init(&d->weights, seed, err);
  if (s == TLT_OK) s = add_identity(d, err);
  if (s == TLT_OK) s = tlt__drafter_first_hot(d, target, err);
  if (s == TLT_OK) *out = d;
  else tlt_drafter_free(d);
  return s;
}

/* ---- Hot tokens ---- */

static tlt_status check_hot(const int32_t *hot, int n, int vocab, tlt_err *err) {
  if (n < 1 || n > vocab)
    return tlt_fail(err, TLT_EDATA, "hot tokens: got %d, expected 1 .. %d", n, vocab);
  for (int i = 0; i < n; i++) {
    if (hot[i] < 0 || hot[i] >= vocab)
      return tlt_fail(err, TLT_EDATA, "hot tokens[%d]: got %d, expected 0 .. %d", i, hot[i],
                      vocab - 1);
    if (i > 0 && hot[i] <= hot[i - 1])
      return tlt_fail(err, TLT_EDATA, "hot tokens[%d]: got %d, expected more than %d before it", i,
                      hot[i], hot[i - 1]);
  }
  return TLT_OK;
}

static uint32_t *pair_of(const tlt_packed *w, int row, int pair) {
  size_t panel = (size_t)(row / TLT_PANEL), lane = (size_t)(row % TLT_PANEL);
  size_t at = (panel * (size_t)w->pairs + (size_t)pair) * TLT_PANEL + lane;
  return (uint32_t *)(void *)w->data + at;
}

void tlt_drafter_refresh(tlt_drafter *d, const tlt_weights *target) {
  d->weights.embed = target->embed;
  for (int i = 0; i < d->n_hot; i++)
    for (int pair = 0; pair < d->hot_head.pairs; pair++)
      memcpy(pair_of(&d->hot_head, i, pair), pair_of(&target->head, d->hot[i], pair), 4);
}

tlt_status tlt_drafter_set_hot(tlt_drafter *d, const tlt_weights *target, const int32_t *hot, int n,
                               tlt_err *err) {
  int hidden = target->config.hidden;
  tlt_status s = check_hot(hot, n, target->config.vocab, err);
  if (s != TLT_OK) return s;
  size_t head = tlt_packed_bytes(n, hidden), bytes = head + (size_t)n * sizeof *hot;
  unsigned char *memory = tlt_calloc_aligned(1, bytes);
  if (!memory) return tlt_fail_nomem(err, "hot tokens", bytes);
  int32_t *ids = (int32_t *)(void *)(memory + head);
  memcpy(ids, hot, (size_t)n * sizeof *hot);
  tlt_free(d->hot_memory);
  d->hot_memory = memory;
  d->hot = ids;
  d->n_hot = n;
  tlt_packed_init(&d->hot_head, n, hidden, memory);
  tlt_drafter_refresh(d, target);
  return TLT_OK;
}

tlt_status tlt__drafter_first_hot(tlt_drafter *d, const tlt_weights *target, tlt_err *err) {
  int32_t first[TLT_HOT_DEFAULT];
  int vocab = target->config.vocab, n = vocab < TLT_HOT_DEFAULT ? vocab : TLT_HOT_DEFAULT;
  for (int i = 0; i < n; i++) first[i] = i;
  return tlt_drafter_set_hot(d, target, first, n, err);
}

/* ---- Copies ---- */

static bool same_shape(const tlt_config *a, const tlt_config *b) {
  return a->hidden == b->hidden && a->inter == b->inter && a->heads == b->heads &&
         a->kv_heads == b->kv_heads && a->head_dim == b->head_dim && a->vocab == b->vocab &&
         a->norm_eps == b->norm_eps && a->rope_theta == b->rope_theta && a->rope == b->rope &&
         a->rope_factor == b->rope_factor && a->rope_low == b->rope_low &&
         a->rope_high == b->rope_high && a->rope_original == b->rope_original;
}

tlt_status tlt_drafter_copy(const tlt_drafter *from, const tlt_weights *target, tlt_drafter **out,
                            tlt_err *err) {
  tlt_drafter *d = NULL;
  *out = NULL;
  tlt_status s = tlt__drafter_shell(&from->weights.config, &d, err);
  if (s == TLT_OK) s = tlt__drafter_memory(d, target, err);
  if (s == TLT_OK) s = tlt_drafter_set_hot(d, target, from->hot, from->n_hot, err);
  if (s == TLT_OK) memcpy(d->weights.memory, from->weights.memory, from->weights.bytes);
  if (s == TLT_OK) *out = d;
  else tlt_drafter_free(d);
  return s;
}

bool tlt_drafter_assign(tlt_drafter *d, const tlt_drafter *from, const tlt_weights *target) {
  size_t hot = (size_t)from->n_hot * sizeof *from->hot;
  if (!same_shape(&d->weights.config, &from->weights.config) || d->n_hot != from->n_hot)
    return false;
  if (memcmp(d->hot, from->hot, hot) != 0 &&
      tlt_drafter_set_hot(d, target, from->hot, from->n_hot, NULL) != TLT_OK)
    return false;
  memcpy(d->weights.memory, from->weights.memory, from->weights.bytes);
  return true;
}
