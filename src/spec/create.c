/* A speculator is made from its options, and takes new drafters. */
#include <string.h>

#include "base/mem.h"
#include "spec/eagle.h"
#include "spec/internal.h"
#include "spec/suffix.h"

enum {
  PLANNED_ROWS = 256, /* most nodes per step under the planner */
  FIXED_ROWS = 2048,  /* under a fixed strategy */
  EAGLE_ROWS = 512,   /* rows of one pass of the drafter */
  DEPTH_DEFAULT = 12,
  KNEE_MEMORY = 12, /* rows for the price of one, where the model does not fit in cache */
  KNEE_CACHE = 3,   /* and where it does */
  HISTORY_MB = 64,
};
#define FEW_OF_KNEE 0.7 /* sequences that leave room for drafts below the knee */
#define CACHE_BYTES (16u << 20)
#define ATTENTION_SLOWNESS 4.0 /* of attention against matrix products, per operation */

/* ---- options and creation -------------------------------------------------------------------- */

static tlt_status parse_policy(const char *policy, int *kind, tlt_strategy *fixed, tlt_err *err) {
  static const char *const name[] = {"beg-mab", "eg", "ucb1"};
  *kind = -1;
  if (!policy || strcmp(policy, "planner") == 0) return TLT_OK;
  for (int i = 0; i < 3; i++)
    if (strcmp(policy, name[i]) == 0) {
      *kind = i;
      return TLT_OK;
    }
  *kind = TLT_BANDIT_FIXED;
  if (strncmp(policy, "fixed:", 6) == 0 &&
      tlt_strategy_parse(policy + 6, strlen(policy + 6), fixed))
    return TLT_OK;
  return tlt_fail(err, TLT_EUSAGE,
                  "policy: got \"%s\", expected planner, beg-mab, eg, ucb1 or "
                  "fixed:DEPTH_TOPK_VERIFY with depth 1 .. 32, top-k 1 .. 4, verify 2 .. 64",
                  policy);
}

tlt_status tlt_draft_kind_find(const char *name, tlt_draft_kind *out, tlt_err *err) {
  static const char *const names[] = {"off", "suffix", "eagle", "auto"};
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *out = (tlt_draft_kind)i;
      return TLT_OK;
    }
  return tlt_fail(err, TLT_EUSAGE, "got \"%s\", expected off, suffix, eagle or auto", name);
}

tlt_status tlt_spec_check(const tlt_spec_options *o, tlt_err *err) {
  int kind;
  tlt_strategy fixed;
  if (o->draft == TLT_DRAFT_EAGLE && !o->drafter && !o->joins)
    return tlt_fail(err, TLT_EUSAGE, "draft eagle: got no drafter, expected a drafter directory");
  if (o->max_depth < 0 || o->max_depth > TLT_DRAFT_DEPTH)
    return tlt_fail(err, TLT_EUSAGE, "max_depth: got %d, expected 1 .. %d", o->max_depth,
                    TLT_DRAFT_DEPTH);
  return parse_policy(o->policy, &kind, &fixed, err);
}

int tlt_spec_draft_rows(const tlt_spec_options *o) {
  int kind;
  tlt_strategy fixed = {0};
  tlt_err ignored;
  if (o->draft == TLT_DRAFT_OFF || parse_policy(o->policy, &kind, &fixed, &ignored) != TLT_OK)
    return 0;
  int64_t rows = (int64_t)o->batch * TLT_DRAFT_MAX;
  int most = kind < 0 ? PLANNED_ROWS : FIXED_ROWS;
  if (kind == TLT_BANDIT_FIXED) rows = (int64_t)o->batch * (fixed.verify - 1);
  return rows < most ? (int)rows : most;
}

tlt_status tlt_spec_add(tlt_spec *s, const tlt_source *source, tlt_edge_source as, tlt_err *err) {
  if (s->n_sources == TLT_SOURCES)
    return tlt_fail(err, TLT_EUSAGE, "draft sources: got more than %d", TLT_SOURCES);
  tlt_spec_source *x = &s->source[s->n_sources++];
  *x = (tlt_spec_source){.source = *source, .as = as, .alive = true};
  x->seq = tlt_calloc((size_t)s->o.batch, sizeof *x->seq);
  x->index = tlt_calloc((size_t)s->o.batch, sizeof *x->index);
  if (!x->seq || !x->index) {
    tlt_free(x->seq);
    tlt_free(x->index);
    s->n_sources--;
    if (source->free) source->free(source->context);
    return tlt_fail_nomem(err, "draft source", sizeof *x);
  }
  tlt_cost_init(&x->level, 8, 0);
  tlt_cost_init(&x->start, 4, 0);
  return TLT_OK;
}

