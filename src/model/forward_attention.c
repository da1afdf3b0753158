/* Attention of one layer over a ragged batch. Items of the pool are (sequence, block of rows, KV
 * head, group of its query heads); rows of a tree may see copies of KV blocks, in which their path
 * lies at its logical positions. */
#include <string.h>

#include "model/forward_internal.h"

enum {
  /* Panels that hold nodes: from the one of pos0 to the one of pos0 + TLT_TREE_DEPTH. */
  NODE_PANELS = (TLT_TREE_DEPTH + 2 * TLT_KV_BLOCK - 1) / TLT_KV_BLOCK,
  /* The same from the first position of pos0's span. */
  TAIL_PANELS = TLT_ATTN_SPAN / TLT_KV_BLOCK - 1 + NODE_PANELS,
};

typedef struct attend {
  tlt_forward *f;
  const tlt_batch *batch;
  const tlt_layer_io *io;
  int layer;
  int group;      /* query heads per KV head */
  int call_heads; /* of these, in one kernel call */
  int call_rows;
  int splits; /* kernel calls for the heads of one KV head */
} attend;

static attend attend_plan(const tlt_config *c) {
  attend a = {.group = c->heads / c->kv_heads};
  a.splits = (a.group + TLT_ATTN_QUERIES - 1) / TLT_ATTN_QUERIES;
  a.call_heads = (a.group + a.splits - 1) / a.splits;
  a.call_rows = TLT_ATTN_QUERIES / a.call_heads;
  return a;
}

/* ---- Scratch of a thread ---- */

/* Room for one kernel call: what the kernel needs, pointers to panels, and gathered panels for as
 * many paths as the call has rows. */
typedef struct room {
  float *kernel;
  const unsigned char **panel;               /* [max_positions / 16 + 1] */
  const unsigned char *(*tail)[TAIL_PANELS]; /* [call_rows] */
  unsigned char *copy;                       /* [call_rows][NODE_PANELS] of head_bytes */
} room;

static size_t take(size_t *used, size_t bytes) {
  size_t at = *used;
  *used += (bytes + 63) & ~(size_t)63;
  return at;
}

static size_t lay_out(const tlt_config *c, int max_positions, size_t head_bytes,
                      unsigned char *base, room *r) {
  size_t used = 0, rows = (size_t)attend_plan(c).call_rows;
  size_t kernel = take(&used, tlt_attn_scratch_floats(c->head_dim) * sizeof(float));
  size_t panel = take(&used, ((size_t)max_positions / TLT_KV_BLOCK + 1) * sizeof *r->panel);
  size_t tail = take(&used, rows * sizeof *r->tail);
  size_t copy = take(&used, rows * NODE_PANELS * head_bytes);
  if (base)
    *r = (room){(float *)(void *)(base + kernel), (void *)(base + panel), (void *)(base + tail),
                base + copy};
  return used;
}

size_t tlt__attention_bytes(const tlt_config *c, int max_positions) {
  size_t widest = tlt_kv_layout_of(1, 1, c->head_dim, sizeof(float)).head_bytes;
  return lay_out(c, max_positions, widest, NULL, &(room){0});
}

/* ---- Trees ---- */

/* The groups of a call: rows that lie on one path, and the panels that their leaf sees. */
typedef struct tails {
  int n, first; /* groups; position of the first tail panel */
  int32_t end[TLT_ATTN_QUERIES];
  const unsigned char *const *panels[TLT_ATTN_QUERIES];
} tails;

static const unsigned char *panel_at(const tlt_forward *f, const tlt_kv_view *kv, int block,
                                     size_t offset) {
  return kv->base + (size_t)kv->blocks[block] * f->kv.block_bytes + offset;
}

/* path[d] = node at depth d on the way to `node`; returns how many of these are their own depth, so
 * that they already lie where they belong. */
static int trace_path(const tlt_tree_rows *t, int node, int16_t *path) {
  int depth = t->depth[node], straight = 0;
  for (int d = depth; d >= 0; d--) {
    path[d] = (int16_t)node;
    node = t->parent[node];
  }
  while (straight <= depth && path[straight] == straight) straight++;
  return straight;
}

/* Panels that the path to `node` sees, from position `first` on. Only panels with a node out of
 * place are copies. */
static void gather_path(const tlt_forward *f, const tlt_seq_rows *s, int node, size_t offset,
                        int first, unsigned char *copy, const unsigned char **panel) {
  int16_t path[TLT_TREE_DEPTH + 1];
  int straight = trace_path(s->tree, node, path), depth = s->tree->depth[node];
  int b = first / TLT_KV_BLOCK, last = (s->pos0 + depth) / TLT_KV_BLOCK;
  int moved = s->pos0 + straight; /* first position whose node is out of place */
  int copied = straight <= depth ? moved / TLT_KV_BLOCK : last + 1;
  for (; b < copied; b++) *panel++ = panel_at(f, &s->kv, b, offset);
  if (b <= last && moved % TLT_KV_BLOCK)
    memcpy(copy, panel_at(f, &s->kv, b, offset), f->kv.head_bytes);
  for (; b <= last; b++) *panel++ = copy + (size_t)(b - copied) * f->kv.head_bytes;
  for (int d = straight; d <= depth; d++) {
    int to = s->pos0 + d, from = s->pos0 + path[d];
    unsigned char *to_panel = copy + (size_t)(to / TLT_KV_BLOCK - copied) * f->kv.head_bytes;
    tlt_kv_copy(&f->kv, to_panel, to % TLT_KV_BLOCK,
                panel_at(f, &s->kv, from / TLT_KV_BLOCK, offset), from % TLT_KV_BLOCK);
  }
}

