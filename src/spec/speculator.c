#include "spec/speculator.h"

#include "base/clock.h"
#include "base/log.h"
#include "spec/internal.h"

#define GAP_KEEP 0.998f

/* ---- sources -----------------------------------------------------------------------------------
 */

static void drop_if_failed(tlt_spec_source *x) {
  const char *why = x->alive && x->source.failed ? x->source.failed(x->source.context) : NULL;
  if (!why) return;
  x->alive = false;
  tlt_log_write(TLT_LOG_WARN, "draft source %s dropped: %s; tokens are not affected",
                x->source.name, why);
}

/* The sequences whose roots are asked for. */
static int choose_sequences(tlt_spec *s, tlt_spec_source *x, int n) {
  int count = 0;
  for (int i = 0; i < s->n; i++) x->index[i] = -1;
  for (int i = 0; i < n; i++) {
    int q = s->grow[i].seq;
    if (x->index[q] >= 0) continue;
    x->index[q] = count;
    x->seq[count++] = s->seq[q];
  }
  return count;
}

/* Microseconds; *late: this was a late join, which is no measure of the usual start. */
static double begin(tlt_spec *s, tlt_spec_source *x, int n, bool *late) {
  int count = choose_sequences(s, x, n), behind = 0;
  for (int i = 0; x->source.behind && i < count; i++)
    behind += x->source.behind(x->source.context, &x->seq[i]);
  double from = tlt_now();
  if (x->source.begin) x->source.begin(x->source.context, count, x->seq);
  x->begun = true;
  double us = (tlt_now() - from) * 1e6;
  *late = behind > 4 * count;
  if (!*late) return us;
  double each = us / behind;
  x->catch_up_us = x->catch_up_us > 0 ? 0.7 * x->catch_up_us + 0.3 * each : each;
  return us;
}

static void note_gap(tlt_spec_source *x, float gap) {
  int bin = tlt_calibration_gap_bin(gap);
  for (int i = 0; i < TLT_CAL_GAPS; i++) x->gaps[i] *= GAP_KEEP;
  x->gaps[bin] += 1;
}

static void add_children(tlt_spec *s, tlt_spec_source *x, const tlt_grow *g, int q, int pool_node) {
  tlt_tree *t = &s->tree[s->seq[q].slot];
  if (g->n > 0) note_gap(x, g->candidate[0].gap);
  for (int r = 0; r < g->n; r++) {
    const tlt_candidate *c = &g->candidate[r];
    tlt_edge e = {.source = x->as, .rank = r, .gap = c->gap, .match = c->match};
    tlt_tree_add(t, &s->calibration, pool_node, c->token, &e);
  }
}

/* The same nodes as the source knows them: sequences by their place in what it began with, nodes by
 * their place in the growing draft. */
static void name_for_source(tlt_spec *s, tlt_spec_source *x, int n) {
  for (int j = 0; j < n; j++) {
    tlt_grow *g = &s->grow[j];
    const tlt_spec_seq *q = &s->seq[g->seq];
    const tlt_tree_node *node =
        s->grow_node[j] < 0 ? NULL : &s->tree[q->slot].node[s->grow_node[j]];
    g->node = node ? node->grow : -1;
    g->position = q->group->n_prompt + q->n_tokens + (node ? node->depth + 1 : 0);
    g->n = 0;
    g->candidate = &s->candidate[(size_t)j * TLT_CANDIDATES];
    s->grow_seq[j] = g->seq;
    g->seq = x->index[g->seq];
  }
}

void tlt_spec_grow(tlt_spec *s, int i, int n, int k) {
  tlt_spec_source *x = &s->source[i];
  if (!x->alive || n == 0) return;
  bool first = !x->begun, late = false;
  double begun = first ? begin(s, x, n, &late) : 0, from = tlt_now();
  name_for_source(s, x, n);
  x->source.grow(x->source.context, x->seq, n, s->grow, k < TLT_CANDIDATES ? k : TLT_CANDIDATES);
  double us = (tlt_now() - from) * 1e6;
  if (!first) tlt_cost_observe(&x->level, n, 0, us);
  else if (!late) tlt_cost_observe(&x->start, n, 0, begun + us);
  s->stats.draft_seconds[x->as == TLT_EDGE_EAGLE ? TLT_SOURCE_EAGLE : TLT_SOURCE_SUFFIX] +=
      (begun + us) * 1e-6;
  for (int j = 0; j < n; j++) {
    s->grow[j].seq = s->grow_seq[j];
    add_children(s, x, &s->grow[j], s->grow_seq[j], s->grow_node[j]);
  }
  drop_if_failed(x);
}

/* ---- choosing among all candidates -------------------------------------------------------------
 */

static bool before(const tlt_ranked *a, const tlt_ranked *b) {
  if (a->gain != b->gain) return a->gain > b->gain;
  return a->seq != b->seq ? a->seq < b->seq : a->node < b->node; /* parents first */
}

