/* A step under the planner: grow trees while it pays, verify what pays. */
#include "base/clock.h"
#include "spec/internal.h"

enum {
  PRICED_STEPS = 3, /* steps without drafts before the first plan: their price is the yardstick */
  BRANCHES = 3,     /* nodes of one level and sequence that are extended */
  CHILDREN = 3,     /* candidates asked for per node */
  LOOK_AHEAD = 6,   /* levels */
  TRY_FIRST = 16,   /* unused steps after which a node is verified anyway, at first and at most */
  TRY_MOST = 512,
  TRY_SHARE = 300,    /* steps take so much more time than the tries between them */
  MARGINAL_ROWS = 32, /* the flat stretch of a cost curve ends within so many rows */
};
/* Share of the fullest step's sequences below which a rollout is in its tail. */
#define TAIL 0.75f
/* Threshold above which nothing is drafted: a further row costs nearly as much as it could ever
 * bring, less than what the estimates are wrong by. */
#define DEAR 0.85f
#define JOIN_SHARE 0.25 /* of the time that a sequence still needs, for catching up on it */
#define DARING 0.8      /* what trials multiply the price of steps with drafts by */
#define UNLUCKY 0.4f    /* sequences that a source serves this badly are left out */

typedef struct plan {
  tlt_spec *s;
  tlt_plan_step step;
  double from; /* when planning began */
  float least; /* weighted path probability below which a node cannot pay */
  int room;
  int taken;   /* nodes that would be verified if growing ended now */
  double gain; /* their sum */
  float cut;   /* what a further node must bring: more than the best candidate that does not pay
                  or, where there is no more room, than the least of those taken; 0: anything */
  int n_front; /* nodes of s->front: those that may be extended now */
} plan;

static void set_weights(plan *p) {
  tlt_spec *s = p->s;
  double mean = 0;
  bool tail = (float)s->n < TAIL * (float)s->full;
  for (int i = 0; tail && i < s->n; i++)
    mean += tlt_lengths_left(&s->lengths, s->seq[i].n_tokens) / s->n;
  for (int i = 0; i < s->n; i++) {
    tlt_tree *t = &s->tree[s->seq[i].slot];
    t->weight = 1;
    if (mean > 0) {
      float w = (float)(tlt_lengths_left(&s->lengths, s->seq[i].n_tokens) / mean);
      t->weight = w < 0.5f ? 0.5f : w > 2.0f ? 2.0f : w;
    }
    p->step.weight += (double)t->weight;
  }
}

static double mean_context(const tlt_spec *s) {
  double sum = 0;
  for (int i = 0; i < s->n; i++) sum += s->seq[i].group->n_prompt + s->seq[i].n_tokens;
  return sum / s->n;
}

static void update_spent(plan *p) {
  p->step.spent_us = (tlt_now() - p->from) * 1e6;
}

/* ---- which nodes to extend ---------------------------------------------------------------------
 */

static void want(plan *p, int seq, int node) {
  if (p->n_front == p->s->grow_room) return;
  p->s->front[p->n_front++] = (tlt_ranked){.seq = seq, .node = (int16_t)node};
}

static void want_roots(plan *p) {
  tlt_spec *s = p->s;
  for (int q = 0; q < s->n; q++) {
    const tlt_tree *t = &s->tree[s->seq[q].slot];
    if (s->seq[q].tokens_left >= 2 && t->weight >= p->least) want(p, q, -1);
  }
}

/* The likeliest nodes of the newest level, as far as their children can still pay. */
static void want_level(plan *p, int depth) {
  tlt_spec *s = p->s;
  for (int q = 0; q < s->n; q++) {
    tlt_tree *t = &s->tree[s->seq[q].slot];
    if (depth > s->seq[q].tokens_left - 2) continue;
    for (int k = 0; k < BRANCHES; k++) {
      int best = -1;
      for (int i = t->level0; i < t->n; i++)
        if (t->node[i].grow < 0 && (best < 0 || t->node[i].p > t->node[best].p)) best = i;
      float most = best < 0 ? 0 : t->node[best].p * t->weight;
      if (best < 0 || most < p->least || most <= p->cut || !tlt_tree_extend(t, best)) break;
      want(p, q, best);
    }
  }
}

/* Whether a sequence has so much before it that a source should catch up on what is behind. */
static bool worth_joining(const plan *p, const tlt_spec_source *x, const tlt_spec_seq *q) {
  if (!x->source.behind || x->begun) return true;
  double token_us = tlt_cost_us(p->step.verify, p->s->n, p->step.context) / p->s->n;
  return x->catch_up_us * x->source.behind(x->source.context, q) <=
         JOIN_SHARE * token_us * tlt_lengths_left(&p->s->lengths, q->n_tokens);
}

