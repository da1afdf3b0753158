/* Drafts from earlier text: the automaton against a scan of all texts, running out of memory, the
 * history's caps, and the source as the engine drives it. The last test prints times.
 * Run alone: build/tests/unit/spec/test_suffix */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/sample.h"
#include "spec/suffix.h"
#include "spec/suffix_automaton.h"
#include "spec/suffix_history.h"

static tlt_stream stream(uint32_t which) {
  return tlt_stream_open(17, TLT_PURPOSE_TASK, which, 0, 0);
}

/* ---- The automaton against a scan ---- */

enum { TEXTS = 5, LONGEST = 60, LETTERS = 6 };

typedef struct corpus {
  tlt_cells pool;
  tlt_automaton a;
  int texts, n_prompt;
  int n[TEXTS]; /* the prompt included */
  int32_t token[TEXTS][LONGEST];
  tlt_cell_id end[TEXTS];
} corpus;

static bool ends_with(const int32_t *text, int end, const int32_t *w, int n) {
  return end >= n && !memcmp(text + end - n, w, (size_t)n * sizeof *w);
}

/* Places where w[n] ends; places in the prompt, which all texts share, count once. */
static uint32_t occurrences(const corpus *c, const int32_t *w, int n) {
  uint32_t found = 0;
  for (int i = 0; i < c->texts; i++)
    for (int end = i ? c->n_prompt + 1 : 1; end <= c->n[i]; end++)
      found += ends_with(c->token[i], end, w, n);
  return found;
}

static uint32_t continued(const corpus *c, const int32_t *w, int n, int32_t token) {
  int32_t longer[LONGEST + 1];
  memcpy(longer, w, (size_t)n * sizeof *w);
  longer[n] = token;
  return occurrences(c, longer, n + 1);
}

static bool continues(const corpus *c, const int32_t *w, int n) {
  for (int32_t t = 0; t < LETTERS; t++)
    if (continued(c, w, n, t)) return true;
  return false;
}

static void same_continuations(const corpus *c, tlt_cursor at, const int32_t *w) {
  int32_t token[TLT_CONTINUATIONS];
  uint32_t count[TLT_CONTINUATIONS], seen[LETTERS] = {0};
  int n = tlt_automaton_continuations(&c->a, at.state, token, count);
  uint32_t total = occurrences(c, w, at.match);
  assert_int_equal(tlt_automaton_state(&c->a, at.state)->count, total);
  for (int i = 0; i < n; i++) {
    assert_int_equal(seen[token[i]], 0);
    seen[token[i]] = count[i];
  }
  for (int32_t t = 0; t < LETTERS; t++) {
    uint32_t want = continued(c, w, at.match, t);
    assert_int_equal(seen[t], want * TLT_CONTINUATIONS < total ? 0 : want);
  }
}

static void check_text(const corpus *c, int i) {
  tlt_cursor at = {c->end[i], c->n[i]};
  assert_int_equal(tlt_automaton_state(&c->a, at.state)->len, c->n[i]);
  at = tlt_automaton_continued(&c->a, at);
  const int32_t *end = c->token[i] + c->n[i];
  int match = c->n[i];
  while (match > 0 && !continues(c, end - match, match)) match--;
  assert_int_equal(at.match, match);
  for (; at.match > 0; at = tlt_automaton_shorter(&c->a, at))
    same_continuations(c, at, end - at.match);
  assert_int_equal(at.state, c->a.root);
}

/* Follow foreign tokens from the end of a text. */
static void check_following(const corpus *c, int i, tlt_stream *s) {
  int32_t text[2 * LONGEST];
  int n = c->n[i];
  tlt_cursor at = {c->end[i], n};
  memcpy(text, c->token[i], (size_t)n * sizeof *text);
  for (int step = 0; step < 12; step++) {
    text[n++] = (int32_t)tlt_stream_below(s, LETTERS);
    at = tlt_automaton_follow(&c->a, at, text[n - 1]);
    int match = n < LONGEST ? n : LONGEST;
    while (match > 0 && !occurrences(c, text + n - match, match)) match--;
    assert_int_equal(at.match, match);
    if (match)
      assert_int_equal(tlt_automaton_state(&c->a, at.state)->count,
                       occurrences(c, text + n - match, match));
  }
}

