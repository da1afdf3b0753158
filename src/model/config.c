/* Reading config.json and generation_config.json. Defaults are those of transformers for the
 * architecture; each one that is used is logged. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "io/file.h"
#include "io/json.h"

enum {
  CONFIG_BYTES_MAX = 1 << 20,
  LAYERS_MAX = 512,
  WIDTH_MAX = 1 << 20,
  VOCAB_MAX = 1 << 22,
  POSITIONS_MAX = 1 << 24,
};

typedef struct arch_defaults {
  const char *model_type;
  int64_t kv_heads; /* 0: as many as heads */
  int64_t head_dim; /* 0: hidden / heads */
  bool qkv_bias, qk_norm;
} arch_defaults;

static const arch_defaults ARCHS[] = {
    [TLT_ARCH_LLAMA] = {"llama", 0, 0, false, false},
    [TLT_ARCH_QWEN2] = {"qwen2", 32, 0, true, false},
    [TLT_ARCH_QWEN3] = {"qwen3", 32, 128, false, true},
};
enum { N_ARCHS = sizeof ARCHS / sizeof ARCHS[0] };

const char *tlt_arch_name(tlt_arch arch) {
  return ARCHS[arch].model_type;
}

/* ---- Single fields ---- */

static tlt_status required(const tlt_json_node *at, const char *key, int64_t max, int *out,
                           tlt_err *err) {
  int64_t x = 0;
  tlt_status s = tlt_json_int(at, key, 1, max, &x, err);
  *out = (int)x;
  return s;
}

static tlt_status with_default(const tlt_json_node *at, const char *key, int64_t max,
                               int64_t fallback, int *out, tlt_err *err) {
  int64_t x = 0;
  if (!tlt_json_has(at, key))
    tlt_log_write(TLT_LOG_INFO, "%s: %s: missing, using %lld", at->file, key, (long long)fallback);
  tlt_status s = tlt_json_int_or(at, key, 1, max, fallback, &x, err);
  *out = (int)x;
  return s;
}

static tlt_status must_be_false(const tlt_json_node *at, const char *key, tlt_err *err) {
  bool on = false;
  tlt_status s = tlt_json_bool_or(at, key, false, &on, err);
  if (s == TLT_OK && on)
    s = tlt_json_fail(at, key, err, "got true, expected false (not supported)");
  return s;
}

static tlt_status read_arch(const tlt_json_node *top, tlt_config *c, tlt_err *err) {
  const char *type = NULL;
  tlt_status s = tlt_json_string(top, "model_type", &type, err);
  if (s != TLT_OK) return s;
  for (int i = 0; i < N_ARCHS; i++) {
    if (strcmp(type, ARCHS[i].model_type)) continue;
    c->arch = (tlt_arch)i;
    c->qkv_bias = ARCHS[i].qkv_bias;
    c->qk_norm = ARCHS[i].qk_norm;
    return TLT_OK;
  }
  return tlt_json_fail(top, "model_type", err, "got \"%.60s\", expected llama, qwen2 or qwen3",
                       type);
}

static tlt_status read_sizes(const tlt_json_node *top, tlt_config *c, tlt_err *err) {
  const arch_defaults *d = &ARCHS[c->arch];
  tlt_status s;
  if ((s = required(top, "hidden_size", WIDTH_MAX, &c->hidden, err))) return s;
  if ((s = required(top, "num_hidden_layers", LAYERS_MAX, &c->layers, err))) return s;
  if ((s = required(top, "num_attention_heads", WIDTH_MAX, &c->heads, err))) return s;
  if ((s = required(top, "intermediate_size", WIDTH_MAX, &c->inter, err))) return s;
  if ((s = required(top, "vocab_size", VOCAB_MAX, &c->vocab, err))) return s;
  if ((s = required(top, "max_position_embeddings", POSITIONS_MAX, &c->max_positions, err)))
    return s;
  /* A kv head count of null means "as many as heads" in every architecture. */
  bool null_kv = json_object_get(top->value, "num_key_value_heads") != NULL;
  int64_t kv = d->kv_heads && !null_kv ? d->kv_heads : c->heads;
  if ((s = with_default(top, "num_key_value_heads", WIDTH_MAX, kv, &c->kv_heads, err))) return s;
  if (c->heads % c->kv_heads)
    return tlt_json_fail(top, "num_attention_heads", err,
                         "got %d, expected a multiple of %d key-value heads", c->heads,
                         c->kv_heads);
  if (!tlt_json_has(top, "head_dim") && !d->head_dim && c->hidden % c->heads)
    return tlt_json_fail(top, "hidden_size", err,
                         "got %d, expected a multiple of %d heads (no head_dim)", c->hidden,
                         c->heads);
  int64_t dim = d->head_dim ? d->head_dim : c->hidden / c->heads;
  if ((s = with_default(top, "head_dim", WIDTH_MAX, dim, &c->head_dim, err))) return s;
  if (c->head_dim % 2)
    return tlt_json_fail(top, "head_dim", err, "got %d, expected an even number", c->head_dim);
  if ((int64_t)(c->heads + 2 * (int64_t)c->kv_heads) * c->head_dim > WIDTH_MAX)
    return tlt_json_fail(top, "num_attention_heads", err,
                         "got %d heads of %d, expected at most %d query, key and value outputs",
                         c->heads, c->head_dim, WIDTH_MAX);
  return TLT_OK;
}