static tlt_suffix_options suffix_options(const tlt_spec_options *o) {
  return (tlt_suffix_options){.batch = o->batch,
                              .max_positions = o->max_positions,
                              .seed = o->seed,
                              .history_bytes = (size_t)HISTORY_MB << 20};
}

static tlt_eagle_options eagle_options(const tlt_spec_options *o) {
  return (tlt_eagle_options){.batch = o->batch,
                             .max_positions = o->max_positions,
                             .seed = o->seed,
                             .max_rows = EAGLE_ROWS};
}

static tlt_status add_suffix(tlt_spec *s, tlt_err *err) {
  tlt_source source;
  tlt_suffix_options o = suffix_options(&s->o);
  tlt_status st = tlt_suffix_create(&o, &source, err);
  return st == TLT_OK ? tlt_spec_add(s, &source, TLT_EDGE_SUFFIX, err) : st;
}

/* Takes d over. */
static tlt_status open_eagle(tlt_spec *s, tlt_model *m, tlt_drafter *d, tlt_source *out,
                             tlt_err *err) {
  tlt_eagle_options o = eagle_options(&s->o);
  return tlt_eagle_create(m, d, &o, out, err);
}

static tlt_status add_eagle(tlt_spec *s, tlt_model *m, tlt_err *err) {
  tlt_source source;
  tlt_drafter *d;
  tlt_status st = tlt_drafter_load(s->o.drafter, m->weights, m->pool, &d, err);
  if (st == TLT_OK) st = open_eagle(s, m, d, &source, err);
  return st == TLT_OK ? tlt_spec_add(s, &source, TLT_EDGE_EAGLE, err) : st;
}

static bool has_suffix(const tlt_spec_options *o) {
  return o->draft == TLT_DRAFT_SUFFIX || o->draft == TLT_DRAFT_AUTO;
}

/* A learned drafter of the shape that one made for this target has. */
static size_t eagle_bytes(const tlt_model *m, const tlt_spec_options *o) {
  tlt_eagle_options eo = eagle_options(o);
  tlt_drafter *d;
  tlt_err ignored;
  if (tlt_drafter_create(m->weights, 0, 0, &d, &ignored) != TLT_OK) return 0;
  size_t bytes = d->weights.bytes + tlt_eagle_bytes(m, d, &eo);
  tlt_drafter_free(d);
  return bytes;
}

static size_t bytes_per_sequence(void) {
  size_t asked = sizeof(tlt_grow) + sizeof(tlt_ranked) + TLT_CANDIDATES * sizeof(tlt_candidate);
  size_t kept = sizeof(tlt_ranked) + sizeof(float);
  return sizeof(tlt_tree) + TLT_CANDIDATES * asked + TLT_TREE_POOL * kept;
}

size_t tlt_spec_bytes(const tlt_model *m, const tlt_spec_options *o) {
  tlt_suffix_options so = suffix_options(o);
  if (o->draft == TLT_DRAFT_OFF) return 0;
  size_t bytes = (size_t)o->batch * bytes_per_sequence();
  if (has_suffix(o)) bytes += tlt_suffix_bytes(&so);
  if (o->draft >= TLT_DRAFT_EAGLE && (o->drafter || o->joins)) bytes += eagle_bytes(m, o);
  return bytes;
}

static void guess_cost(tlt_spec *s, const tlt_model *m) {
  const tlt_config *c = &m->weights->config;
  double knee = m->weights->bytes > CACHE_BYTES ? KNEE_MEMORY : KNEE_CACHE;
  double attention = 4.0 * c->layers * c->heads * c->head_dim * ATTENTION_SLOWNESS;
  s->own.arbiter.few = (int)(FEW_OF_KNEE * knee);
  tlt_cost_init(&s->own.verify, knee, attention / (knee * 2.0 * (double)m->weights->elements));
}

