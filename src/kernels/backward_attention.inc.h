/* Backward of causal self-attention in blocks of 64 positions (Dao et al. 2022, with probabilities
 * recomputed from lse): included by backward files after backward_body.inc.h.
 *
 * Every sum is one chain: dK and dV over (head, position) ascending, dQ over keys ascending, since
 * blocks are visited in that order and products continue the chains of C. Products are fp32. */

_Static_assert((int)TILE == (int)TLT_ATTN_KEYS, "a block of keys");

typedef struct attn_back {
  int T, key0, G, d, dp;
  float scale;
  const void *q, *k, *v, *out;
  const float *lse, *dout;
  size_t q_ld, kv_ld, lse_ld, out_ld, dout_ld, dq_ld, dkv_ld;
  float *dq, *dk, *dv;
  /* scratch */
  float *kt, *vt;                             /* [dp][TILE] of a block of keys */
  float *keys, *dkeys, *dvalues;              /* [TILE][dp] of the same */
  float *queries, *grads, *dqueries, *p, *ds; /* of a block of queries */
  float *delta;                               /* [G][T] dout . out */
} attn_back;

static size_t attention_scratch(int T, int G, int head_dim) {
  size_t dp = ((size_t)head_dim + 15) & ~(size_t)15;
  return (8 * TILE * dp + 2 * TILE * TILE + (size_t)T * (size_t)G) * sizeof(float);
}

static void carve(attn_back *b, float *at) {
  size_t block = (size_t)(TILE * b->dp);
  float **parts[] = {&b->kt,      &b->vt,    &b->keys,     &b->dkeys, &b->dvalues,
                     &b->queries, &b->grads, &b->dqueries, &b->p,     &b->ds};
  for (int i = 0; i < 10; i++) {
    *parts[i] = at;
    at += i < 8 ? block : TILE * TILE;
  }
  b->delta = at;
}

/* One row of act or fp32 memory, zero from d on. */
TLT_INLINE void load_act_row(const attn_back *b, const void *from, size_t offset, float *to) {
  for (int i = 0; i < b->dp; i += TLT_LANES) {
    int left = b->d - i;
    tlt_vf_store(to + i,
                 TLT_LOAD_ACT(from, offset + (size_t)i, left < TLT_LANES ? left : TLT_LANES));
  }
}

TLT_INLINE void load_row(const attn_back *b, const float *from, float *to) {
  for (int i = 0; i < b->dp; i += TLT_LANES) {
    int left = b->d - i;
    tlt_vf_store(to + i, tlt_vf_load_n(from + i, left < TLT_LANES ? left : TLT_LANES));
  }
}

static void transpose_row(const float *row, int d, int column, float *to) {
  for (int i = 0; i < d; i++) to[i * TILE + column] = row[i];
}

/* Rows 0 .. rows-1 of x as scaled results; + 0.0 removes the sign of zeros. */
static void finish_rows(const attn_back *b, const float *x, int rows, float scale, float *to,
                        size_t ld) {
  tlt_vf by = tlt_vf_set(scale), zero = tlt_vf_set(0.0f);
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < b->d; i += TLT_LANES)
      tlt_vf_store_n(to + (size_t)r * ld + i, tlt_lanes_of((size_t)(b->d - i)),
                     tlt_vf_fma(tlt_vf_load(x + r * b->dp + i), by, zero));
}

static void deltas(const attn_back *b) {
  for (int h = 0; h < b->G; h++) {
    for (int t = b->key0; t < b->T; t++) {
      size_t head = (size_t)h * (size_t)b->d;
      const float *go = b->dout + (size_t)t * b->dout_ld + head;
      tlt_vf total = tlt_vf_set(0.0f);
      for (int i = 0; i < b->d; i += TLT_LANES) {
        int n = tlt_lanes_of((size_t)(b->d - i));
        tlt_vf o = TLT_LOAD_ACT(b->out, (size_t)t * b->out_ld + head + (size_t)i, n);
        total = tlt_vf_fma(tlt_vf_load_n(go + i, n), o, total);
      }
      b->delta[h * b->T + t] = tlt_vf_sum(total);
    }
  }
}

static void load_keys(const attn_back *b, int j0, int keys) {
  size_t block = (size_t)(TILE * b->dp) * sizeof(float);
  for (int c = 0; c < keys; c++) {
    size_t at = (size_t)(j0 + c) * b->kv_ld;
    load_act_row(b, b->v, at, b->keys);
    transpose_row(b->keys, b->d, c, b->vt);
  }
  for (int c = 0; c < keys; c++) {
    load_act_row(b, b->k, (size_t)(j0 + c) * b->kv_ld, b->keys + c * b->dp);
    transpose_row(b->keys + c * b->dp, b->d, c, b->kt);
  }
  memset(b->dkeys, 0, block);
  memset(b->dvalues, 0, block);
}

/* s becomes p = exp(scale s - lse) up to the query's own position, 0 beyond; dp becomes
 * ds = p (dp - delta). */
