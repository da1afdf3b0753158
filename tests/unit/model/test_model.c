/* Configuration spellings and refusals, weights through files, scoring.
 * Run alone: build/tests/unit/model/test_model */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "io/file.h"
#include "io/safetensors.h"
#include "tiny.h"

static char folder[] = "/tmp/tlt-model-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return tlt_path_remove(folder, NULL) == TLT_OK ? 0 : -1;
}

static void write_text(const char *name, const char *text) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, folder, name);
  assert_int_equal(tlt_file_store(path, text, strlen(text), NULL), TLT_OK);
}

static void remove_file(const char *name) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, folder, name);
  assert_int_equal(tlt_path_remove(path, NULL), TLT_OK);
}

/* ---- Configuration ---- */

#define SIZES                                                                   \
  "\"hidden_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 6, " \
  "\"intermediate_size\": 80, \"vocab_size\": 100, \"max_position_embeddings\": 512"

static tlt_status load_config(const char *text, tlt_config *c, tlt_err *err) {
  write_text("config.json", text);
  return tlt_config_load(folder, c, err);
}

static void config_defaults_follow_the_architecture(void **state) {
  (void)state;
  tlt_config c;
  tlt_err err = {0};
  assert_int_equal(load_config("{\"model_type\": \"llama\", " SIZES "}", &c, &err), TLT_OK);
  assert_int_equal(c.kv_heads, 6);
  assert_int_equal(c.head_dim, 8);
  assert_true(!c.tied && !c.qkv_bias && !c.qk_norm && c.norm_eps == 1e-6f);
  assert_true(c.rope_theta == 10000 && c.rope == TLT_ROPE_PLAIN);
  assert_int_equal(
      load_config("{\"model_type\": \"qwen3\", \"num_key_value_heads\": 3, " SIZES "}", &c, &err),
      TLT_OK);
  assert_int_equal(c.head_dim, 128);
  assert_true(c.qk_norm && !c.qkv_bias);
  assert_int_equal(
      load_config("{\"model_type\": \"qwen2\", \"num_key_value_heads\": null, " SIZES "}", &c,
                  &err),
      TLT_OK);
  assert_int_equal(c.kv_heads, 6);
  assert_true(c.qkv_bias && !c.qk_norm);
}

static void rope_spellings(void **state) {
  (void)state;
  static const char *same[] = {
      "\"rope_theta\": 5000, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
      "\"rope_theta\": 5000.0, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4}",
      "\"rope_parameters\": {\"rope_theta\": 5000, \"rope_type\": \"linear\", \"factor\": 4}",
      "\"rope_theta\": 5000, \"rope_parameters\": {\"rope_theta\": 5000, \"type\": \"linear\", "
      "\"factor\": 4}",
  };
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    char text[1024];
    tlt_config c;
    tlt_err err = {0};
    snprintf(text, sizeof text, "{\"model_type\": \"llama\", " SIZES ", %s}", same[i]);
    assert_int_equal(load_config(text, &c, &err), TLT_OK);
    assert_true(c.rope == TLT_ROPE_LINEAR && c.rope_factor == 4 && c.rope_theta == 5000);
  }
}