static void append(corpus *c, int i, int32_t token) {
  c->token[i][c->n[i]++] = token;
  c->end[i] = tlt_automaton_extend(&c->a, c->end[i], token);
  assert_true(c->end[i] > 0);
}

static int32_t next_letter(const corpus *c, int i, uint32_t kind, uint32_t letters, tlt_stream *s) {
  if (kind == 1) return 0;
  if (kind == 2) return c->n[i] % 2;
  if (kind == 3) return tlt_stream_below(s, 12) ? 0 : 1;
  return (int32_t)tlt_stream_below(s, letters);
}

/* A prompt, then texts that grow in random turns. No chain is as long as TLT_COUNT_LINKS here. */
static void grow_corpus(corpus *c, uint32_t round, tlt_stream *s) {
  uint32_t letters = 1 + tlt_stream_below(s, LETTERS), kind = round % 8;
  c->n_prompt = (int)tlt_stream_below(s, 12);
  c->texts = 1;
  c->n[0] = 0;
  c->end[0] = c->a.root;
  while (c->n[0] < c->n_prompt) append(c, 0, next_letter(c, 0, kind, letters, s));
  c->texts = 1 + (int)tlt_stream_below(s, TEXTS);
  for (int i = 1; i < c->texts; i++) {
    memcpy(c->token[i], c->token[0], (size_t)c->n_prompt * sizeof c->token[0][0]);
    c->n[i] = c->n_prompt;
    c->end[i] = c->end[0];
  }
  for (int turns = (int)tlt_stream_below(s, 100); turns > 0; turns--) {
    int i = (int)tlt_stream_below(s, (uint32_t)c->texts);
    if (c->n[i] < LONGEST) append(c, i, next_letter(c, i, kind, letters, s));
    if (turns % 8 == 0) check_text(c, (int)tlt_stream_below(s, (uint32_t)c->texts));
  }
}

static void automaton_equals_a_scan(void **state) {
  (void)state;
  static corpus c;
  tlt_err err;
  assert_int_equal(tlt_cells_init(&c.pool, 1 << 20, &err), TLT_OK);
  for (uint32_t round = 0; round < 400; round++) {
    tlt_stream s = stream(round);
    tlt_automaton_init(&c.a, &c.pool);
    grow_corpus(&c, round, &s);
    for (int i = 0; i < c.texts; i++) {
      check_text(&c, i);
      check_following(&c, i, &s);
    }
    tlt_automaton_deinit(&c.a);
  }
  tlt_cells_deinit(&c.pool);
}

/* Many continuations of one context: each is found again, rare ones are not listed, and beyond
 * TLT_CROWDED nothing is. */
static void crowded_contexts(void **state) {
  (void)state;
  tlt_cells pool;
  tlt_automaton a;
  tlt_err err;
  assert_int_equal(tlt_cells_init(&pool, 8 << 20, &err), TLT_OK);
  tlt_automaton_init(&a, &pool);
  int32_t token[TLT_CONTINUATIONS];
  uint32_t count[TLT_CONTINUATIONS];
  for (int32_t i = 0; i <= TLT_CROWDED; i++) {
    tlt_cell_id end = tlt_automaton_extend(&a, a.root, 7);
    tlt_cell_id last = tlt_automaton_extend(&a, end, i * 3571);
    assert_int_equal(tlt_automaton_follow(&a, (tlt_cursor){end, 1}, i * 3571).state, last);
    if (i < TLT_CONTINUATIONS)
      assert_int_equal(tlt_automaton_continuations(&a, end, token, count), i + 1);
    else assert_int_equal(tlt_automaton_continuations(&a, end, token, count), 0);
    if (i == TLT_CROWDED - 1) { /* one makes up more than 1/32 */
      for (int j = 0; j < 20; j++) tlt_automaton_extend(&a, tlt_automaton_extend(&a, a.root, 7), 0);
      assert_int_equal(tlt_automaton_continuations(&a, end, token, count), 1);
      assert_int_equal(token[0], 0);
      assert_int_equal(count[0], 21);
    }
  }
  tlt_cells_deinit(&pool);
}

