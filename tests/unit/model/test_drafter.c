/* The learned drafter: files and refusals, hot tokens, the forward pass against transformers.
 * TLT_DRAFTER_GOLDEN: another directory made by tools/golden_drafter.py.
 * Run alone: build/tests/unit/model/test_drafter */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <math.h>

#include "base/mem.h"
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

/* ---- Refusals ---- */

/* Load must fail with this text somewhere in its one line. */
static void assert_refused(const tlt_model *m, const char *dir, const char *text) {
  tlt_drafter *d;
  tlt_err err = {0};
  tlt_status s = tlt_drafter_load(dir, m->weights, m->pool, &d, &err);
  assert_null(d);
  if (s != TLT_EDATA || !strstr(err.text, text) || strchr(err.text, '\n'))
    fail_msg("got status %d \"%s\", expected \"%s\"", s, err.text, text);
}

typedef void (*change)(tlt_config *c);
static void other_hidden(tlt_config *c) {
  c->hidden = 47;
}
static void other_vocab(tlt_config *c) {
  c->vocab = 1332;
}
static void other_heads(tlt_config *c) {
  c->heads = 4;
}
static void other_kv_heads(tlt_config *c) {
  c->kv_heads = 3;
}
static void other_head_dim(tlt_config *c) {
  c->head_dim = 12;
}

static void a_drafter_of_another_model_is_refused(void **state) {
  (void)state;
  static const struct {
    change change;
    const char *named;
  } other[] = {
      {other_hidden, "config.json: hidden_size: got 47, expected 45"},
      {other_vocab, "config.json: vocab_size: got 1332, expected 1331"},
      {other_heads, "config.json: num_attention_heads: got 4, expected 6"},
      {other_kv_heads, "config.json: num_key_value_heads: got 3, expected 2"},
      {other_head_dim, "config.json: head_dim: got 12, expected 10"},
  };
  tlt_model *m = target_of(TLT_ARCH_LLAMA);
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    tlt_config c = tiny_config(TLT_ARCH_LLAMA);
    other[i].change(&c);
    tlt_model *stranger = tiny_model(&c, "portable", 1);
    tlt_drafter *d = drafter_of(stranger, 1);
    assert_int_equal(tlt_drafter_save(d, folder, NULL), TLT_OK);
    assert_refused(m, folder, other[i].named);
    tlt_drafter_free(d);
    tlt_model_close(stranger);
  }
  tlt_model_close(m);
}

/* A saved drafter whose config.json, tensors or hot tokens are then replaced. */
static tlt_model *save_good(void) {
  tlt_model *m = target_of(TLT_ARCH_LLAMA);
  tlt_drafter *d = drafter_of(m, 1);
  assert_int_equal(tlt_drafter_save(d, folder, NULL), TLT_OK);
  tlt_drafter_free(d);
  return m;
}

static void store_in_folder(const char *name, const char *text) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, folder, name);
  assert_int_equal(tlt_file_store(path, text, strlen(text), NULL), TLT_OK);
}

static void bad_hot_tokens_are_refused(void **state) {
  (void)state;
#define TARGET "\"target\": {\"hidden_size\": 45, \"vocab_size\": 1331}"
  static const char *const bad[][2] = {
      {"[]", "expected an object"},
      {"{\"hot_tokens\": [1, 2]}", "target: missing"},
      {"{\"hot_tokens\": [1], \"target\": {\"hidden_size\": 48, \"vocab_size\": 1331}}",
       "target.hidden_size: got 48, expected 45"},
      {"{\"hot_tokens\": [1], \"target\": {\"hidden_size\": 45, \"vocab_size\": 7}}",
       "target.vocab_size: got 7, expected 1331"},
      {"{" TARGET "}", "hot_tokens: missing"},
      {"{\"hot_tokens\": [], " TARGET "}", "hot_tokens: got 0 tokens"},
      {"{\"hot_tokens\": [1, 1], " TARGET "}", "hot_tokens[1]: got 1, expected"},
      {"{\"hot_tokens\": [5, 2], " TARGET "}", "hot_tokens[1]: got 2, expected"},
      {"{\"hot_tokens\": [-1], " TARGET "}", "hot_tokens[0]: got -1"},
      {"{\"hot_tokens\": [3, 1331], " TARGET "}", "hot_tokens[1]: got 1331"},
      {"{\"hot_tokens\": [\"3\"], " TARGET "}", "hot_tokens[0]: got \"3\""},
      {"{\"hot_tokens\": [1e3], " TARGET "}", "hot_tokens[0]: got"},
      {"{\"hot_tokens\": 3, " TARGET "}", "hot_tokens: got 3"},
  };
  tlt_model *m = save_good();
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    store_in_folder("hot_tokens.json", bad[i][0]);
    assert_refused(m, folder, bad[i][1]);
    assert_refused(m, folder, "hot_tokens.json");
  }
  tlt_model_close(m);
}

