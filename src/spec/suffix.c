#include "spec/suffix.h"

#include <string.h>

#include "base/mem.h"
#include "spec/suffix_automaton.h"
#include "spec/suffix_history.h"
#include "spec/suffix_rank.h"

enum { NODES = TLT_DRAFT_MAX };

/* Tokens inserted in one `begin`, about half a millisecond: whoever comes late spreads the work
 * over some steps. */
#define CATCH_UP 4096
#define POOL_BYTES ((size_t)256 << 20)

/* A text on its way into the automaton. */
typedef struct text {
  const int32_t *tokens;
  int n, done; /* tokens; of them behind `at` */
  tlt_cursor at;
} text;

/* A text that will not grow and is not all inserted. */
typedef struct finished {
  tlt_answer *answer;
  text text;
} finished;

typedef struct group {
  struct group *next;
  tlt_spec_group shown;
  tlt_automaton automaton;
  text prompt;
  struct slot *running; /* list */
  int64_t begun;        /* the last `begin` that caught up this group's running texts */
  finished *finished;   /* [n_finished] a stack, newest on top */
  int n_finished, room;
} group;

/* A slot of the engine and its own copy of the answer so far. */
typedef struct slot {
  group *group; /* NULL: nothing is known of it */
  struct slot *next;
  uint32_t sample;
  int32_t *tokens; /* [max_positions] */
  text text;
} slot;

/* A sequence of this `begin`. place[1 + node], place[0] behind the last token; the first `known`
 * are worked out. */
typedef struct seat {
  slot *slot; /* NULL: draft nothing */
  int known;
  tlt_cursor place[NODES + 1];
} seat;

typedef struct suffix {
  tlt_suffix_options o;
  tlt_cells pool;
  tlt_history history;
  group *groups; /* list */
  slot *slot;    /* [batch] */
  seat *seat;    /* [batch] */
  int seats;
  int64_t begins;
  int32_t *tokens; /* [batch][max_positions] */
  size_t token_bytes;
} suffix;

/* ---- Groups ---- */

static group *group_of(const suffix *x, const tlt_spec_group *g) {
  group *q = x->groups;
  while (q && q->shown.id != g->id) q = q->next;
  return q;
}

/* Takes the reference over. */
static void push_finished(group *q, tlt_answer *answer, text t) {
  if (q->n_finished == q->room) {
    int room = q->room ? 2 * q->room : TLT_ANSWERS_KEPT;
    finished *more = tlt_realloc(q->finished, (size_t)room * sizeof *more);
    if (!more) {
      tlt_answer_release(answer);
      return;
    }
    q->finished = more;
    q->room = room;
  }
  t.tokens = answer->tokens;
  q->finished[q->n_finished++] = (finished){answer, t};
}

static void pop_finished(group *q) {
  tlt_answer_release(q->finished[--q->n_finished].answer);
}

static void free_group(group *q) {
  for (slot *s = q->running; s; s = s->next) s->group = NULL;
  while (q->n_finished) pop_finished(q);
  tlt_free(q->finished);
  tlt_automaton_deinit(&q->automaton);
  tlt_free(q);
}

static void group_close(void *context, const tlt_spec_group *g) {
  suffix *x = context;
  for (group **place = &x->groups; *place; place = &(*place)->next) {
    group *q = *place;
    if (q->shown.id != g->id) continue;
    *place = q->next;
    free_group(q);
    return;
  }
}

static void group_open(void *context, const tlt_spec_group *g) {
  suffix *x = context;
  group_close(x, g); /* left over from an engine that was freed with work in it */
  group *q = tlt_calloc(1, sizeof *q);
  if (!q) return;
  q->shown = *g;
  tlt_automaton_init(&q->automaton, &x->pool);
  q->prompt = (text){.tokens = g->prompt, .n = g->n_prompt, .at = {q->automaton.root, 0}};
  tlt_answer *answer[TLT_ANSWERS_KEPT];
  int n = tlt_history_recall(&x->history, g->prompt, g->n_prompt, answer);
  while (n-- > 0) push_finished(q, answer[n], (text){.n = answer[n]->n});
  q->next = x->groups;
  x->groups = q;
}

/* ---- Samples ---- */

static void leave_slot(slot *s) {
  if (!s->group) return;
  slot **place = &s->group->running;
  while (*place != s) place = &(*place)->next;
  *place = s->next;
  s->group = NULL;
}