static void sift(tlt_ranked *r, int at, int n) {
  for (int child = 2 * at + 1; child < n; at = child, child = 2 * at + 1) {
    if (child + 1 < n && before(&r[child], &r[child + 1])) child++;
    if (!before(&r[at], &r[child])) return;
    tlt_ranked swap = r[at];
    r[at] = r[child];
    r[child] = swap;
  }
}

static void sort_ranked(tlt_ranked *r, int n) {
  for (int i = n / 2 - 1; i >= 0; i--) sift(r, i, n);
  for (int i = n - 1; i > 0; i--) {
    tlt_ranked swap = r[0];
    r[0] = r[i];
    r[i] = swap;
    sift(r, 0, i);
  }
}

int tlt_spec_rank(tlt_spec *s, float least) {
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    const tlt_tree *t = &s->tree[s->seq[i].slot];
    for (int j = 0; j < t->n && n < s->ranked_room; j++) {
      float gain = t->node[j].p * t->weight;
      if (gain >= least) s->ranked[n++] = (tlt_ranked){gain, (int16_t)j, i};
    }
  }
  sort_ranked(s->ranked, n);
  for (int i = 0; i < n; i++) s->gain[i] = s->ranked[i].gain;
  return n;
}

void tlt_spec_take(tlt_spec *s, int n, int most, int most_each) {
  for (int i = 0; i < n && s->nodes < most; i++) {
    const tlt_spec_seq *q = &s->seq[s->ranked[i].seq];
    tlt_tree *t = &s->tree[q->slot];
    tlt_tree_node *node = &t->node[s->ranked[i].node];
    bool parent = node->parent < 0 || t->node[node->parent].taken;
    if (!parent || t->n_taken >= most_each || t->n_taken >= q->most_nodes) continue;
    node->taken = true;
    t->n_taken++;
    s->nodes++;
  }
}

/* ---- callbacks of the engine -------------------------------------------------------------------
 */

#define EACH_SOURCE(s, x)                                                       \
  for (tlt_spec_source *x = (s)->source; x < (s)->source + (s)->n_sources; x++) \
    if (x->alive)

static void on_group_open(void *context, const tlt_spec_group *g) {
  EACH_SOURCE((tlt_spec *)context, x)
  if (x->source.group_open) x->source.group_open(x->source.context, g);
}

static void on_group_close(void *context, const tlt_spec_group *g) {
  EACH_SOURCE((tlt_spec *)context, x)
  if (x->source.group_close) x->source.group_close(x->source.context, g);
}

static void on_prompt(void *context, const tlt_spec_group *g, int pos0, int n, const void *hidden) {
  EACH_SOURCE((tlt_spec *)context, x)
  if (x->source.prompt) x->source.prompt(x->source.context, g, pos0, n, hidden);
}

static void on_open(void *context, const tlt_spec_seq *q) {
  tlt_spec *s = context;
  s->since = 0; /* prompts were read since the last step */
  tlt_tree_reset(&s->tree[q->slot]);
  tlt_spec_origin_open(s, q);
  EACH_SOURCE(s, x)
  if (x->source.open) x->source.open(x->source.context, q);
}

static void on_close(void *context, const tlt_spec_seq *q, tlt_finish finish) {
  tlt_spec *s = context;
  if (finish != TLT_FINISH_NONE) tlt_lengths_add(&s->lengths, q->n_tokens);
  tlt_spec_origin_close(s, q);
  EACH_SOURCE(s, x)
  if (x->source.close) x->source.close(x->source.context, q, finish);
}

static void start_step(tlt_spec *s, int n, const tlt_spec_seq *seq) {
  s->n = n;
  for (int i = 0; i < n; i++) {
    tlt_tree *t = &s->tree[seq[i].slot];
    tlt_tree_clear(t);
    s->seq[i] = seq[i];
    s->seq[i].draft = &t->grow;
  }
  for (int i = 0; i < s->n_sources; i++) s->source[i].begun = false;
}

/* The step before this one is over: the arbiter hears how long it took, all in all. */
static void time_last_step(tlt_spec *s, double now) {
  if (!s->bandit && s->since > 0 && s->progress > 0)
    tlt_arbiter_observe(&s->price->arbiter, s->n, s->progress, (now - s->since) * 1e6,
                        tlt_cost_plain(&s->price->verify, s->n, s->context),
                        s->price->verify.scale);
  s->progress = 0;
}

/* Cores of other workers come and go. A step in which they did is not timed; what is known of the
 * own ones is the first guess for more. */
static void choose_prices(tlt_spec *s) {
  bool borrows = tlt_pool_active(s->pool) > tlt_pool_own_threads(s->pool);
  tlt_spec_prices *now = borrows ? &s->borrowed : &s->own;
  if (now == s->price) return;
  if (!s->has_borrowed) s->borrowed = s->own;
  s->has_borrowed = true;
  s->price = now;
  s->progress = 0;
}

static bool on_wake(void *context, int n) {
  tlt_spec *s = context;
  double now = tlt_now();
  choose_prices(s);
  time_last_step(s, now);
  s->since = now;
  s->n = n;
  s->nodes = 0;
  s->planned = false;
  s->strategy = -1;
  s->propose_us = 0;
  if (n > s->full) s->full = n;
  return s->bandit || tlt_arbiter_awake(&s->price->arbiter, n, &s->trial);
}

