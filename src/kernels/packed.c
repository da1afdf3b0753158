/* Weights in panels; layout in kernels.h. */
#include "kernels/table.h"

size_t tlt_packed_bytes(int n, int k) {
  size_t panels = ((size_t)n + TLT_PANEL - 1) / TLT_PANEL, pairs = ((size_t)k + 1) / 2;
  return panels * pairs * TLT_PANEL * 2 * sizeof(tlt_bf16);
}

void tlt_packed_init(tlt_packed *w, int n, int k, void *memory) {
  *w = (tlt_packed){.n = n, .k = k, .data = memory};
  w->panels = (n + TLT_PANEL - 1) / TLT_PANEL;
  w->pairs = (k + 1) / 2;
}

/* Element (n, 0); element (n, k) lies at [k / 2 * 32 + k % 2] behind it. */
static tlt_bf16 *row_at(const tlt_packed *w, int n) {
  size_t panel = (size_t)(n / TLT_PANEL) * (size_t)w->pairs * TLT_PANEL * 2;
  return w->data + panel + n % TLT_PANEL * 2;
}

void tlt_packed_set_rows(tlt_packed *w, int row0, int rows, const float *from) {
  for (int r = 0; r < rows; r++, from += w->k) {
    tlt_bf16 *to = row_at(w, row0 + r);
    for (int k = 0; k < w->k; k++) to[k / 2 * TLT_PANEL * 2 + k % 2] = tlt_f32_to_bf16(from[k]);
  }
}

void tlt_packed_get_rows(const tlt_packed *w, int row0, int rows, float *to) {
  for (int r = 0; r < rows; r++, to += w->k) tlt_embed(w, row0 + r, to);
}

void tlt_embed(const tlt_packed *w, int32_t token, float *out) {
  const tlt_bf16 *from = row_at(w, token);
  for (int k = 0; k < w->k; k++) out[k] = tlt_bf16_to_f32(from[k / 2 * TLT_PANEL * 2 + k % 2]);
}