/* The answer is now tokens[n]; what is known of it stays. */
static void show(const suffix *x, slot *s, const int32_t *tokens, int n) {
  text *t = &s->text;
  if (n > x->o.max_positions) n = x->o.max_positions;
  if (n <= t->n) return;
  memcpy(s->tokens + t->n, tokens + t->n, (size_t)(n - t->n) * sizeof *tokens);
  t->n = n;
}

static void open_sample(void *context, const tlt_spec_seq *seq) {
  suffix *x = context;
  if (seq->slot < 0 || seq->slot >= x->o.batch) return;
  slot *s = &x->slot[seq->slot];
  leave_slot(s);
  s->group = group_of(x, seq->group);
  if (!s->group) return;
  s->next = s->group->running;
  s->group->running = s;
  s->sample = seq->sample;
  s->tokens = x->tokens + (size_t)seq->slot * (size_t)x->o.max_positions;
  s->text = (text){.tokens = s->tokens};
  show(x, s, seq->tokens, seq->n_tokens);
}

/* NULL where this is not the sequence that was opened. */
static slot *slot_of(const suffix *x, int index, const tlt_spec_group *g, uint32_t sample) {
  if (index < 0 || index >= x->o.batch) return NULL;
  slot *s = &x->slot[index];
  return s->group && s->group->shown.id == g->id && s->sample == sample ? s : NULL;
}

static void close_sample(void *context, const tlt_spec_seq *seq, tlt_finish finish) {
  suffix *x = context;
  slot *s = slot_of(x, seq->slot, seq->group, seq->sample);
  if (!s) return;
  group *q = s->group;
  show(x, s, seq->tokens, seq->n_tokens);
  leave_slot(s);
  if (finish == TLT_FINISH_NONE || !s->text.n) return;
  tlt_answer *answer = tlt_answer_new(s->tokens, s->text.n);
  if (!answer) return;
  tlt_history_add(&x->history, q->shown.prompt, q->shown.n_prompt, answer);
  push_finished(q, answer, s->text);
}

static void verified(void *context, const tlt_spec_step *step) {
  suffix *x = context;
  for (int i = 0; i < step->n; i++) {
    const tlt_spec_result *r = &step->result[i];
    slot *s = slot_of(x, r->slot, r->group, r->sample);
    if (s) show(x, s, r->tokens, r->n_tokens);
  }
}

static void see_again(void *context, int n, const tlt_spec_seq *seq) {
  suffix *x = context;
  for (int i = 0; i < n; i++) {
    slot *s = slot_of(x, seq[i].slot, seq[i].group, seq[i].sample);
    if (s) show(x, s, seq[i].tokens, seq[i].n_tokens);
  }
}

/* ---- Insertion ---- */

/* Insert what is new of a text, at most *budget tokens. Where memory has run out, follow. */
static void catch_up(tlt_automaton *a, text *t, int *budget) {
  for (; t->done<t->n && * budget> 0; t->done++, --*budget) {
    int32_t token = t->tokens[t->done];
    tlt_cell_id end = tlt_automaton_extend(a, t->at.state, token);
    if (end) t->at = (tlt_cursor){end, tlt_automaton_state(a, end)->len};
    else t->at = tlt_automaton_follow(a, t->at, token);
  }
}

/* A text behind the prompt, once that is inserted. */
static void catch_up_answer(group *q, text *t, int *budget) {
  if (q->prompt.done < q->prompt.n) return;
  if (!t->done) t->at = q->prompt.at;
  catch_up(&q->automaton, t, budget);
}

static void catch_up_running(group *q, int *budget) {
  catch_up(&q->automaton, &q->prompt, budget);
  for (slot *s = q->running; s; s = s->next) catch_up_answer(q, &s->text, budget);
}

static void catch_up_finished(group *q, int *budget) {
  while (q->n_finished && *budget > 0 && q->prompt.done == q->prompt.n) {
    text *t = &q->finished[q->n_finished - 1].text;
    if (!q->automaton.full) catch_up_answer(q, t, budget);
    if (t->done == t->n || q->automaton.full) pop_finished(q);
  }
}

static slot *take_seat(suffix *x, const tlt_spec_seq *seq) {
  slot *s = slot_of(x, seq->slot, seq->group, seq->sample);
  if (!s || !s->group->automaton.root) return NULL;
  show(x, s, seq->tokens, seq->n_tokens);
  return s;
}