/* What was drawn while nobody drafted. */
static void catch_up(tlt_spec *s, int n, const tlt_spec_seq *seq) {
  EACH_SOURCE(s, x)
  if (x->source.catch_up) x->source.catch_up(x->source.context, n, seq);
  s->missed = false;
}

static void on_propose(void *context, int n, tlt_spec_seq *seq, int room, int prompt_rows) {
  tlt_spec *s = context;
  double from = s->since;
  if (s->missed) catch_up(s, n, seq);
  start_step(s, n, seq);
  if (s->bandit) tlt_spec_fixed(s, tlt_bandit_choose(s->bandit, n, &s->strategy), room);
  else tlt_spec_plan(s, room, prompt_rows);
  for (int i = 0; s->nodes && i < n; i++) tlt_tree_finish(&s->tree[seq[i].slot], seq[i].draft);
  s->propose_us = (tlt_now() - from) * 1e6;
  s->stats.plan_seconds += s->propose_us * 1e-6;
}

/* Every edge whose parent was reached tells whether it was right; where the answer ended at the
 * parent nothing was drawn. */
static void learn(tlt_spec *s, const tlt_spec_result *r) {
  tlt_tree *t = &s->tree[r->slot];
  if (!r->draft || r->draft->n != t->n_final) return;
  bool on_path[TLT_DRAFT_MAX] = {false};
  for (int i = 0; i < r->n_path; i++) on_path[r->path[i]] = true;
  bool ended = r->n_new == r->n_path;
  for (int i = 0; i < r->draft->n; i++) {
    int parent = r->draft->parent[i];
    const tlt_tree_node *n = &t->node[t->final[i]];
    bool tried = parent < 0 || on_path[parent];
    tlt_spec_count_node(s, n);
    if (!tried || (ended && r->n_path && parent == r->path[r->n_path - 1])) continue;
    tlt_spec_count_edge(s, n, on_path[i]);
    tlt_calibration_observe(&s->calibration, &n->edge, on_path[i]);
    tlt_tree_learn(t, n, on_path[i]);
  }
}

/* A step without drafts: sources that do not compute can wait. */
static void pass_on(tlt_spec *s, const tlt_spec_step *step) {
  EACH_SOURCE(s, x) {
    if (s->nodes || x->source.wants_hidden) {
      if (x->source.verified) x->source.verified(x->source.context, step);
    } else {
      s->missed = true;
    }
  }
}

/* Tokens of the step per sequence, each sequence by its weight. */
static double progress_of(const tlt_spec *s, const tlt_spec_step *step) {
  double weights = 0, tokens = 0;
  if (!s->nodes) return 1;
  for (int i = 0; i < step->n; i++) {
    double weight = (double)s->tree[step->result[i].slot].weight;
    weights += weight;
    tokens += weight * step->result[i].n_new;
  }
  return tokens / weights;
}

static void on_verified(void *context, const tlt_spec_step *step) {
  tlt_spec *s = context;
  double from = tlt_now();
  int tokens = s->nodes ? 0 : step->n;
  pass_on(s, step);
  for (int i = 0; s->nodes && i < step->n; i++) {
    tokens += step->result[i].n_new;
    learn(s, &step->result[i]);
    tlt_spec_origin_step(s, &step->result[i]);
  }
  s->progress = progress_of(s, step);
  if (step->prompt_rows) s->since = 0; /* it says nothing of steps that only decode */
  s->context = step->context;
  int rows = step->decode_rows + step->prompt_rows;
  tlt_cost_observe(&s->price->verify, rows, step->context, step->seconds * 1e6);
  double seconds = step->seconds + s->propose_us * 1e-6;
  if (s->bandit && s->strategy >= 0 && step->prompt_rows == 0)
    tlt_bandit_reward(s->bandit, s->strategy, step->n, tokens, seconds);
  tlt_spec_count(s, step);
  s->nodes = 0;
  s->stats.observe_seconds += tlt_now() - from;
}

/* ---- interface ----------------------------------------------------------------------------------
 */

tlt_status tlt_spec_attach(tlt_spec *s, tlt_engine *e, tlt_err *err) {
  tlt_speculator to = {.context = s,
                       .group_open = on_group_open,
                       .group_close = on_group_close,
                       .prompt = on_prompt,
                       .open = on_open,
                       .close = on_close,
                       .wake = on_wake,
                       .propose = on_propose,
                       .verified = on_verified};
  for (int i = 0; i < s->n_sources; i++) to.wants_hidden |= s->source[i].source.wants_hidden;
  return tlt_engine_set_speculator(e, &to, err);
}

void tlt_spec_interrupted(tlt_spec *s) {
  s->since = 0;
}

void tlt_spec_refresh(tlt_spec *s) {
  tlt_spec_interrupted(s);
  EACH_SOURCE(s, x)
  if (x->source.refresh) x->source.refresh(x->source.context);
}