/* ---- Parts that must be absent ---- */

static tlt_status refuse_layer_types(const tlt_json_node *top, tlt_err *err) {
  tlt_json_node list;
  if (!tlt_json_has(top, "layer_types")) return TLT_OK;
  tlt_status s = tlt_json_array(top, "layer_types", &list, err);
  if (s != TLT_OK) return s;
  for (size_t i = 0; i < json_array_size(list.value); i++) {
    tlt_json_node e = tlt_json_element(&list, i);
    const char *type = json_string_value(e.value);
    if (!type || strcmp(type, "full_attention"))
      return tlt_json_fail(&e, NULL, err, "got \"%.60s\", expected full_attention",
                           type ? type : "?");
  }
  return TLT_OK;
}

static tlt_status refuse_unsupported(const tlt_json_node *top, tlt_err *err) {
  const char *act = NULL;
  double partial = 1;
  tlt_status s = tlt_json_string_or(top, "hidden_act", "silu", &act, err);
  if (s != TLT_OK) return s;
  if (strcmp(act, "silu") && strcmp(act, "swish"))
    return tlt_json_fail(top, "hidden_act", err, "got \"%.60s\", expected silu", act);
  if ((s = must_be_false(top, "attention_bias", err))) return s;
  if ((s = must_be_false(top, "mlp_bias", err))) return s;
  if ((s = must_be_false(top, "use_sliding_window", err))) return s;
  if (tlt_json_has(top, "quantization_config"))
    return tlt_json_fail(top, "quantization_config", err,
                         "quantised weights are not supported, expected bf16, f16 or f32");
  if ((s = tlt_json_double_or(top, "partial_rotary_factor", 0, 1, 1, &partial, err))) return s;
  if (partial != 1)
    return tlt_json_fail(top, "partial_rotary_factor", err, "got %g, expected 1", partial);
  return refuse_layer_types(top, err);
}

/* ---- Rotary embedding, in the spellings of transformers 4 and 5 ---- */

typedef struct rope_settings {
  tlt_rope_kind kind;
  double theta; /* 0: not given here */
  double factor, low, high;
  int original;
} rope_settings;

static tlt_status read_rope_type(const tlt_json_node *at, tlt_rope_kind *kind, tlt_err *err) {
  const char *old = NULL, *type = NULL;
  tlt_status s = tlt_json_string_or(at, "type", NULL, &old, err);
  if (s == TLT_OK) s = tlt_json_string_or(at, "rope_type", old ? old : "default", &type, err);
  if (s != TLT_OK) return s;
  if (old && strcmp(old, type))
    return tlt_json_fail(at, "type", err, "got \"%.60s\", but rope_type is \"%.60s\"", old, type);
  if (!strcmp(type, "default")) *kind = TLT_ROPE_PLAIN;
  else if (!strcmp(type, "linear")) *kind = TLT_ROPE_LINEAR;
  else if (!strcmp(type, "llama3")) *kind = TLT_ROPE_LLAMA3;
  else
    return tlt_json_fail(at, tlt_json_has(at, "rope_type") ? "rope_type" : "type", err,
                         "got \"%.60s\", expected default, linear or llama3", type);
  return TLT_OK;
}

