/* Backward kernels by their definitions, in scalar code: the oracle of the vector code. */
#include "kernels/backward_internal.h"
#include "kernels/dpbf16.h"

enum { TILE = 64 }; /* columns of K for dx, rows of W for dw */

static float weight(const tlt_packed *w, int n, int k) {
  size_t pair = (size_t)(n / TLT_PANEL) * (size_t)w->pairs + (size_t)(k / 2);
  return tlt_bf16_to_f32(
      w->data[(pair * TLT_PANEL + (size_t)(n % TLT_PANEL)) * 2 + (size_t)(k % 2)]);
}

/* ---- GEMMs -------------------------------------------------------------------------------- */

static int dx_tiles(const tlt_packed *w) {
  return (w->k + TILE - 1) / TILE;
}
static int dw_tiles(int n, int k) {
  (void)k;
  return (n + TILE - 1) / TILE;
}
static size_t dx_scratch(const tlt_packed *w, int rows) {
  (void)w, (void)rows;
  return 64;
}
static size_t dw_scratch(int n, int k, int rows) {
  (void)n, (void)rows;
  return (size_t)k * sizeof(float);
}

static void dx_f32(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx,
                   size_t ld_dx, void *scratch) {
  (void)scratch;
  int end = (tile + 1) * TILE < w->k ? (tile + 1) * TILE : w->k;
  for (int r = 0; r < rows; r++) {
    const float *y = (const float *)dy + (size_t)r * ld_dy;
    for (int k = tile * TILE; k < end; k++) {
      float acc = 0;
      for (int n = 0; n < w->n; n++) acc = fmaf(y[n], weight(w, n, k), acc);
      dx[(size_t)r * ld_dx + (size_t)k] = acc;
    }
  }
}

static void dx_bf16(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows,
                    float *dx, size_t ld_dx, void *scratch) {
  (void)scratch;
  int end = (tile + 1) * TILE < w->k ? (tile + 1) * TILE : w->k;
  for (int r = 0; r < rows; r++) {
    const tlt_bf16 *y = (const tlt_bf16 *)dy + (size_t)r * ld_dy;
    for (int k = tile * TILE; k < end; k++) {
      float acc = 0;
      for (int n = 0; n < w->n; n += 2) {
        bool both = n + 1 < w->n;
        acc = tlt_dpbf16(acc, y[n], both ? y[n + 1] : 0, tlt_f32_to_bf16(weight(w, n, k)),
                         both ? tlt_f32_to_bf16(weight(w, n + 1, k)) : 0);
      }
      dx[(size_t)r * ld_dx + (size_t)k] = acc;
    }
  }
}

static float dw_chain_f32(const float *dy, size_t ld_dy, const float *x, size_t ldx, int rows) {
  float acc = 0;
  for (int r = 0; r < rows; r++) acc = fmaf(dy[(size_t)r * ld_dy], x[(size_t)r * ldx], acc);
  return acc;
}

static float dw_chain_bf16(const tlt_bf16 *dy, size_t ld_dy, const tlt_bf16 *x, size_t ldx,
                           int rows) {
  float acc = 0;
  for (int r = 0; r < rows; r += 2) {
    const tlt_bf16 *y = dy + (size_t)r * ld_dy, *v = x + (size_t)r * ldx;
    bool both = r + 1 < rows;
    acc = tlt_dpbf16(acc, y[0], both ? y[ld_dy] : 0, v[0], both ? v[ldx] : 0);
  }
  return acc;
}

static float fix_add(int64_t *acc, const float *x, size_t n, bool *bad) {
  float max = 0;
  for (size_t i = 0; i < n; i++) {
    float a = fabsf(x[i]);
    max = a > max ? a : max;
    if (a < TLT_FIX_LIMIT) acc[i] += (int64_t)rintf(x[i] * TLT_FIX_SCALE);
    else *bad = true;
  }
  return max;
}