static tlt_status allocate(tlt_spec *s, tlt_err *err) {
  size_t batch = (size_t)s->o.batch;
  s->grow_room = (int)batch * TLT_CANDIDATES;
  s->ranked_room = (int)batch * TLT_TREE_POOL;
  if (s->ranked_room > 1 << 16) s->ranked_room = 1 << 16;
  s->tree = tlt_calloc(batch, sizeof *s->tree);
  s->seq = tlt_calloc(batch, sizeof *s->seq);
  s->grow_node = tlt_calloc((size_t)s->grow_room, sizeof *s->grow_node);
  s->front = tlt_calloc((size_t)s->grow_room, sizeof *s->front);
  s->grow_seq = tlt_calloc((size_t)s->grow_room, sizeof *s->grow_seq);
  s->grow = tlt_calloc((size_t)s->grow_room, sizeof *s->grow);
  s->candidate = tlt_calloc((size_t)s->grow_room * TLT_CANDIDATES, sizeof *s->candidate);
  s->ranked = tlt_calloc((size_t)s->ranked_room, sizeof *s->ranked);
  s->gain = tlt_calloc((size_t)s->ranked_room, sizeof *s->gain);
  if (!s->tree || !s->seq || !s->grow_node || !s->front || !s->grow_seq || !s->grow ||
      !s->candidate || !s->ranked || !s->gain)
    return tlt_fail_nomem(err, "speculation", batch * sizeof *s->tree);
  if (!s->o.origins) return TLT_OK;
  size_t tokens = batch * (size_t)s->o.max_positions;
  s->answer = tlt_calloc(batch, sizeof *s->answer);
  s->origin = tlt_calloc(tokens, 1);
  if (!s->answer || !s->origin) return tlt_fail_nomem(err, "origins of tokens", tokens);
  return TLT_OK;
}

tlt_status tlt_spec_create(tlt_model *m, const tlt_spec_options *o, tlt_spec **out, tlt_err *err) {
  int kind;
  tlt_strategy fixed;
  *out = NULL;
  tlt_status st = tlt_spec_check(o, err);
  if (st == TLT_OK) st = parse_policy(o->policy, &kind, &fixed, err);
  if (st != TLT_OK) return st;
  tlt_spec *s = tlt_calloc(1, sizeof *s);
  if (!s) return tlt_fail_nomem(err, "speculation", sizeof *s);
  s->o = *o;
  if (s->o.max_depth == 0) s->o.max_depth = DEPTH_DEFAULT;
  s->pool = m->pool;
  s->price = &s->own;
  tlt_calibration_init(&s->calibration);
  guess_cost(s, m);
  if (kind >= 0)
    st = tlt_bandit_create((tlt_bandit_kind)kind, kind == TLT_BANDIT_FIXED ? &fixed : NULL, 1,
                           o->seed, &s->bandit, err);
  if (st == TLT_OK) st = allocate(s, err);
  if (st == TLT_OK && has_suffix(o)) st = add_suffix(s, err);
  if (st == TLT_OK && o->draft >= TLT_DRAFT_EAGLE && o->drafter) st = add_eagle(s, m, err);
  if (st == TLT_OK) *out = s;
  else tlt_spec_free(s);
  return st;
}

void tlt_spec_free(tlt_spec *s) {
  if (!s) return;
  for (int i = 0; i < s->n_sources; i++) {
    if (s->source[i].source.free) s->source[i].source.free(s->source[i].source.context);
    tlt_free(s->source[i].seq);
    tlt_free(s->source[i].index);
  }
  tlt_bandit_free(s->bandit);
  tlt_free(s->tree);
  tlt_free(s->seq);
  tlt_free(s->grow_node);
  tlt_free(s->front);
  tlt_free(s->grow_seq);
  tlt_free(s->grow);
  tlt_free(s->candidate);
  tlt_free(s->ranked);
  tlt_free(s->gain);
  tlt_free(s->answer);
  tlt_free(s->origin);
  tlt_free(s);
}

/* ---- a drafter that changes ----------------------------------------------------------------- */

static tlt_spec_source *find_eagle(tlt_spec *s) {
  for (int i = 0; i < s->n_sources; i++)
    if (s->source[i].as == TLT_EDGE_EAGLE) return &s->source[i];
  return NULL;
}

tlt_status tlt_spec_set_drafter(tlt_spec *s, tlt_model *m, tlt_engine *e, const tlt_drafter *d,
                                tlt_err *err) {
  tlt_spec_source *x = find_eagle(s);
  tlt_drafter *copy;
  tlt_source source;
  if (x && tlt_eagle_assign(&x->source, d)) {
    x->alive = true;
    return TLT_OK;
  }
  tlt_status st = tlt_drafter_copy(d, m->weights, &copy, err);
  if (st == TLT_OK) st = open_eagle(s, m, copy, &source, err);
  if (st != TLT_OK) return st;
  if (!x) st = tlt_spec_add(s, &source, TLT_EDGE_EAGLE, err);
  else {
    x->source.free(x->source.context);
    x->source = source;
    x->alive = true;
  }
  return st == TLT_OK ? tlt_spec_attach(s, e, err) : st;
}
