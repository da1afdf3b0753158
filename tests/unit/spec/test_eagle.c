/* The learned drafter as a source, driven without an engine: what it proposes at any node must be,
 * bit for bit, what a drafter proposes that runs all pairs of the sequence and the path to the node
 * as one chain.
 * Run alone: build/tests/unit/spec/test_eagle */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <math.h>

#include "../model/tiny.h"
#include "base/mem.h"
#include "base/philox.h"
#include "spec/eagle.h"

enum {
  BATCH = 5,
  GROUPS = 3,
  POSITIONS = 260,
  MOST_PROMPT = 40,
  MOST_TOKENS = 150,
  SEED = 21,
  K = 3,
  NODES = 14,
};

typedef struct live {
  bool open;
  int group, n_tokens;
  uint32_t sample;
  int32_t token[MOST_TOKENS + TLT_DRAFT_MAX];
  tlt_draft draft;
} live;

typedef struct world {
  tlt_model *m;
  tlt_drafter *twin; /* equal weights, for the reference */
  tlt_source source;
  tlt_spec_group group[GROUPS];
  int32_t prompt[GROUPS][MOST_PROMPT];
  bool group_open[GROUPS];
  live slot[BATCH];
  size_t row_bytes;
  tlt_stream random;
  uint32_t samples; /* ever opened */
} world;

static int below(world *w, int n) {
  return (int)tlt_stream_below(&w->random, (uint32_t)n);
}

/* The target's hidden state of a position: prompts are shared by the samples of a group. */
static void hidden_of(const world *w, int group, uint32_t sample, int position, void *row) {
  float x[64];
  int hidden = w->m->weights->config.hidden;
  bool shared = position < w->group[group].n_prompt;
  tlt_stream s = tlt_stream_open(3, TLT_PURPOSE_TASK, w->group[group].rollout,
                                 shared ? 1000 : sample, (uint32_t)position);
  for (int i = 0; i < hidden; i++) x[i] = (float)(int32_t)tlt_stream_u32(&s) * 0x1p-30f;
  memset(row, 0, w->row_bytes);
  w->m->kernels->to_act(x, (size_t)hidden, row);
}

/* ---- Opening and closing ---- */

static tlt_drafter *random_drafter(const tlt_model *m, int n_hot) {
  tlt_drafter *d;
  int32_t hot[512];
  assert_int_equal(tlt_drafter_create(m->weights, 0, 5, &d, NULL), TLT_OK);
  assert_int_equal(tiny_randomize(&d->weights, 11), 0);
  for (int i = 0; i < n_hot; i++) hot[i] = 2 * i + i % 2;
  assert_int_equal(tlt_drafter_set_hot(d, m->weights, hot, n_hot, NULL), TLT_OK);
  return d;
}

static tlt_config world_config(void) {
  tlt_config c = tiny_config(TLT_ARCH_QWEN3);
  c.layers = 1;
  return c;
}

static void world_open(world *w, const char *numerics, int max_rows, tlt_sampling how) {
  tlt_config c = world_config();
  memset(w, 0, sizeof *w);
  w->random = tlt_stream_open(9, TLT_PURPOSE_TASK, (uint32_t)max_rows, 0, 0);
  w->m = tiny_model(&c, numerics, 2);
  if (!w->m) skip();
  w->row_bytes = tlt_act_stride((size_t)c.hidden) * w->m->kernels->act_size;
  w->twin = random_drafter(w->m, 300);
  tlt_eagle_options o = {
      .batch = BATCH, .max_positions = POSITIONS, .seed = SEED, .max_rows = max_rows};
  assert_true(tlt_eagle_bytes(w->m, w->twin, &o) > 0);
  assert_int_equal(tlt_eagle_create(w->m, random_drafter(w->m, 300), &o, &w->source, NULL), TLT_OK);
  for (int g = 0; g < GROUPS; g++)
    w->group[g] = (tlt_spec_group){.prompt = w->prompt[g], .n_samples = 2, .how = how};
}

