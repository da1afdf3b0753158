/* Layout of a model's weights in one region, its parameter list, random initial values, digest. */
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "base/sha256.h"
#include "model/weights_internal.h"

/* ---- One region, carved ---- */

static void *take(tlt__carver *c, size_t bytes) {
  size_t at = c->used;
  c->used += (bytes + 63) & ~(size_t)63;
  return c->base ? c->base + at : NULL;
}

void tlt__carve_matrix(tlt__carver *c, tlt_packed *w, int n, int k) {
  void *memory = take(c, tlt_packed_bytes(n, k));
  if (memory) tlt_packed_init(w, n, k, memory);
}

float *tlt__carve_vector(tlt__carver *c, int n) {
  return take(c, (size_t)n * sizeof(float));
}

static int qkv_rows(const tlt_config *c) {
  return (c->heads + 2 * c->kv_heads) * c->head_dim;
}

void tlt__carve_layer(tlt__carver *at, const tlt_config *c, bool input_norm, tlt_layer_weights *l) {
  tlt__carve_matrix(at, &l->qkv, qkv_rows(c), c->hidden);
  tlt__carve_matrix(at, &l->o, c->hidden, c->heads * c->head_dim);
  tlt__carve_matrix(at, &l->gu, 2 * c->inter, c->hidden);
  tlt__carve_matrix(at, &l->down, c->hidden, c->inter);
  l->norm1 = input_norm ? tlt__carve_vector(at, c->hidden) : NULL;
  l->norm2 = tlt__carve_vector(at, c->hidden);
  l->q_norm = c->qk_norm ? tlt__carve_vector(at, c->head_dim) : NULL;
  l->k_norm = c->qk_norm ? tlt__carve_vector(at, c->head_dim) : NULL;
  l->qkv_bias = c->qkv_bias ? tlt__carve_vector(at, qkv_rows(c)) : NULL;
  l->qkv.bias = l->qkv_bias;
}

static void carve_ends(tlt__carver *at, const tlt_config *c, tlt_weights *w) {
  tlt__carve_matrix(at, &w->embed, c->vocab, c->hidden);
  if (c->tied) w->head = w->embed;
  else tlt__carve_matrix(at, &w->head, c->vocab, c->hidden);
  w->final_norm = tlt__carve_vector(at, c->hidden);
}

size_t tlt_weights_bytes(const tlt_config *c) {
  tlt__carver ends = {0}, layer = {0};
  tlt_weights w = {0};
  tlt_layer_weights l = {0};
  carve_ends(&ends, c, &w);
  tlt__carve_layer(&layer, c, true, &l);
  return ends.used + (size_t)c->layers * layer.used;
}

/* ---- Parameter list ---- */

static tlt_param *add_param(tlt_weights *w, int n, int k) {
  tlt_param *p = &w->param[w->n_params++];
  *p = (tlt_param){.n = n, .k = k};
  return p;
}

static void add_matrix(tlt_weights *w, const char *prefix, const char *name, tlt_packed *m,
                       int row0, int n, int k) {
  tlt_param *p = add_param(w, n, k);
  snprintf(p->name, sizeof p->name, "%s%s.weight", prefix, name);
  p->matrix = m;
  p->row0 = row0;
}

static void add_vector(tlt_weights *w, const char *prefix, const char *name, float *base, int first,
                       int n) {
  tlt_param *p = add_param(w, n, 1);
  snprintf(p->name, sizeof p->name, "%s%s", prefix, name);
  p->vector = base ? base + first : NULL;
}

void tlt__list_matrix(tlt_weights *w, const char *name, tlt_packed *m, int n, int k) {
  add_matrix(w, "", name, m, 0, n, k);
}

void tlt__list_layer(tlt_weights *w, int i, const char *layers, bool input_norm) {
  const tlt_config *c = &w->config;
  tlt_layer_weights *l = &w->layer[i];
  int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
  char at[64];
  snprintf(at, sizeof at, "%s.%d.", layers, i);
  add_matrix(w, at, "self_attn.q_proj", &l->qkv, 0, q, c->hidden);
  add_matrix(w, at, "self_attn.k_proj", &l->qkv, q, kv, c->hidden);
  add_matrix(w, at, "self_attn.v_proj", &l->qkv, q + kv, kv, c->hidden);
  add_matrix(w, at, "self_attn.o_proj", &l->o, 0, c->hidden, q);
  add_matrix(w, at, "mlp.gate_proj", &l->gu, 0, c->inter, c->hidden);
  add_matrix(w, at, "mlp.up_proj", &l->gu, c->inter, c->inter, c->hidden);
  add_matrix(w, at, "mlp.down_proj", &l->down, 0, c->hidden, c->inter);
  if (input_norm) add_vector(w, at, "input_layernorm.weight", l->norm1, 0, c->hidden);
  add_vector(w, at, "post_attention_layernorm.weight", l->norm2, 0, c->hidden);
  if (c->qkv_bias) {
    add_vector(w, at, "self_attn.q_proj.bias", l->qkv_bias, 0, q);
    add_vector(w, at, "self_attn.k_proj.bias", l->qkv_bias, q, kv);
    add_vector(w, at, "self_attn.v_proj.bias", l->qkv_bias, q + kv, kv);
  }
  if (c->qk_norm) {
    add_vector(w, at, "self_attn.q_norm.weight", l->q_norm, 0, c->head_dim);
    add_vector(w, at, "self_attn.k_norm.weight", l->k_norm, 0, c->head_dim);
  }
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const tlt_param *)a)->name, ((const tlt_param *)b)->name);
}

