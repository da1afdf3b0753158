/* Backward kernels: against double precision, and bit for bit against the scalar table; fixed-point
 * accumulation at its limits, in any order of tiles and on any number of threads.
 * Run alone: build/tests/unit/kernels/test_backward */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/backward.h"

enum { GUARD = 64 };

static const struct {
  tlt_numerics numerics;
  tlt_isa isa;
} paths[] = {{TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR},
             {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX2},
             {TLT_NUMERICS_PORTABLE, TLT_ISA_AVX512},
             {TLT_NUMERICS_AVX512BF16, TLT_ISA_SCALAR},
             {TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16}};
enum { PATHS = sizeof paths / sizeof paths[0] };

static const tlt_backward *path(int c) {
  const tlt_kernels *k = tlt_kernels_get(paths[c].numerics, paths[c].isa);
  return k ? tlt_backward_of(k) : NULL;
}

static const tlt_backward *oracle(int c) {
  return tlt_backward_of(tlt_kernels_get(paths[c].numerics, TLT_ISA_SCALAR));
}

/* oneDNN's sums have an order of their own. */
static bool own_gemm(int c) {
  return paths[c].isa != TLT_ISA_AVX512BF16;
}

/* ---- helpers ------------------------------------------------------------------------------- */

static uint32_t seed = 1;
static float noise(void) { /* in [-1, 1), deterministic */
  seed = seed * 1664525u + 1013904223u;
  return (float)(int32_t)seed * 0x1p-31f;
}

static float *random_floats(size_t n, float scale) {
  float *x = tlt_calloc_aligned(n, sizeof *x);
  for (size_t i = 0; i < n; i++) x[i] = tlt_bf16_to_f32(tlt_f32_to_bf16(scale * noise()));
  return x;
}

/* Memory with a guard behind it that must stay as it is. */
static void *guarded(size_t bytes) {
  unsigned char *p = tlt_calloc_aligned(bytes + GUARD, 1);
  memset(p, 0xff, bytes); /* NaN: nothing may be read before it is written */
  memset(p + bytes, 0x5a, GUARD);
  return p;
}

static void check_guard(void *memory, size_t bytes) {
  const unsigned char *p = memory;
  for (int i = 0; i < GUARD; i++) assert_int_equal(p[bytes + (size_t)i], 0x5a);
}

/* fp32 [rows][n] as an act matrix with its stride. */
static void *act_matrix(const tlt_kernels *k, const float *x, int rows, int n) {
  size_t ld = tlt_act_stride((size_t)n);
  unsigned char *m = tlt_calloc_aligned((size_t)rows * ld, k->act_size);
  for (int r = 0; r < rows; r++)
    k->to_act(x + (size_t)r * (size_t)n, (size_t)n, m + (size_t)r * ld * k->act_size);
  return m;
}

static bool near(double got, double want, double tolerance) {
  return fabs(got - want) <= tolerance * fmax(1, fabs(want));
}

/* ---- dX and dW ----------------------------------------------------------------------------- */