static void world_close(world *w) {
  w->source.free(w->source.context);
  tlt_drafter_free(w->twin);
  tlt_model_close(w->m);
}

/* A new prompt, its hidden states in two chunks. */
static void open_group(world *w, int g) {
  tlt_spec_group *group = &w->group[g];
  unsigned char *rows = tlt_calloc_aligned(MOST_PROMPT, w->row_bytes);
  group->id = group;
  group->rollout += 1 + (uint32_t)g;
  group->n_prompt = 1 + below(w, MOST_PROMPT);
  w->group_open[g] = true;
  for (int i = 0; i < group->n_prompt; i++) {
    w->prompt[g][i] = below(w, w->m->weights->config.vocab);
    hidden_of(w, g, 0, i, rows + (size_t)i * w->row_bytes);
  }
  w->source.group_open(w->source.context, group);
  int half = group->n_prompt / 2;
  if (half) w->source.prompt(w->source.context, group, 0, half, rows);
  w->source.prompt(w->source.context, group, half, group->n_prompt - half,
                   rows + (size_t)half * w->row_bytes);
  tlt_free(rows);
}

static tlt_spec_seq seq_of(world *w, int slot) {
  live *l = &w->slot[slot];
  return (tlt_spec_seq){.slot = slot,
                        .group = &w->group[l->group],
                        .sample = l->sample,
                        .tokens = l->token,
                        .n_tokens = l->n_tokens,
                        .tokens_left = 100,
                        .draft = &l->draft};
}

static void open_sample(world *w, int slot, int g) {
  live *l = &w->slot[slot];
  *l = (live){.open = true, .group = g, .n_tokens = 1, .sample = w->samples++};
  l->token[0] = below(w, w->m->weights->config.vocab);
  tlt_spec_seq s = seq_of(w, slot);
  w->source.open(w->source.context, &s);
}

static void close_sample(world *w, int slot) {
  tlt_spec_seq s = seq_of(w, slot);
  w->source.close(w->source.context, &s, TLT_FINISH_STOP);
  w->slot[slot].open = false;
}

/* ---- The reference: one chain of all pairs and the path ---- */

static int path_to(const tlt_draft *draft, int node, int32_t *token) {
  int16_t up[TLT_DRAFT_MAX];
  int depth = 0;
  for (; node >= 0; node = draft->parent[node]) up[depth++] = (int16_t)node;
  for (int i = 0; i < depth; i++) token[i] = draft->token[up[depth - 1 - i]];
  return depth;
}

static int32_t token_at(const world *w, const live *l, int position) {
  int n = w->group[l->group].n_prompt;
  return position < n ? w->prompt[l->group][position] : l->token[position - n];
}