void tlt__list_end(tlt_weights *w) {
  qsort(w->param, (size_t)w->n_params, sizeof *w->param, by_name);
  w->elements = 0;
  for (int i = 0; i < w->n_params; i++) {
    w->param[i].offset = w->elements;
    w->elements += (uint64_t)w->param[i].n * (uint64_t)w->param[i].k;
  }
}

static void list_params(tlt_weights *w) {
  const tlt_config *c = &w->config;
  w->n_params = 0;
  tlt__list_matrix(w, "model.embed_tokens", &w->embed, c->vocab, c->hidden);
  add_vector(w, "model.norm.", "weight", w->final_norm, 0, c->hidden);
  if (!c->tied) tlt__list_matrix(w, "lm_head", &w->head, c->vocab, c->hidden);
  for (int i = 0; i < c->layers; i++) tlt__list_layer(w, i, "model.layers", true);
  tlt__list_end(w);
}

const tlt_param *tlt_weights_find(const tlt_weights *w, const char *name) {
  tlt_param key;
  if (strlen(name) >= sizeof key.name) return NULL;
  snprintf(key.name, sizeof key.name, "%s", name);
  return bsearch(&key, w->param, (size_t)w->n_params, sizeof *w->param, by_name);
}

/* ---- Creation ---- */

tlt_status tlt__weights_shell(const tlt_config *c, tlt_weights **out, tlt_err *err) {
  enum { ENDS = 3 };
  size_t n_params = ENDS + (size_t)TLT__LAYER_PARAMS * (size_t)c->layers;
  *out = NULL;
  tlt_weights *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "weights", sizeof *w);
  w->config = *c;
  w->layer = tlt_calloc((size_t)c->layers, sizeof *w->layer);
  w->param = tlt_calloc(n_params, sizeof *w->param);
  if (!w->layer || !w->param) {
    tlt_weights_free(w);
    return tlt_fail_nomem(err, "parameter list", n_params * sizeof *w->param);
  }
  list_params(w);
  *out = w;
  return TLT_OK;
}

static void fill(float *v, int n, float x) {
  for (int i = 0; v && i < n; i++) v[i] = x;
}

static void fill_gains(tlt_weights *w) {
  const tlt_config *c = &w->config;
  fill(w->final_norm, c->hidden, 1);
  for (int i = 0; i < c->layers; i++) {
    fill(w->layer[i].norm1, c->hidden, 1);
    fill(w->layer[i].norm2, c->hidden, 1);
    fill(w->layer[i].q_norm, c->head_dim, 1);
    fill(w->layer[i].k_norm, c->head_dim, 1);
  }
}

static tlt_status take_memory(tlt_weights *w, tlt_err *err) {
  const tlt_team *team = w->team;
  if (team) return team->share(team->context, w->bytes, &w->memory, err);
  w->memory = tlt_pages_alloc(w->bytes);
  return w->memory ? TLT_OK : tlt_fail_nomem(err, "weights", w->bytes);
}

tlt_status tlt__weights_memory(tlt_weights *w, tlt_err *err) {
  const tlt_config *c = &w->config;
  w->bytes = tlt_weights_bytes(c);
  tlt_status s = take_memory(w, err);
  if (s != TLT_OK) return s;
  tlt__carver at = {w->memory, 0};
  carve_ends(&at, c, w);
  for (int i = 0; i < c->layers; i++) tlt__carve_layer(&at, c, true, &w->layer[i]);
  if (!w->team || w->team->rank == 0) fill_gains(w);
  list_params(w);
  return TLT_OK;
}