static void bad_configurations_name_the_field(void **state) {
  (void)state;
  static const struct {
    const char *fields, *named;
  } bad[] = {
      {"\"model_type\": \"gpt2\", " SIZES, "model_type"},
      {SIZES, "model_type"},
      {"\"model_type\": \"llama\"", "hidden_size"},
      {"\"model_type\": \"llama\", \"num_key_value_heads\": 4, " SIZES, "num_attention_heads"},
      {"\"model_type\": \"llama\", \"num_key_value_heads\": 0, " SIZES, "num_key_value_heads"},
      {"\"model_type\": \"llama\", \"head_dim\": 7, " SIZES, "head_dim"},
      {"\"model_type\": \"llama\", \"head_dim\": \"8\", " SIZES, "head_dim"},
      {"\"model_type\": \"llama\", \"head_dim\": 8.5, " SIZES, "head_dim"},
      {"\"model_type\": \"llama\", \"head_dim\": 1000000000000000000, " SIZES, "head_dim"},
      {"\"model_type\": \"llama\", \"rms_norm_eps\": -1, " SIZES, "rms_norm_eps"},
      {"\"model_type\": \"llama\", \"attention_bias\": true, " SIZES, "attention_bias"},
      {"\"model_type\": \"llama\", \"mlp_bias\": true, " SIZES, "mlp_bias"},
      {"\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"use_sliding_window\": "
       "true, " SIZES,
       "use_sliding_window"},
      {"\"model_type\": \"qwen3\", \"num_key_value_heads\": 2, \"layer_types\": "
       "[\"full_attention\", \"sliding_attention\"], " SIZES,
       "layer_types[1]"},
      {"\"model_type\": \"llama\", \"quantization_config\": {}, " SIZES, "quantization_config"},
      {"\"model_type\": \"llama\", \"hidden_act\": \"gelu\", " SIZES, "hidden_act"},
      {"\"model_type\": \"llama\", \"eos_token_id\": 100, " SIZES, "eos_token_id"},
      {"\"model_type\": \"llama\", \"eos_token_id\": [1, \"2\"], " SIZES, "eos_token_id[1]"},
      {"\"model_type\": \"llama\", \"tie_word_embeddings\": 1, " SIZES, "tie_word_embeddings"},
      {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}, " SIZES,
       "rope_scaling.type"},
      {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"linear\"}, " SIZES,
       "rope_scaling.factor"},
      {"\"model_type\": \"llama\", \"rope_parameters\": {\"rope_type\": \"dynamic\"}, " SIZES,
       "rope_parameters.rope_type"},
      {"\"model_type\": \"llama\", \"rope_theta\": 1e4, \"rope_parameters\": {\"rope_theta\": "
       "1e5}, " SIZES,
       "rope_theta"},
      {"\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, "
       "\"rope_parameters\": {\"rope_type\": \"default\"}, " SIZES,
       "rope_parameters"},
      {"\"model_type\": \"llama\", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}, " SIZES,
       "partial_rotary_factor"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[2048];
    tlt_config c;
    tlt_err err = {0};
    snprintf(text, sizeof text, "{%s}", bad[i].fields);
    assert_int_equal(load_config(text, &c, &err), TLT_EDATA);
    if (!strstr(err.text, bad[i].named)) fail_msg("%s does not name %s", err.text, bad[i].named);
    if (!strstr(err.text, "config.json")) fail_msg("%s does not name the file", err.text);
  }
}

static void end_tokens_are_united(void **state) {
  (void)state;
  tlt_config c;
  tlt_err err = {0};
  write_text("generation_config.json", "{\"eos_token_id\": [7, 3, 9], \"pad_token_id\": 5}");
  assert_int_equal(
      load_config("{\"model_type\": \"llama\", \"eos_token_id\": 3, " SIZES "}", &c, &err), TLT_OK);
  assert_int_equal(c.n_eos, 3);
  assert_int_equal(c.eos[0], 3);
  assert_int_equal(c.eos[1], 7);
  assert_int_equal(c.eos[2], 9);
  assert_int_equal(c.pad, 5);
  assert_int_equal(
      load_config("{\"model_type\": \"llama\", \"eos_token_id\": null, " SIZES "}", &c, &err),
      TLT_OK);
  assert_int_equal(c.n_eos, 3);
  remove_file("generation_config.json");
  assert_int_equal(load_config("{\"model_type\": \"llama\", " SIZES "}", &c, &err), TLT_OK);
  assert_int_equal(c.n_eos, 0);
}

static void stored_configuration_reads_back(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) {
    tlt_config c = tiny_config((tlt_arch)arch), back = {0};
    c.rope = TLT_ROPE_LLAMA3;
    c.rope_factor = 8;
    c.rope_low = 1;
    c.rope_high = 4;
    c.rope_original = 64;
    c.eos[0] = 2;
    c.eos[1] = 5;
    c.n_eos = 2;
    tlt_err err = {0};
    assert_int_equal(tlt_config_store(&c, folder, &err), TLT_OK);
    assert_int_equal(tlt_config_load(folder, &back, &err), TLT_OK);
    assert_memory_equal(&c, &back, sizeof c);
  }
}

/* ---- Weights ---- */