/* Insert random tokens until the pool is full; everything must still be readable, and the chunks be
 * there again for the next automaton. */
static int fill_pool(tlt_cells *pool, uint32_t letters, uint32_t round) {
  tlt_stream s = stream(round);
  tlt_automaton a;
  tlt_automaton_init(&a, pool);
  assert_true(a.root > 0);
  tlt_cursor at = {a.root, 0};
  int inserted = 0;
  for (tlt_cell_id end = a.root; end;) {
    at.state = end;
    at.match = inserted++;
    end = tlt_automaton_extend(&a, end, (int32_t)tlt_stream_below(&s, letters));
  }
  assert_true(a.full);
  int32_t token[TLT_CONTINUATIONS];
  uint32_t count[TLT_CONTINUATIONS];
  for (int i = 0; i < 1000; i++) {
    tlt_cursor p = tlt_automaton_continued(&a, at);
    tlt_automaton_continuations(&a, p.state, token, count);
    at = tlt_automaton_follow(&a, at, (int32_t)tlt_stream_below(&s, letters));
    assert_int_equal(tlt_automaton_extend(&a, at.state, 1), 0);
  }
  tlt_automaton second;
  tlt_automaton_init(&second, pool);
  assert_int_equal(second.root, 0);
  tlt_automaton_deinit(&second);
  tlt_automaton_deinit(&a);
  return inserted;
}

static void a_full_pool_stops_insertion_only(void **state) {
  (void)state;
  tlt_cells pool;
  tlt_err err;
  assert_int_equal(tlt_cells_init(&pool, 5 * 65536, &err), TLT_OK);
  for (uint32_t letters = 1; letters < 70000; letters = letters * 3 + 1) {
    int inserted = fill_pool(&pool, letters, letters);
    assert_true(inserted > 2500); /* 10235 cells */
    assert_int_equal(fill_pool(&pool, letters, letters), inserted);
  }
  tlt_cells_deinit(&pool);
}

/* ---- History ---- */

static void remember(tlt_history *h, int32_t prompt, int32_t token, int n) {
  int32_t tokens[64];
  for (int i = 0; i < n; i++) tokens[i] = token;
  tlt_answer *a = tlt_answer_new(tokens, n);
  assert_non_null(a);
  tlt_history_add(h, (int32_t[]){1, prompt}, 2, a);
  tlt_answer_release(a);
}

static int recall(tlt_history *h, int32_t prompt, int32_t *newest) {
  tlt_answer *a[TLT_ANSWERS_KEPT];
  int n = tlt_history_recall(h, (int32_t[]){1, prompt}, 2, a);
  if (n) *newest = a[0]->tokens[0];
  for (int i = 0; i < n; i++) {
    assert_int_equal(a[i]->tokens[0], *newest - i);
    tlt_answer_release(a[i]);
  }
  return n;
}

static void history_keeps_the_newest(void **state) {
  (void)state;
  tlt_history h = {.cap = 1 << 20};
  int32_t newest = 0;
  assert_int_equal(recall(&h, 5, &newest), 0);
  for (int32_t i = 0; i < 50; i++) {
    remember(&h, 5, i, 3);
    assert_int_equal(recall(&h, 5, &newest), i < TLT_ANSWERS_KEPT ? i + 1 : TLT_ANSWERS_KEPT);
    assert_int_equal(newest, i);
    assert_int_equal(recall(&h, 6, &newest), 0);
  }
  tlt_history_deinit(&h);
  assert_int_equal(h.bytes, 0);
}

static void history_drops_the_longest_unused(void **state) {
  (void)state;
  tlt_history h = {.cap = 4000};
  int32_t newest = 0;
  int kept = 0;
  for (int32_t p = 0; p < 100; p++) {
    remember(&h, p, p, 10);
    assert_true(h.bytes <= h.cap);
    assert_int_equal(recall(&h, 0, &newest), 1); /* used again and again */
    assert_int_equal(recall(&h, p, &newest), 1);
  }
  for (int32_t p = 0; p < 100; p++) kept += recall(&h, p, &newest);
  assert_in_range(kept, 5, 40);
  assert_int_equal(recall(&h, 50, &newest), 0);
  for (int i = 0; i < 100; i++) remember(&h, 7, i, 64); /* the cap is less than sixteen of these */
  assert_in_range(recall(&h, 7, &newest), 5, 15);
  assert_int_equal(newest, 99);
  assert_true(h.bytes <= h.cap);
  tlt_history_deinit(&h);
  h.cap = 100;
  remember(&h, 1, 1, 30);
  assert_int_equal(recall(&h, 1, &newest), 0);
  assert_int_equal(h.bytes, 0);
}