static int reference(world *w, int slot, int node, tlt_candidate *out) {
  enum { ROWS = POSITIONS + 32, BLOCKS = ROWS / TLT_KV_BLOCK + 1 };
  static int32_t blocks[BLOCKS], token[ROWS];
  const void *hidden[ROWS];
  live *l = &w->slot[slot];
  const tlt_spec_group *g = &w->group[l->group];
  int pairs = g->n_prompt + l->n_tokens - 1, depth = path_to(&l->draft, node, token + pairs);
  unsigned char *in = tlt_calloc_aligned(ROWS, w->row_bytes),
                *y = tlt_calloc_aligned(ROWS, w->row_bytes);
  tlt_draft_forward f;
  assert_int_equal(tlt_draft_forward_init(&f, w->twin, w->m->kernels, w->m->pool, ROWS, ROWS, NULL),
                   TLT_OK);
  unsigned char *kv = tlt_calloc_aligned(BLOCKS, f.forward.kv.block_bytes);
  for (int i = 0; i < BLOCKS; i++) blocks[i] = i;
  for (int t = 0; t < pairs; t++) {
    token[t] = token_at(w, l, t + 1);
    hidden_of(w, l->group, l->sample, t, in + (size_t)t * w->row_bytes);
    hidden[t] = in + (size_t)t * w->row_bytes;
  }
  for (int at = 0, n = pairs; at < pairs + depth; at += n, n = 1) {
    if (at >= pairs) hidden[0] = y + (size_t)(at - 1) * w->row_bytes;
    tlt_seq_rows seq = {.n_rows = n, .pos0 = at, .kv = {kv, blocks}};
    tlt_batch b = {.n_rows = n, .token = token + at, .n_seqs = 1, .seq = &seq};
    tlt_draft_forward_run(&f, &b, hidden, y + (size_t)at * w->row_bytes);
  }
  float logits[512];
  tlt_draft_choice best[K];
  void *scratch = tlt_calloc_aligned(1, tlt_sample_scratch_bytes(512));
  tlt_draw draw = {SEED, g->rollout, l->sample, (uint32_t)(g->n_prompt + l->n_tokens + depth)};
  tlt_draft_forward_logits(&f, y + (size_t)(pairs + depth - 1) * w->row_bytes, 1, logits);
  int n = w->m->kernels->draft_top(logits, w->twin->hot, w->twin->n_hot, &g->how, &draw, K, best,
                                   scratch);
  for (int i = 0; i < n; i++)
    out[i] = (tlt_candidate){.token = w->twin->hot[best[i].index], .score = best[i].score};
  tlt_free(in);
  tlt_free(y);
  tlt_free(kv);
  tlt_free(scratch);
  tlt_draft_forward_deinit(&f);
  return n;
}

static void check_node(world *w, int slot, const tlt_grow *g, int k) {
  tlt_candidate want[K];
  int n = reference(w, slot, g->node, want);
  if (n > k) n = k;
  assert_int_equal(g->n, n);
  for (int i = 0; i < n; i++) {
    assert_int_equal(g->candidate[i].token, want[i].token);
    if (g->candidate[i].score != want[i].score)
      fail_msg("slot %d node %d candidate %d: got %a, expected %a", slot, g->node, i,
               (double)g->candidate[i].score, (double)want[i].score);
  }
  if (n > 1) assert_true(g->candidate[0].gap == want[0].score - want[1].score);
}

/* ---- Steps ---- */

/* Ask for children of these nodes, one entry per sequence and node, in guarded memory. */
static void grow(world *w, const tlt_spec_seq *seq, int n, tlt_grow *node, tlt_candidate *room,
                 int k) {
  for (int j = 0; j < n; j++) {
    const tlt_spec_seq *s = &seq[node[j].seq];
    int32_t path[TLT_DRAFT_MAX];
    int depth = path_to(s->draft, node[j].node, path);
    node[j].position = s->group->n_prompt + s->n_tokens + depth;
    node[j].candidate = room + (size_t)j * TLT_CANDIDATES;
    node[j].n = -1;
  }
  tlt_alloc_guard_begin();
  w->source.grow(w->source.context, seq, n, node, k);
  tlt_alloc_guard_end();
}

/* Append a node: a candidate, or any token, as another source would propose. */
static void append(world *w, tlt_draft *draft, int parent, const tlt_grow *g) {
  if (draft->n == NODES) return;
  int32_t any = below(w, w->m->weights->config.vocab);
  draft->token[draft->n] = g && g->n > 0 ? g->candidate[below(w, g->n)].token : any;
  draft->parent[draft->n++] = (int16_t)parent;
}

