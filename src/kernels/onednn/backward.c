#include "kernels/onednn/backward.h"

#include "kernels/backward_internal.h"
#include "kernels/onednn/matmul.h"

enum { TILE = tlt_onednn_dw_rows }; /* columns of K of a dx tile, rows of W of a dw tile */

static int tile_width(int n, int tile) {
  return n - tile * TILE < TILE ? n - tile * TILE : TILE;
}

/* ---- dX ------------------------------------------------------------------------------------ */

int tlt_onednn_dx_tiles(const tlt_packed *w) {
  return (w->k + TILE - 1) / TILE;
}

size_t tlt_onednn_dx_scratch(const tlt_packed *w, int rows) {
  (void)rows;
  return TLT_MATMUL_SCRATCH + (size_t)w->n * TILE * sizeof(tlt_bf16);
}

/* Columns k0 .. of W as bf16 [n][TILE]. */
static void unpack(const tlt_packed *w, int k0, int width, tlt_bf16 *to) {
  int pairs = (width + 1) / 2;
  for (int p = 0; p < w->panels; p++) {
    const tlt_bf16 *from = w->data + ((size_t)p * (size_t)w->pairs + (size_t)k0 / 2) * 32;
    int lanes = w->n - p * TLT_PANEL < TLT_PANEL ? w->n - p * TLT_PANEL : TLT_PANEL;
    for (int l = 0; l < lanes; l++, to += TILE)
      for (int j = 0; j < pairs; j++) memcpy(to + 2 * j, from + j * 32 + 2 * l, 2 * sizeof *to);
  }
}

void tlt_onednn_dx(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx,
                   size_t ld_dx, void *scratch) {
  int width = tile_width(w->k, tile);
  tlt_matmul s = {
      .m = rows, .n = width, .k = w->n, .a_row = ld_dy, .a_col = 1, .b_row = TILE, .c_row = ld_dx};
  tlt_bf16 *b = (tlt_bf16 *)((char *)scratch + TLT_MATMUL_SCRATCH);
  float *c = dx + tile * TILE;
  unpack(w, tile * TILE, width, b);
  if (tlt_matmul_run(&s, dy, b, c, scratch)) return;
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < width; j++) c[(size_t)r * ld_dx + (size_t)j] = NAN;
}

/* ---- dW ------------------------------------------------------------------------------------ */

int tlt_onednn_dw_tiles(int n, int k) {
  (void)k;
  return (n + TILE - 1) / TILE;
}

size_t tlt_onednn_dw_scratch(int n, int k, int rows) {
  (void)n, (void)rows;
  return TLT_MATMUL_SCRATCH + (size_t)k * TILE * sizeof(float);
}

void tlt_onednn_dw(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
                   int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
                   void *scratch) {
  int height = tile_width(n, tile);
  tlt_matmul s = {
      .m = height, .n = k, .k = rows, .a_row = 1, .a_col = ld_dy, .b_row = ldx, .c_row = (size_t)k};
  float *c = (float *)((char *)scratch + TLT_MATMUL_SCRATCH);
  size_t count = (size_t)height * (size_t)k;
  if (!tlt_matmul_run(&s, (const tlt_bf16 *)dy + tile * TILE, x, c, scratch))
    for (size_t i = 0; i < count; i++) c[i] = NAN;
  tlt_shared_lock_take(lock);
  *max_abs = tlt_backward_avx512.fix_add(acc + (size_t)(tile * TILE) * (size_t)k, c, count, bad);
  tlt_shared_lock_drop(lock);
}