/* ---- The source ---- */

enum { BATCH = 8, POSITIONS = 4000, SEED = 5 };

static tlt_source open_source(size_t history, size_t automata) {
  tlt_suffix_options o = {BATCH, POSITIONS, SEED, history, automata};
  tlt_source x;
  tlt_err err;
  assert_int_equal(tlt_suffix_create(&o, &x, &err), TLT_OK);
  return x;
}

static tlt_spec_group make_group(const void *id, const int32_t *prompt, int n_prompt, float t) {
  return (tlt_spec_group){.id = id,
                          .rollout = 3,
                          .prompt = prompt,
                          .n_prompt = n_prompt,
                          .n_samples = 64,
                          .how = {.temperature = t, .top_p = 1}};
}

static tlt_spec_seq make_seq(const tlt_spec_group *g, int slot, uint32_t sample,
                             const int32_t *tokens, int n, tlt_draft *d) {
  return (tlt_spec_seq){.slot = slot,
                        .group = g,
                        .sample = sample,
                        .tokens = tokens,
                        .n_tokens = n,
                        .tokens_left = 100,
                        .draft = d};
}

/* A whole sample at once, in slot 7. */
static void finish_sample(tlt_source *x, const tlt_spec_group *g, uint32_t sample,
                          const int32_t *tokens, int n) {
  tlt_spec_seq s = make_seq(g, 7, sample, tokens, 1, NULL);
  x->open(x->context, &s);
  s.n_tokens = n;
  x->close(x->context, &s, TLT_FINISH_STOP);
}

static int ask_for(tlt_source *x, const tlt_spec_seq *s, int node, int k, tlt_candidate *out) {
  tlt_grow g = {0, node, s->group->n_prompt + s->n_tokens, -1, out};
  for (int i = node; i >= 0; i = s->draft->parent[i]) g.position++;
  tlt_alloc_guard_begin();
  x->grow(x->context, s, 1, &g, k);
  tlt_alloc_guard_end();
  return g.n;
}

static void start(tlt_source *x, int n, const tlt_spec_seq *s) {
  tlt_alloc_guard_begin();
  x->begin(x->context, n, s);
  tlt_alloc_guard_end();
}

static void add_node(tlt_draft *d, int parent, int32_t token) {
  d->parent[d->n] = (int16_t)parent;
  d->token[d->n++] = token;
}