static void parameters_are_listed_by_name(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_QWEN3);
  c.layers = 12;
  tlt_weights *w;
  assert_int_equal(tlt_weights_create(&c, &w, NULL), TLT_OK);
  assert_int_equal(w->bytes, tlt_weights_bytes(&c));
  assert_int_equal(w->n_params, 3 + 12 * 11);
  uint64_t elements = 0;
  for (int i = 0; i < w->n_params; i++) {
    if (i) assert_true(strcmp(w->param[i - 1].name, w->param[i].name) < 0);
    assert_int_equal(w->param[i].offset, elements);
    assert_true((w->param[i].matrix != NULL) != (w->param[i].vector != NULL));
    elements += (uint64_t)w->param[i].n * (uint64_t)w->param[i].k;
  }
  assert_int_equal(w->elements, elements);
  assert_ptr_equal(tlt_weights_find(w, "model.norm.weight")->vector, w->final_norm);
  assert_null(tlt_weights_find(w, "model.norm.bias"));
  tlt_weights_free(w);
}

static void saved_weights_load_back(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) {
    tlt_config c = tiny_config((tlt_arch)arch);
    char before[TLT_SHA256_HEX], after[TLT_SHA256_HEX];
    tlt_err err = {0};
    tlt_model *m = tiny_model(&c, "portable", 3);
    tlt_weights *w;
    assert_int_equal(tlt_weights_sha256(m->weights, before, &err), TLT_OK);
    assert_int_equal(tlt_weights_save(m->weights, folder, NULL, &err), TLT_OK);
    assert_int_equal(tlt_weights_load(folder, m->pool, &w, &err), TLT_OK);
    assert_int_equal(tlt_weights_sha256(w, after, &err), TLT_OK);
    assert_string_equal(before, after);
    assert_memory_equal(w->memory, m->weights->memory, w->bytes);
    tlt_weights_free(w);
    tlt_model_close(m);
  }
}

static void fresh_weights_depend_on_the_seed_alone(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  char first[TLT_SHA256_HEX], second[TLT_SHA256_HEX];
  tlt_weights *w;
  assert_int_equal(tlt_weights_create(&c, &w, NULL), TLT_OK);
  assert_int_equal(tlt_weights_init(w, 1, NULL), TLT_OK);
  assert_int_equal(tlt_weights_sha256(w, first, NULL), TLT_OK);
  assert_int_equal(tlt_weights_init(w, 2, NULL), TLT_OK);
  assert_int_equal(tlt_weights_sha256(w, second, NULL), TLT_OK);
  assert_string_not_equal(first, second);
  assert_int_equal(tlt_weights_init(w, 1, NULL), TLT_OK);
  assert_int_equal(tlt_weights_sha256(w, second, NULL), TLT_OK);
  assert_string_equal(first, second);
  double sum = 0, squares = 0, n = (double)c.vocab * c.hidden;
  const tlt_param *p = tlt_weights_find(w, "model.embed_tokens.weight");
  float *x = malloc((size_t)n * sizeof *x);
  tlt_param_get(p, x);
  for (size_t i = 0; i < (size_t)n; i++) sum += x[i], squares += (double)x[i] * x[i];
  assert_true(fabs(sum / n) < 0.0005 && fabs(sqrt(squares / n) - 0.02) < 0.0005);
  free(x);
  tlt_weights_free(w);
}

/* A file whose tensors are those of a model but for one that is left out, renamed or misshapen. */
typedef enum damage { LEFT_OUT, EXTRA, MISSHAPEN, OTHER_HEAD } damage;

static void write_damaged(const tlt_weights *w, damage how) {
  char path[TLT_PATH_MAX];
  tlt_st_writer *out;
  tlt_path_join(path, folder, "model.safetensors");
  assert_int_equal(tlt_st_create(path, &out, NULL), TLT_OK);
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < w->n_params + 1; i++) {
      bool more = i == w->n_params;
      const tlt_param *p = more ? tlt_weights_find(w, "model.embed_tokens.weight") : &w->param[i];
      if (more && how != EXTRA && how != OTHER_HEAD) continue;
      if (how == LEFT_OUT && i == 4) continue;
      int64_t shape[2] = {p->n, p->k};
      if (how == MISSHAPEN && p->matrix && i == 0) shape[0] = p->k, shape[1] = p->n;
      const char *name =
          more ? (how == EXTRA ? "model.layers.9.extra" : "lm_head.weight") : p->name;
      if (pass == 0) {
        assert_int_equal(tlt_st_declare(out, name, TLT_F32, shape, p->matrix ? 2 : 1, NULL),
                         TLT_OK);
        continue;
      }
      size_t n = (size_t)p->n * (size_t)p->k;
      float *x = malloc(n * sizeof *x);
      tlt_param_get(p, x);
      if (more && how == OTHER_HEAD) x[n - 1] += 1;
      assert_int_equal(tlt_st_write(out, x, n * sizeof *x, NULL), TLT_OK);
      free(x);
    }
  assert_int_equal(tlt_st_finish(out, NULL), TLT_OK);
}