/* Draft for `n` sequences over a few levels; every proposal is compared with the reference. */
static void draft_and_check(world *w, int n, tlt_spec_seq *seq) {
  tlt_grow node[BATCH * NODES];
  tlt_candidate room[BATCH * NODES * TLT_CANDIDATES];
  int first[BATCH] = {0};
  tlt_alloc_guard_begin();
  w->source.begin(w->source.context, n, seq);
  tlt_alloc_guard_end();
  for (int level = 0; level < 4; level++) {
    int count = 0, k = 1 + below(w, K);
    for (int i = 0; i < n; i++) {
      if (level == 0) node[count++] = (tlt_grow){.seq = i, .node = -1};
      for (int v = first[i]; level && v < seq[i].draft->n; v++)
        if (below(w, 4)) node[count++] = (tlt_grow){.seq = i, .node = v};
      first[i] = seq[i].draft->n;
    }
    for (int i = count - 1; i > 0; i--) { /* the order of nodes means nothing */
      int j = below(w, i + 1);
      tlt_grow swap = node[i];
      node[i] = node[j];
      node[j] = swap;
    }
    grow(w, seq, count, node, room, k);
    assert_null(w->source.failed(w->source.context));
    for (int j = 0; j < count; j++) check_node(w, seq[node[j].seq].slot, &node[j], k);
    for (int j = 0; j < count; j++)
      for (int c = below(w, 3); c >= 0; c--)
        append(w, seq[node[j].seq].draft, node[j].node, c ? &node[j] : NULL);
    for (int i = 0; i < n; i++) /* behind nodes that nobody asked about */
      if (seq[i].draft->n && below(w, 2)) append(w, seq[i].draft, below(w, seq[i].draft->n), NULL);
  }
}

/* Accept a random path of every draft and tell the source. */
static void verify(world *w, bool with_hidden) {
  tlt_spec_result result[BATCH];
  int16_t path[BATCH][TLT_DRAFT_MAX];
  unsigned char *hidden = tlt_calloc_aligned(BATCH * (1 + TLT_DRAFT_MAX), w->row_bytes);
  int rows = 0, n = 0;
  for (int slot = 0; slot < BATCH; slot++) {
    live *l = &w->slot[slot];
    if (!l->open) continue;
    int leaf = l->draft.n ? below(w, l->draft.n + 1) - 1 : -1;
    int32_t token[TLT_DRAFT_MAX];
    int depth = path_to(&l->draft, leaf, token),
        last = w->group[l->group].n_prompt + l->n_tokens - 1;
    for (int v = leaf, d = depth; v >= 0; v = l->draft.parent[v]) path[slot][--d] = (int16_t)v;
    hidden_of(w, l->group, l->sample, last, hidden + (size_t)rows * w->row_bytes);
    for (int i = 0; i < l->draft.n; i++) { /* the others' hidden states are of no text at all */
      size_t at = (size_t)(rows + 1 + i) * w->row_bytes;
      hidden_of(w, l->group, 777, 500 + i, hidden + at);
      for (int d = 0; d < depth; d++)
        if (path[slot][d] == i) hidden_of(w, l->group, l->sample, last + 1 + d, hidden + at);
    }
    memcpy(l->token + l->n_tokens, token, (size_t)depth * sizeof *token);
    bool ended = depth > 0 && below(w, 8) == 0;
    l->n_tokens += depth;
    if (!ended) l->token[l->n_tokens++] = below(w, w->m->weights->config.vocab);
    result[n++] = (tlt_spec_result){.slot = slot,
                                    .group = &w->group[l->group],
                                    .sample = l->sample,
                                    .tokens = l->token,
                                    .n_tokens = l->n_tokens,
                                    .n_new = depth + !ended,
                                    .draft = &l->draft,
                                    .n_path = depth,
                                    .path = path[slot],
                                    .row0 = rows};
    rows += 1 + l->draft.n;
    l->draft.n = 0;
  }
  tlt_spec_step step = {.n = n, .result = result, .hidden = with_hidden ? hidden : NULL};
  tlt_alloc_guard_begin();
  w->source.verified(w->source.context, &step);
  tlt_alloc_guard_end();
  for (int i = 0; i < n; i++)
    if (result[i].n_path == result[i].n_new || w->slot[result[i].slot].n_tokens > MOST_TOKENS - 20)
      close_sample(w, result[i].slot);
  tlt_free(hidden);
}