static void prompt_self_and_siblings(void **state) {
  (void)state;
  static const int32_t prompt[] = {9, 8, 7, 6}, one[] = {1, 2, 3, 4, 5, 6, 1, 2}, two[] = {8, 3};
  tlt_source x = open_source(0, 0);
  tlt_spec_group g = make_group("g", prompt, 4, 0);
  tlt_draft d[2] = {{0}, {0}};
  tlt_candidate c[4];
  x.group_open(x.context, &g);
  tlt_spec_seq s[] = {make_seq(&g, 0, 0, one, 8, &d[0]), make_seq(&g, 1, 1, two, 1, &d[1])};
  assert_int_equal(ask_for(&x, s, -1, 4, c), 0); /* before any begin */
  x.open(x.context, &s[0]);
  x.open(x.context, &s[1]);
  start(&x, 2, s);
  assert_int_equal(ask_for(&x, s, -1, 4, c), 1); /* itself, and the end of the prompt */
  assert_int_equal(c[0].token, 3);
  assert_int_equal(c[0].match, 3);
  add_node(&d[0], -1, 3);
  add_node(&d[0], 0, 4);
  add_node(&d[0], 0, 7);  /* leads back to the prompt */
  add_node(&d[0], 0, 99); /* to nothing */
  assert_int_equal(ask_for(&x, s, 1, 4, c), 1);
  assert_int_equal(c[0].token, 5);
  assert_int_equal(c[0].match, 5);
  assert_int_equal(ask_for(&x, s, 2, 4, c), 1);
  assert_int_equal(c[0].token, 6);
  assert_int_equal(c[0].match, 1);
  assert_int_equal(ask_for(&x, s, 3, 4, c), 0);
  start(&x, 1, &s[1]);
  assert_int_equal(ask_for(&x, &s[1], -1, 4, c), 1); /* the prompt */
  assert_int_equal(c[0].token, 7);
  x.verified(
      x.context,
      &(tlt_spec_step){
          .n = 1,
          .result = &(tlt_spec_result){
              .slot = 1, .group = &g, .sample = 1, .tokens = two, .n_tokens = 2, .n_new = 1}});
  s[1].n_tokens = 2;
  start(&x, 1, &s[1]);
  assert_int_equal(ask_for(&x, &s[1], -1, 4, c), 1); /* the sibling */
  assert_int_equal(c[0].token, 4);
  s[1].sample = 2; /* not what was opened */
  start(&x, 1, &s[1]);
  assert_int_equal(ask_for(&x, &s[1], -1, 4, c), 0);
  x.group_open(x.context, &g); /* again: the engine was another one */
  start(&x, 2, s);
  assert_int_equal(ask_for(&x, &s[0], -1, 4, c), 0);
  x.open(x.context, &s[0]);
  x.group_close(x.context, &g); /* with one still open */
  x.close(x.context, &s[0], TLT_FINISH_STOP);
  start(&x, 2, s);
  assert_int_equal(ask_for(&x, &s[0], -1, 4, c), 0);
  x.free(x.context);
}

/* The second request for a prompt drafts the answer of the first; another prompt does not. */
static void earlier_answers_are_drafted(void **state) {
  (void)state;
  static int32_t prompt[] = {4, 4, 2};
  int32_t answer[200];
  tlt_stream r = stream(1);
  for (int i = 0; i < 200; i++) answer[i] = (int32_t)tlt_stream_below(&r, 1000);
  tlt_source x = open_source(1 << 20, 0);
  for (int pass = 0; pass < 3; pass++) {
    prompt[2] = pass == 2 ? 3 : 2;
    tlt_spec_group g = make_group(&prompt[pass], prompt, 3, 1);
    tlt_draft d = {0};
    tlt_candidate c[4];
    x.group_open(x.context, &g);
    tlt_spec_seq s = make_seq(&g, 3, 0, answer, 1, &d);
    x.open(x.context, &s);
    int right = 0, longest = 0;
    for (; s.n_tokens < 200; s.n_tokens++) {
      start(&x, 1, &s);
      int n = ask_for(&x, &s, -1, 4, c);
      right += n > 0 && c[0].token == answer[s.n_tokens];
      if (n && c[0].match > longest) longest = c[0].match;
    }
    if (pass == 1) assert_int_equal(right, 199);
    else assert_in_range(right, 0, 20);
    if (pass == 1) assert_int_equal(longest, 202);
    x.close(x.context, &s, TLT_FINISH_LENGTH);
    x.group_close(x.context, &g);
  }
  x.free(x.context);
}

static const int32_t seen[] = {11, 12, 13, 14, 15};
static const int times[] = {8, 4, 3, 2, 1};

static void show_counts(tlt_source *x, const tlt_spec_group *g) {
  uint32_t sample = 100;
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < times[i]; j++) finish_sample(x, g, sample++, (int32_t[]){7, seen[i]}, 2);
}

