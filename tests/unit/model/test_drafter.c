/* The learned drafter: files and refusals, hot tokens, the forward pass.
 * Run alone: build/tests/unit/model/test_drafter */
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
#include "model/drafter.h"
#include "tiny.h"

static char folder[] = "/tmp/tlt-drafter-XXXXXX";

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return tlt_path_remove(folder, NULL) == TLT_OK ? 0 : -1;
}


static tlt_model *target_of(tlt_arch arch) {
  tlt_config c = tiny_config(arch);
  tlt_model *m = tiny_model(&c, "portable", 2);
  assert_non_null(m);
  return m;
}

static tlt_drafter *drafter_of(const tlt_model *m, uint32_t seed) {
  tlt_drafter *d;
  assert_int_equal(tlt_drafter_create(m->weights, 0, seed, &d, NULL), TLT_OK);
  return d;
}

static float *values_of(const tlt_param *p) {
  float *x = malloc((size_t)p->n * (size_t)p->k * sizeof *x);
  assert_non_null(x);
  tlt_param_get(p, x);
  return x;
}

static void assert_same_drafter(const tlt_drafter *a, const tlt_drafter *b) {
  assert_int_equal(a->weights.n_params, b->weights.n_params);
  for (int i = 0; i < a->weights.n_params; i++) {
    const tlt_param *p = &a->weights.param[i], *q = &b->weights.param[i];
    float *x = values_of(p), *y = values_of(q);
    assert_string_equal(p->name, q->name);
    assert_memory_equal(x, y, (size_t)p->n * (size_t)p->k * sizeof *x);
    free(x);
    free(y);
  }
  assert_int_equal(a->n_hot, b->n_hot);
  assert_memory_equal(a->hot, b->hot, (size_t)a->n_hot * sizeof *a->hot);
  assert_memory_equal(a->hot_head.data, b->hot_head.data,
                      tlt_packed_bytes(a->n_hot, a->hot_head.k));
}

/* ---- Files ---- */

static void a_saved_drafter_loads_the_same(void **state) {
  (void)state;
  static const int32_t hot[] = {0, 3, 4, 700, 1330};
  for (int arch = TLT_ARCH_LLAMA; arch <= TLT_ARCH_QWEN3; arch++) {
    tlt_model *m = target_of((tlt_arch)arch);
    tlt_drafter *d = drafter_of(m, 3), *back;
    tlt_err err = {0};
    assert_int_equal(d->n_hot, 1331);
    assert_int_equal(tlt_drafter_set_hot(d, m->weights, hot, 5, &err), TLT_OK);
    assert_int_equal(tlt_drafter_save(d, folder, &err), TLT_OK);
    assert_int_equal(tlt_drafter_load(folder, m->weights, m->pool, &back, &err), TLT_OK);
    assert_same_drafter(d, back);
    assert_true(back->weights.config.arch == TLT_ARCH_LLAMA && back->weights.config.layers == 1);
    tlt_drafter_free(back);
    tlt_drafter_free(d);
    tlt_model_close(m);
  }
}

static void the_file_has_the_names_that_servers_know(void **state) {
  (void)state;
  static const char *const NAME[] = {
      "fc.bias",
      "fc.weight",
      "layers.0.mlp.down_proj.weight",
      "layers.0.mlp.gate_proj.weight",
      "layers.0.mlp.up_proj.weight",
      "layers.0.post_attention_layernorm.weight",
      "layers.0.self_attn.k_proj.weight",
      "layers.0.self_attn.o_proj.weight",
      "layers.0.self_attn.q_proj.weight",
      "layers.0.self_attn.v_proj.weight",
  };
  enum { NAMES = sizeof NAME / sizeof *NAME };
  tlt_model *m = target_of(TLT_ARCH_QWEN3);
  tlt_drafter *d = drafter_of(m, 3);
  tlt_st_set *set;
  assert_int_equal(tlt_drafter_save(d, folder, NULL), TLT_OK);
  assert_int_equal(tlt_st_open(folder, &set, NULL), TLT_OK);
  assert_int_equal(tlt_st_count(set), NAMES);
  for (int i = 0; i < NAMES; i++) assert_non_null(tlt_st_find(set, NAME[i]));
  const tlt_st_tensor *t = tlt_st_find(set, "fc.weight");
  assert_true(t->dtype == TLT_BF16 && t->shape[0] == 45 && t->shape[1] == 90);
  tlt_st_close(set);
  tlt_drafter_free(d);
  tlt_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_saved_drafter_loads_the_same),
      cmocka_unit_test(the_file_has_the_names_that_servers_know),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