/* Nodes node .. node+rows-1 of a tree: each that follows its parent joins the parent's group. None
 * when all of them lie in place. */
static void gather_tails(const tlt_forward *f, const tlt_seq_rows *s, int node, int rows, int heads,
                         size_t offset, const room *r, tails *t) {
  const tlt_tree_rows *tree = s->tree;
  int end = node + rows;
  t->n = 0;
  if (tree->depth[end - 1] == end - 1) return;
  t->first = s->pos0 / TLT_ATTN_SPAN * TLT_ATTN_SPAN;
  for (int i = node; i < end; i++) {
    if (i + 1 < end && tree->parent[i + 1] == i) continue;
    gather_path(f, s, i, offset, t->first,
                r->copy + (size_t)(t->n * NODE_PANELS) * f->kv.head_bytes, r->tail[t->n]);
    t->panels[t->n] = r->tail[t->n];
    t->end[t->n++] = (i + 1 - node) * heads;
  }
}

/* ---- Calls ---- */

static int seq_of_item(const tlt_forward *f, const tlt_batch *b, int64_t item) {
  int low = 0, high = b->n_seqs - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (f->item0[middle] <= item) low = middle;
    else high = middle - 1;
  }
  return low;
}

/* Rows and heads of one kernel call; the heads share kv_head. */
typedef struct block {
  const tlt_seq_rows *s;
  int row, rows, kv_head, head, heads;
  const void *q[TLT_ATTN_QUERIES];
  void *out[TLT_ATTN_QUERIES];
  int32_t visible[TLT_ATTN_QUERIES];
  int n, most; /* queries; most visible */
} block;

static void list_queries(const attend *a, block *b) {
  size_t act = a->f->k->act_size, head_bytes = (size_t)a->f->w->config.head_dim * act;
  size_t heads = (size_t)a->f->w->config.heads;
  size_t stride = tlt_act_stride(heads * (size_t)a->f->w->config.head_dim) * act;
  b->n = b->most = 0;
  for (int i = b->row; i < b->row + b->rows; i++)
    for (int h = b->head; h < b->head + b->heads; h++, b->n++) {
      size_t at = (size_t)i * stride + (size_t)h * head_bytes;
      b->q[b->n] = (const unsigned char *)a->io->q + at;
      b->out[b->n] = (unsigned char *)a->io->ctx + at;
      b->visible[b->n] = tlt__position(b->s, i) + 1;
      if (b->visible[b->n] > b->most) b->most = b->visible[b->n];
    }
}

static void attend_call(const attend *a, block *b, int thread) {
  tlt_forward *f = a->f;
  const tlt_config *c = &f->w->config;
  float lse[TLT_ATTN_QUERIES];
  size_t offset = tlt__panel_offset(f, a->layer, b->kv_head);
  room r = {0};
  tails t = {0};
  lay_out(c, f->max_positions, f->kv.head_bytes, tlt_forward_scratch(f, thread), &r);
  list_queries(a, b);
  if (b->s->tree)
    gather_tails(f, b->s, b->s->tree->first + b->row - b->s->row0, b->rows, b->heads, offset, &r,
                 &t);
  int shared = t.n ? t.first : b->most;
  for (int i = 0; i < (shared + TLT_KV_BLOCK - 1) / TLT_KV_BLOCK; i++)
    r.panel[i] = panel_at(f, &b->s->kv, i, offset);
  tlt_attn call = {
      .n_q = b->n,
      .head_dim = c->head_dim,
      .scale = 1.0f / sqrtf((float)c->head_dim),
      .q = b->q,
      .visible = b->visible,
      .panels = r.panel,
      .n_groups = t.n,
      .tail_first = t.first,
      .group_end = t.end,
      .group_panels = t.panels,
      .k_bytes = f->kv.k_bytes,
      .out = b->out,
      .lse = a->io->lse ? lse : NULL,
      .scratch = r.kernel,
  };
  f->k->attention(&call);
  if (!a->io->lse) return;
  for (int i = 0; i < b->n; i++)
    a->io->lse[(size_t)(b->row + i / b->heads) * (size_t)c->heads +
               (size_t)(b->head + i % b->heads)] = lse[i];
}

static void attend_item(void *context, int64_t item, int thread) {
  const attend *a = context;
  const tlt_config *c = &a->f->w->config;
  int index = seq_of_item(a->f, a->batch, item);
  const tlt_seq_rows *s = &a->batch->seq[index];
  int local = (int)(item - a->f->item0[index]);
  int split = local % a->splits, kv_head = local / a->splits % c->kv_heads;
  int row = local / a->splits / c->kv_heads * a->call_rows, head = split * a->call_heads;
  block b = {.s = s, .row = s->row0 + row, .kv_head = kv_head};
  b.rows = s->n_rows - row < a->call_rows ? s->n_rows - row : a->call_rows;
  b.head = kv_head * a->group + head;
  b.heads = a->group - head < a->call_heads ? a->group - head : a->call_heads;
  if (b.heads > 0)
    attend_call(a, &b, thread); /* rounding up may leave nothing for the last split */
}

void tlt__run_attention(tlt_forward *f, int layer, const tlt_batch *b, const tlt_layer_io *io) {
  attend a = attend_plan(&f->w->config);
  int64_t items = 0;
  a.f = f;
  a.batch = b;
  a.io = io;
  a.layer = layer;
  for (int s = 0; s < b->n_seqs; s++) {
    f->item0[s] = items;
    int64_t row_blocks = (b->seq[s].n_rows + a.call_rows - 1) / a.call_rows;
    items += row_blocks * f->w->config.kv_heads * a.splits;
  }
  tlt_pool_run(f->pool, attend_item, &a, items);
}
