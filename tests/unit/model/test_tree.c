/* Tree rows in the forward: every node has the bits of the chain that ends with its path.
 * Run alone: build/tests/unit/model/test_tree */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka needs the three above first */
#include <cmocka.h>

#include "base/mem.h"
#include "tiny.h"

enum { MOST = 64, MAX_ROWS = 512, MAX_POSITIONS = 400, BLOCKS = 2 * (MAX_POSITIONS + MOST) / 16 };

static uint32_t seed = 1;
static int below(int n) {
  seed = seed * 1664525u + 1013904223u;
  return (int)((uint64_t)(seed >> 4) * (uint64_t)n >> 28);
}

typedef struct tree {
  int n;
  int16_t parent[MOST], depth[MOST];
  int32_t token[MOST];
} tree;

typedef enum shape { CHAIN, DEPTH_FIRST, LEVELS, ANYHOW, STAR, SHAPES } shape;

static tree grow(shape how, int n, int vocab) {
  tree t = {.n = n};
  for (int i = 0; i < n; i++) {
    int parent = i - 1;
    if (how == DEPTH_FIRST && below(3) == 0) parent = i ? t.parent[i - 1] : -1;
    if (how == LEVELS) parent = i ? (i - 1) / 2 : -1;
    if (how == ANYHOW) parent = i ? below(i + 1) - 1 : -1;
    if (how == STAR) parent = i <= n / 2 ? -1 : below(n / 2);
    while (parent >= 0 && t.depth[parent] == TLT_TREE_DEPTH) parent = t.parent[parent];
    t.parent[i] = (int16_t)parent;
    t.depth[i] = (int16_t)(parent < 0 ? 0 : t.depth[parent] + 1);
    t.token[i] = below(vocab);
  }
  return t;
}

/* ---- A machine that runs rows and keeps what the last layer left ---- */

typedef struct rig {
  tlt_model *m;
  tlt_forward f;
  tlt_workspace ws;
  unsigned char *kv;
  int32_t block[BLOCKS]; /* scattered */
  float lse[MAX_ROWS * 26];
} rig;

static void set_up(rig *r, tlt_model *m) {
  const tlt_config *c = &m->weights->config;
  memset(r, 0, sizeof *r);
  r->m = m;
  assert_int_equal(
      tlt_forward_init(&r->f, m->kernels, m->weights, m->pool, MAX_ROWS, MAX_POSITIONS, NULL),
      TLT_OK);
  assert_int_equal(tlt_workspace_init(&r->ws, c, m->kernels->act_size, MAX_ROWS, NULL), TLT_OK);
  r->ws.io.lse = r->lse;
  r->kv = tlt_calloc_aligned(BLOCKS, r->f.kv.block_bytes);
  for (int i = 0; i < BLOCKS; i++) r->block[i] = (i * 27 + 5) % BLOCKS;
}

static void tear_down(rig *r) {
  tlt_forward_deinit(&r->f);
  tlt_workspace_deinit(&r->ws);
  tlt_free(r->kv);
}

static void run(rig *r, const int32_t *token, const tlt_seq_rows *seq, int n_seqs) {
  const tlt_seq_rows *last = &seq[n_seqs - 1];
  tlt_batch b = {.n_rows = last->row0 + last->n_rows, .token = token, .n_seqs = n_seqs, .seq = seq};
  tlt_forward_embed(&r->f, &b, r->ws.x);
  for (int l = 0; l < r->m->weights->config.layers; l++) tlt_forward_layer(&r->f, l, &b, &r->ws.io);
}

static tlt_seq_rows rows_of(const rig *r, int half, int row0, int n, int pos0) {
  return (tlt_seq_rows){row0, n, pos0, {r->kv, r->block + half * BLOCKS / 2}, NULL};
}

/* Fill blocks with what an earlier user may have left. */
static void spoil(rig *r) {
  uint32_t *word = (uint32_t *)(void *)r->kv;
  for (size_t i = 0; i < BLOCKS * r->f.kv.block_bytes / 4; i++) word[i] = 0x7fc07fc0u;
}

/* ---- Trees against chains ---- */

typedef struct states {
  float *x;   /* [MOST][H] */
  float *lse; /* [MOST][heads] */
} states;

static void keep(const rig *r, states *s, int node, int row) {
  size_t h = (size_t)r->m->weights->config.hidden, heads = (size_t)r->m->weights->config.heads;
  memcpy(s->x + (size_t)node * h, r->ws.x + (size_t)row * h, h * sizeof(float));
  memcpy(s->lse + (size_t)node * heads, r->lse + (size_t)row * heads, heads * sizeof(float));
}

static void read_prefix(rig *r, int half, const int32_t *prefix, int pos0) {
  tlt_seq_rows seq = rows_of(r, half, 0, pos0, 0);
  if (pos0) run(r, prefix, &seq, 1);
}

/* Each node's path as a plain chain behind the prefix. */
static void run_paths(rig *r, const int32_t *prefix, int pos0, const tree *t, states *s) {
  int32_t token[MOST];
  read_prefix(r, 0, prefix, pos0);
  for (int i = 0; i < t->n; i++) {
    int n = t->depth[i] + 1;
    for (int at = i, d = n - 1; at >= 0; at = t->parent[at], d--) token[d] = t->token[at];
    tlt_seq_rows seq = rows_of(r, 0, 0, n, pos0);
    run(r, token, &seq, 1);
    keep(r, s, i, n - 1);
  }
}