/* Write a safetensors file: the tensors of `from` except `without`, the values of `nan` broken, and
 * one more tensor `extra` of this shape. */
static void write_changed(const tlt_drafter *d, const char *without, const char *nan,
                          const char *extra, int64_t rows, int64_t columns) {
  char path[TLT_PATH_MAX];
  tlt_st_writer *w;
  static const float zeros[1331 * 45];
  tlt_path_join(path, folder, "model.safetensors");
  assert_int_equal(tlt_st_create(path, &w, NULL), TLT_OK);
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < d->weights.n_params; i++) {
      const tlt_param *p = &d->weights.param[i];
      int64_t shape[2] = {p->n, p->k};
      if (without && !strcmp(p->name, without)) continue;
      if (pass == 0) {
        tlt_st_declare(w, p->name, TLT_F32, shape, p->matrix ? 2 : 1, NULL);
        continue;
      }
      float *x = values_of(p);
      if (nan && !strcmp(p->name, nan)) x[3] = NAN;
      tlt_st_write(w, x, (size_t)p->n * (size_t)p->k * sizeof *x, NULL);
      free(x);
    }
    int64_t shape[2] = {rows, columns};
    if (extra && pass == 0) tlt_st_declare(w, extra, TLT_F32, shape, columns ? 2 : 1, NULL);
    if (extra && pass == 1)
      tlt_st_write(w, zeros, (size_t)rows * (size_t)(columns ? columns : 1) * sizeof *zeros, NULL);
  }
  assert_int_equal(tlt_st_finish(w, NULL), TLT_OK);
}

static void bad_tensors_are_refused(void **state) {
  (void)state;
  tlt_model *m = save_good();
  tlt_drafter *d = drafter_of(m, 1), *back;
  write_changed(d, "fc.weight", NULL, NULL, 0, 0);
  assert_refused(m, folder, "fc.weight: missing tensor of shape [45, 90]");
  write_changed(d, "fc.weight", NULL, "fc.weight", 45, 135);
  assert_refused(m, folder, "fc.weight: got shape [45, 135], expected [45, 90]");
  write_changed(d, NULL, NULL, "layers.0.input_layernorm.weight", 45, 0);
  assert_refused(m, folder, "layers.0.input_layernorm.weight: unexpected tensor for a drafter");
  write_changed(d, NULL, NULL, "embed_tokens.weight", 1330, 45);
  assert_refused(m, folder, "embed_tokens.weight: got shape [1330, 45], expected [1331, 45]");
  write_changed(d, NULL, NULL, "fc.bias", 46, 0);
  assert_refused(m, folder, "fc.bias: got shape [46], expected [45]");
  write_changed(d, NULL, "layers.0.mlp.up_proj.weight", NULL, 0, 0);
  assert_refused(m, folder, "layers.0.mlp.up_proj.weight");
  write_changed(d, NULL, NULL, "lm_head.weight", 1331, 45);
  assert_int_equal(tlt_drafter_load(folder, m->weights, m->pool, &back, NULL), TLT_OK);
  assert_same_drafter(d, back);
  tlt_drafter_free(back);
  tlt_drafter_free(d);
  tlt_model_close(m);
}

static void damage_is_refused(void **state) {
  (void)state;
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_model *m = save_good();
  tlt_path_join(path, folder, "model.safetensors");
  assert_int_equal(tlt_file_load(path, 1 << 24, &text, &n, NULL), TLT_OK);
  assert_int_equal(tlt_file_store(path, text, n - 2, NULL), TLT_OK);
  assert_refused(m, folder, "model.safetensors");
  assert_int_equal(tlt_path_remove(path, NULL), TLT_OK);
  assert_refused(m, folder, "model.safetensors");
  assert_refused(m, "/nonexistent-drafter", "config.json");
  tlt_free(text);
  tlt_model_close(m);
}

/* ---- Hot tokens ---- */