static const struct {
  int n, k, rows;
} shapes[] = {{16, 16, 1},   {1, 1, 1},    {7, 5, 3},     {64, 64, 64},   {65, 63, 13},
              {96, 48, 257}, {33, 130, 5}, {300, 66, 31}, {130, 72, 513}, {192, 192, 160}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void run_dx(const tlt_backward *b, const tlt_packed *w, const float *dy, int rows, float *dx,
                   size_t ld_dx) {
  void *act = act_matrix(b->forward, dy, rows, w->n);
  size_t bytes = b->dx_scratch(w, rows);
  void *scratch = guarded(bytes);
  for (int t = b->dx_tiles(w) - 1; t >= 0; t--)
    b->dx(w, t, act, tlt_act_stride((size_t)w->n), rows, dx, ld_dx, scratch);
  check_guard(scratch, bytes);
  tlt_free(scratch);
  tlt_free(act);
}

static void dx_is_right(void **state) {
  (void)state;
  for (int a = 0; a < SHAPES * PATHS; a++) {
    const tlt_backward *b = path(a % PATHS);
    int n = shapes[a / PATHS].n, k = shapes[a / PATHS].k, rows = shapes[a / PATHS].rows;
    if (!b) continue;
    seed = (uint32_t)(n * 7 + k);
    size_t ld = (size_t)k + 3;
    float *weights = random_floats((size_t)(n * k), 1), *dy = random_floats((size_t)(rows * n), 1);
    float *dx = guarded((size_t)rows * ld * 4), *want = guarded((size_t)rows * ld * 4);
    tlt_packed w;
    void *memory = tlt_calloc_aligned(tlt_packed_bytes(n, k), 1);
    tlt_packed_init(&w, n, k, memory);
    tlt_packed_set_rows(&w, 0, n, weights);
    run_dx(b, &w, dy, rows, dx, ld);
    run_dx(oracle(a % PATHS), &w, dy, rows, want, ld);
    if (own_gemm(a % PATHS)) assert_memory_equal(dx, want, (size_t)rows * ld * 4);
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < k; j++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += (double)dy[r * n + i] * (double)weights[i * k + j];
        assert_true(near(dx[(size_t)r * ld + (size_t)j], sum, 1e-5));
      }
      for (size_t j = (size_t)k; j < ld; j++) /* untouched */
        assert_true(tlt_bits_f32(dx[(size_t)r * ld + j]) == 0xffffffffu);
    }
    check_guard(dx, (size_t)rows * ld * 4);
    tlt_free(memory);
    tlt_free(weights);
    tlt_free(dy);
    tlt_free(dx);
    tlt_free(want);
  }
}

typedef struct dw_job {
  const tlt_backward *b;
  int n, k, rows, tiles;
  bool backwards;
  const void *dy, *x;
  int64_t *acc;
  void *scratch[8];
  float max[64];
  bool bad[64];
} dw_job;

static void dw_item(void *context, int64_t item, int thread) {
  dw_job *j = context;
  int tile = j->backwards ? j->tiles - 1 - (int)item : (int)item;
  j->b->dw(j->n, j->k, tile, j->dy, tlt_act_stride((size_t)j->n), j->x,
           tlt_act_stride((size_t)j->k), j->rows, j->acc, NULL, &j->max[tile], &j->bad[tile],
           j->scratch[thread]);
}

/* acc += dY^T X on `threads` threads; returns the largest |partial|. */
static float run_dw(const tlt_backward *b, int n, int k, int rows, const float *dy, const float *x,
                    int64_t *acc, int threads, bool backwards) {
  void *act_y = act_matrix(b->forward, dy, rows, n), *act_x = act_matrix(b->forward, x, rows, k);
  dw_job j = {.b = b,
              .n = n,
              .k = k,
              .rows = rows,
              .tiles = b->dw_tiles(n, k),
              .dy = act_y,
              .backwards = backwards,
              .x = act_x,
              .acc = acc};
  size_t bytes = b->dw_scratch(n, k, rows);
  tlt_pool *pool;
  assert_int_equal(tlt_pool_create(threads, &pool, NULL), TLT_OK);
  for (int i = 0; i < threads; i++) j.scratch[i] = guarded(bytes);
  tlt_pool_run(pool, dw_item, &j, j.tiles);
  float max = 0;
  for (int i = 0; i < j.tiles; i++) {
    max = fmaxf(max, j.max[i]);
    assert_false(j.bad[i]);
  }
  for (int i = 0; i < threads; i++) {
    check_guard(j.scratch[i], bytes);
    tlt_free(j.scratch[i]);
  }
  tlt_pool_free(pool);
  tlt_free(act_y);
  tlt_free(act_x);
  return max;
}