/* Of these nodes, those that source x can say something about, to s->grow. */
static int choose_for(const plan *p, const tlt_spec_source *x) {
  tlt_spec *s = p->s;
  int n = 0;
  for (int i = 0; i < p->n_front; i++) {
    int q = s->front[i].seq, node = s->front[i].node;
    const tlt_tree *t = &s->tree[s->seq[q].slot];
    bool foreign =
        x->as == TLT_EDGE_SUFFIX && node >= 0 && t->node[node].edge.source == TLT_EDGE_EAGLE;
    bool unlucky = node < 0 && t->luck < UNLUCKY && s->n > 1;
    if (foreign || unlucky || (x->begun ? x->index[q] < 0 : node >= 0)) continue;
    if (!worth_joining(p, x, &s->seq[q])) continue;
    s->grow[n].seq = q;
    s->grow_node[n++] = (int16_t)node;
  }
  return n;
}

/* ---- does a level pay --------------------------------------------------------------------------
 */

/* What catching up costs, spread over the steps that it serves. */
static double catch_up_us(plan *p, tlt_spec_source *x, int n) {
  tlt_spec *s = p->s;
  double us = 0;
  if (!x->source.behind || x->begun) return 0;
  for (int i = 0; i < n; i++) {
    const tlt_spec_seq *q = &s->seq[s->grow[i].seq];
    double steps = 1 + 0.5 * tlt_lengths_left(&s->lengths, q->n_tokens);
    us += x->catch_up_us * x->source.behind(x->source.context, q) / steps;
  }
  return us;
}

/* What would be verified if growing ended now. */
static void take_stock(plan *p) {
  int n = tlt_spec_rank(p->s, p->least), most = n < p->room ? n : p->room;
  p->taken = tlt_plan_take(&p->step, most, p->s->gain);
  p->gain = 0;
  for (int i = 0; i < p->taken; i++) p->gain += (double)p->s->gain[i];
  bool full = p->taken == most;
  p->cut = p->taken == 0 || p->taken == n ? 0 : p->s->gain[full ? p->taken - 1 : p->taken];
}

/* A source without drafting costs is always asked: what it proposes is judged afterwards. */
static bool level_pays(plan *p, tlt_spec_source *x, int n, int depth) {
  tlt_spec *s = p->s;
  if (x->as == TLT_EDGE_SUFFIX) return true;
  double open = 0, us = tlt_cost_us(x->begun ? &x->level : &x->start, n, 0);
  float share, accept;
  for (int i = 0; i < n; i++) {
    const tlt_tree *t = &s->tree[s->seq[s->grow[i].seq].slot];
    open += (double)(tlt_tree_p(t, s->grow_node[i]) * t->weight * t->luck);
  }
  double least = open > 0 ? (double)p->least * n / open : 1;
  tlt_calibration_worth(&s->calibration, x->as, x->gaps, (float)least, &share, &accept);
  tlt_plan_step step = p->step;
  double level_us = x->level.observations ? tlt_cost_us(&x->level, n, 0) : us;
  step.spent_us += us - level_us + catch_up_us(p, x, n);
  int levels = s->o.max_depth - depth, nodes = (int)((float)n * share + 0.5f);
  return tlt_plan_deepen(&step, p->taken, p->gain, nodes > 0 ? nodes : 1, open,
                         (double)(share * accept), level_us,
                         levels < LOOK_AHEAD ? levels : LOOK_AHEAD, (double)p->cut);
}

/* ---- trying what is not used -------------------------------------------------------------------
 */

static bool try_due(const plan *p, tlt_spec_source *x) {
  if (x->idle_most == 0) x->idle_most = TRY_FIRST;
  double step_us = tlt_cost_us(p->step.verify, p->step.rows, p->step.context);
  return x->idle >= x->idle_most && x->idle * step_us >= TRY_SHARE * x->try_us;
}

/* One sequence is enough to notice change; the one with the least to catch up. */
static int one_root(const plan *p, const tlt_spec_source *x) {
  tlt_spec *s = p->s;
  int best = -1, least = 0;
  for (int q = 0; q < s->n; q++) {
    int behind = x->source.behind ? x->source.behind(x->source.context, &s->seq[q]) : 0;
    if (s->seq[q].tokens_left < 2 || (best >= 0 && behind >= least)) continue;
    best = q;
    least = behind;
  }
  s->grow[0].seq = best;
  s->grow_node[0] = -1;
  return best >= 0;
}