/* Close groups without samples, open new ones, fill free slots. */
static void admit(world *w) {
  for (int g = 0; g < GROUPS; g++) {
    bool used = false;
    for (int i = 0; i < BATCH; i++) used |= w->slot[i].open && w->slot[i].group == g;
    if (used) continue;
    if (w->group_open[g]) w->source.group_close(w->source.context, &w->group[g]);
    open_group(w, g);
  }
  for (int i = 0; i < BATCH; i++)
    if (!w->slot[i].open && below(w, 2)) open_sample(w, i, below(w, GROUPS));
}

/* Some sequences draft in some steps; steps without drafts leave pairs to catch up on. */
static void walk(const char *numerics, int max_rows, tlt_sampling how, int steps) {
  static world w;
  world_open(&w, numerics, max_rows, how);
  for (int step = 0; step < steps; step++) {
    tlt_spec_seq seq[BATCH];
    int n = 0;
    admit(&w);
    for (int i = BATCH - 1; i >= 0; i--)
      if (w.slot[i].open && below(&w, 2)) seq[n++] = seq_of(&w, i);
    if (n && below(&w, 3)) draft_and_check(&w, n, seq);
    verify(&w, true);
  }
  world_close(&w);
}

static const tlt_sampling PLAIN = {1.0f, 0, 1.0f, 0.0f};

static void proposals_are_those_of_a_fresh_chain(void **state) {
  (void)state;
  walk("portable", 64, PLAIN, 40);
}

static void small_passes_change_nothing(void **state) {
  (void)state;
  walk("portable", 3, PLAIN, 25);
}

static void the_same_in_bf16(void **state) {
  (void)state;
  walk("avx512bf16", 16, PLAIN, 25);
}

static void filters_and_temperatures(void **state) {
  (void)state;
  walk("portable", 64, (tlt_sampling){0.0f, 0, 1.0f, 0.0f}, 10);
  walk("portable", 64, (tlt_sampling){0.6f, 20, 0.9f, 0.01f}, 10);
}

/* ---- One sequence by hand ---- */

static void one_sequence(world *w, int max_rows) {
  world_open(w, "portable", max_rows, PLAIN);
  open_group(w, 0);
  open_sample(w, 2, 0);
}

static int behind(world *w) {
  tlt_spec_seq s = seq_of(w, 2);
  return w->source.behind(w->source.context, &s);
}

/* Candidates at the root after begin; -1: the source's n was left. */
static int root_candidates(world *w) {
  tlt_spec_seq s = seq_of(w, 2);
  tlt_candidate room[TLT_CANDIDATES];
  tlt_grow node = {.seq = 0, .node = -1};
  w->source.begin(w->source.context, 1, &s);
  grow(w, &s, 1, &node, room, K);
  return node.n;
}

static void behind_counts_what_a_late_start_costs(void **state) {
  (void)state;
  static world w;
  one_sequence(&w, 64);
  assert_int_equal(behind(&w), w.group[0].n_prompt);
  verify(&w, true);
  assert_int_equal(behind(&w), w.group[0].n_prompt);
  assert_int_equal(root_candidates(&w), K);
  assert_int_equal(behind(&w), 0);
  verify(&w, true);
  assert_int_equal(behind(&w), 0);
  verify(&w, true);
  assert_int_equal(behind(&w), 1);
  world_close(&w);
}

static void what_it_does_not_know_it_does_not_draft(void **state) {
  (void)state;
  static world w;
  one_sequence(&w, 64);
  verify(&w, false); /* a step whose hidden states were not kept */
  assert_int_equal(root_candidates(&w), 0);
  verify(&w, true);
  assert_int_equal(root_candidates(&w), 0);
  close_sample(&w, 2);
  assert_int_equal(root_candidates(&w), 0);
  open_sample(&w, 2, 0);
  assert_int_equal(root_candidates(&w), K);
  w.source.group_close(w.source.context, &w.group[0]);
  assert_int_equal(root_candidates(&w), 0);
  w.source.group_open(w.source.context, &w.group[0]); /* the prompt's hidden states never come */
  open_sample(&w, 2, 0);
  assert_int_equal(root_candidates(&w), 0);
  assert_null(w.source.failed(w.source.context));
  world_close(&w);
}