static void bad_tensors_are_named(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  static const char *named[] = {[LEFT_OUT] = "missing tensor",
                                [EXTRA] = "model.layers.9.extra",
                                [MISSHAPEN] = "got shape [45, 1331], expected [1331, 45]",
                                [OTHER_HEAD] = "lm_head.weight"};
  for (int threads = 1; threads <= 3; threads += 2)
    for (int how = 0; how < 4; how++) {
      tlt_err err = {0};
      tlt_model *m = tiny_model(&c, "portable", threads);
      tlt_weights *w;
      assert_int_equal(tlt_weights_save(m->weights, folder, NULL, &err), TLT_OK);
      write_damaged(m->weights, (damage)how);
      assert_int_equal(tlt_weights_load(folder, m->pool, &w, &err), TLT_EDATA);
      assert_null(w);
      if (!strstr(err.text, named[how])) fail_msg("%s", err.text);
      tlt_model_close(m);
    }
}

static void untied_model_needs_its_head(void **state) {
  (void)state;
  tlt_config tied = tiny_config(TLT_ARCH_LLAMA), untied = tied;
  tlt_err err = {0};
  untied.tied = false;
  tlt_model *m = tiny_model(&tied, "portable", 1);
  tlt_weights *w;
  assert_int_equal(tlt_weights_save(m->weights, folder, NULL, &err), TLT_OK);
  assert_int_equal(tlt_config_store(&untied, folder, &err), TLT_OK);
  assert_int_equal(tlt_weights_load(folder, m->pool, &w, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "lm_head.weight"));
  tlt_model_close(m);
}

/* ---- Scoring ---- */

static void scoring_refuses_bad_tokens(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_QWEN2);
  tlt_model *m = tiny_model(&c, "portable", 2);
  int32_t prompt[640] = {1, 2}, tokens[2] = {3, c.vocab};
  float out[2];
  tlt_err err = {0};
  assert_int_equal(tlt_model_score(m, prompt, 0, tokens, 1, 1, out, &err), TLT_EDATA);
  assert_int_equal(tlt_model_score(m, prompt, 2, tokens, 2, 1, out, &err), TLT_EDATA);
  assert_non_null(strstr(err.text, "tokens[1]"));
  assert_int_equal(tlt_model_score(m, prompt, 640, tokens, 1, 1, out, &err), TLT_EDATA);
  assert_int_equal(tlt_model_score(m, prompt, 639, tokens, 1, 1, out, &err), TLT_OK);
  assert_true(out[0] < 0);
  assert_int_equal(tlt_model_score(m, prompt, 1, tokens, 0, 1, out, &err), TLT_OK);
  tlt_model_close(m);
}

static void every_probability_sums_to_one(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) {
    tlt_config c = tiny_config((tlt_arch)arch);
    tlt_model *m = tiny_model(&c, "auto", 2);
    int32_t prompt[20];
    double sum = 0;
    for (int i = 0; i < 20; i++) prompt[i] = (i * 331) % c.vocab;
    for (int32_t v = 0; v < c.vocab; v++) {
      float out;
      assert_int_equal(tlt_model_score(m, prompt, 20, &v, 1, 0.7f, &out, NULL), TLT_OK);
      sum += exp((double)out);
    }
    assert_true(fabs(sum - 1) < 1e-5);
    tlt_model_close(m);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(config_defaults_follow_the_architecture),
      cmocka_unit_test(rope_spellings),
      cmocka_unit_test(bad_configurations_name_the_field),
      cmocka_unit_test(end_tokens_are_united),
      cmocka_unit_test(stored_configuration_reads_back),
      cmocka_unit_test(parameters_are_listed_by_name),
      cmocka_unit_test(saved_weights_load_back),
      cmocka_unit_test(fresh_weights_depend_on_the_seed_alone),
      cmocka_unit_test(bad_tensors_are_named),
      cmocka_unit_test(untied_model_needs_its_head),
      cmocka_unit_test(scoring_refuses_bad_tokens),
      cmocka_unit_test(every_probability_sums_to_one),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
