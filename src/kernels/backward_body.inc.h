/* Backward kernels on sixteen lanes; definitions and the order of operations are in ref/backward.c.
 *
 * The including file defines
 *   TLT_LOAD_ACT(p, i, n)   elements i .. i+n-1 of act memory p as fp32 lanes, n <= 16
 *   TLT_MM_BLOCKS(f)        rows of register blocks, f(rows) each, largest first, the last is 1
 *   TLT_MM_VECTORS          vectors of a register block, 1 or 2
 *   TLT_BACKWARD            name of the table
 *   TLT_GEMM(name)          the function that is dx, dw, dx_tiles, ... of the table
 * and fix_add_lanes (fix_add_*.inc.h). */
#include "kernels/backward_internal.h"
#include "kernels/lanes.h"

enum { TILE = 64 }; /* positions of an attention block; columns of K and rows of W of GEMM tiles */

/* ---- the matrix product under everything --------------------------------------------------- */

/* C[rows][16 vectors] += A B: one chain over ascending u per element, carried through C.
 * A(i, u) = a[i * a_row + u * a_unit], B[u][..] at stride ldb, C at stride ldc. */
TLT_INLINE void mm_block(const int rows, const int vectors, int depth, const float *a, size_t a_row,
                         size_t a_unit, const float *b, size_t ldb, float *c, size_t ldc) {
  tlt_vf acc[12][2];
  const float *row[12];
  for (int i = 0; i < rows; i++) {
    row[i] = a + (size_t)i * a_row;
    for (int v = 0; v < vectors; v++) acc[i][v] = tlt_vf_load(c + (size_t)i * ldc + v * TLT_LANES);
  }
  for (size_t u = 0, at = 0; u < (size_t)depth; u++, at += a_unit, b += ldb) {
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
      tlt_vf x = tlt_vf_set(row[i][at]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++)
        acc[i][v] = tlt_vf_fma(x, tlt_vf_load(b + v * TLT_LANES), acc[i][v]);
    }
  }
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) tlt_vf_store(c + (size_t)i * ldc + v * TLT_LANES, acc[i][v]);
}

/* Any number of rows; columns: a multiple of 16. */
static void mm(int rows, int columns, int depth, const float *a, size_t a_row, size_t a_unit,
               const float *b, size_t ldb, float *c, size_t ldc) {
  for (int n = 0; n < columns;) {
    bool two = TLT_MM_VECTORS == 2 && columns - n >= 2 * TLT_LANES;
    for (int m = 0; m < rows;) {
      const float *am = a + (size_t)m * a_row;
      float *cm = c + (size_t)m * ldc + n;
#define BLOCK(size)                                                            \
  if (rows - m >= size) {                                                      \
    if (two) mm_block(size, 2, depth, am, a_row, a_unit, b + n, ldb, cm, ldc); \
    else mm_block(size, 1, depth, am, a_row, a_unit, b + n, ldb, cm, ldc);     \
    m += size;                                                                 \
    continue;                                                                  \
  }
      TLT_MM_BLOCKS(BLOCK)
#undef BLOCK
    }
    n += two ? 2 * TLT_LANES : TLT_LANES;
  }
}

/* ---- int64 fixed point --------------------------------------------------------------------- */

static float fix_add(int64_t *acc, const float *x, size_t n, bool *bad) {
  tlt_vf top = tlt_vf_set(0.0f);
  tlt_vi sign = tlt_vi_set(0x7fffffffu);
  bool wrong = false;
  for (size_t i = 0; i < n; i += TLT_LANES) {
    int lanes = tlt_lanes_of(n - i);
    tlt_vf v = lanes == TLT_LANES ? tlt_vf_load(x + i) : tlt_vf_load_n(x + i, lanes);
    top = tlt_vf_max(tlt_vi_as_float(tlt_vi_and(tlt_vf_bits(v), sign)), top);
    wrong |= fix_add_lanes(acc + i, v, lanes);
  }
  if (wrong) *bad = true;
  return tlt_vf_hmax(top);
}

/* ---- elementwise --------------------------------------------------------------------------- */