/* 6000 tokens of prompt are too many for one begin, and so are two finished answers behind it. */
static void catches_up_over_some_steps(void **state) {
  (void)state;
  enum { LONG = 6000, ANSWER = 3000 };
  static int32_t prompt[LONG], answer[2][ANSWER];
  for (int i = 0; i < LONG; i++) prompt[i] = i;
  for (int i = 0; i < ANSWER; i++) answer[0][i] = 10000 + i, answer[1][i] = 20000 + i;
  tlt_source x = open_source(0, 0);
  tlt_spec_group g = make_group("g", prompt, LONG, 1);
  tlt_draft d = {0};
  tlt_candidate c[4];
  x.group_open(x.context, &g);
  for (uint32_t i = 0; i < 2; i++) finish_sample(&x, &g, i, answer[i], ANSWER);
  tlt_spec_seq s[] = {make_seq(&g, 0, 5, (int32_t[]){5, 20500}, 2, &d),
                      make_seq(&g, 1, 6, (int32_t[]){5, 12500}, 2, &d)};
  x.open(x.context, &s[0]);
  x.open(x.context, &s[1]);
  static const int candidates[3][2] = {{0, 0}, {1, 0}, {1, 1}}; /* the newer answer comes first */
  for (int i = 0; i < 3; i++) {
    tlt_grow both[2] = {{0, -1, LONG + 2, -1, c}, {1, -1, LONG + 2, -1, c + 1}};
    start(&x, 2, s);
    x.grow(x.context, s, 2, both, 1);
    assert_int_equal(both[0].n, candidates[i][0]);
    assert_int_equal(both[1].n, candidates[i][1]);
  }
  assert_int_equal(c[0].token, 20501);
  assert_int_equal(c[1].token, 12501);
  x.group_close(x.context, &g);
  x.free(x.context);
}

enum { VOCAB = 32 };

/* With counts for logits the best candidate is the token that the sampler draws, and the others are
 * in the order in which it would have drawn them. Returns the best. */
static int32_t ranked_as_drawn(tlt_source *x, const tlt_spec_group *g, uint32_t sample,
                               void *scratch) {
  float logits[VOCAB];
  tlt_draft d = {0};
  tlt_candidate c[4];
  tlt_spec_seq s = make_seq(g, 0, sample, (int32_t[]){7}, 1, &d);
  x->open(x->context, &s);
  start(x, 1, &s);
  assert_int_equal(ask_for(x, &s, -1, 4, c), 4);
  for (int v = 0; v < VOCAB; v++) logits[v] = -INFINITY;
  for (int i = 0; i < 5; i++) logits[seen[i]] = tlt_logf((float)times[i]);
  tlt_draw draw = {SEED, g->rollout, sample, 2};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(c[i].token, tlt_sample_reference(logits, VOCAB, &g->how, &draw, scratch));
    assert_true(c[i].score == logits[c[i].token] + tlt_sample_noise(&draw, c[i].token));
    assert_true(c[i].gap == c[0].score - c[i ? i : 1].score);
    assert_int_equal(c[i].match, 2); /* with the prompt */
    logits[c[i].token] = -INFINITY;
  }
  x->close(x->context, &s, TLT_FINISH_NONE);
  return c[0].token;
}

static void ranks_with_the_samplers_noise(void **state) {
  (void)state;
  static const int32_t prompt[] = {1};
  tlt_source x = open_source(0, 0);
  void *scratch = tlt_calloc_aligned(tlt_sample_scratch_bytes(VOCAB), 1);
  int first[5] = {0};
  for (uint32_t rollout = 0; rollout < 8; rollout++) {
    tlt_spec_group g = make_group("g", prompt, 1, 1);
    g.rollout = rollout;
    x.group_open(x.context, &g);
    show_counts(&x, &g);
    for (uint32_t i = 0; i < 10; i++) first[ranked_as_drawn(&x, &g, i, scratch) - 11]++;
    x.group_close(x.context, &g);
  }
  assert_true(first[0] < 60 && first[1] > 5);
  tlt_free(scratch);
  x.free(x.context);
}

static void greedy_ranks_by_count_and_length(void **state) {
  (void)state;
  static const int32_t prompt[] = {1};
  tlt_source x = open_source(0, 0);
  tlt_spec_group g = make_group("g", prompt, 1, 0);
  tlt_draft d = {0};
  tlt_candidate c[4];
  x.group_open(x.context, &g);
  show_counts(&x, &g);
  finish_sample(&x, &g, 200, (int32_t[]){30, 7, 15}, 3); /* a longer match */
  static const int32_t tokens[] = {20, 30, 7};
  tlt_spec_seq s = make_seq(&g, 0, 0, tokens, 3, &d);
  x.open(x.context, &s);
  start(&x, 1, &s);
  assert_int_equal(ask_for(&x, &s, -1, 4, c), 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(c[i].token, i ? seen[i - 1] : 15);
    assert_int_equal(c[i].match, i ? 1 : 2);
    if (i) assert_true(c[i].score <= c[i - 1].score && c[i].gap == c[0].score - c[i].score);
  }
  assert_int_equal(ask_for(&x, &s, -1, 1, c), 1);
  assert_float_equal(c[0].gap, 1.386f, 0.001f); /* log 1 against a quarter */
  x.group_close(x.context, &g);
  x.free(x.context);
}

