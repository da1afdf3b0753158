/* Attention on sixteen lanes; the definition and the order of operations are in ref/attention.c.
 *
 * Both act types are chains over 4-byte units: an fp32 element or a pair of bf16. A K panel is
 * [units of D][16 positions], a V panel [units of 16 positions][Dp]. The including file defines
 *   tlt_unit                  uint32_t or float
 *   TLT_PAIR                  elements in a unit, 1 or 2
 *   TLT_STEP(acc, one, row)   acc + one (broadcast unit) * row (16 units in memory)
 *   TLT_STORE_ACT(p, d, n, v) round lanes 0 .. n-1 to act [d] of p
 *   TLT_STORE_P(p, v)         16 probabilities to TLT_UNITS units
 *   TLT_SCORE_BLOCKS(f), TLT_VALUE_BLOCKS(f), TLT_VALUE_VECTORS   register blocks, largest first
 *   TLT_ATTENTION             name of the function
 * Queries of a span are kept dense: index i of `who`. */
#include "kernels/lanes.h"
#include "kernels/table.h"

enum {
  UNITS = TLT_KV_BLOCK / TLT_PAIR,       /* rows of a V panel */
  SPAN_UNITS = TLT_ATTN_SPAN / TLT_PAIR, /* stride of p */
  MOST_QUERIES = TLT_ATTN_QUERIES,
  MOST_PANELS = 4, /* in a register block */
};

typedef struct tlt_attn_state {
  const tlt_attn *a;
  int dp, d_units;
  int n;                   /* queries that see this span */
  int who[MOST_QUERIES];   /* which */
  int count[MOST_QUERIES]; /* how many of its positions */
  int common;              /* positions that all of them see */
  int panels;              /* of this span that somebody sees */
  int panels_left;         /* from this span to the end of the sequence */
  const unsigned char *const *panel;
  tlt_unit *q;  /* [d_units][MOST_QUERIES] */
  float *s;     /* [n][TLT_ATTN_SPAN] scores */
  tlt_unit *p;  /* [n][SPAN_UNITS] probabilities; may be s */
  float *o;     /* [n][dp] of the span */
  float *run_o; /* [n_q][dp] */
  tlt_lse run[MOST_QUERIES];
} tlt_attn_state;

TLT_INLINE const tlt_unit *key_panel(const tlt_attn_state *st, int i) {
  int last = st->panels - 1;
  return (const tlt_unit *)st->panel[i < last ? i : last];
}

TLT_INLINE const tlt_unit *value_panel(const tlt_attn_state *st, int i) {
  return (const tlt_unit *)(st->panel[i] + st->a->k_bytes);
}

/* ---- scores -------------------------------------------------------------------------------- */

/* nq queries from i0 against np panels at a time; a panel past the end is the last one again and
 * its scores are never looked at. The values of the panels are fetched on the way. */
TLT_INLINE void score_block(const tlt_attn_state *st, int i0, const int nq, const int np) {
  for (int g = 0; g < st->panels; g += np) {
    const tlt_unit *k[MOST_PANELS];
    const char *next[MOST_PANELS];
    tlt_vf acc[MOST_QUERIES][MOST_PANELS];
    for (int j = 0; j < np; j++) {
      int ahead = g + np + j, last = st->panels_left - 1;
      k[j] = key_panel(st, g + j);
      next[j] = (const char *)st->panel[ahead < last ? ahead : last];
    }
    for (int i = 0; i < nq; i++)
      for (int j = 0; j < np; j++) acc[i][j] = tlt_vf_set(0.0f);
    const tlt_unit *q = st->q + i0;
    for (int u = 0; u < st->d_units; u++, q += MOST_QUERIES) {
#pragma GCC unroll 4
      for (int j = 0; j < np; j++) {
        const tlt_unit *row = k[j] + u * TLT_KV_BLOCK;
        _mm_prefetch((const char *)row + st->a->k_bytes, _MM_HINT_T1);
        _mm_prefetch(next[j] + u * 64, _MM_HINT_T1);
#pragma GCC unroll 12
        for (int i = 0; i < nq; i++) acc[i][j] = TLT_STEP(acc[i][j], q[i], row);
      }
    }
    tlt_vf scale = tlt_vf_set(st->a->scale);
    float *s = st->s + i0 * TLT_ATTN_SPAN + g * TLT_KV_BLOCK;
    for (int i = 0; i < nq; i++)
      for (int j = 0; j < np; j++)
        tlt_vf_store(s + i * TLT_ATTN_SPAN + j * TLT_KV_BLOCK, tlt_vf_mul(scale, acc[i][j]));
  }
}

static void scores(const tlt_attn_state *st) {
  for (int i = 0; i < st->n;) {
    int left = st->n - i;
#define BLOCK(nq, np)           \
  if (left >= nq) {             \
    score_block(st, i, nq, np); \
    i += nq;                    \
    continue;                   \
  }
    TLT_SCORE_BLOCKS(BLOCK)
#undef BLOCK
  }
}

/* ---- probabilities ------------------------------------------------------------------------- */

