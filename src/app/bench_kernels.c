#include "app/bench_kernels.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "kernels/gemm_run.h"

enum {
  LAYERS = 30,
  GEMMS = 4 * LAYERS + 1, /* qkv, attention output, gate and up, down; the head is last */
  VOCAB = 49152,
  MAX_ROWS = 256,
  MAX_K = 1536,
  MAX_ROUNDS = 64,
  SLICES = 64, /* work items of the bandwidth loop per matrix */
};

typedef struct bench {
  const tlt_kernels *k;
  tlt_pool *pool;
  tlt_packed w[GEMMS];
  void *x;       /* [MAX_ROWS][MAX_K] act */
  float *y;      /* [MAX_ROWS][VOCAB]; row 0 is also the logits to sample from */
  void *scratch; /* of the sampler */
  uint64_t seen; /* keeps the bandwidth loop from being optimised away */
  size_t bytes;  /* of all weights */
} bench;

static void shape_of(int i, int *n, int *k) {
  static const int shapes[4][2] = {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}};
  *n = i == GEMMS - 1 ? VOCAB : shapes[i % 4][0];
  *k = i == GEMMS - 1 ? 576 : shapes[i % 4][1];
}

/* Values of order 2^-7 with random signs. */
static void fill_bf16(tlt_bf16 *to, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = (tlt_bf16)(0x3c00 | (i * 2654435761u >> 16 & 0x807f));
}

static tlt_status open_weights(bench *b, tlt_err *err) {
  for (int i = 0; i < GEMMS; i++) {
    int n, k;
    shape_of(i, &n, &k);
    size_t bytes = tlt_packed_bytes(n, k);
    tlt_bf16 *memory = tlt_pages_alloc(bytes);
    if (!memory) return tlt_fail_nomem(err, "weights of the benchmark", bytes);
    fill_bf16(memory, bytes / sizeof *memory);
    tlt_packed_init(&b->w[i], n, k, memory);
    b->bytes += bytes;
  }
  return TLT_OK;
}

static void bench_close(bench *b) {
  for (int i = 0; i < GEMMS; i++)
    if (b->w[i].data) tlt_pages_free(b->w[i].data, tlt_packed_bytes(b->w[i].n, b->w[i].k));
  tlt_pages_free(b->x, MAX_ROWS * MAX_K * sizeof(float));
  tlt_pages_free(b->y, (size_t)MAX_ROWS * VOCAB * sizeof(float));
  tlt_free(b->scratch);
  tlt_pool_free(b->pool);
}