static void dw(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
               int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
               float *line, bool bf16) {
  int end = (tile + 1) * TILE < n ? (tile + 1) * TILE : n;
  *max_abs = 0;
  for (int i = tile * TILE; i < end; i++) {
    for (int j = 0; j < k; j++)
      line[j] =
          bf16 ? dw_chain_bf16((const tlt_bf16 *)dy + i, ld_dy, (const tlt_bf16 *)x + j, ldx, rows)
               : dw_chain_f32((const float *)dy + i, ld_dy, (const float *)x + j, ldx, rows);
    tlt_shared_lock_take(lock);
    float max = fix_add(acc + (size_t)i * (size_t)k, line, (size_t)k, bad);
    tlt_shared_lock_drop(lock);
    *max_abs = max > *max_abs ? max : *max_abs;
  }
}

static void dw_f32(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
                   int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
                   void *scratch) {
  dw(n, k, tile, dy, ld_dy, x, ldx, rows, acc, lock, max_abs, bad, scratch, false);
}

static void dw_bf16(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
                    int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
                    void *scratch) {
  dw(n, k, tile, dy, ld_dy, x, ldx, rows, acc, lock, max_abs, bad, scratch, true);
}

/* ---- elementwise --------------------------------------------------------------------------- */

static void rmsnorm(const float *dy, const float *x, const float *gain, float inv, int n, float *dx,
                    float *dgain) {
  float lane[16] = {0};
  for (int i = 0; i < n; i++) lane[i % 16] = fmaf(dy[i] * gain[i], x[i], lane[i % 16]);
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) lane[i] += lane[i + w];
  float c = lane[0] * (inv * inv * inv / (float)n);
  for (int i = 0; i < n; i++) {
    dgain[i] = fmaf(dy[i], x[i] * inv, dgain[i]);
    dx[i] += fmaf(dy[i] * gain[i], inv, -(c * x[i]));
  }
}

static void silu_mul(const float *dm, const float *g, const float *u, int n, float *dg, float *du) {
  for (int i = 0; i < n; i++) {
    float gate = g[i], up = u[i];
    float s = 1.0f / (1.0f + tlt_expf(-gate)), silu = gate * s;
    du[i] = dm[i] * silu;
    dg[i] = dm[i] * up * fmaf(silu, 1.0f - s, s);
  }
}

static void rope(float *dx, const float *cosine, const float *sine, int head_dim) {
  int half = head_dim / 2;
  for (int i = 0; i < half; i++) {
    float a = dx[i], b = dx[half + i];
    dx[i] = fmaf(a, cosine[i], b * sine[i]);
    dx[half + i] = fmaf(b, cosine[i], -(a * sine[i]));
  }
}

static void dlogits(float *logits, int n, float temperature, float lse, int32_t token,
                    float dlogp) {
  float t = temperature < 1e-3f ? 1.0f : temperature, c = dlogp / t;
  float own = c * (1.0f - tlt_expf(logits[token] / t - lse));
  for (int i = 0; i < n; i++) logits[i] = -(c * tlt_expf(logits[i] / t - lse));
  logits[token] = own;
}

/* ---- attention ----------------------------------------------------------------------------- */

static float dot(const float *a, const float *b, int n) {
  float acc = 0;
  for (int i = 0; i < n; i++) acc = fmaf(a[i], b[i], acc);
  return acc;
}

static float dot_lanes(const float *a, const float *b, int n) {
  float lane[16] = {0};
  for (int i = 0; i < n; i++) lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) lane[i] += lane[i + w];
  return lane[0];
}