static tlt_status read_rope_object(const tlt_json_node *top, const char *key, int max_positions,
                                   rope_settings *r, tlt_err *err) {
  tlt_json_node at;
  double partial = 1;
  int64_t original = 0;
  tlt_status s = tlt_json_object(top, key, &at, err);
  if (s != TLT_OK) return s;
  if ((s = read_rope_type(&at, &r->kind, err))) return s;
  if ((s = tlt_json_double_or(&at, "rope_theta", 1e-6, 1e18, 0, &r->theta, err))) return s;
  if ((s = tlt_json_double_or(&at, "partial_rotary_factor", 0, 1, 1, &partial, err))) return s;
  if (partial != 1)
    return tlt_json_fail(&at, "partial_rotary_factor", err, "got %g, expected 1", partial);
  if (r->kind == TLT_ROPE_PLAIN) return TLT_OK;
  if ((s = tlt_json_double(&at, "factor", 1, 1e6, &r->factor, err))) return s;
  if (r->kind == TLT_ROPE_LINEAR) return TLT_OK;
  if ((s = tlt_json_double(&at, "low_freq_factor", 1e-6, 1e6, &r->low, err))) return s;
  if ((s = tlt_json_double(&at, "high_freq_factor", 1e-6, 1e6, &r->high, err))) return s;
  if (r->high <= r->low)
    return tlt_json_fail(&at, "high_freq_factor", err,
                         "got %g, expected more than low_freq_factor %g", r->high, r->low);
  s = tlt_json_int_or(&at, "original_max_position_embeddings", 1, POSITIONS_MAX, max_positions,
                      &original, err);
  r->original = (int)original;
  return s;
}

static bool same_rope(const rope_settings *a, const rope_settings *b) {
  return a->kind == b->kind && a->factor == b->factor && a->low == b->low && a->high == b->high &&
         a->original == b->original;
}

static tlt_status read_rope(const tlt_json_node *top, tlt_config *c, tlt_err *err) {
  rope_settings v4 = {0}, v5 = {0};
  double theta = 0;
  bool has_v4 = tlt_json_has(top, "rope_scaling"), has_v5 = tlt_json_has(top, "rope_parameters");
  tlt_status s = tlt_json_double_or(top, "rope_theta", 1e-6, 1e18, 0, &theta, err);
  if (s == TLT_OK && has_v4) s = read_rope_object(top, "rope_scaling", c->max_positions, &v4, err);
  if (s == TLT_OK && has_v5)
    s = read_rope_object(top, "rope_parameters", c->max_positions, &v5, err);
  if (s != TLT_OK) return s;
  if (has_v4 && has_v5 && !same_rope(&v4, &v5))
    return tlt_json_fail(top, "rope_parameters", err, "contradicts rope_scaling");
  const double given[3] = {theta, v4.theta, v5.theta};
  for (int i = 0; i < 3; i++) {
    if (given[i] == 0) continue;
    if (c->rope_theta != 0 && c->rope_theta != given[i])
      return tlt_json_fail(top, i == 1 ? "rope_scaling" : "rope_parameters", err,
                           "got rope_theta %g, but another spelling says %g", given[i],
                           c->rope_theta);
    c->rope_theta = given[i];
  }
  if (c->rope_theta == 0) {
    c->rope_theta = 10000;
    tlt_log_write(TLT_LOG_INFO, "%s: rope_theta: missing, using 10000", top->file);
  }
  const rope_settings *r = has_v5 ? &v5 : &v4;
  c->rope = r->kind;
  c->rope_factor = r->factor;
  c->rope_low = r->low;
  c->rope_high = r->high;
  c->rope_original = r->original;
  return TLT_OK;
}

/* ---- Special tokens ---- */

static tlt_status add_eos(const tlt_json_node *at, const char *key, int64_t id, tlt_config *c,
                          tlt_err *err) {
  for (int i = 0; i < c->n_eos; i++)
    if (c->eos[i] == id) return TLT_OK;
  if (id < 0 || id >= c->vocab)
    return tlt_json_fail(at, key, err, "got %lld, expected a token below %d", (long long)id,
                         c->vocab);
  if (c->n_eos == TLT_MAX_EOS)
    return tlt_json_fail(at, key, err, "more than %d different end tokens", TLT_MAX_EOS);
  c->eos[c->n_eos++] = (int32_t)id;
  return TLT_OK;
}