static void dw_is_right(void **state) {
  (void)state;
  for (int a = 0; a < SHAPES * PATHS; a++) {
    const tlt_backward *b = path(a % PATHS);
    int n = shapes[a / PATHS].n, k = shapes[a / PATHS].k, rows = shapes[a / PATHS].rows;
    if (!b) continue;
    seed = (uint32_t)(n * 5 + k);
    size_t size = (size_t)(n * k) * sizeof(int64_t);
    float *dy = random_floats((size_t)(rows * n), 1), *x = random_floats((size_t)(rows * k), 1);
    int64_t *acc = guarded(size), *want = guarded(size);
    memset(acc, 0, size);
    memset(want, 0, size);
    float max = run_dw(b, n, k, rows, dy, x, acc, 1, false);
    float max_want = run_dw(oracle(a % PATHS), n, k, rows, dy, x, want, 1, false);
    if (own_gemm(a % PATHS)) assert_memory_equal(acc, want, size);
    assert_true(near(max, max_want, own_gemm(a % PATHS) ? 0 : 1e-5));
    memcpy(want, acc, size);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < k; j++) {
        double sum = 0;
        for (int r = 0; r < rows; r++) sum += (double)dy[r * n + i] * (double)x[r * k + j];
        assert_true(near((double)acc[i * k + j] * 0x1p-40, sum, 1e-5));
      }
    }
    run_dw(b, n, k, rows, dy, x, want, 3, true); /* a second time: other order, other threads */
    for (int i = 0; i < n * k; i++) assert_true(want[i] == 2 * acc[i]);
    check_guard(acc, size);
    tlt_free(dy);
    tlt_free(x);
    tlt_free(acc);
    tlt_free(want);
  }
}

/* More row counts than oneDNN's cache of compiled products holds; each gives its bits again. */
static void row_counts_come_and_go(void **state) {
  (void)state;
  enum { N = 40, K = 33, ROWS = 90 };
  static int64_t acc[ROWS + 1][N * K], again[N * K];
  float *dy = random_floats(ROWS * N, 1), *x = random_floats(ROWS * K, 1);
  for (int c = 0; c < PATHS; c++) {
    const tlt_backward *b = path(c);
    if (!b) continue;
    memset(acc, 0, sizeof acc);
    for (int r = 1; r <= ROWS; r++) run_dw(b, N, K, r, dy, x, acc[r], 1, false);
    for (int r = 1; r <= ROWS; r++) {
      memset(again, 0, sizeof again);
      run_dw(b, N, K, r, dy, x, again, 1, false);
      assert_memory_equal(again, acc[r], sizeof again);
    }
  }
  tlt_free(dy);
  tlt_free(x);
}

/* ---- fixed point --------------------------------------------------------------------------- */

static void fix_add_is_exact(void **state) {
  (void)state;
  const float special[] = {
      0.0f,        -0.0f,          0x1p-40f,       0x1p-41f,        0x1.8p-40f,
      -0x1.8p-40f, 0x1p-16f,       -0x1p-16f,      0x1.fffffep-17f, 0x1.fffffep-18f,
      1.0f,        -1.0f,          0x1.fffffep21f, -0x1.fffffep21f, 0x1p-149f,
      1e-30f,      0x1.000002p-17f};
  enum { SPECIAL = sizeof special / sizeof special[0], N = 1003 };
  for (int c = 0; c < PATHS; c++) {
    const tlt_backward *b = path(c);
    if (!b) continue;
    float x[N];
    int64_t acc[N + 1], want[N];
    seed = 9;
    for (int i = 0; i < N; i++) {
      x[i] = i < SPECIAL ? special[i] : ldexpf(noise(), (int)(seed >> 16) % 62 - 40);
      acc[i] = want[i] = (int64_t)i * 0x100000001;
      want[i] += (int64_t)rint((double)x[i] * 0x1p40);
    }
    acc[N] = 77;
    bool bad = false;
    assert_true(b->fix_add(acc, x, N, &bad) == 0x1.fffffep21f);
    assert_false(bad);
    assert_memory_equal(acc, want, sizeof want);
    assert_true(acc[N] == 77);
  }
}