static void senseless_drafts_get_nothing(void **state) {
  (void)state;
  static world w;
  one_sequence(&w, 8);
  live *l = &w.slot[2];
  tlt_candidate room[8 * TLT_CANDIDATES];
  for (int i = 0; i < 40; i++) {
    l->draft.token[i] = i;
    l->draft.parent[i] = (int16_t)(i - 1);
  }
  l->draft.n = 40;
  l->draft.token[36] = l->draft.parent[36] = -1;
  l->draft.token[37] = 1331, l->draft.parent[37] = -1;
  l->draft.token[38] = 1, l->draft.parent[38] = 39;
  tlt_spec_seq s = seq_of(&w, 2);
  w.source.begin(w.source.context, 1, &s);
  const int asked[] = {33, 36, 37, 38, 40, 62, 31};
  tlt_grow node[7];
  for (int j = 0; j < 7; j++)
    node[j] = (tlt_grow){
        .seq = j == 5 ? -1 : 0, .node = asked[j], .candidate = room + j * TLT_CANDIDATES};
  w.source.grow(w.source.context, &s, 7, node, K);
  for (int j = 0; j < 6; j++) assert_int_equal(node[j].n, 0);
  assert_true(node[6].n > 0); /* the deepest that is verified */
  world_close(&w);
}

static void nan_weights_end_it(void **state) {
  (void)state;
  world w;
  tlt_config c = world_config();
  tlt_drafter *d;
  memset(&w, 0, sizeof w);
  one_sequence(&w, 64);
  w.source.free(w.source.context);
  assert_int_equal(c.hidden, w.m->weights->config.hidden);
  d = random_drafter(w.m, 300);
  float nan = NAN;
  for (int i = 0; i < d->weights.n_params; i++)
    if (!d->weights.param[i].matrix) tlt_param_set_rows(&d->weights.param[i], 0, 1, &nan);
  tlt_eagle_options o = {.batch = BATCH, .max_positions = POSITIONS, .seed = SEED, .max_rows = 64};
  assert_int_equal(tlt_eagle_create(w.m, d, &o, &w.source, NULL), TLT_OK);
  open_group(&w, 0);
  open_sample(&w, 2, 0);
  assert_null(w.source.failed(w.source.context));
  assert_int_equal(root_candidates(&w), 0);
  assert_non_null(w.source.failed(w.source.context));
  verify(&w, true);
  assert_int_equal(root_candidates(&w), 0);
  world_close(&w);
}

/* After the target changed drafts are those of the new head. */
static void refresh_follows_the_target(void **state) {
  (void)state;
  static world w;
  one_sequence(&w, 64);
  assert_int_equal(root_candidates(&w), K);
  close_sample(&w, 2);
  w.source.group_close(w.source.context, &w.group[0]);
  assert_int_equal(tiny_randomize(w.m->weights, 123), 0);
  tlt_drafter_refresh(w.twin, w.m->weights);
  w.source.refresh(w.source.context);
  open_group(&w, 0);
  open_sample(&w, 2, 0);
  tlt_spec_seq s = seq_of(&w, 2);
  draft_and_check(&w, 1, &s);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(proposals_are_those_of_a_fresh_chain),
      cmocka_unit_test(small_passes_change_nothing),
      cmocka_unit_test(the_same_in_bf16),
      cmocka_unit_test(filters_and_temperatures),
      cmocka_unit_test(behind_counts_what_a_late_start_costs),
      cmocka_unit_test(what_it_does_not_know_it_does_not_draft),
      cmocka_unit_test(senseless_drafts_get_nothing),
      cmocka_unit_test(nan_weights_end_it),
      cmocka_unit_test(refresh_follows_the_target),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
