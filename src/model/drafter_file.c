/* A drafter directory: config.json and model.safetensors in the EAGLE-1 form that other servers
 * load, and hot_tokens.json, which is ours. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "model/drafter_internal.h"
#include "model/weights_internal.h"

/* A vocabulary of at most 2^22 ids of at most 7 digits, with separators. */
enum { HOT_BYTES_MAX = 64 << 20 };

static const char HOT_FILE[] = "hot_tokens.json";

/* ---- Reading ---- */

static tlt_status same(const char *dir, const char *field, int got, int want, tlt_err *err) {
  if (got == want) return TLT_OK;
  return tlt_fail(err, TLT_EDATA, "%s/config.json: %s: got %d, expected %d as the target model has",
                  dir, field, got, want);
}

static tlt_status check_config(const char *dir, const tlt_config *c, const tlt_config *target,
                               tlt_err *err) {
  tlt_status s = TLT_OK;
  if (c->arch != TLT_ARCH_LLAMA)
    return tlt_fail(err, TLT_EDATA, "%s/config.json: model_type: got %s, expected llama", dir,
                    tlt_arch_name(c->arch));
  if (c->layers != 1)
    return tlt_fail(err, TLT_EDATA, "%s/config.json: num_hidden_layers: got %d, expected 1", dir,
                    c->layers);
  if ((s = same(dir, "hidden_size", c->hidden, target->hidden, err))) return s;
  if ((s = same(dir, "vocab_size", c->vocab, target->vocab, err))) return s;
  if ((s = same(dir, "num_attention_heads", c->heads, target->heads, err))) return s;
  if ((s = same(dir, "num_key_value_heads", c->kv_heads, target->kv_heads, err))) return s;
  return same(dir, "head_dim", c->head_dim, target->head_dim, err);
}

static tlt_status read_target(const tlt_json_node *top, const tlt_config *c, tlt_err *err) {
  static const char *const KEY[] = {"hidden_size", "vocab_size"};
  const int want[] = {c->hidden, c->vocab};
  tlt_json_node at;
  tlt_status s = tlt_json_object(top, "target", &at, err);
  for (int i = 0; i < 2 && s == TLT_OK; i++) {
    int64_t x = 0;
    s = tlt_json_int(&at, KEY[i], 1, INT32_MAX, &x, err);
    if (s == TLT_OK && x != want[i])
      s = tlt_json_fail(&at, KEY[i], err, "got %lld, expected %d as the target model has",
                        (long long)x, want[i]);
  }
  return s;
}

static tlt_status read_ids(const tlt_json_node *list, int vocab, int32_t *to, tlt_err *err) {
  int64_t before = -1;
  for (size_t i = 0; i < json_array_size(list->value); i++) {
    tlt_json_node e = tlt_json_element(list, i);
    int64_t id = json_is_integer(e.value) ? json_integer_value(e.value) : -1;
    if (id <= before || id >= vocab) {
      char got[64];
      tlt_json_describe(e.value, got);
      return tlt_json_fail(&e, NULL, err, "got %s, expected an integer in %lld .. %d, ascending",
                           got, (long long)before + 1, vocab - 1);
    }
    to[i] = (int32_t)id;
    before = id;
  }
  return TLT_OK;
}

static tlt_status parse_hot(tlt_drafter *d, const tlt_weights *target, const tlt_json_node *top,
                            tlt_err *err) {
  tlt_json_node list;
  if (!json_is_object(top->value)) return tlt_json_fail(top, NULL, err, "expected an object");
  tlt_status s = read_target(top, &target->config, err);
  if (s == TLT_OK) s = tlt_json_array(top, "hot_tokens", &list, err);
  if (s != TLT_OK) return s;
  size_t n = json_array_size(list.value);
  if (n < 1 || n > (size_t)target->config.vocab)
    return tlt_json_fail(top, "hot_tokens", err, "got %zu tokens, expected 1 .. %d", n,
                         target->config.vocab);
  int32_t *ids = tlt_malloc(n * sizeof *ids);
  if (!ids) return tlt_fail_nomem(err, "hot tokens", n * sizeof *ids);
  s = read_ids(&list, target->config.vocab, ids, err);
  if (s == TLT_OK) s = tlt_drafter_set_hot(d, target, ids, (int)n, err);
  tlt_free(ids);
  return s;
}

static tlt_status read_hot(tlt_drafter *d, const tlt_weights *target, const char *dir,
                           tlt_err *err) {
  char path[TLT_PATH_MAX];
  json_t *json;
  tlt_path_join(path, dir, HOT_FILE);
  if (!tlt_path_exists(path)) return tlt__drafter_first_hot(d, target, err);
  tlt_status s = tlt_json_load(path, HOT_BYTES_MAX, &json, err);
  if (s != TLT_OK) return s;
  tlt_json_node top = tlt_json_top(json, path, 0);
  s = parse_hot(d, target, &top, err);
  json_decref(json);
  return s;
}