/* ---- Everything at once ---- */

typedef struct player {
  bool open;
  int group, n;
  uint32_t sample;
  int32_t tokens[POSITIONS];
} player;

static player players[BATCH];
static tlt_spec_group games[3];
static tlt_draft drafts[BATCH];

static void propose(tlt_source *x, tlt_stream *r) {
  tlt_spec_seq s[BATCH];
  tlt_grow g[BATCH];
  tlt_candidate c[BATCH][TLT_CANDIDATES];
  int n = 0, k = 1 + (int)tlt_stream_below(r, TLT_CANDIDATES);
  for (int i = 0; i < BATCH; i++) {
    player *p = &players[i];
    if (!p->open || !tlt_stream_below(r, 4)) continue;
    drafts[i].n = 0;
    s[n] = make_seq(&games[p->group], i, p->sample, p->tokens, p->n, &drafts[i]);
    g[n] = (tlt_grow){n, -1, 10 + p->n, -1, c[n]};
    n++;
  }
  start(x, n, s);
  for (int level = 0; level < 12; level++) {
    tlt_alloc_guard_begin();
    x->grow(x->context, s, n, g, k);
    tlt_alloc_guard_end();
    for (int i = 0; i < n; i++) {
      assert_in_range(g[i].n, 0, k);
      for (int j = 1; j < g[i].n; j++) {
        assert_true(c[i][j].score <= c[i][j - 1].score && c[i][j].gap >= 0);
        for (int l = 0; l < j; l++) assert_true(c[i][j].token != c[i][l].token);
      }
      int32_t token = g[i].n && tlt_stream_below(r, 3) ? c[i][g[i].n - 1].token : 1;
      add_node(s[i].draft, g[i].node, token);
      g[i].node = s[i].draft->n - 1;
      g[i].position++;
    }
  }
}

static void play(tlt_source *x, tlt_stream *r, uint32_t letters) {
  int i = (int)tlt_stream_below(r, BATCH);
  player *p = &players[i];
  if (!p->open) {
    *p = (player){
        .open = true, .group = (int)tlt_stream_below(r, 3), .n = 1, .sample = tlt_stream_u32(r)};
    p->tokens[0] = (int32_t)tlt_stream_below(r, letters);
  }
  tlt_spec_seq s = make_seq(&games[p->group], i, p->sample, p->tokens, p->n, NULL);
  if (p->n == 1) x->open(x->context, &s);
  int add = 1 + (int)tlt_stream_below(r, 300);
  for (; add > 0 && p->n < POSITIONS; add--)
    p->tokens[p->n++] = (int32_t)tlt_stream_below(r, letters);
  tlt_spec_result one = {.slot = i,
                         .group = &games[p->group],
                         .sample = p->sample,
                         .tokens = p->tokens,
                         .n_tokens = p->n,
                         .n_new = 1};
  tlt_alloc_guard_begin();
  x->verified(x->context, &(tlt_spec_step){.n = 1, .result = &one});
  tlt_alloc_guard_end();
  if (p->n < POSITIONS && tlt_stream_below(r, 10)) return;
  s.n_tokens = p->n;
  x->close(x->context, &s, tlt_stream_below(r, 3) ? TLT_FINISH_STOP : TLT_FINISH_NONE);
  p->open = false;
}

/* Small caps, groups that come and go, sequences that are asked now and then: no crash, no
 * allocation inside a step, candidates in order. */
