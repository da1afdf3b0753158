#include "model/model.h"

#include <string.h>

#include "base/mem.h"

/* ---- Workspace ---- */

typedef struct place {
  size_t bytes;
  void **to;
} place;

static size_t lay_out(tlt_workspace *ws, const tlt_config *c, size_t act_size, int rows) {
  size_t r = (size_t)rows, q = (size_t)c->heads * (size_t)c->head_dim;
  size_t qkv = (size_t)(c->heads + 2 * c->kv_heads) * (size_t)c->head_dim;
  void *h = NULL, *x = NULL;
  const place places[] = {
      {r * (size_t)c->hidden * sizeof(float), &x},
      {r * tlt_act_stride((size_t)c->hidden) * act_size, &h},
      {r * qkv * sizeof(float), (void **)&ws->io.qkv},
      {r * tlt_act_stride(q) * act_size, &ws->io.q},
      {r * tlt_act_stride(q) * act_size, &ws->io.ctx},
      {r * 2 * (size_t)c->inter * sizeof(float), (void **)&ws->io.gu},
      {r * tlt_act_stride((size_t)c->inter) * act_size, &ws->io.m},
  };
  size_t used = 0;
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    if (ws->memory) *places[i].to = (unsigned char *)ws->memory + used;
    used += (places[i].bytes + 63) & ~(size_t)63;
  }
  ws->x = x;
  ws->io.x_in = ws->io.x_mid = ws->io.x_out = x;
  ws->io.h1 = ws->io.h2 = h;
  return used;
}

size_t tlt_workspace_bytes(const tlt_config *c, size_t act_size, int rows) {
  tlt_workspace none = {0};
  return lay_out(&none, c, act_size, rows);
}

tlt_status tlt_workspace_init(tlt_workspace *ws, const tlt_config *c, size_t act_size, int rows,
                              tlt_err *err) {
  *ws = (tlt_workspace){.bytes = tlt_workspace_bytes(c, act_size, rows)};
  ws->memory = tlt_pages_alloc(ws->bytes);
  if (!ws->memory) return tlt_fail_nomem(err, "activations", ws->bytes);
  lay_out(ws, c, act_size, rows);
  return TLT_OK;
}

void tlt_workspace_deinit(tlt_workspace *ws) {
  tlt_pages_free(ws->memory, ws->bytes);
  *ws = (tlt_workspace){0};
}

/* ---- Opening ---- */

static tlt_status open_empty(const tlt_model_options *o, tlt_model **out, tlt_err *err) {
  *out = NULL;
  tlt_model *m = tlt_calloc(1, sizeof *m);
  if (!m) return tlt_fail_nomem(err, "model", sizeof *m);
  const char *numerics = o && o->numerics ? o->numerics : "auto";
  tlt_status s = tlt_kernels_choose(numerics, &m->kernels, err);
  if (s == TLT_OK) *out = m;
  else tlt_model_close(m);
  return s;
}

/* With weights read from dir, or of shape c where dir is NULL. */
static tlt_status open_with(const char *dir, const tlt_config *c, const tlt_model_options *o,
                            tlt_model **out, tlt_err *err) {
  const tlt_team *team = o ? o->team : NULL;
  tlt_status s = tlt_team_agree(team, open_empty(o, out, err), err);
  if (s == TLT_OK) s = tlt_pool_create_shared(o ? o->threads : 0, team, &(*out)->pool, err);
  if (s == TLT_OK)
    s = dir ? tlt_weights_load_shared(dir, (*out)->pool, team, &(*out)->weights, err)
            : tlt_weights_create_shared(c, team, &(*out)->weights, err);
  if (s == TLT_OK) return s;
  tlt_model_close(*out);
  *out = NULL;
  return s;
}

tlt_status tlt_model_open(const char *dir, const tlt_model_options *o, tlt_model **out,
                          tlt_err *err) {
  return open_with(dir, NULL, o, out, err);
}

tlt_status tlt_model_create(const tlt_config *c, const tlt_model_options *o, tlt_model **out,
                            tlt_err *err) {
  return open_with(NULL, c, o, out, err);
}

void tlt_model_close(tlt_model *m) {
  if (!m) return;
  tlt_weights_free(m->weights);
  tlt_pool_free(m->pool);
  tlt_free(m);
}

void tlt_model_info_get(const tlt_model *m, tlt_model_info *out) {
  const tlt_config *c = &m->weights->config;
  *out = (tlt_model_info){
      .arch = tlt_arch_name(c->arch),
      .numerics = tlt_numerics_name(m->kernels->numerics),
      .isa = tlt_isa_name(m->kernels->isa),
      .hidden = c->hidden,
      .layers = c->layers,
      .heads = c->heads,
      .kv_heads = c->kv_heads,
      .head_dim = c->head_dim,
      .inter = c->inter,
      .vocab = c->vocab,
      .max_positions = c->max_positions,
      .threads = tlt_pool_own_threads(m->pool),
      .parameters = m->weights->elements,
      .weight_bytes = m->weights->bytes,
  };
}

tlt_status tlt_model_bytes(const char *dir, size_t *bytes, tlt_err *err) {
  tlt_config c;
  tlt_status s = tlt_config_load(dir, &c, err);
  if (s == TLT_OK) *bytes = tlt_weights_bytes(&c);
  return s;
}
