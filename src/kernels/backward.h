/* Kernels of the backward pass. Same rules as kernels.h: single-threaded, no state, bits fixed by
 * shapes. Gradient operands of GEMMs are "act" (fp32 in portable, bf16 in the fast paths, rounded
 * with to_act); results are fp32.
 *
 * portable: own code, every output one ascending FMA chain. Fast paths: oneDNN, called
 * single-threaded on output tiles fixed by shape, capped at the path's instruction set; it compiles
 * a product on first use of a shape and takes memory of its own, and where it fails the result is
 * NaN, which the fixed-point sums flag. */
#ifndef TLT_KERNELS_BACKWARD_H
#define TLT_KERNELS_BACKWARD_H

#include "base/shared_lock.h"
#include "kernels/kernels.h"

/* ---- int64 fixed point --------------------------------------------------------------------- */

/* Unit 2^-40. Addition of int64 is associative, so threads and arrival order cannot matter. */
#define TLT_FIX_SCALE 0x1p40f
#define TLT_FIX_LIMIT 0x1p22f /* |partial| at or above this, NaN or infinity: bad */

/* acc[i] += rint(x[i] * 2^40), nearest even. Returns max |x| seen, NaN aside; *bad set to true when
 * some |x| is not below TLT_FIX_LIMIT (that element is skipped). */
typedef float (*tlt_fix_add_fn)(int64_t *acc, const float *x, size_t n, bool *bad);

enum { TLT_ATTN_KEYS = 64 };

typedef struct tlt_backward {
  const tlt_kernels *forward;

  /* dX = dY W for the columns of tile t: dx[r][k] fp32 [rows][ld_dx], overwritten. dy act
   * [rows][ld_dy]. Tiles cover K in a way fixed by the shape of W; tiles are independent. */
  int (*dx_tiles)(const tlt_packed *w);
  void (*dx)(const tlt_packed *w, int tile, const void *dy, size_t ld_dy, int rows, float *dx,
             size_t ld_dx, void *scratch);
  size_t (*dx_scratch)(const tlt_packed *w, int rows); /* bytes per thread */

  /* dW = dY^T X for tile t of the rows of W[n][k], added to acc [n][k] int64 in fixed point (tile
   * rows only: dw_rows * t .. dw_rows * (t + 1) - 1). dy act [rows][ld_dy] (n columns), x act
   * [rows][ldx] (k columns). *max_abs gets the tile's max |partial|. The chain over rows has a fixed
   * order for given (n, k, rows). lock: held while the tile is added to, which other processes may
   * do too; NULL: nobody else does. */
  int dw_rows;
  int (*dw_tiles)(int n, int k);
  void (*dw)(int n, int k, int tile, const void *dy, size_t ld_dy, const void *x, size_t ldx,
             int rows, int64_t *acc, tlt_shared_lock *lock, float *max_abs, bool *bad,
             void *scratch);
  size_t (*dw_scratch)(int n, int k, int rows); /* bytes per thread */

  tlt_fix_add_fn fix_add;

  /* RMSNorm: dx += gain-path gradient of y = x inv gain; dgain[n] += dy * x * inv (fp32 partial of
   * the caller's row block). dy fp32 [n]. */
  void (*rmsnorm)(const float *dy, const float *x, const float *gain, float inv, int n, float *dx,
                  float *dgain);

  /* m = silu(g) * u: dg, du from dm (all fp32 [n]); dg may alias g, du may alias u. */
  void (*silu_mul)(const float *dm, const float *g, const float *u, int n, float *dg, float *du);

  /* Inverse rotation in place of a gradient. */
  void (*rope)(float *dx, const float *cosine, const float *sine, int head_dim);

  /* Causal self-attention of one whole sequence and one KV head: T positions, G query heads.
   * q act [T][G] at stride q_ld between positions (heads adjacent, D each); k and v fp32-readable
   * as act [T][D] at stride kv_ld; lse [T][G] at stride lse_ld; out act and dout fp32 laid out like
   * q (out_ld, dout_ld). Writes dq fp32 [T][G*D] (dq_ld), dk, dv fp32 [T][D] (dkv_ld), all
   * overwritten. Products are fp32 for every act; dq sums over keys, dk and dv over (head, position)
   * in ascending order. scratch per thread.
   * One call is for keys key0 .. key1 - 1, both multiples of TLT_ATTN_KEYS unless key1 is T: it
   * writes their dk and dv, and continues dq. Calls for 0 .. T - 1 in ascending order give the bits
   * of a single one. */
  void (*attention)(int T, int key0, int key1, int G, int head_dim, float scale, const void *q, size_t q_ld,
                    const void *k, const void *v, size_t kv_ld, const float *lse, size_t lse_ld,
                    const void *out, size_t out_ld, const float *dout, size_t dout_ld, float *dq,
                    size_t dq_ld, float *dk, float *dv, size_t dkv_ld, void *scratch);
  size_t (*attention_scratch)(int T, int G, int head_dim);

  /* Turn logits into the gradient of dlogp * log softmax(logits / T)[token], in place:
   * dlogit[v] = dlogp / T * ([v = token] - exp(logit[v] / T - lse)), as fp32. */
  void (*dlogits)(float *logits, int n, float temperature, float lse, int32_t token, float dlogp);
} tlt_backward;

/* The table that belongs to a forward table (same numerics and instruction set). */
const tlt_backward *tlt_backward_of(const tlt_kernels *forward);

#endif