static tlt_status bench_open(bench *b, const char *numerics, int threads, tlt_err *err) {
  tlt_status s = tlt_kernels_choose(numerics ? numerics : "auto", &b->k, err);
  if (s == TLT_OK) s = tlt_pool_create(threads, &b->pool, err);
  if (s == TLT_OK) s = open_weights(b, err);
  if (s != TLT_OK) return s;
  b->x = tlt_pages_alloc(MAX_ROWS * MAX_K * sizeof(float));
  b->y = tlt_pages_alloc((size_t)MAX_ROWS * VOCAB * sizeof(float));
  b->scratch = tlt_calloc_aligned(tlt_sample_scratch_bytes(VOCAB), 1);
  if (!b->x || !b->y || !b->scratch)
    return tlt_fail_nomem(err, "rows of the benchmark", (size_t)MAX_ROWS * VOCAB * sizeof(float));
  for (int i = 0; i < MAX_ROWS * MAX_K; i++) {
    float one = i % 3 ? 0.5f : -1.0f;
    b->k->to_act(&one, 1, (char *)b->x + (size_t)i * b->k->act_size);
  }
  return TLT_OK;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void read_slice(void *context, int64_t item, int thread) {
  bench *b = context;
  (void)thread;
  const tlt_packed *w = &b->w[item / SLICES];
  size_t words = tlt_packed_bytes(w->n, w->k) / sizeof(uint64_t) / SLICES;
  const uint64_t *p = (const uint64_t *)w->data + words * (size_t)(item % SLICES);
  uint64_t sum[8] = {0};
  for (size_t i = 0; i + 8 <= words; i += 8)
    for (int j = 0; j < 8; j++) sum[j] += p[i + (size_t)j];
  uint64_t all = 0;
  for (int j = 0; j < 8; j++) all ^= sum[j];
  __atomic_fetch_xor(&b->seen, all, __ATOMIC_RELAXED);
}

static void bench_memory(bench *b, int rounds, tlt_bench_table *t) {
  double rate[MAX_ROUNDS];
  for (int r = 0; r < rounds; r++) {
    double start = tlt_now();
    tlt_pool_run(b->pool, read_slice, b, (int64_t)GEMMS * SLICES);
    rate[r] = (double)b->bytes / (tlt_now() - start) * 1e-9;
  }
  tlt_bench_add(t, "read all weights", 0, rate, rounds, "GB/s");
}

/* ---- GEMM --------------------------------------------------------------------------------------
 */

static void run_gemm(bench *b, const tlt_packed *w, int rows) {
  tlt_gemm_run(b->pool, b->k, w, b->x, tlt_act_stride((size_t)w->k), rows, b->y, (size_t)w->n,
               false);
}

static void bench_forward(bench *b, int rows, int rounds, tlt_bench_table *t) {
  double ms[MAX_ROUNDS];
  for (int r = 0; r < rounds; r++) {
    double start = tlt_now();
    for (int i = 0; i < GEMMS; i++) run_gemm(b, &b->w[i], rows);
    ms[r] = (tlt_now() - start) * 1e3;
  }
  tlt_bench_add(t, "all GEMMs of a forward", rows, ms, rounds, "ms");
}

/* The same small matrix again and again: arithmetic alone. */
static void bench_cached(bench *b, int rows, int rounds, tlt_bench_table *t) {
  enum { REPEAT = 50 };
  double rate[MAX_ROUNDS];
  const tlt_packed *w = &b->w[0];
  run_gemm(b, w, rows);
  for (int r = 0; r < rounds; r++) {
    double start = tlt_now();
    for (int i = 0; i < REPEAT; i++) run_gemm(b, w, rows);
    rate[r] = 2.0 * REPEAT * rows * w->n * w->k / (tlt_now() - start) * 1e-9;
  }
  tlt_bench_add(t, "GEMM 960x576 in cache", rows, rate, rounds, "GFLOP/s");
}

/* ---- sampling
 * ------------------------------------------------------------------------------------ */

/* Logits whose order statistics fall off exponentially, as those of language models about do. */
static void fill_logits(float *logits, float sharpness) {
  tlt_stream s = tlt_stream_open(1, TLT_PURPOSE_TASK, 0, 0, 0);
  for (int v = 0; v < VOCAB; v++)
    logits[v] = sharpness * tlt_exponential_of_uniform(tlt_uniform(tlt_stream_u32(&s)));
}

static void bench_sample(bench *b, const char *what, const tlt_sampling *how, float sharpness,
                         int rounds, tlt_bench_table *t) {
  enum { DRAWS = 20 };
  double us[MAX_ROUNDS];
  fill_logits(b->y, sharpness);
  for (int r = 0; r < rounds; r++) {
    double start = tlt_now();
    for (uint32_t i = 0; i < DRAWS; i++) {
      tlt_draw draw = {1, (uint32_t)r, 0, i};
      b->seen ^= (uint64_t)b->k->sample(b->y, VOCAB, how, &draw, b->scratch);
    }
    us[r] = (tlt_now() - start) * 1e6 / DRAWS;
  }
  tlt_bench_add(t, what, 1, us, rounds, "us");
}

static void bench_logprob(bench *b, int rounds, tlt_bench_table *t) {
  enum { TIMES = 20 };
  double us[MAX_ROUNDS];
  for (int r = 0; r < rounds; r++) {
    double start = tlt_now();
    for (int i = 0; i < TIMES; i++)
      b->seen ^= tlt_bits_f32(tlt_logprob(b->k, b->y, VOCAB, 1.0f, i, NULL));
    us[r] = (tlt_now() - start) * 1e6 / TIMES;
  }
  tlt_bench_add(t, "log-probability, one row", 1, us, rounds, "us");
}

tlt_status tlt_bench_kernels(const char *numerics, int threads, int rounds, tlt_bench_table *t,
                             tlt_err *err) {
  static const int rows[] = {1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256};
  bench b = {0};
  if (rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
  tlt_status s = bench_open(&b, numerics, threads, err);
  if (s == TLT_OK) {
    bench_memory(&b, rounds, t);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) bench_forward(&b, rows[i], rounds, t);
    bench_cached(&b, 12, rounds, t);
    bench_cached(&b, 256, rounds, t);
    bench_sample(&b, "sample, sharp row", &(tlt_sampling){1, 0, 1, 0}, 4.0f, rounds, t);
    bench_sample(&b, "sample, flat row", &(tlt_sampling){1, 0, 1, 0}, 0.0f, rounds, t);
    bench_sample(&b, "sample, top-k 50", &(tlt_sampling){1, 50, 1, 0}, 2.0f, rounds, t);
    bench_sample(&b, "sample, top-p 0.95", &(tlt_sampling){1, 0, 0.95f, 0}, 2.0f, rounds, t);
    bench_logprob(&b, rounds, t);
  }
  bench_close(&b);
  return s;
}