static void axpy(float a, const float *x, int n, float *y) {
  for (int i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

static void load(const void *from, size_t offset, int n, bool bf16, float *to) {
  for (int i = 0; i < n; i++)
    to[i] = bf16 ? tlt_bf16_to_f32(((const tlt_bf16 *)from)[offset + (size_t)i])
                 : ((const float *)from)[offset + (size_t)i];
}

/* + 0.0: zeros lose their sign, as whether a masked +0 was added must not show. */
static void finish(float *x, int n, float scale) {
  for (int i = 0; i < n; i++) x[i] = fmaf(x[i], scale, 0.0f);
}

static void attention(int T, int key0, int key1, int G, int head_dim, float scale, const void *q,
                      size_t q_ld, const void *k, const void *v, size_t kv_ld, const float *lse,
                      size_t lse_ld, const void *out, size_t out_ld, const float *dout,
                      size_t dout_ld, float *dq, size_t dq_ld, float *dk, float *dv, size_t dkv_ld,
                      float *scratch, bool bf16) {
  int D = head_dim;
  float *qi = scratch, *oi = qi + D, *kj = oi + D, *vj = kj + D;
  size_t first = (size_t)key0, end = (size_t)key1;
  for (size_t t = first; t < end; t++)
    for (int i = 0; i < D; i++) dk[t * dkv_ld + (size_t)i] = dv[t * dkv_ld + (size_t)i] = 0;
  for (int h = 0; h < G; h++) {
    size_t head = (size_t)h * (size_t)D;
    for (size_t t = first; t < (size_t)T; t++) {
      const float *go = dout + t * dout_ld + head;
      float *gq = dq + t * dq_ld + head;
      load(q, t * q_ld + head, D, bf16, qi);
      load(out, t * out_ld + head, D, bf16, oi);
      float di = dot_lanes(go, oi, D);
      for (int i = 0; i < D && !first; i++) gq[i] = 0;
      for (size_t j = first; j <= t && j < end; j++) {
        load(k, j * kv_ld, D, bf16, kj);
        load(v, j * kv_ld, D, bf16, vj);
        float p = tlt_expf(fmaf(dot(qi, kj, D), scale, -lse[t * lse_ld + (size_t)h]));
        float ds = p * (dot(go, vj, D) - di);
        axpy(ds, kj, D, gq);
        axpy(ds, qi, D, dk + j * dkv_ld);
        axpy(p, go, D, dv + j * dkv_ld);
      }
      if (t < end) finish(gq, D, scale);
    }
  }
  for (size_t t = first; t < end; t++) {
    finish(dk + t * dkv_ld, D, scale);
    finish(dv + t * dkv_ld, D, 1.0f);
  }
}

static size_t attention_scratch(int T, int G, int head_dim) {
  (void)T, (void)G;
  return 4 * (size_t)head_dim * sizeof(float);
}

static void attention_f32(int T, int key0, int key1, int G, int head_dim, float scale,
                          const void *q, size_t q_ld, const void *k, const void *v, size_t kv_ld,
                          const float *lse, size_t lse_ld, const void *out, size_t out_ld,
                          const float *dout, size_t dout_ld, float *dq, size_t dq_ld, float *dk,
                          float *dv, size_t dkv_ld, void *scratch) {
  attention(T, key0, key1, G, head_dim, scale, q, q_ld, k, v, kv_ld, lse, lse_ld, out, out_ld, dout,
            dout_ld, dq, dq_ld, dk, dv, dkv_ld, scratch, false);
}

static void attention_bf16(int T, int key0, int key1, int G, int head_dim, float scale,
                           const void *q, size_t q_ld, const void *k, const void *v, size_t kv_ld,
                           const float *lse, size_t lse_ld, const void *out, size_t out_ld,
                           const float *dout, size_t dout_ld, float *dq, size_t dq_ld, float *dk,
                           float *dv, size_t dkv_ld, void *scratch) {
  attention(T, key0, key1, G, head_dim, scale, q, q_ld, k, v, kv_ld, lse, lse_ld, out, out_ld, dout,
            dout_ld, dq, dq_ld, dk, dv, dkv_ld, scratch, true);
}

#define COMMON                                                                            \
  .dx_tiles = dx_tiles, .dx_scratch = dx_scratch, .dw_rows = TILE, .dw_tiles = dw_tiles,  \
  .dw_scratch = dw_scratch, .fix_add = fix_add, .rmsnorm = rmsnorm, .silu_mul = silu_mul, \
  .rope = rope, .dlogits = dlogits, .attention_scratch = attention_scratch

const tlt_backward tlt_backward_scalar = {COMMON, .dx = dx_f32, .dw = dw_f32,
                                          .attention = attention_f32};
const tlt_backward tlt_backward_bf16_scalar = {COMMON, .dx = dx_bf16, .dw = dw_bf16,
                                               .attention = attention_bf16};