static tlt_status read_eos(const tlt_json_node *top, tlt_config *c, tlt_err *err) {
  const char *key = "eos_token_id";
  const json_t *v = json_object_get(top->value, key);
  if (!v || json_is_null(v)) return TLT_OK;
  if (json_is_integer(v)) return add_eos(top, key, json_integer_value(v), c, err);
  tlt_json_node list;
  tlt_status s = tlt_json_array(top, key, &list, err);
  if (s != TLT_OK) return s;
  for (size_t i = 0; i < json_array_size(v); i++) {
    tlt_json_node e = tlt_json_element(&list, i);
    if (!json_is_integer(e.value)) return tlt_json_fail(&e, NULL, err, "expected an integer");
    if ((s = add_eos(&e, NULL, json_integer_value(e.value), c, err))) return s;
  }
  return TLT_OK;
}

/* bos and pad are informative only: a pad of -1 or beyond the vocabulary, as some models carry, is
 * the same as none. */
static tlt_status read_special(const tlt_json_node *top, const char *key, const tlt_config *c,
                               int32_t *out, tlt_err *err) {
  int64_t id = -1;
  const json_t *v = json_object_get(top->value, key);
  if (v && json_is_array(v)) return TLT_OK;
  tlt_status s = tlt_json_int_or(top, key, -1, INT32_MAX, *out, &id, err);
  *out = id < c->vocab ? (int32_t)id : -1;
  return s;
}

static tlt_status read_generation(const char *dir, tlt_config *c, tlt_err *err) {
  char path[TLT_PATH_MAX];
  json_t *json;
  int before = c->n_eos;
  tlt_path_join(path, dir, "generation_config.json");
  if (!tlt_path_exists(path)) return TLT_OK;
  tlt_status s = tlt_json_load(path, CONFIG_BYTES_MAX, &json, err);
  if (s != TLT_OK) return s;
  tlt_json_node top = tlt_json_top(json, path, 0);
  if (!json_is_object(json)) s = tlt_json_fail(&top, NULL, err, "expected an object");
  if (s == TLT_OK) s = read_eos(&top, c, err);
  if (s == TLT_OK && before && c->n_eos > before)
    tlt_log_write(TLT_LOG_INFO, "%s: eos_token_id differs from config.json: using both", path);
  if (s == TLT_OK && c->bos < 0) s = read_special(&top, "bos_token_id", c, &c->bos, err);
  if (s == TLT_OK && c->pad < 0) s = read_special(&top, "pad_token_id", c, &c->pad, err);
  json_decref(json);
  return s;
}

/* ---- The whole ---- */

static tlt_status read_config(const tlt_json_node *top, tlt_config *c, tlt_err *err) {
  double eps = 0;
  tlt_status s;
  if (!json_is_object(top->value)) return tlt_json_fail(top, NULL, err, "expected an object");
  if ((s = read_arch(top, c, err))) return s;
  if ((s = read_sizes(top, c, err))) return s;
  if ((s = refuse_unsupported(top, err))) return s;
  if ((s = read_rope(top, c, err))) return s;
  if (!tlt_json_has(top, "rms_norm_eps"))
    tlt_log_write(TLT_LOG_INFO, "%s: rms_norm_eps: missing, using 1e-6", top->file);
  if ((s = tlt_json_double_or(top, "rms_norm_eps", 1e-30, 1, 1e-6, &eps, err))) return s;
  c->norm_eps = (float)eps;
  if (!tlt_json_has(top, "tie_word_embeddings"))
    tlt_log_write(TLT_LOG_INFO, "%s: tie_word_embeddings: missing, using false", top->file);
  if ((s = tlt_json_bool_or(top, "tie_word_embeddings", false, &c->tied, err))) return s;
  if ((s = read_eos(top, c, err))) return s;
  if ((s = read_special(top, "bos_token_id", c, &c->bos, err))) return s;
  return read_special(top, "pad_token_id", c, &c->pad, err);
}

tlt_status tlt_config_load(const char *dir, tlt_config *out, tlt_err *err) {
  char path[TLT_PATH_MAX];
  json_t *json;
  tlt_config c = {.bos = -1, .pad = -1};
  tlt_path_join(path, dir, "config.json");
  tlt_status s = tlt_json_load(path, CONFIG_BYTES_MAX, &json, err);
  if (s != TLT_OK) return s;
  tlt_json_node top = tlt_json_top(json, path, 0);
  s = read_config(&top, &c, err);
  json_decref(json);
  if (s == TLT_OK) s = read_generation(dir, &c, err);
  if (s == TLT_OK) *out = c;
  return s;
}