static tlt_status read_tensors(tlt_drafter *d, const tlt_weights *target, const char *dir,
                               tlt_pool *pool, tlt_err *err) {
  const tlt_config *c = &d->weights.config;
  tlt_packed *matrix = &d->weights.embed; /* says that the shape has two dimensions */
  const tlt_param optional[] = {
      {.name = "fc.bias", .n = c->hidden, .k = 1},
      {.name = "embed_tokens.weight", .n = c->vocab, .k = c->hidden, .matrix = matrix},
      {.name = "lm_head.weight", .n = c->vocab, .k = c->hidden, .matrix = matrix},
  };
  enum { OPTIONAL = sizeof optional / sizeof *optional };
  tlt_st_set *set = NULL;
  tlt_status s = tlt_st_open(dir, &set, err);
  if (s != TLT_OK) return s;
  s = tlt__weights_check(dir, &d->weights, set, optional, OPTIONAL, "drafter of EAGLE-1 form", err);
  if (s == TLT_OK) s = tlt__drafter_memory(d, target, err);
  if (s == TLT_OK) {
    bool bias = tlt_st_find(set, "fc.bias") != NULL;
    tlt_weights w = bias ? tlt__drafter_file_view(d) : d->weights;
    s = tlt__weights_read(&w, set, NULL, pool, err);
  }
  tlt_st_close(set);
  return s;
}

/* A run's drafter/ stands for the step that its LATEST names. */
static tlt_status resolve(const char *given, char dir[TLT_PATH_MAX], tlt_err *err) {
  enum { NAME_BYTES_MAX = 256 };
  char path[TLT_PATH_MAX], *name;
  size_t n;
  snprintf(dir, TLT_PATH_MAX, "%s", given);
  tlt_path_join(path, given, "config.json");
  if (tlt_path_exists(path)) return TLT_OK;
  tlt_path_join(path, given, "LATEST");
  if (!tlt_path_exists(path)) return TLT_OK;
  tlt_status s = tlt_file_load(path, NAME_BYTES_MAX, &name, &n, err);
  if (s != TLT_OK) return s;
  name[strcspn(name, "\n")] = 0;
  if (strncmp(name, "step-", 5) != 0 || strchr(name, '/'))
    s = tlt_fail(err, TLT_EDATA, "%s: got %.60s, expected the name of a step", path, name);
  else tlt_path_join(dir, given, name);
  tlt_free(name);
  return s;
}

tlt_status tlt_drafter_load(const char *given, const tlt_weights *target, tlt_pool *pool,
                            tlt_drafter **out, tlt_err *err) {
  char dir[TLT_PATH_MAX];
  tlt_config c;
  tlt_drafter *d = NULL;
  *out = NULL;
  tlt_status s = resolve(given, dir, err);
  if (s == TLT_OK) s = tlt_config_load(dir, &c, err);
  if (s == TLT_OK) s = check_config(dir, &c, &target->config, err);
  if (s == TLT_OK) s = tlt__drafter_shell(&c, &d, err);
  if (s == TLT_OK) s = read_tensors(d, target, dir, pool, err);
  if (s == TLT_OK) s = read_hot(d, target, dir, err);
  if (s == TLT_OK) *out = d;
  else tlt_drafter_free(d);
  return s;
}

/* ---- Writing ---- */

static tlt_status write_hot(const tlt_drafter *d, const char *dir, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_json_writer w = {0};
  tlt_path_join(path, dir, HOT_FILE);
  tlt_json_begin(&w, NULL, '{');
  tlt_json_begin(&w, "hot_tokens", '[');
  for (int i = 0; i < d->n_hot; i++) tlt_json_put_int(&w, NULL, d->hot[i]);
  tlt_json_end(&w, ']');
  tlt_json_begin(&w, "target", '{');
  tlt_json_put_int(&w, "hidden_size", d->weights.config.hidden);
  tlt_json_put_int(&w, "vocab_size", d->weights.config.vocab);
  tlt_json_end(&w, '}');
  tlt_json_end(&w, '}');
  tlt_json_newline(&w);
  tlt_status s = tlt_text_check(&w.text, err);
  if (s == TLT_OK) s = tlt_file_store(path, w.text.data, w.text.n, err);
  tlt_text_free(&w.text);
  return s;
}

tlt_status tlt_drafter_save(const tlt_drafter *d, const char *dir, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_weights w = tlt__drafter_file_view(d);
  tlt_path_join(path, dir, "model.safetensors");
  tlt_status s = tlt_dir_make(dir, err);
  if (s == TLT_OK) s = tlt_config_store(&d->weights.config, dir, err);
  if (s == TLT_OK) s = write_hot(d, dir, err);
  return s == TLT_OK ? tlt__weights_write(&w, path, err) : s;
}
