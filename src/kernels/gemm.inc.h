/* GEMM over weight panels: one chain over ascending pairs of K per output, whatever the blocking.
 * Included once per instruction set and act type, after these definitions:
 *   TLT_GEMM           name of the function
 *   tlt_gemm_x         type of one pair of inputs in memory
 *   tlt_gemm_half      type of what one step multiplies; HALVES of them per pair
 *   gemm_weights(p, h) half h of the 16 weight pairs at p, ready to multiply
 *   gemm_input(p, h)   half h of the input pair at p in every lane
 *   gemm_step(c, x, w) c + x w, one step of the chain
 *   WIDE_ROWS, TILE_ROWS   most rows with WIDE_PANELS and with TILE_PANELS panels in registers
 *
 * A tile holds the accumulators of P panels x R rows in registers and walks K once. The weight streams
 * are fetched into the second-level cache AHEAD bytes before use; fetching into the first level stalls
 * on its few miss buffers (8 rows took 1.5 times as long). In the last AHEAD bytes of a panel the
 * fetch goes on with the panel that the next tile will read; past the last panel it is harmless.
 * Rows beyond one tile are split into blocks of nearly equal height; the panels then come from the
 * second-level cache from the second block on. */
#include "kernels/lanes.h"
#include "kernels/table.h"

enum {
  PAIR_BYTES = TLT_PANEL * 2 * sizeof(tlt_bf16),
  AHEAD = 4096,
  AHEAD_PAIRS = AHEAD / PAIR_BYTES,
};

typedef struct gemm_rows {
  const char *x; /* first row of the block */
  size_t stride; /* bytes between rows */
  float *y;
  size_t ldy;
} gemm_rows;

/* Input rows in groups of three, so that every address is base + {0, 1, 2} * stride. */
TLT_INLINE const void *row_at(const char *const *base, size_t stride, int r, size_t byte) {
  return base[r / 3] + (size_t)(r % 3) * stride + byte;
}

/* Pairs first .. last-1 of the chains of P panels x R rows. P and R are constants at every use. */
TLT_INLINE void tile_span(int P, int R, tlt_vf *acc, const char *panel, size_t panel_bytes,
                          const char *const *base, size_t stride, int first, int last,
                          size_t ahead, size_t far) {
  for (int j = first; j < last; j++) {
    const char *at = panel + (size_t)j * PAIR_BYTES;
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) _mm_prefetch(at + (size_t)p * panel_bytes + ahead, _MM_HINT_T1);
    _mm_prefetch(at + far, _MM_HINT_T1);
#pragma GCC unroll 2
    for (int h = 0; h < HALVES; h++) {
      tlt_gemm_half w[4];
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) w[p] = gemm_weights(at + (size_t)p * panel_bytes, h);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        tlt_gemm_half x = gemm_input(row_at(base, stride, r, (size_t)j * sizeof(tlt_gemm_x)), h);
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) acc[p * R + r] = gemm_step(acc[p * R + r], x, w[p]);
      }
    }
  }
}

/* Bias and addition, then the store of one panel's lanes of one row. */
TLT_INLINE void put_lanes(const tlt_packed *w, int panel, tlt_vf c, float *row, bool add) {
  int n0 = panel * TLT_PANEL, m = tlt_lanes_of((size_t)(w->n - n0));
  if (w->bias) c = tlt_vf_add(c, tlt_vf_load_n(w->bias + n0, m));
  if (add) c = tlt_vf_add(tlt_vf_load_n(row + n0, m), c);
  tlt_vf_store_n(row + n0, m, c);
}

TLT_INLINE void tile(int P, int R, const tlt_packed *w, int panel, const gemm_rows *b, bool add,
                     size_t far) {
  tlt_vf acc[24];
  size_t panel_bytes = (size_t)w->pairs * PAIR_BYTES;
  const char *from = (const char *)w->data + (size_t)panel * panel_bytes, *base[4];
  for (int g = 0; g < 4; g++) base[g] = b->x + (size_t)(3 * g) * b->stride;
#pragma GCC unroll 24
  for (int i = 0; i < P * R; i++) acc[i] = tlt_vf_set(0.0f);
  int main_end = w->pairs > AHEAD_PAIRS ? w->pairs - AHEAD_PAIRS : 0;
  tile_span(P, R, acc, from, panel_bytes, base, b->stride, 0, main_end, AHEAD, far);
  tile_span(P, R, acc, from, panel_bytes, base, b->stride, main_end, w->pairs,
            AHEAD + (size_t)(P - 1) * panel_bytes, far);
#pragma GCC unroll 24
  for (int i = 0; i < P * R; i++)
    put_lanes(w, panel + i / R, acc[i], b->y + (size_t)(i % R) * b->ldy, add);
}

#define TILE(P, R)                                                                                 \
  static void tile_##P##_##R(const tlt_packed *w, int panel, const gemm_rows *b, bool add,         \
                             size_t far) {                                                         \
    tile(P, R, w, panel, b, add, far);                                                             \
  }
TLT_GEMM_TILES(TILE)
#undef TILE

typedef void (*tile_fn)(const tlt_packed *w, int panel, const gemm_rows *b, bool add, size_t far);

/* [log2 P][rows] */
static const tile_fn tiles[3][TILE_ROWS + 1] = {
#define TILE(P, R) [(P) / 2][R] = tile_##P##_##R,
    TLT_GEMM_TILES(TILE)
#undef TILE
};

/* All rows against P panels. While the first blocks of rows compute, the next P panels, as far as
 * there are `next` more, are fetched into the second-level cache, one panel per block. */
static void panel_group(int P, const tlt_packed *w, int panel, int next, gemm_rows b, int rows,
                        bool add) {
  int most = P == WIDE_PANELS ? WIDE_ROWS : TILE_ROWS, blocks = (rows + most - 1) / most;
  size_t panel_bytes = (size_t)w->pairs * PAIR_BYTES;
  for (int done = 0; done < blocks; done++) {
    int height = (rows + blocks - done - 1) / (blocks - done);
    bool fetch = blocks > 1 && done < P && done < next;
    tiles[P / 2][height](w, panel, &b, add, fetch ? (size_t)(P + done) * panel_bytes : 0);
    b.x += (size_t)height * b.stride;
    b.y += (size_t)height * b.ldy;
    rows -= height;
  }
}

void TLT_GEMM(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx, int rows,
              float *y, size_t ldy, bool add) {
  gemm_rows b = {x, ldx * sizeof(tlt_gemm_x) / 2, y, ldy};
  int width = rows <= WIDE_ROWS ? WIDE_PANELS : TILE_PANELS;
  for (int p = panel0; p < panel1; p += width) {
    while (width > panel1 - p) width /= 2;
    panel_group(width, w, p, panel1 - p - width, b, rows, add);
  }
}