static void fix_add_flags_overflow(void **state) {
  (void)state;
  const float wrong[] = {0x1p22f, -0x1p22f, INFINITY, -INFINITY, NAN, 3e38f};
  for (int c = 0; c < PATHS; c++) {
    const tlt_backward *b = path(c);
    if (!b) continue;
    for (int i = 0; i < 6; i++) {
      for (int at = 0; at < 20; at++) {
        float x[20];
        int64_t acc[20] = {0};
        for (int j = 0; j < 20; j++) x[j] = 1;
        x[at] = wrong[i];
        bool bad = false;
        float max = b->fix_add(acc, x, 20, &bad);
        assert_true(bad && max == (wrong[i] != wrong[i] ? 1 : fabsf(wrong[i])));
        for (int j = 0; j < 20; j++) assert_true(acc[j] == (j == at ? 0 : (int64_t)1 << 40));
      }
    }
  }
}

/* ---- elementwise --------------------------------------------------------------------------- */

static const int widths[] = {2, 16, 30, 64, 100, 576};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

static void rmsnorm_is_right(void **state) {
  (void)state;
  for (int a = 0; a < PATHS * WIDTHS; a++) {
    const tlt_backward *b = path(a % PATHS);
    int n = widths[a / PATHS];
    if (!b) continue;
    size_t size = (size_t)n * 4;
    float *dy = random_floats((size_t)n, 1), *x = random_floats((size_t)n, 2);
    float *gain = random_floats((size_t)n, 1), *dx = guarded(size), *dg = guarded(size);
    float *want_dx = guarded(size), *want_dg = guarded(size);
    double ss = 0, dot = 0;
    for (int i = 0; i < n; i++) {
      dx[i] = want_dx[i] = dg[i] = want_dg[i] = 0.5f;
      ss += (double)x[i] * (double)x[i];
      dot += (double)dy[i] * (double)gain[i] * (double)x[i];
    }
    double inv = 1 / sqrt(ss / n + 1e-5);
    b->rmsnorm(dy, x, gain, (float)inv, n, dx, dg);
    oracle(a % PATHS)->rmsnorm(dy, x, gain, (float)inv, n, want_dx, want_dg);
    assert_memory_equal(dx, want_dx, size);
    assert_memory_equal(dg, want_dg, size);
    for (int i = 0; i < n; i++) {
      double h = (double)dy[i] * (double)gain[i];
      assert_true(near(dx[i], 0.5 + h * inv - (double)x[i] * inv * inv * inv / n * dot, 2e-6));
      assert_true(near(dg[i], 0.5 + (double)dy[i] * (double)x[i] * inv, 1e-6));
    }
    check_guard(dx, size);
    check_guard(dg, size);
    float *all[] = {dy, x, gain, dx, dg, want_dx, want_dg};
    for (int i = 0; i < 7; i++) tlt_free(all[i]);
  }
}

static void silu_and_rope_are_right(void **state) {
  (void)state;
  for (int a = 0; a < PATHS * WIDTHS; a++) {
    const tlt_backward *b = path(a % PATHS);
    int n = widths[a / PATHS], half = n / 2;
    if (!b) continue;
    size_t size = (size_t)n * 4;
    float *dm = random_floats((size_t)n, 1), *g = random_floats((size_t)n, 20);
    float *u = random_floats((size_t)n, 1), *dg = guarded(size), *du = guarded(size);
    float *want_g = guarded(size), *want_u = guarded(size);
    b->silu_mul(dm, g, u, n, dg, du);
    oracle(a % PATHS)->silu_mul(dm, g, u, n, want_g, want_u);
    assert_memory_equal(dg, want_g, size);
    assert_memory_equal(du, want_u, size);
    for (int i = 0; i < n; i++) {
      double s = 1 / (1 + exp(-(double)g[i]));
      assert_true(near(du[i], (double)dm[i] * (double)g[i] * s, 1e-6));
      double slope = s * (1 + (double)g[i] * (1 - s));
      assert_true(near(dg[i], (double)dm[i] * (double)u[i] * slope, 1e-6));
    }
    b->silu_mul(dm, g, u, n, g, u); /* aliased */
    assert_memory_equal(g, want_g, size);
    assert_memory_equal(u, want_u, size);
    for (int i = 0; i < half; i++) { /* forward, then the inverse: back again */
      dg[i] = cosf((float)i);
      du[i] = sinf((float)i);
      want_g[i] = dm[i] * dg[i] - dm[half + i] * du[i];
      want_g[half + i] = dm[half + i] * dg[i] + dm[i] * du[i];
    }
    memcpy(want_u, want_g, size);
    b->rope(want_g, dg, du, n);
    oracle(a % PATHS)->rope(want_u, dg, du, n);
    assert_memory_equal(want_g, want_u, size);
    for (int i = 0; i < n; i++) assert_true(near(want_g[i], dm[i], 1e-6));
    float *all[] = {dm, g, u, dg, du, want_g, want_u};
    for (int i = 0; i < 7; i++) tlt_free(all[i]);
  }
}

