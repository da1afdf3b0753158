/* Writing config.json and generation_config.json, in the spelling that transformers 4 and 5 both
 * read: rope_theta and rope_scaling at the top level. */
#include <stdio.h>
#include <stdlib.h>

#include "io/file.h"
#include "io/text.h"
#include "model/config.h"

static const char *ARCHITECTURE[] = {
    [TLT_ARCH_LLAMA] = "LlamaForCausalLM",
    [TLT_ARCH_QWEN2] = "Qwen2ForCausalLM",
    [TLT_ARCH_QWEN3] = "Qwen3ForCausalLM",
};

static void put_id(tlt_json_writer *w, const char *key, int32_t id) {
  if (id < 0) tlt_json_put_null(w, key);
  else tlt_json_put_int(w, key, id);
}

static void put_tokens(tlt_json_writer *w, const tlt_config *c) {
  put_id(w, "bos_token_id", c->bos);
  if (c->n_eos == 0) tlt_json_put_null(w, "eos_token_id");
  if (c->n_eos == 1) tlt_json_put_int(w, "eos_token_id", c->eos[0]);
  if (c->n_eos > 1) {
    tlt_json_begin(w, "eos_token_id", '[');
    for (int i = 0; i < c->n_eos; i++) tlt_json_put_int(w, NULL, c->eos[i]);
    tlt_json_end(w, ']');
  }
  put_id(w, "pad_token_id", c->pad);
}

static void put_rope(tlt_json_writer *w, const tlt_config *c) {
  tlt_json_put_f64(w, "rope_theta", c->rope_theta);
  if (c->rope == TLT_ROPE_PLAIN) {
    tlt_json_put_null(w, "rope_scaling");
    return;
  }
  tlt_json_begin(w, "rope_scaling", '{');
  tlt_json_put_string(w, "rope_type", c->rope == TLT_ROPE_LINEAR ? "linear" : "llama3");
  tlt_json_put_f64(w, "factor", c->rope_factor);
  if (c->rope == TLT_ROPE_LLAMA3) {
    tlt_json_put_f64(w, "low_freq_factor", c->rope_low);
    tlt_json_put_f64(w, "high_freq_factor", c->rope_high);
    tlt_json_put_int(w, "original_max_position_embeddings", c->rope_original);
  }
  tlt_json_end(w, '}');
}

/* The shortest decimal that reads back to the same fp32: 1e-05, not 9.99999975e-06. */
static double plain_decimal(float x) {
  char text[32];
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)x);
    if ((float)strtod(text, NULL) == x) break;
  }
  return strtod(text, NULL);
}

static void put_config(tlt_json_writer *w, const tlt_config *c) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_begin(w, "architectures", '[');
  tlt_json_put_string(w, NULL, ARCHITECTURE[c->arch]);
  tlt_json_end(w, ']');
  tlt_json_put_string(w, "model_type", tlt_arch_name(c->arch));
  tlt_json_put_int(w, "hidden_size", c->hidden);
  tlt_json_put_int(w, "intermediate_size", c->inter);
  tlt_json_put_int(w, "num_hidden_layers", c->layers);
  tlt_json_put_int(w, "num_attention_heads", c->heads);
  tlt_json_put_int(w, "num_key_value_heads", c->kv_heads);
  tlt_json_put_int(w, "head_dim", c->head_dim);
  tlt_json_put_int(w, "vocab_size", c->vocab);
  tlt_json_put_int(w, "max_position_embeddings", c->max_positions);
  tlt_json_put_string(w, "hidden_act", "silu");
  tlt_json_put_f64(w, "rms_norm_eps", plain_decimal(c->norm_eps));
  put_rope(w, c);
  tlt_json_put_bool(w, "tie_word_embeddings", c->tied);
  if (c->arch != TLT_ARCH_QWEN2) tlt_json_put_bool(w, "attention_bias", false);
  if (c->arch == TLT_ARCH_LLAMA) tlt_json_put_bool(w, "mlp_bias", false);
  else tlt_json_put_bool(w, "use_sliding_window", false);
  put_tokens(w, c);
  tlt_json_put_string(w, "torch_dtype", "bfloat16");
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

static void put_generation(tlt_json_writer *w, const tlt_config *c) {
  tlt_json_begin(w, NULL, '{');
  put_tokens(w, c);
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

static tlt_status store(const char *dir, const char *name, tlt_json_writer *w, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, name);
  tlt_status s = tlt_text_check(&w->text, err);
  if (s == TLT_OK) s = tlt_file_store(path, w->text.data, w->text.n, err);
  tlt_text_free(&w->text);
  return s;
}

tlt_status tlt_config_store(const tlt_config *c, const char *dir, tlt_err *err) {
  tlt_json_writer config = {0}, generation = {0};
  put_config(&config, c);
  tlt_status s = store(dir, "config.json", &config, err);
  if (s != TLT_OK) return s;
  put_generation(&generation, c);
  return store(dir, "generation_config.json", &generation, err);
}
