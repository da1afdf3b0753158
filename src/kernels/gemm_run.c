#include "kernels/gemm_run.h"

enum {
  ITEM_BYTES = 128 << 10, /* weights of one item with few rows: about 6 us of one core's bandwidth */
  ITEM_MULTIPLE = 4,      /* kernels work on 2 or 4 panels at a time */
};

int tlt_gemm_grain(const tlt_packed *w, int rows) {
  size_t panel = (size_t)w->pairs * TLT_PANEL * 2 * sizeof(tlt_bf16);
  size_t bytes = rows > 16 ? ITEM_BYTES * 16 / (size_t)rows : ITEM_BYTES;
  int panels = (int)(bytes / panel) / ITEM_MULTIPLE * ITEM_MULTIPLE;
  if (panels < ITEM_MULTIPLE) panels = ITEM_MULTIPLE;
  return panels < w->panels ? panels : w->panels;
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
  gemm_job job = {k, w, x, y, ldx, ldy, rows, tlt_gemm_grain(w, rows), add};
  tlt_pool_run(pool, gemm_item, &job, (w->panels + job.grain - 1) / job.grain);
}
