/* Backward kernels on sixteen lanes; definitions and the order of operations are in ref/backward.c.
 *
 * As in attention, both act types are chains over 4-byte units: an fp32 element, or a pair of bf16
 * that are neighbours in the direction of the sum. The including file defines
 *   TLT_PAIR                  elements in a unit, 1 (fp32) or 2 (bf16)
 *   tlt_unit, TLT_STEP        as in attention_body.inc.h
 *   TLT_LOAD_ACT(p, i, n)     elements i .. i+n-1 of act memory p as fp32 lanes, n <= 16
 *   TLT_MM_BLOCKS(f)          register blocks f(rows, vectors), largest first, last one row
 *   TLT_BACKWARD              name of the table
 * and fix_add_lanes of fix_add_*.inc.h. */
#include "kernels/backward_internal.h"
#include "kernels/lanes.h"

enum {
  TILE = 64,              /* columns of K of a dx tile, rows of W of a dw tile, keys of a block */
  DEPTH = 256,            /* elements of the sum per pass, so that operands stay in cache */
  DEPTH_UNITS = DEPTH / TLT_PAIR,
};

/* ---- the matrix product under everything ------------------------------------------------------- */

/* C[rows][16 vectors] += A B: one chain over ascending u per element, carried through C.
 * A(i, u) = a[i * a_row + u * a_unit], B[u][..] at stride ldb, C at stride ldc. */
#define TLT_DEFINE_MM(name, unit, step)                                                            \
  TLT_INLINE void name(const int rows, const int vectors, int units, const unit *a, size_t a_row,  \
                       size_t a_unit, const unit *b, size_t ldb, float *c, size_t ldc) {           \
    tlt_vf acc[12][2];                                                                             \
    const unit *row[12];                                                                           \
    for (int i = 0; i < rows; i++) {                                                               \
      row[i] = a + (size_t)i * a_row;                                                              \
      for (int v = 0; v < vectors; v++)                                                            \
        acc[i][v] = tlt_vf_load(c + (size_t)i * ldc + v * TLT_LANES);                              \
    }                                                                                              \
    for (size_t u = 0, at = 0; u < (size_t)units; u++, at += a_unit, b += ldb) {                   \
      _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) {                                    \
        _Pragma("GCC unroll 2") for (int v = 0; v < vectors; v++)                                  \
          acc[i][v] = step(acc[i][v], row[i][at], b + v * TLT_LANES);                              \
      }                                                                                            \
    }                                                                                              \
    for (int i = 0; i < rows; i++)                                                                 \
      for (int v = 0; v < vectors; v++)                                                            \
        tlt_vf_store(c + (size_t)i * ldc + v * TLT_LANES, acc[i][v]);                              \
  }

#define TLT_STEP_F32(acc, one, row) tlt_vf_fma(tlt_vf_set(one), tlt_vf_load(row), acc)
TLT_DEFINE_MM(mm_block_f32, float, TLT_STEP_F32)
#if TLT_PAIR == 2
TLT_DEFINE_MM(mm_block_act, tlt_unit, TLT_STEP)
#else
#define mm_block_act mm_block_f32
#endif

/* Any number of rows; columns: a multiple of 16. */
#define TLT_DEFINE_MM_ANY(name, unit, block)                                                       \
  static void name(int rows, int columns, int units, const unit *a, size_t a_row, size_t a_unit,   \
                   const unit *b, size_t ldb, float *c, size_t ldc) {                              \
    for (int n = 0; n < columns;) {                                                                \
      bool two = TLT_MM_VECTORS == 2 && columns - n >= 2 * TLT_LANES;                              \
      for (int m = 0; m < rows;) {                                                                 \
        const unit *am = a + (size_t)m * a_row;                                                    \
        float *cm = c + (size_t)m * ldc + n;                                                       \
        int left = rows - m;                                                                       \
        TLT_MM_BLOCKS(TLT_MM_CASE, block)                                                          \
      }                                                                                            \
      n += two ? 2 * TLT_LANES : TLT_LANES;                                                        \
    }                                                                                              \
  }
#define TLT_MM_CASE(block, size)                                                                   \
  if (left >= size) {                                                                              \
    if (two) block(size, 2, units, am, a_row, a_unit, b + n, ldb, cm, ldc);                        \
    else block(size, 1, units, am, a_row, a_unit, b + n, ldb, cm, ldc);                            \
    m += size;                                                                                     \
    continue;                                                                                      \
  }

TLT_DEFINE_MM_ANY(mm_f32, float, mm_block_f32)
#if TLT_PAIR == 2
TLT_DEFINE_MM_ANY(mm_act, tlt_unit, mm_block_act)
#else
#define mm_act mm_f32
#endif

/* ---- int64 fixed point ------------------------------------------------------------------------- */

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

/* ---- GEMMs ------------------------------------------------------------------------------------- */

static int dx_tiles(const tlt_packed *w) { return (w->k + TILE - 1) / TILE; }

static int dw_tiles(int n, int k) {
  (void)k;
  return (n + TILE - 1) / TILE;
}

static size_t dx_scratch(const tlt_packed *w, int rows) {
  size_t edge = w->k % TILE ? (size_t)rows * TILE * sizeof(float) : 0;
  return DEPTH_UNITS * TILE * sizeof(tlt_unit) + edge;
}