static void softmax(const tlt_attn_state *st, int i, float *max, float *sum) {
  float *s = st->s + i * TLT_ATTN_SPAN;
  tlt_unit *p = st->p + i * SPAN_UNITS;
  int count = st->count[i];
  tlt_vf top = tlt_vf_set(-INFINITY), total = tlt_vf_set(0.0f);
  for (int j = 0; j < count; j += TLT_LANES) {
    tlt_vf x = tlt_vf_load(s + j);
    int n = tlt_lanes_of((size_t)(count - j));
    if (n < TLT_LANES) x = tlt_vf_first_n(n, x, tlt_vf_set(-INFINITY));
    top = tlt_vf_max(x, top);
  }
  *max = tlt_vf_hmax(top);
  top = tlt_vf_set(*max);
  for (int j = 0; j < count; j += TLT_LANES) {
    tlt_vf e = tlt_vexp(tlt_vf_sub(tlt_vf_load(s + j), top));
    int n = tlt_lanes_of((size_t)(count - j));
    if (n < TLT_LANES) e = tlt_vf_first_n(n, e, tlt_vf_set(0.0f));
    total = tlt_vf_add(total, e);
    TLT_STORE_P(p + j / TLT_PAIR, e);
  }
  *sum = tlt_vf_sum(total);
}

/* ---- values -------------------------------------------------------------------------------- */