static void begin(void *context, int n, const tlt_spec_seq *seq) {
  suffix *x = context;
  int budget = CATCH_UP;
  x->begins++;
  x->seats = n < x->o.batch ? n : x->o.batch;
  for (int i = 0; i < x->seats; i++) {
    x->seat[i].known = 0;
    x->seat[i].slot = take_seat(x, &seq[i]);
  }
  for (int i = 0; i < x->seats; i++) {
    group *q = x->seat[i].slot ? x->seat[i].slot->group : NULL;
    if (!q || q->begun == x->begins) continue;
    q->begun = x->begins;
    catch_up_running(q, &budget);
  }
  for (int i = 0; i < x->seats && budget > 0; i++)
    if (x->seat[i].slot) catch_up_finished(x->seat[i].slot->group, &budget);
}

/* ---- Drafting ---- */

/* Where a node stands; parents precede children, so places are worked out in order. */
static tlt_cursor place_of(seat *t, const tlt_draft *d, int node) {
  const tlt_automaton *a = &t->slot->group->automaton;
  for (; t->known <= node + 1; t->known++) {
    int i = t->known - 1;
    if (i < 0) t->place[0] = t->slot->text.at;
    else t->place[i + 1] = tlt_automaton_follow(a, t->place[d->parent[i] + 1], d->token[i]);
  }
  return t->place[node + 1];
}

static int grow_node(suffix *x, const tlt_spec_seq *seq, tlt_grow *g, int k) {
  if (g->seq < 0 || g->seq >= x->seats) return 0;
  seat *t = &x->seat[g->seq];
  const tlt_draft *d = seq[g->seq].draft;
  if (!t->slot || t->slot->text.done < t->slot->text.n) return 0;
  if (g->node < -1 || g->node >= NODES || (g->node >= 0 && g->node >= d->n)) return 0;
  const tlt_spec_group *shown = &t->slot->group->shown;
  tlt_draw draw = {x->o.seed, shown->rollout, t->slot->sample, (uint32_t)g->position};
  return tlt_suffix_rank(&t->slot->group->automaton, place_of(t, d, g->node), &draw,
                         shown->how.temperature, k, g->candidate);
}

static void grow(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k) {
  for (int i = 0; i < n; i++) node[i].n = grow_node(context, seq, &node[i], k);
}

/* ---- The source ---- */

static void free_source(void *context) {
  suffix *x = context;
  if (!x) return;
  while (x->groups) {
    group *q = x->groups;
    x->groups = q->next;
    free_group(q);
  }
  tlt_history_deinit(&x->history);
  tlt_cells_deinit(&x->pool);
  tlt_pages_free(x->tokens, x->token_bytes);
  tlt_free(x->slot);
  tlt_free(x->seat);
  tlt_free(x);
}

static size_t pool_bytes(const tlt_suffix_options *o) {
  return o->automaton_bytes ? o->automaton_bytes : POOL_BYTES;
}

static size_t token_bytes(const tlt_suffix_options *o) {
  return (size_t)o->batch * (size_t)o->max_positions * sizeof(int32_t);
}

size_t tlt_suffix_bytes(const tlt_suffix_options *o) {
  return sizeof(suffix) + pool_bytes(o) + o->history_bytes + token_bytes(o) +
         (size_t)o->batch * (sizeof(slot) + sizeof(seat));
}

tlt_status tlt_suffix_create(const tlt_suffix_options *o, tlt_source *out, tlt_err *err) {
  tlt_status s = TLT_OK;
  suffix *x = tlt_calloc(1, sizeof *x);
  if (!x) return tlt_fail_nomem(err, "suffix source", sizeof *x);
  x->o = *o;
  x->history.cap = o->history_bytes;
  x->token_bytes = token_bytes(o);
  x->slot = tlt_calloc((size_t)o->batch, sizeof *x->slot);
  x->seat = tlt_calloc((size_t)o->batch, sizeof *x->seat);
  x->tokens = tlt_pages_alloc(x->token_bytes);
  if (!x->slot || !x->seat || !x->tokens)
    s = tlt_fail_nomem(err, "suffix source", tlt_suffix_bytes(o));
  if (s == TLT_OK) s = tlt_cells_init(&x->pool, pool_bytes(o), err);
  if (s != TLT_OK) {
    free_source(x);
    return s;
  }
  *out = (tlt_source){
      .name = "suffix",
      .context = x,
      .group_open = group_open,
      .group_close = group_close,
      .open = open_sample,
      .close = close_sample,
      .verified = verified,
      .catch_up = see_again,
      .begin = begin,
      .grow = grow,
      .free = free_source,
  };
  return TLT_OK;
}