static void dlogits_are_right(void **state) {
  (void)state;
  for (int a = 0; a < PATHS * 3; a++) {
    const tlt_backward *b = path(a % PATHS);
    enum { N = 1003 };
    float t = (const float[]){1, 0.7f, 0}[a / PATHS], x[N], want[N];
    double temperature = a / PATHS == 2 ? 1 : (double)t, sum = 0;
    if (!b) continue;
    for (int i = 0; i < N; i++) sum += exp((double)(x[i] = want[i] = 5 * noise()) / temperature);
    float lse = (float)log(sum), copy[N];
    memcpy(copy, x, sizeof x);
    b->dlogits(x, N, t, lse, 1002, -1.5f);
    oracle(a % PATHS)->dlogits(want, N, t, lse, 1002, -1.5f);
    assert_memory_equal(x, want, sizeof x);
    for (int i = 0; i < N; i++) {
      double p = exp((double)copy[i] / temperature) / sum;
      assert_true(near(x[i], -1.5 / temperature * ((i == 1002) - p), 1e-6));
    }
  }
}

/* ---- attention ----------------------------------------------------------------------------- */

typedef struct attn_case {
  int T, G, d;
  float scale;
  float *q, *k, *v, *out, *lse, *dout; /* q, out, dout [T][G][d]; k, v [T][d]; lse [T][G] */
  double *dq, *dk, *dv;
} attn_case;

static void naive_head(attn_case *c, int t, int h) {
  int d = c->d;
  size_t row = (size_t)((t * c->G + h) * d);
  double *p = tlt_calloc((size_t)t + 1, sizeof *p), *g = tlt_calloc((size_t)t + 1, sizeof *g);
  double sum = 0, delta = 0;
  for (int j = 0; j <= t; j++) {
    double s = 0;
    for (int i = 0; i < d; i++) {
      s += (double)c->q[row + (size_t)i] * (double)c->k[j * d + i];
      g[j] += (double)c->dout[row + (size_t)i] * (double)c->v[j * d + i];
    }
    sum += p[j] = exp((double)c->scale * s);
  }
  for (int i = 0; i < d; i++) {
    double o = 0;
    for (int j = 0; j <= t; j++) o += p[j] / sum * (double)c->v[j * d + i];
    c->out[row + (size_t)i] = tlt_bf16_to_f32(tlt_f32_to_bf16((float)o));
    delta += (double)c->out[row + (size_t)i] * (double)c->dout[row + (size_t)i];
  }
  c->lse[t * c->G + h] = (float)log(sum);
  for (int j = 0; j <= t; j++) {
    double ds = p[j] / sum * (g[j] - delta) * (double)c->scale;
    for (int i = 0; i < d; i++) {
      c->dq[row + (size_t)i] += ds * (double)c->k[j * d + i];
      c->dk[j * d + i] += ds * (double)c->q[row + (size_t)i];
      c->dv[j * d + i] += p[j] / sum * (double)c->dout[row + (size_t)i];
    }
  }
  tlt_free(p);
  tlt_free(g);
}