/* o[i][16 v0 ..] += sum over units u0 .. u1-1 of p v, for nq queries and nv vectors of D. */
TLT_INLINE void value_block(const tlt_attn_state *st, int i0, const int nq, int v0, const int nv,
                            int u0, int u1) {
  float *o = st->o + i0 * st->dp + v0 * TLT_LANES;
  const tlt_unit *p = st->p + i0 * SPAN_UNITS;
  tlt_vf acc[MOST_QUERIES][4];
  for (int i = 0; i < nq; i++)
    for (int v = 0; v < nv; v++) acc[i][v] = tlt_vf_load(o + i * st->dp + v * TLT_LANES);
  for (int u = u0; u < u1;) {
    const tlt_unit *row = value_panel(st, u / UNITS) + u % UNITS * st->dp + v0 * TLT_LANES;
    int end = u - u % UNITS + UNITS;
    for (end = end < u1 ? end : u1; u < end; u++, row += st->dp) {
#pragma GCC unroll 6
      for (int i = 0; i < nq; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
          acc[i][v] = TLT_STEP(acc[i][v], p[i * SPAN_UNITS + u], row + v * TLT_LANES);
    }
  }
  for (int i = 0; i < nq; i++)
    for (int v = 0; v < nv; v++) tlt_vf_store(o + i * st->dp + v * TLT_LANES, acc[i][v]);
}

TLT_INLINE void value_vectors(const tlt_attn_state *st, int i0, const int nq, int u0, int u1) {
  int vectors = st->dp / TLT_LANES, v = 0;
  for (; v + TLT_VALUE_VECTORS <= vectors; v += TLT_VALUE_VECTORS)
    value_block(st, i0, nq, v, TLT_VALUE_VECTORS, u0, u1);
  for (; v < vectors; v++) value_block(st, i0, nq, v, 1, u0, u1);
}

#if TLT_PAIR == 2
/* The last position of query i when it has no partner that the query may see. */
static void lone_value(const tlt_attn_state *st, int i) {
  int u = st->count[i] / 2;
  const tlt_unit *row = value_panel(st, u / UNITS) + u % UNITS * st->dp;
  float *o = st->o + i * st->dp;
  for (int d = 0; d < st->dp; d += TLT_LANES) {
    tlt_unit alone[TLT_LANES];
    for (int j = 0; j < TLT_LANES; j++) alone[j] = row[d + j] & 0xffffu;
    tlt_vf_store(o + d, TLT_STEP(tlt_vf_load(o + d), st->p[i * SPAN_UNITS + u], alone));
  }
}
#endif

/* What all queries see in register blocks, the few positions that only some see one by one: nobody
 * multiplies a value that it may not see, so not even a NaN there matters. */
static void values(const tlt_attn_state *st) {
  int common = st->common / TLT_PAIR;
  memset(st->o, 0, (size_t)(st->n * st->dp) * sizeof *st->o);
  for (int i = 0; i < st->n;) {
    int left = st->n - i;
#define BLOCK(nq)                        \
  if (left >= nq) {                      \
    value_vectors(st, i, nq, 0, common); \
    i += nq;                             \
    continue;                            \
  }
    TLT_VALUE_BLOCKS(BLOCK)
#undef BLOCK
  }
  for (int i = 0; i < st->n; i++) {
    int own = st->count[i] / TLT_PAIR;
    if (own > common) value_vectors(st, i, 1, common, own);
#if TLT_PAIR == 2
    if (st->count[i] & 1) lone_value(st, i);
#endif
  }
}

/* ---- spans --------------------------------------------------------------------------------- */

static void fold(tlt_attn_state *st, int i, float max, float sum) {
  tlt_lse *run = &st->run[st->who[i]];
  float *out = st->run_o + st->who[i] * st->dp;
  const float *o = st->o + i * st->dp;
  bool higher = max > run->max;
  float factor = tlt_expf(higher ? run->max - max : max - run->max);
  tlt_vf scale = tlt_vf_set(factor);
  for (int d = 0; d < st->dp; d += TLT_LANES) {
    tlt_vf mine = tlt_vf_add(tlt_vf_load(o + d), tlt_vf_set(0.0f)), old = tlt_vf_load(out + d);
    tlt_vf_store(out + d, higher ? tlt_vf_fma(old, scale, mine) : tlt_vf_fma(mine, scale, old));
  }
  *run = higher ? (tlt_lse){max, fmaf(run->sum, factor, sum)} /* tlt_lse_fold */
                : (tlt_lse){run->max, fmaf(sum, factor, run->sum)};
}

/* Lay the queries of this span out by units, queries adjacent. */
static void stage_queries(tlt_attn_state *st) {
  for (int i = 0; i < st->n; i++) {
    const unsigned char *q = st->a->q[st->who[i]];
    tlt_unit *to = st->q + i;
    for (int u = 0; u < st->a->head_dim / TLT_PAIR; u++)
      memcpy(&to[u * MOST_QUERIES], q + (size_t)u * sizeof *to, sizeof *to);
#if TLT_PAIR == 2
    if (st->a->head_dim & 1) {
      tlt_bf16 last;
      memcpy(&last, q + (size_t)(st->a->head_dim - 1) * sizeof last, sizeof last);
      to[(st->d_units - 1) * MOST_QUERIES] = last;
    }
#endif
  }
}

/* Queries q0 .. q1-1 and the positions first .. end-1, whose panels are given. */
typedef struct tlt_attn_part {
  int q0, q1, first, end;
  const unsigned char *const *panels;
} tlt_attn_part;

/* False when no query of the part sees position `first`. */
static bool open_span(tlt_attn_state *st, const tlt_attn_part *p, int first) {
  int n = 0, most = 0, least = TLT_ATTN_SPAN, end = 0;
  for (int i = p->q0; i < p->q1; i++) {
    int seen = st->a->visible[i] < p->end ? st->a->visible[i] : p->end;
    int left = seen - first, count = left < TLT_ATTN_SPAN ? left : TLT_ATTN_SPAN;
    if (count <= 0) continue;
    st->who[n] = i;
    st->count[n++] = count;
    most = count > most ? count : most;
    least = count < least ? count : least;
    end = left > end ? left : end;
  }
  bool same = n == st->n; /* queries only ever leave */
  st->n = n;
  st->common = least;
  st->panels = (most + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  st->panels_left = (end + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK;
  st->panel = p->panels + (first - p->first) / TLT_KV_BLOCK;
  if (n && !same) stage_queries(st);
  return n > 0;
}

static void run_part(tlt_attn_state *st, const tlt_attn_part *p) {
  st->n = 0;
  for (int first = p->first; open_span(st, p, first); first += TLT_ATTN_SPAN) {
    float max[MOST_QUERIES], sum[MOST_QUERIES];
    scores(st);
    for (int i = 0; i < st->n; i++) softmax(st, i, &max[i], &sum[i]);
    values(st);
    for (int i = 0; i < st->n; i++) fold(st, i, max[i], sum[i]);
  }
}

void TLT_ATTENTION(const tlt_attn *a) {
  int dp = (a->head_dim + TLT_LANES - 1) / TLT_LANES * TLT_LANES;
  tlt_attn_state st = {.a = a, .dp = dp, .d_units = (a->head_dim + TLT_PAIR - 1) / TLT_PAIR};
  st.s = a->scratch;
  st.o = st.s + MOST_QUERIES * TLT_ATTN_SPAN;
  st.run_o = st.o + MOST_QUERIES * dp;
  st.q = (tlt_unit *)(st.run_o + MOST_QUERIES * dp);
  st.p = TLT_PAIR == 1 ? (tlt_unit *)st.s : st.q + MOST_QUERIES * dp;
  for (int i = 0; i < a->n_q; i++) st.run[i] = (tlt_lse){-INFINITY, 0};
  memset(st.run_o, 0, (size_t)(a->n_q * dp) * sizeof *st.run_o);
  tlt_attn_part part = {0, a->n_q, 0, a->n_groups ? a->tail_first : INT32_MAX, a->panels};
  run_part(&st, &part);
  for (int g = 0; g < a->n_groups; g++) {
    int q0 = g ? a->group_end[g - 1] : 0;
    part = (tlt_attn_part){q0, a->group_end[g], a->tail_first, INT32_MAX, a->group_panels[g]};
    run_part(&st, &part);
  }
  for (int i = 0; i < a->n_q; i++) {
    tlt_vf total = tlt_vf_set(st.run[i].sum);
    for (int d = 0; d < a->head_dim; d += TLT_LANES) {
      tlt_vf y = tlt_vf_div(tlt_vf_load(st.run_o + i * dp + d), total);
      TLT_STORE_ACT(a->out[i], d, tlt_lanes_of((size_t)(a->head_dim - d)), y);
    }
    if (a->lse) a->lse[i] = tlt_lse_value(&st.run[i]);
  }
}