static void survives_random_play(void **state) {
  (void)state;
  static const int32_t prompt[] = {3, 1, 2, 0, 1, 2, 3, 0, 0, 1};
  for (uint32_t round = 0; round < 6; round++) {
    tlt_stream r = stream(1000 + round);
    tlt_source x = open_source(round % 2 ? 20000 : 0, (size_t)65536 << (2 * (round / 2)));
    uint32_t letters = round < 3 ? 4 : 3000;
    for (int i = 0; i < BATCH; i++) players[i].open = false;
    for (int step = 0; step < 400; step++) {
      if (step % 80 == 0)
        for (int i = 0; i < 3; i++) {
          if (step) x.group_close(x.context, &games[i]);
          games[i] = make_group(&games[i], prompt, 10 - i, round % 3 ? 1 : 0);
          x.group_open(x.context, &games[i]);
        }
      play(&x, &r, letters);
      propose(&x, &r);
    }
    x.free(x.context); /* with groups open */
  }
}

/* ---- Times ---- */

typedef int32_t (*next_fn)(tlt_stream *s, int i);
static int32_t any_token(tlt_stream *s, int i) {
  (void)i;
  return (int32_t)tlt_stream_below(s, 50000);
}
static int32_t one_token(tlt_stream *s, int i) {
  (void)s, (void)i;
  return 5;
}
static int32_t two_tokens(tlt_stream *s, int i) {
  (void)s;
  return i % 2;
}
static int32_t few_tokens(tlt_stream *s, int i) {
  (void)i;
  return (int32_t)tlt_stream_below(s, 4);
}
/* Skewed, with an order: a token is one of 16 successors of the one before. */
static int32_t like_text(tlt_stream *s, int i) {
  static uint32_t before;
  uint32_t k = tlt_stream_below(s, 16);
  k = tlt_stream_below(s, k + 1);
  return (int32_t)(before = i ? (before * 31 + k * k * 17 + 3) % 1500 : 0);
}

static void times_are_printed(void **state) {
  (void)state;
  enum { SAMPLES = 16, TOKENS = 1000 };
  static const struct {
    const char *name;
    next_fn next;
  } kind[] = {{"random of 50000", any_token},
              {"random of 4", few_tokens},
              {"one token", one_token},
              {"period 2", two_tokens},
              {"like text", like_text}};
  tlt_cells pool;
  tlt_err err;
  assert_int_equal(tlt_cells_init(&pool, 64 << 20, &err), TLT_OK);
  for (size_t k = 0; k < sizeof kind / sizeof kind[0]; k++) {
    static int32_t text[SAMPLES][TOKENS];
    tlt_automaton a;
    tlt_cell_id end[SAMPLES];
    tlt_stream s = stream(9);
    for (int i = 0; i < SAMPLES; i++)
      for (int t = 0; t < TOKENS; t++) text[i][t] = kind[k].next(&s, t);
    tlt_automaton_init(&a, &pool);
    for (int i = 0; i < SAMPLES; i++) end[i] = a.root;
    double began = tlt_now();
    for (int t = 0; t < TOKENS; t++)
      for (int i = 0; i < SAMPLES; i++) end[i] = tlt_automaton_extend(&a, end[i], text[i][t]);
    double ns = (tlt_now() - began) * 1e9 / (SAMPLES * TOKENS);
    assert_false(a.full);
    int64_t chunks = 0;
    for (int32_t c = a.first; c >= 0; c = pool.cell[(size_t)c * TLT_CHUNK_CELLS].next_chunk)
      chunks++;
    print_message("  insert %-16s %5.0f ns and %4.0f bytes per token\n", kind[k].name, ns,
                  (double)(chunks * TLT_CHUNK_CELLS * 32) / (SAMPLES * TOKENS));
    tlt_automaton_deinit(&a);
  }
  tlt_cells_deinit(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(automaton_equals_a_scan),
      cmocka_unit_test(crowded_contexts),
      cmocka_unit_test(a_full_pool_stops_insertion_only),
      cmocka_unit_test(history_keeps_the_newest),
      cmocka_unit_test(history_drops_the_longest_unused),
      cmocka_unit_test(prompt_self_and_siblings),
      cmocka_unit_test(earlier_answers_are_drafted),
      cmocka_unit_test(catches_up_over_some_steps),
      cmocka_unit_test(ranks_with_the_samplers_noise),
      cmocka_unit_test(greedy_ranks_by_count_and_length),
      cmocka_unit_test(survives_random_play),
      cmocka_unit_test(times_are_printed),
  };
  return cmocka_run_group_tests_name("suffix", tests, NULL, NULL);
}