static attn_case make_case(int T, int G, int d) {
  size_t kv = (size_t)(T * d), q = kv * (size_t)G;
  attn_case c = {.T = T, .G = G, .d = d, .scale = 0.25f};
  seed = (uint32_t)(T + G + d);
  c.q = random_floats(q, 1);
  c.k = random_floats(kv, 1);
  c.v = random_floats(kv, 1);
  c.dout = random_floats(q, 1);
  c.out = random_floats(q, 0);
  c.lse = random_floats((size_t)(T * G), 0);
  c.dq = tlt_calloc(q, sizeof *c.dq);
  c.dk = tlt_calloc(kv, sizeof *c.dk);
  c.dv = tlt_calloc(kv, sizeof *c.dv);
  for (int t = 0; t < T; t++)
    for (int h = 0; h < G; h++) naive_head(&c, t, h);
  return c;
}

static void free_case(attn_case *c) {
  void *all[] = {c->q, c->k, c->v, c->dout, c->out, c->lse, c->dq, c->dk, c->dv};
  for (int i = 0; i < 9; i++) tlt_free(all[i]);
}

/* result: dq [T][G d], then dk, dv [T][d]; `keys` of them in a call */
static void run_attention(const tlt_backward *b, const attn_case *c, int keys, float *result) {
  int qn = c->G * c->d;
  const tlt_kernels *f = b->forward;
  void *q = act_matrix(f, c->q, c->T, qn), *out = act_matrix(f, c->out, c->T, qn);
  void *k = act_matrix(f, c->k, c->T, c->d), *v = act_matrix(f, c->v, c->T, c->d);
  size_t ld = tlt_act_stride((size_t)qn), kv_ld = tlt_act_stride((size_t)c->d);
  size_t bytes = b->attention_scratch(c->T, c->G, c->d);
  void *scratch = guarded(bytes);
  float *dk = result + c->T * qn, *dv = dk + c->T * c->d;
  for (int key = 0; key < c->T; key += keys)
    b->attention(c->T, key, key + keys < c->T ? key + keys : c->T, c->G, c->d, c->scale, q, ld, k, v,
                 kv_ld, c->lse, (size_t)c->G, out, ld, c->dout, (size_t)qn, result, (size_t)qn,
                 dk, dv, (size_t)c->d, scratch);
  check_guard(scratch, bytes);
  void *all[] = {q, out, k, v, scratch};
  for (int i = 0; i < 5; i++) tlt_free(all[i]);
}

static void attention_is_right(void **state) {
  (void)state;
  const int cases[][3] = {{1, 1, 16},  {2, 3, 64},   {15, 2, 32},  {64, 3, 64},
                          {65, 1, 33}, {130, 3, 64}, {200, 2, 48}, {90, 1, 128}};
  for (int a = 0; a < 8; a++) {
    attn_case c = make_case(cases[a][0], cases[a][1], cases[a][2]);
    size_t q = (size_t)(c.T * c.G * c.d), kv = (size_t)(c.T * c.d), size = (q + 2 * kv) * 4;
    for (int i = 0; i < PATHS; i++) {
      const tlt_backward *b = path(i);
      if (!b) continue;
      float *got = guarded(size), *want = guarded(size);
      run_attention(oracle(i), &c, c.T, want);
      run_attention(b, &c, TLT_ATTN_KEYS, got);
      assert_memory_equal(got, want, size);
      run_attention(oracle(i), &c, 2 * TLT_ATTN_KEYS, got);
      assert_memory_equal(got, want, size);
      run_attention(b, &c, c.T, got);
      assert_memory_equal(got, want, size);
      check_guard(got, size);
      for (size_t j = 0; j < q; j++) assert_true(near(got[j], c.dq[j], 2e-5));
      for (size_t j = 0; j < kv; j++) assert_true(near(got[q + j], c.dk[j], 2e-5));
      for (size_t j = 0; j < kv; j++) assert_true(near(got[q + kv + j], c.dv[j], 2e-5));
      tlt_free(got);
      tlt_free(want);
    }
    free_case(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dx_is_right),
      cmocka_unit_test(dw_is_right),
      cmocka_unit_test(row_counts_come_and_go),
      cmocka_unit_test(fix_add_is_exact),
      cmocka_unit_test(fix_add_flags_overflow),
      cmocka_unit_test(rmsnorm_is_right),
      cmocka_unit_test(silu_and_rope_are_right),
      cmocka_unit_test(dlogits_are_right),
      cmocka_unit_test(attention_is_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