static size_t dw_scratch(int n, int k, int rows) {
  (void)n, (void)k, (void)rows;
  return 2 * DEPTH_UNITS * TILE * sizeof(tlt_unit) + TILE * TILE * sizeof(float);
}

/* Columns k0 .. k0+63 of one panel of 16 outputs as units [16 / TLT_PAIR][TILE]; zero beyond K. */
static void unpack_panel(const tlt_packed *w, int panel, int k0, tlt_unit *to) {
  const tlt_bf16 *from = w->data + ((size_t)panel * (size_t)w->pairs + (size_t)k0 / 2) * 32;
  int pairs = w->pairs - k0 / 2 < TILE / 2 ? w->pairs - k0 / 2 : TILE / 2;
  for (int j = 0; j < pairs; j++, from += 32) {
    for (int n = 0; n < TLT_PANEL / TLT_PAIR; n++) {
#if TLT_PAIR == 2
      to[n * TILE + 2 * j] = from[4 * n] | (tlt_unit)from[4 * n + 2] << 16;
      to[n * TILE + 2 * j + 1] = from[4 * n + 1] | (tlt_unit)from[4 * n + 3] << 16;
#else
      to[n * TILE + 2 * j] = tlt_bf16_to_f32(from[2 * n]);
      to[n * TILE + 2 * j + 1] = tlt_bf16_to_f32(from[2 * n + 1]);
#endif
    }
  }
  for (int n = 0; n < TLT_PANEL / TLT_PAIR; n++)
    for (int j = 2 * pairs; j < TILE; j++) to[n * TILE + j] = 0;
}

static void dx(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx_out,
               size_t ld_dx, void *scratch) {
  int k0 = tile * TILE, width = w->k - k0 < TILE ? w->k - k0 : TILE;
  tlt_unit *b = scratch;
  bool edge = width < TILE;
  float *c = edge ? (float *)(b + DEPTH_UNITS * TILE) : dx_out + k0;
  size_t ldc = edge ? TILE : ld_dx;
  for (int r = 0; r < rows; r++) memset(c + (size_t)r * ldc, 0, TILE * sizeof *c);
  for (int n0 = 0; n0 < w->n; n0 += DEPTH) {
    int depth = w->n - n0 < DEPTH ? w->n - n0 : DEPTH;
    for (int p = 0; p < depth; p += TLT_PANEL)
      unpack_panel(w, (n0 + p) / TLT_PANEL, k0, b + p / TLT_PAIR * TILE);
    const tlt_unit *a = (const tlt_unit *)dy + n0 / TLT_PAIR;
    mm_act(rows, TILE, (depth + TLT_PAIR - 1) / TLT_PAIR, a, ld_dy / TLT_PAIR, 1, b, TILE, c, ldc);
  }
  for (int r = 0; edge && r < rows; r++)
    memcpy(dx_out + (size_t)r * ld_dx + k0, c + (size_t)r * TILE, (size_t)width * sizeof *c);
}

/* Columns from .. from+width-1 of `rows` rows as units [rows / TLT_PAIR][TILE], zero beyond. */
static void gather_columns(const void *x, size_t ldx, int rows, int from, int width, tlt_unit *to) {
  for (int r = 0; r < rows; r += TLT_PAIR, to += TILE) {
#if TLT_PAIR == 2
    const tlt_bf16 *even = (const tlt_bf16 *)x + (size_t)r * ldx + from, *odd = even + ldx;
    bool both = r + 1 < rows;
    for (int j = 0; j < width; j++) to[j] = even[j] | (both ? (tlt_unit)odd[j] << 16 : 0);
#else
    memcpy(to, (const float *)x + (size_t)r * ldx + from, (size_t)width * sizeof *to);
#endif
    for (int j = width; j < TILE; j++) to[j] = 0;
  }
}

static void dw(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
               int rows, int64_t *acc, float *max_abs, bool *bad, void *scratch) {
  int n0 = tile * TILE, high = n - n0 < TILE ? n - n0 : TILE;
  tlt_unit *a = scratch, *b = a + DEPTH_UNITS * TILE;
  float *c = (float *)(b + DEPTH_UNITS * TILE);
  *max_abs = 0;
  for (int k0 = 0; k0 < k; k0 += TILE) {
    int width = k - k0 < TILE ? k - k0 : TILE;
    memset(c, 0, TILE * TILE * sizeof *c);
    for (int r = 0; r < rows; r += DEPTH) {
      int depth = rows - r < DEPTH ? rows - r : DEPTH;
      size_t act = 4 / TLT_PAIR, at = (size_t)r;
      gather_columns((const char *)dy + at * ld_dy * act, ld_dy, depth, n0, high, a);
      gather_columns((const char *)x + at * ldx * act, ldx, depth, k0, width, b);
      mm_act(TILE, TILE, (depth + TLT_PAIR - 1) / TLT_PAIR, a, 1, TILE, b, TILE, c, TILE);
    }
    for (int i = 0; i < high; i++) {
      float max = fix_add(acc + (size_t)(n0 + i) * (size_t)k + k0, c + i * TILE, (size_t)width, bad);
      *max_abs = max > *max_abs ? max : *max_abs;
    }
  }
}

/* ---- elementwise ------------------------------------------------------------------------------- */

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
    tlt_vf gate = tlt_vf_load_n(g + i, l), up = tlt_vf_load_n(u + i, l), d = tlt_vf_load_n(dm + i, l);
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

static void dlogits(float *logits, int n, float temperature, float lse, int32_t token, float dlogp) {
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