static void probabilities(const attn_back *b, int h, int i0, int rows, int j0, int columns) {
  tlt_vf by = tlt_vf_set(b->scale), zero = tlt_vf_set(0.0f);
  for (int r = 0; r < rows; r++) {
    tlt_vf minus = tlt_vf_set(-b->lse[(size_t)(i0 + r) * b->lse_ld + (size_t)h]);
    tlt_vf delta = tlt_vf_set(b->delta[h * b->T + i0 + r]);
    for (int c = 0; c < columns; c += TLT_LANES) {
      float *p = b->p + r * TILE + c, *ds = b->ds + r * TILE + c;
      int seen = i0 + r - (j0 + c) + 1, n = seen < 0 ? 0 : seen < TLT_LANES ? seen : TLT_LANES;
      tlt_vf e = tlt_vexp(tlt_vf_fma(tlt_vf_load(p), by, minus));
      tlt_vf g = tlt_vf_mul(e, tlt_vf_sub(tlt_vf_load(ds), delta));
      tlt_vf_store(p, tlt_vf_first_n(n, e, zero));
      tlt_vf_store(ds, tlt_vf_first_n(n, g, zero));
    }
  }
}

/* Queries i0 .. of head h against keys j0 .. */
static void block_pair(const attn_back *b, int h, int i0, int rows, int j0, int keys) {
  int columns = (keys + TLT_LANES - 1) / TLT_LANES * TLT_LANES;
  size_t dp = (size_t)b->dp, head = (size_t)h * (size_t)b->d;
  float *dq = b->dq + (size_t)i0 * b->dq_ld + head;
  for (int r = 0; r < rows; r++) {
    size_t t = (size_t)(i0 + r);
    load_act_row(b, b->q, t * b->q_ld + head, b->queries + r * b->dp);
    load_row(b, b->dout + t * b->dout_ld + head, b->grads + r * b->dp);
    if (j0) load_row(b, dq + (size_t)r * b->dq_ld, b->dqueries + r * b->dp);
    else memset(b->dqueries + r * b->dp, 0, dp * sizeof(float));
  }
  memset(b->p, 0, TILE * TILE * sizeof(float));
  memset(b->ds, 0, TILE * TILE * sizeof(float));
  mm(rows, columns, b->d, b->queries, dp, 1, b->kt, TILE, b->p, TILE);
  mm(rows, columns, b->d, b->grads, dp, 1, b->vt, TILE, b->ds, TILE);
  probabilities(b, h, i0, rows, j0, columns);
  mm(keys, b->dp, rows, b->p, 1, TILE, b->grads, dp, b->dvalues, dp);
  mm(keys, b->dp, rows, b->ds, 1, TILE, b->queries, dp, b->dkeys, dp);
  mm(rows, b->dp, keys, b->ds, TILE, 1, b->keys, dp, b->dqueries, dp);
  if (i0 == j0) {
    finish_rows(b, b->dqueries, rows, b->scale, dq, b->dq_ld);
    return;
  }
  for (int r = 0; r < rows; r++)
    memcpy(dq + (size_t)r * b->dq_ld, b->dqueries + r * b->dp, (size_t)b->d * sizeof *dq);
}

static void attention(int T, int key0, int key1, int G, int head_dim, float scale, const void *q, size_t q_ld,
                      const void *k, const void *v, size_t kv_ld, const float *lse, size_t lse_ld,
                      const void *out, size_t out_ld, const float *dout, size_t dout_ld, float *dq,
                      size_t dq_ld, float *dk, float *dv, size_t dkv_ld, void *scratch) {
  attn_back b = {.T = T,
                 .key0 = key0,
                 .G = G,
                 .d = head_dim,
                 .dp = (head_dim + 15) & ~15,
                 .scale = scale,
                 .q = q,
                 .k = k,
                 .v = v,
                 .out = out,
                 .lse = lse,
                 .dout = dout,
                 .q_ld = q_ld,
                 .kv_ld = kv_ld,
                 .lse_ld = lse_ld,
                 .out_ld = out_ld,
                 .dout_ld = dout_ld,
                 .dq_ld = dq_ld,
                 .dkv_ld = dkv_ld,
                 .dq = dq,
                 .dk = dk,
                 .dv = dv};
  carve(&b, scratch);
  deltas(&b);
  for (int j = key0; j < key1; j += TILE) {
    int keys = key1 - j < TILE ? key1 - j : TILE;
    load_keys(&b, j, keys);
    for (int h = 0; h < G; h++)
      for (int i = j; i < T; i += TILE) block_pair(&b, h, i, T - i < TILE ? T - i : TILE, j, keys);
    finish_rows(&b, b.dkeys, keys, scale, dk + (size_t)j * dkv_ld, dkv_ld);
    finish_rows(&b, b.dvalues, keys, 1.0f, dv + (size_t)j * dkv_ld, dkv_ld);
  }
}

const tlt_backward TLT_BACKWARD = {
    .dx_tiles = TLT_GEMM(dx_tiles),
    .dx_scratch = TLT_GEMM(dx_scratch),
    .dx = TLT_GEMM(dx),
    .dw_rows = TLT_GEMM(dw_rows),
    .dw_tiles = TLT_GEMM(dw_tiles),
    .dw_scratch = TLT_GEMM(dw_scratch),
    .dw = TLT_GEMM(dw),
    .fix_add = fix_add,
    .rmsnorm = rmsnorm,
    .silu_mul = silu_mul,
    .rope = rope,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .dlogits = dlogits,
};