/* The tree in runs of at most `step` nodes, beside a chain that is read meanwhile. */
static void run_tree(rig *r, const int32_t *prefix, int pos0, const tree *t, int step, states *s) {
  int32_t token[MAX_ROWS];
  spoil(r);
  read_prefix(r, 1, prefix, pos0);
  for (int i = 0; i < t->n; i += step) {
    int n = t->n - i < step ? t->n - i : step, other = 1 + below(5);
    tlt_tree_rows rows = {t->parent, t->depth, i};
    tlt_seq_rows seq[2] = {rows_of(r, 0, 0, other, 0), rows_of(r, 1, other, n, pos0)};
    seq[1].tree = &rows;
    for (int j = 0; j < other; j++) token[j] = j;
    memcpy(token + other, t->token + i, (size_t)n * sizeof *token);
    run(r, token, seq, 2);
    for (int j = 0; j < n; j++) keep(r, s, i + j, other + j);
  }
}

static states states_of(const tlt_config *c) {
  return (states){calloc(MOST, (size_t)c->hidden * sizeof(float)),
                  calloc(MOST, (size_t)c->heads * sizeof(float))};
}

static void check_trees(tlt_model *m) {
  static const int starts[] = {0, 1, 15, 16, 41, 112, 127, 128, 143, 250};
  static rig r;
  const tlt_config *c = &m->weights->config;
  states want = states_of(c), got = states_of(c);
  int32_t prefix[MAX_POSITIONS];
  set_up(&r, m);
  for (size_t a = 0; a < sizeof starts / sizeof *starts; a++) {
    shape how = (shape)(a % SHAPES);
    tree t = grow(how, 1 + below(how == CHAIN ? TLT_TREE_DEPTH + 1 : 40), c->vocab);
    for (int i = 0; i < starts[a]; i++) prefix[i] = below(c->vocab);
    run_paths(&r, prefix, starts[a], &t, &want);
    for (int way = 0; way < 2; way++) {
      run_tree(&r, prefix, starts[a], &t, way ? 1 + below(7) : t.n, &got);
      assert_memory_equal(want.x, got.x, (size_t)(t.n * c->hidden) * sizeof(float));
      assert_memory_equal(want.lse, got.lse, (size_t)(t.n * c->heads) * sizeof(float));
    }
  }
  tear_down(&r);
  free(want.x);
  free(want.lse);
  free(got.x);
  free(got.lse);
}

static void check_numerics(const char *numerics) {
  for (int arch = 0; arch < 3; arch++)
    for (int variant = 0; variant < 3; variant++) {
      tlt_config c = tiny_config((tlt_arch)arch);
      c.layers = 2;
      if (variant == 1) c.heads = c.kv_heads = 5, c.head_dim = 18;
      if (variant == 2) c.heads = 26, c.kv_heads = 2, c.head_dim = 64;
      c.max_positions = MAX_POSITIONS;
      tlt_model *m = tiny_model(&c, numerics, 1 + arch);
      if (!m) skip();
      if (variant == 1 && !arch) m->weights->layer[0].norm1 = NULL;
      check_trees(m);
      tlt_model_close(m);
    }
}

static void portable_nodes_are_chains(void **state) {
  (void)state;
  check_numerics("portable");
}

static void bf16_nodes_are_chains(void **state) {
  (void)state;
  check_numerics("avx512bf16");
}

/* Without norm1 the input of the projections is x itself. */
static void no_input_norm(void **state) {
  (void)state;
  static rig r;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "portable", 1);
  float inv[3] = {0}, *h1;
  int32_t token[3] = {5, 6, 7};
  set_up(&r, m);
  m->weights->layer[0].norm1 = NULL;
  r.ws.io.inv1 = inv;
  r.ws.io.h1 = h1 = tlt_calloc_aligned(3 * tlt_act_stride((size_t)c.hidden), sizeof(float));
  tlt_seq_rows seq = rows_of(&r, 0, 0, 3, 0);
  tlt_batch b = {.n_rows = 3, .token = token, .n_seqs = 1, .seq = &seq};
  tlt_forward_embed(&r.f, &b, r.ws.x);
  float *x = malloc(3 * (size_t)c.hidden * sizeof *x);
  memcpy(x, r.ws.x, 3 * (size_t)c.hidden * sizeof *x);
  tlt_forward_layer(&r.f, 0, &b, &r.ws.io);
  for (int i = 0; i < 3; i++) {
    assert_true(inv[i] == 1);
    assert_memory_equal(h1 + (size_t)i * tlt_act_stride((size_t)c.hidden), x + i * c.hidden,
                        (size_t)c.hidden * sizeof *x);
  }
  free(x);
  tlt_free(h1);
  tear_down(&r);
  tlt_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(portable_nodes_are_chains),
      cmocka_unit_test(bf16_nodes_are_chains),
      cmocka_unit_test(no_input_norm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