static void hot_rows_follow_the_target(void **state) {
  (void)state;
  static const int32_t hot[] = {2, 17, 33, 34, 1329}, bad[] = {2, 2}, far[] = {1331};
  float row[45], other[45];
  tlt_model *m = target_of(TLT_ARCH_QWEN2);
  tlt_drafter *d = drafter_of(m, 1);
  assert_int_equal(tlt_drafter_set_hot(d, m->weights, hot, 5, NULL), TLT_OK);
  assert_int_equal(tlt_drafter_set_hot(d, m->weights, bad, 2, NULL), TLT_EDATA);
  assert_int_equal(tlt_drafter_set_hot(d, m->weights, far, 1, NULL), TLT_EDATA);
  assert_int_equal(tlt_drafter_set_hot(d, m->weights, hot, 0, NULL), TLT_EDATA);
  assert_int_equal(d->n_hot, 5);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 5; i++) {
      tlt_packed_get_rows(&d->hot_head, i, 1, row);
      tlt_packed_get_rows(&m->weights->head, hot[i], 1, other);
      assert_memory_equal(row, other, sizeof row);
    }
    assert_int_equal(tiny_randomize(m->weights, 99), 0);
    tlt_drafter_refresh(d, m->weights);
  }
  tlt_drafter_free(d);
  tlt_model_close(m);
}

/* ---- Forward ---- */

typedef struct golden {
  tlt_model *m;
  tlt_drafter *d;
  int pairs, rows, hidden;
  float *true_hidden, *output, *logits;
  int32_t *token;
} golden;

static const char *golden_dir(void) {
  const char *other = getenv("TLT_DRAFTER_GOLDEN");
  return other && *other ? other : TLT_GOLDEN "/drafter";
}

static void *read_tensor(const tlt_st_set *set, const char *name, int *rows) {
  const tlt_st_tensor *t = tlt_st_find(set, name);
  assert_non_null(t);
  void *x = malloc(t->bytes);
  assert_non_null(x);
  assert_int_equal(tlt_st_read_raw(set, t, x, NULL), TLT_OK);
  *rows = (int)t->shape[0];
  return x;
}

static golden open_golden(const char *numerics, int threads) {
  golden g = {0};
  char path[TLT_PATH_MAX];
  int any;
  tlt_st_set *set;
  tlt_model_options o = {.numerics = numerics, .threads = threads};
  tlt_path_join(path, golden_dir(), "target");
  if (tlt_model_open(path, &o, &g.m, NULL) != TLT_OK) skip();
  tlt_path_join(path, golden_dir(), "drafter");
  assert_int_equal(tlt_drafter_load(path, g.m->weights, g.m->pool, &g.d, NULL), TLT_OK);
  tlt_path_join(path, golden_dir(), "io.safetensors");
  assert_int_equal(tlt_st_open(path, &set, NULL), TLT_OK);
  g.hidden = g.m->weights->config.hidden;
  g.true_hidden = read_tensor(set, "hidden", &g.pairs);
  g.token = read_tensor(set, "tokens", &g.rows);
  g.output = read_tensor(set, "output", &any);
  g.logits = read_tensor(set, "logits", &any);
  tlt_st_close(set);
  return g;
}

static void close_golden(golden *g) {
  free(g->true_hidden);
  free(g->output);
  free(g->logits);
  free(g->token);
  tlt_drafter_free(g->d);
  tlt_model_close(g->m);
}

/* The golden sequence in passes: the pairs in chunks of these many rows, then one drafted row after
 * the other. out: fp32 [rows][H] and [rows][hot]. */
static void run_golden(const golden *g, int chunk, float *out, float *logits) {
  enum { POSITIONS = 128 };
  const tlt_kernels *k = g->m->kernels;
  size_t h = (size_t)g->hidden, bytes = tlt_act_stride(h) * k->act_size;
  int32_t blocks[POSITIONS / TLT_KV_BLOCK];
  const void *hidden[POSITIONS];
  tlt_draft_forward f;
  for (int i = 0; i < POSITIONS / TLT_KV_BLOCK; i++) blocks[i] = i;
  assert_int_equal(tlt_draft_forward_init(&f, g->d, k, g->m->pool, POSITIONS, POSITIONS, NULL),
                   TLT_OK);
  unsigned char *kv = tlt_calloc_aligned(POSITIONS / TLT_KV_BLOCK, f.forward.kv.block_bytes);
  unsigned char *in = tlt_calloc_aligned(POSITIONS, bytes),
                *y = tlt_calloc_aligned(POSITIONS, bytes);
  for (int at = 0, n; at < g->rows; at += n) {
    n = at < g->pairs ? chunk : 1;
    if (at < g->pairs && n > g->pairs - at) n = g->pairs - at;
    for (int i = at; i < at + n; i++) {
      hidden[i - at] = at < g->pairs ? in + (size_t)i * bytes : y + (size_t)(i - 1) * bytes;
      if (i < g->pairs) k->to_act(g->true_hidden + (size_t)i * h, h, in + (size_t)i * bytes);
    }
    tlt_seq_rows seq = {.n_rows = n, .pos0 = at, .kv = {kv, blocks}};
    tlt_batch b = {.n_rows = n, .token = g->token + at, .n_seqs = 1, .seq = &seq};
    tlt_draft_forward_run(&f, &b, hidden, y + (size_t)at * bytes);
    tlt_draft_forward_logits(&f, y + (size_t)at * bytes, n,
                             logits + (size_t)at * (size_t)g->d->n_hot);
  }
  for (int i = 0; i < g->rows; i++) k->from_act(y + (size_t)i * bytes, h, out + (size_t)i * h);
  tlt_free(kv);
  tlt_free(in);
  tlt_free(y);
  tlt_draft_forward_deinit(&f);
}