tlt_status tlt_weights_create_shared(const tlt_config *c, const tlt_team *team, tlt_weights **out,
                                     tlt_err *err) {
  *out = NULL;
  tlt_weights *w = NULL;
  tlt_status s = tlt_team_agree(team, tlt__weights_shell(c, &w, err), err);
  if (s == TLT_OK) {
    w->team = team;
    s = tlt__weights_memory(w, err);
  }
  if (s == TLT_OK && team) s = team->barrier(team->context, err);
  if (s == TLT_OK) *out = w;
  else tlt_weights_free(w);
  return s;
}

tlt_status tlt_weights_create(const tlt_config *c, tlt_weights **out, tlt_err *err) {
  return tlt_weights_create_shared(c, NULL, out, err);
}

void tlt_weights_free(tlt_weights *w) {
  if (!w) return;
  if (!w->team) tlt_pages_free(w->memory, w->bytes);
  else w->team->unshare(w->team->context, w->memory, w->bytes);
  tlt_free(w->param);
  tlt_free(w->layer);
  tlt_free(w);
}

/* ---- Values ---- */

void tlt_param_get_rows(const tlt_param *p, int row, int rows, float *to) {
  if (p->matrix) tlt_packed_get_rows(p->matrix, p->row0 + row, rows, to);
  else memcpy(to, p->vector + row, (size_t)rows * sizeof *to);
}

void tlt_param_get(const tlt_param *p, float *to) {
  tlt_param_get_rows(p, 0, p->n, to);
}

void tlt_param_set_rows(tlt_param *p, int row, int rows, const float *from) {
  if (p->matrix) {
    tlt_packed_set_rows(p->matrix, p->row0 + row, rows, from);
    return;
  }
  for (int i = 0; i < rows; i++) p->vector[row + i] = tlt_bf16_to_f32(tlt_f32_to_bf16(from[i]));
}

int tlt__param_chunk_rows(const tlt_param *p) {
  int rows = TLT__CHUNK_FLOATS / p->k;
  if (rows >= TLT_PANEL) rows -= rows % TLT_PANEL;
  return rows < 1 ? 1 : rows;
}

size_t tlt__weights_chunk_floats(const tlt_weights *w) {
  size_t most = 0;
  for (int i = 0; i < w->n_params; i++) {
    size_t floats = (size_t)tlt__param_chunk_rows(&w->param[i]) * (size_t)w->param[i].k;
    if (floats > most) most = floats;
  }
  return most;
}

/* Four standard normals of one counter (Box and Muller). */
static void normal4(uint32_t seed, uint32_t tensor, uint64_t block, double out[4]) {
  const double two_pi = 6.283185307179586;
  tlt_random4 r =
      tlt_philox(seed, TLT_PURPOSE_INIT, tensor, (uint32_t)block, (uint32_t)(block >> 32), 0);
  for (int i = 0; i < 4; i += 2) {
    double s, c;
    double radius = sqrt(-2 * tlt_log(((double)r.v[i] + 0.5) * 0x1p-32));
    tlt_sincos(two_pi * (((double)r.v[i + 1] + 0.5) * 0x1p-32), &s, &c);
    out[i] = radius * c;
    out[i + 1] = radius * s;
  }
}

static bool is_residual_output(const char *name) {
  return strstr(name, ".o_proj.weight") || strstr(name, ".down_proj.weight");
}

static void init_matrix(tlt_weights *w, int index, uint32_t seed, float *row) {
  tlt_param *p = &w->param[index];
  double scale = 0.02, normal[4];
  if (is_residual_output(p->name)) scale /= sqrt(2.0 * w->config.layers);
  for (int r = 0; r < p->n; r++) {
    uint64_t first = (uint64_t)r * (uint64_t)p->k;
    for (int i = 0; i < p->k; i++) {
      uint64_t element = first + (uint64_t)i;
      if (i == 0 || element % 4 == 0) normal4(seed, (uint32_t)index, element / 4, normal);
      row[i] = (float)(scale * normal[element % 4]);
    }
    tlt_param_set_rows(p, r, 1, row);
  }
}

tlt_status tlt_weights_init(tlt_weights *w, uint32_t seed, tlt_err *err) {
  int widest = 1;
  for (int i = 0; i < w->n_params; i++)
    if (w->param[i].matrix && w->param[i].k > widest) widest = w->param[i].k;
  float *row = tlt_malloc((size_t)widest * sizeof *row);
  if (!row) return tlt_fail_nomem(err, "initial weights", (size_t)widest * sizeof *row);
  for (int i = 0; i < w->n_params; i++) {
    tlt_param *p = &w->param[i];
    if (p->matrix) init_matrix(w, i, seed, row);
    else fill(p->vector, p->n, strstr(p->name, "bias") ? 0 : 1);
  }
  tlt_free(row);
  return TLT_OK;
}
