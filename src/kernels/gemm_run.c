#include "kernels/gemm_run.h"

enum {
  ITEMS_PER_THREAD = 3,   /* evens out threads that lose time to other processes */
  ITEM_BYTES = 1 << 20,   /* most weights in one item */
  TILE_PANELS = 2,        /* kernels work on pairs of panels */
  ITEM_PRODUCTS = 1 << 28, /* most multiplications in one item: a few milliseconds, so that a pool can
                             pause between items */
};

int tlt_gemm_grain(const tlt_packed *w, int threads) {
  size_t panel = (size_t)w->pairs * TLT_PANEL * 2 * sizeof(tlt_bf16);
  int items = ITEMS_PER_THREAD * threads, most = (int)(ITEM_BYTES / panel);
  int panels = threads == 1 ? most : (w->panels + items - 1) / items;
  if (panels > most) panels = most;
  return panels < TILE_PANELS ? TILE_PANELS : (panels + 1) / TILE_PANELS * TILE_PANELS;
}

/* Panels of an item where rows are many: as many as ITEM_PRODUCTS allows. */
static int limit_grain(const tlt_packed *w, int rows, int grain) {
  int64_t panel = (int64_t)w->pairs * 2 * TLT_PANEL * rows, most = ITEM_PRODUCTS / panel;
  if (most >= grain) return grain;
  return most < TILE_PANELS ? TILE_PANELS : (int)(most / TILE_PANELS * TILE_PANELS);
}

/* Rows of an item: all, unless even the fewest panels are too much work with them. */
static int rows_of_item(const tlt_packed *w, int rows, int grain) {
  int64_t row = (int64_t)w->pairs * 2 * TLT_PANEL * grain, most = ITEM_PRODUCTS / row;
  return most >= rows ? rows : most < 64 ? 64 : (int)(most / 64 * 64);
}

typedef struct gemm_job {
  const tlt_kernels *k;
  const tlt_packed *w;
  const unsigned char *x;
  float *y;
  size_t ldx, ldy;
  int rows, grain, item_rows, row_items;
  bool add;
} gemm_job;

static void gemm_item(void *context, int64_t item, int thread) {
  const gemm_job *j = context;
  (void)thread;
  int panel0 = (int)(item / j->row_items) * j->grain, panel1 = panel0 + j->grain;
  int row = (int)(item % j->row_items) * j->item_rows, rows = j->rows - row;
  if (panel1 > j->w->panels) panel1 = j->w->panels;
  if (rows > j->item_rows) rows = j->item_rows;
  j->k->gemm(j->w, panel0, panel1, j->x + (size_t)row * j->ldx * j->k->act_size, j->ldx, rows,
             j->y + (size_t)row * j->ldy, j->ldy, j->add);
}

void tlt_gemm_run(tlt_pool *pool, const tlt_kernels *k, const tlt_packed *w, const void *x,
                  size_t ldx, int rows, float *y, size_t ldy, bool add) {
  int grain = limit_grain(w, rows, tlt_gemm_grain(w, tlt_pool_active(pool)));
  int item_rows = rows_of_item(w, rows, grain), row_items = (rows + item_rows - 1) / item_rows;
  gemm_job job = {k, w, x, y, ldx, ldy, rows, grain, item_rows, row_items, add};
  tlt_pool_run(pool, gemm_item, &job, (int64_t)((w->panels + grain - 1) / grain) * row_items);
}