static double largest(const float *x, const float *y, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i] - (double)y[i]));
  return most;
}

static void check_golden(const char *numerics, double limit) {
  golden g = open_golden(numerics, 2);
  size_t n = (size_t)g.rows * (size_t)g.hidden, hot = (size_t)g.rows * (size_t)g.d->n_hot;
  float *out = malloc(n * sizeof *out), *logits = malloc(hot * sizeof *logits);
  assert_true(g.rows <= 128 && out && logits);
  run_golden(&g, 128, out, logits);
  double output_error = largest(out, g.output, n), logit_error = largest(logits, g.logits, hot);
  if (output_error > limit || logit_error > 4 * limit)
    fail_msg("%s: got errors %g in outputs and %g in logits, expected at most %g and %g", numerics,
             output_error, logit_error, limit, 4 * limit);
  free(out);
  free(logits);
  close_golden(&g);
}

static void forward_is_that_of_transformers(void **state) {
  (void)state;
  check_golden("portable", 1e-4);
}

/* bf16 activations: two decimal digits through one layer, a little less after drafted rows. */
static void forward_in_bf16_is_near(void **state) {
  (void)state;
  check_golden("avx512bf16", 0.15);
}

static void chunks_and_threads_change_no_bit(void **state) {
  (void)state;
  static const int chunks[] = {1, 5, 16};
  golden g = open_golden("auto", 1), h = open_golden("auto", 3);
  size_t n = (size_t)g.rows * (size_t)g.hidden, hot = (size_t)g.rows * (size_t)g.d->n_hot;
  float *x = malloc((n + hot) * sizeof *x), *y = malloc((n + hot) * sizeof *y);
  assert_true(x && y);
  run_golden(&g, 128, x, x + n);
  for (int i = 0; i < 3; i++) {
    run_golden(&h, chunks[i], y, y + n);
    assert_memory_equal(x, y, (n + hot) * sizeof *x);
  }
  free(x);
  free(y);
  close_golden(&g);
  close_golden(&h);
}

/* fc.bias counts, is kept by save, and zero where a file has none. */
static void a_bias_is_used_and_kept(void **state) {
  (void)state;
  golden g = open_golden("portable", 1);
  tlt_drafter *back;
  float sum = 0;
  for (int i = 0; i < g.hidden; i++) sum += fabsf(g.d->fc_bias[i]);
  assert_true(sum > 0.1f);
  assert_int_equal(tlt_drafter_save(g.d, folder, NULL), TLT_OK);
  assert_int_equal(tlt_drafter_load(folder, g.m->weights, g.m->pool, &back, NULL), TLT_OK);
  assert_memory_equal(back->fc_bias, g.d->fc_bias, (size_t)g.hidden * sizeof(float));
  tlt_drafter_free(back);
  write_changed(g.d, NULL, NULL, NULL, 0, 0);
  assert_int_equal(tlt_drafter_load(folder, g.m->weights, g.m->pool, &back, NULL), TLT_OK);
  for (int i = 0; i < g.hidden; i++) assert_true(back->fc_bias[i] == 0);
  tlt_drafter_free(back);
  close_golden(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_saved_drafter_loads_the_same),
      cmocka_unit_test(the_file_has_the_names_that_servers_know),
      cmocka_unit_test(a_drafter_of_another_model_is_refused),
      cmocka_unit_test(bad_hot_tokens_are_refused),
      cmocka_unit_test(bad_tensors_are_refused),
      cmocka_unit_test(damage_is_refused),
      cmocka_unit_test(hot_rows_follow_the_target),
      cmocka_unit_test(forward_is_that_of_transformers),
      cmocka_unit_test(forward_in_bf16_is_near),
      cmocka_unit_test(chunks_and_threads_change_no_bit),
      cmocka_unit_test(a_bias_is_used_and_kept),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
