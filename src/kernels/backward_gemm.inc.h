/* dX and dW of the portable path: fp32, one ascending FMA chain per element. Included after
 * backward_body.inc.h. */

enum {
  DEPTH = 256, /* elements of the sum per pass, so that operands stay in cache */
  dw_rows = TILE,
};

static int dx_tiles(const tlt_packed *w) {
  return (w->k + TILE - 1) / TILE;
}

static int dw_tiles(int n, int k) {
  (void)k;
  return (n + TILE - 1) / TILE;
}

static size_t dx_scratch(const tlt_packed *w, int rows) {
  size_t edge = w->k % TILE ? (size_t)rows * TILE * sizeof(float) : 0;
  return DEPTH * TILE * sizeof(float) + edge;
}

static size_t dw_scratch(int n, int k, int rows) {
  (void)n, (void)k;
  return ((size_t)rows + DEPTH + TILE) * TILE * sizeof(float);
}

/* Columns k0 .. k0+63 of one panel as fp32 [16][TILE]; zero beyond K. */
static void unpack_panel(const tlt_packed *w, int panel, int k0, float *to) {
  const tlt_bf16 *from = w->data + ((size_t)panel * (size_t)w->pairs + (size_t)k0 / 2) * 32;
  int pairs = w->pairs - k0 / 2 < TILE / 2 ? w->pairs - k0 / 2 : TILE / 2;
  for (int j = 0; j < pairs; j++, from += 32) {
    for (int n = 0; n < TLT_PANEL; n++) {
      to[n * TILE + 2 * j] = tlt_bf16_to_f32(from[2 * n]);
      to[n * TILE + 2 * j + 1] = tlt_bf16_to_f32(from[2 * n + 1]);
    }
  }
  for (int n = 0; n < TLT_PANEL; n++)
    for (int j = 2 * pairs; j < TILE; j++) to[n * TILE + j] = 0;
}

static void dx(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx_out,
               size_t ld_dx, void *scratch) {
  int k0 = tile * TILE, width = w->k - k0 < TILE ? w->k - k0 : TILE;
  float *b = scratch;
  bool edge = width < TILE;
  float *c = edge ? b + DEPTH * TILE : dx_out + k0;
  size_t ldc = edge ? TILE : ld_dx;
  for (int r = 0; r < rows; r++) memset(c + (size_t)r * ldc, 0, TILE * sizeof *c);
  for (int n0 = 0; n0 < w->n; n0 += DEPTH) {
    int depth = w->n - n0 < DEPTH ? w->n - n0 : DEPTH;
    for (int p = 0; p < depth; p += TLT_PANEL)
      unpack_panel(w, (n0 + p) / TLT_PANEL, k0, b + p * TILE);
    mm(rows, TILE, depth, (const float *)dy + n0, ld_dy, 1, b, TILE, c, ldc);
  }
  for (int r = 0; edge && r < rows; r++)
    memcpy(dx_out + (size_t)r * ld_dx + k0, c + (size_t)r * TILE, (size_t)width * sizeof *c);
}

/* Columns from .. from+width-1 as [rows][TILE], zero beyond. */
static void gather_columns(const float *x, size_t ldx, int rows, int from, int width, float *to) {
  for (int r = 0; r < rows; r++, to += TILE) {
    memcpy(to, x + (size_t)r * ldx + from, (size_t)width * sizeof *to);
    memset(to + width, 0, (size_t)(TILE - width) * sizeof *to);
  }
}

static void dw(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
               int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
               void *scratch) {
  int n0 = tile * TILE, high = n - n0 < TILE ? n - n0 : TILE;
  float *b = scratch, *c = b + DEPTH * TILE, *a = c + TILE * TILE;
  gather_columns(dy, ld_dy, rows, n0, high, a);
  *max_abs = 0;
  for (int k0 = 0; k0 < k; k0 += TILE) {
    int width = k - k0 < TILE ? k - k0 : TILE;
    memset(c, 0, TILE * TILE * sizeof *c);
    for (int r = 0; r < rows; r += DEPTH) {
      int depth = rows - r < DEPTH ? rows - r : DEPTH;
      gather_columns((const float *)x + (size_t)r * ldx, ldx, depth, k0, width, b);
      mm(TILE, TILE, depth, a + (size_t)r * TILE, 1, TILE, b, TILE, c, TILE);
    }
    tlt_shared_lock_take(lock);
    for (int i = 0; i < high; i++) {
      float max =
          fix_add(acc + (size_t)(n0 + i) * (size_t)k + k0, c + i * TILE, (size_t)width, bad);
      *max_abs = max > *max_abs ? max : *max_abs;
    }
    tlt_shared_lock_drop(lock);
  }
}