/* Make sure that the best node of a tried source is verified, whatever it is thought to be worth.
 */
static void take_tried(plan *p, const tlt_spec_source *x) {
  tlt_spec *s = p->s;
  for (int q = 0; q < s->n && s->nodes < p->room; q++) {
    tlt_tree *t = &s->tree[s->seq[q].slot];
    if (x->index[q] < 0 || t->n_taken) continue;
    for (int i = 0; i < t->n; i++) {
      if (t->node[i].parent >= 0 || t->node[i].edge.source != x->as || t->node[i].edge.rank)
        continue;
      t->node[i].taken = true;
      t->n_taken++;
      s->nodes++;
      return;
    }
  }
}

static void note_use(tlt_spec *s, tlt_spec_source *x, bool tried) {
  bool used = false;
  for (int q = 0; q < s->n && !used; q++) {
    const tlt_tree *t = &s->tree[s->seq[q].slot];
    for (int i = 0; i < t->n && !used; i++)
      used = t->node[i].taken &&
             (t->node[i].edge.source == x->as || t->node[i].edge.source == TLT_EDGE_BOTH);
  }
  if (tried) {
    x->idle = 0;
    if (x->idle_most < TRY_MOST) x->idle_most *= 2;
  } else if (used) {
    x->idle = 0;
    x->idle_most = TRY_FIRST;
  } else {
    x->idle++;
  }
}

/* ---- the step ----------------------------------------------------------------------------------
 */

static bool grow_level(plan *p, int depth, bool tried[TLT_SOURCES]) {
  tlt_spec *s = p->s;
  int all = 0;
  for (int i = 0; i < s->n_sources; i++) {
    tlt_spec_source *x = &s->source[i];
    if (!x->alive) continue;
    int n = choose_for(p, x);
    bool pays = n > 0 && level_pays(p, x, n, depth);
    if (depth == 0 && try_due(p, x)) tried[i] = true;
    if (!pays && depth == 0 && tried[i]) pays = (n = one_root(p, x)) > 0;
    if (!pays) continue;
    double before = p->step.spent_us;
    tlt_spec_grow(s, i, n, CHILDREN);
    update_spent(p);
    if (tried[i] && depth == 0) x->try_us = p->step.spent_us - before;
    all += n;
  }
  return all > 0;
}

static tlt_plan_step step_of(const tlt_spec *s, int prompt_rows) {
  tlt_plan_step p = {.verify = &s->price->verify,
                     .rows = s->n + prompt_rows,
                     .context = mean_context(s)};
  p.prompt_us =
      tlt_cost_us(p.verify, p.rows, p.context) - tlt_cost_us(p.verify, s->n, p.context);
  return p;
}

void tlt_spec_plan(tlt_spec *s, int room, int prompt_rows) {
  bool tried[TLT_SOURCES] = {false};
  plan p = {.s = s, .from = tlt_now(), .room = room};
  s->planned = true;
  if (s->price->verify.observations < PRICED_STEPS) return;
  /* What more rows cost among many of prompts, the model hardly knows; and a trial is of steps that
   * are timed, which those with prompts are not. */
  if (prompt_rows > s->n || (prompt_rows && s->trial)) return;
  p.step = step_of(s, prompt_rows);
  if (s->trial) p.step.daring = DARING;
  set_weights(&p);
  int marginal = room < MARGINAL_ROWS ? room : MARGINAL_ROWS;
  p.least = (float)tlt_plan_threshold(&p.step, marginal);
  if (p.least > DEAR) return;
  for (int depth = 0; depth < s->o.max_depth; depth++) {
    p.n_front = 0;
    if (depth > 0) take_stock(&p);
    if (depth > 0) want_level(&p, depth);
    else want_roots(&p);
    for (int q = 0; q < s->n; q++) {
      tlt_tree *t = &s->tree[s->seq[q].slot];
      t->level0 = t->n;
    }
    if (!grow_level(&p, depth, tried)) break;
  }
  take_stock(&p);
  tlt_spec_take(s, p.taken, room, TLT_DRAFT_MAX);
  for (int i = 0; i < s->n_sources; i++)
    if (tried[i]) take_tried(&p, &s->source[i]);
  for (int i = 0; i < s->n_sources; i++) note_use(s, &s->source[i], tried[i]);
}
