#include "kernels/gemm_run.h"

enum {
  ITEMS_PER_THREAD = 3,   /* evens out threads that lose time to other processes */
  ITEM_BYTES = 1 << 20,   /* most weights in one item */
  TILE_PANELS = 2,        /* kernels work on pairs of panels */
};

int tlt_gemm_grain(const tlt_packed *w, int threads) {
  size_t panel = (size_t)w->pairs * TLT_PANEL * 2 * sizeof(tlt_bf16);
  int items = ITEMS_PER_THREAD * threads, most = (int)(ITEM_BYTES / panel);
  int panels = threads == 1 ? most : (w->panels + items - 1) / items;
  if (panels > most) panels = most;
  return panels < TILE_PANELS ? TILE_PANELS : (panels + 1) / TILE_PANELS * TILE_PANELS;
}

typedef struct gemm_job {
  const tlt_kernels *k;
  const tlt_packed *w;
  const void *x;
  float *y;
  size_t ldx, ldy;
  int rows, grain;
  bool add;
} gemm_job;

static void gemm_item(void *context, int64_t item, int thread) {
  const gemm_job *j = context;
  (void)thread;
  int panel0 = (int)item * j->grain, panel1 = panel0 + j->grain;
  if (panel1 > j->w->panels) panel1 = j->w->panels;
  j->k->gemm(j->w, panel0, panel1, j->x, j->ldx, j->rows, j->y, j->ldy, j->add);
}

void tlt_gemm_run(tlt_pool *pool, const tlt_kernels *k, const tlt_packed *w, const void *x,
                  size_t ldx, int rows, float *y, size_t ldy, bool add) {
  gemm_job job = {k, w, x, y, ldx, ldy, rows, tlt_gemm_grain(w, tlt_pool_threads(pool)), add};
  tlt_pool_run(pool, gemm_item, &job, (w->panels + job.grain - 1) / job.grain);
}