static void rmsnorm(const float *dy, const float *x, const float *gain, float inv, int n,
                    float *dx_out, float *dgain) {
  tlt_vf total = tlt_vf_set(0.0f), inverse = tlt_vf_set(inv);
  for (int i = 0; i < n; i += TLT_LANES) {
    int l = tlt_lanes_of((size_t)(n - i));
    tlt_vf h = tlt_vf_mul(tlt_vf_load_n(dy + i, l), tlt_vf_load_n(gain + i, l));
    total = tlt_vf_fma(h, tlt_vf_load_n(x + i, l), total);
  }
  tlt_vf c = tlt_vf_set(-(tlt_vf_sum(total) * (inv * inv * inv / (float)n)));
  for (int i = 0; i < n; i += TLT_LANES) {
    int l = tlt_lanes_of((size_t)(n - i));
    tlt_vf g = tlt_vf_load_n(dy + i, l), v = tlt_vf_load_n(x + i, l);
    tlt_vf h = tlt_vf_mul(g, tlt_vf_load_n(gain + i, l));
    tlt_vf dg = tlt_vf_fma(g, tlt_vf_mul(v, inverse), tlt_vf_load_n(dgain + i, l));
    tlt_vf y = tlt_vf_fma(h, inverse, tlt_vf_mul(c, v));
    tlt_vf_store_n(dgain + i, l, dg);
    tlt_vf_store_n(dx_out + i, l, tlt_vf_add(tlt_vf_load_n(dx_out + i, l), y));
  }
}

static void silu_mul(const float *dm, const float *g, const float *u, int n, float *dg, float *du) {
  tlt_vf one = tlt_vf_set(1.0f);
  tlt_vi sign = tlt_vi_set(0x80000000u);
  for (int i = 0; i < n; i += TLT_LANES) {
    int l = tlt_lanes_of((size_t)(n - i));
    tlt_vf gate = tlt_vf_load_n(g + i, l), up = tlt_vf_load_n(u + i, l),
           d = tlt_vf_load_n(dm + i, l);
    tlt_vf minus = tlt_vi_as_float(tlt_vi_add(tlt_vf_bits(gate), sign));
    tlt_vf s = tlt_vf_div(one, tlt_vf_add(one, tlt_vexp(minus))), silu = tlt_vf_mul(gate, s);
    tlt_vf_store_n(du + i, l, tlt_vf_mul(d, silu));
    tlt_vf slope = tlt_vf_fma(silu, tlt_vf_sub(one, s), s);
    tlt_vf_store_n(dg + i, l, tlt_vf_mul(tlt_vf_mul(d, up), slope));
  }
}

static void rope(float *x, const float *cosine, const float *sine, int head_dim) {
  int half = head_dim / 2;
  tlt_vi sign = tlt_vi_set(0x80000000u);
  for (int i = 0; i < half; i += TLT_LANES) {
    int l = tlt_lanes_of((size_t)(half - i));
    tlt_vf a = tlt_vf_load_n(x + i, l), b = tlt_vf_load_n(x + half + i, l);
    tlt_vf c = tlt_vf_load_n(cosine + i, l), s = tlt_vf_load_n(sine + i, l);
    tlt_vf back = tlt_vi_as_float(tlt_vi_add(tlt_vf_bits(tlt_vf_mul(a, s)), sign));
    tlt_vf_store_n(x + i, l, tlt_vf_fma(a, c, tlt_vf_mul(b, s)));
    tlt_vf_store_n(x + half + i, l, tlt_vf_fma(b, c, back));
  }
}

static void dlogits(float *logits, int n, float temperature, float lse, int32_t token,
                    float dlogp) {
  float t = temperature < 1e-3f ? 1.0f : temperature, c = dlogp / t;
  float own = c * (1.0f - tlt_expf(logits[token] / t - lse));
  tlt_vf by = tlt_vf_set(t), top = tlt_vf_set(lse), minus = tlt_vf_set(-c);
  for (int i = 0; i < n; i += TLT_LANES) {
    int l = tlt_lanes_of((size_t)(n - i));
    tlt_vf x = tlt_vf_sub(tlt_vf_div(tlt_vf_load_n(logits + i, l), by), top);
    tlt_vf_store_n(logits + i, l, tlt_vf_mul(minus, tlt_vexp(x)));
  }
  logits[token] = own;
}
