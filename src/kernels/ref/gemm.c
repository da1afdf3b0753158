/* The oracles of GEMM: one output at a time, straight from the definition. */
#include "kernels/dpbf16.h"
#include "kernels/table.h"

/* Pair j of panel p, lane l: w[0] multiplies x[2 j], w[1] multiplies x[2 j + 1]. */
static const tlt_bf16 *pair_at(const tlt_packed *w, int n, int j) {
  int p = n / TLT_PANEL, lane = n % TLT_PANEL;
  return w->data + (((size_t)p * (size_t)w->pairs + (size_t)j) * TLT_PANEL + (size_t)lane) * 2;
}

static float chain_f32(const tlt_packed *w, int n, const float *x) {
  float c = 0;
  for (int j = 0; j < w->pairs; j++) {
    const tlt_bf16 *pair = pair_at(w, n, j);
    c = fmaf(x[2 * j], tlt_bf16_to_f32(pair[0]), c);
    c = fmaf(x[2 * j + 1], tlt_bf16_to_f32(pair[1]), c);
  }
  return c;
}

static float chain_bf16(const tlt_packed *w, int n, const tlt_bf16 *x) {
  float c = 0;
  for (int j = 0; j < w->pairs; j++) {
    const tlt_bf16 *pair = pair_at(w, n, j);
    c = tlt_dpbf16(c, x[2 * j], x[2 * j + 1], pair[0], pair[1]);
  }
  return c;
}

static void put(const tlt_packed *w, int n, float c, float *y, bool add) {
  if (w->bias) c = c + w->bias[n];
  *y = add ? *y + c : c;
}

void tlt_gemm_f32_scalar(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx,
                         int rows, float *y, size_t ldy, bool add) {
  for (int r = 0; r < rows; r++) {
    for (int n = panel0 * TLT_PANEL; n < panel1 * TLT_PANEL && n < w->n; n++) {
      float c = chain_f32(w, n, (const float *)x + (size_t)r * ldx);
      put(w, n, c, y + (size_t)r * ldy + n, add);
    }
  }
}

void tlt_gemm_bf16_scalar(const tlt_packed *w, int panel0, int panel1, const void *x, size_t ldx,
                          int rows, float *y, size_t ldy, bool add) {
  for (int r = 0; r < rows; r++) {
    for (int n = panel0 * TLT_PANEL; n < panel1 * TLT_PANEL && n < w->n; n++) {
      float c = chain_bf16(w, n, (const tlt_bf16 *)x + (size_t)r * ldx);
      put(w, n, c, y + (size_t)r * ldy + n, add);
    }
  }
}
