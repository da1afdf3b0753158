/* Speculation changes no token and no bit, whatever the speculator proposes.
 * Run alone: build/tests/unit/engine/test_speculate */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "../model/tiny.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "engine/internal.h"
#include "io/file.h"

enum { PROMPTS = 16, SAMPLES = 3, ALL = PROMPTS * SAMPLES, POSITIONS = 200, NEW_TOKENS = 70 };

/* ---- Requests: every setting, and every way for an answer to end ---- */

typedef struct result {
  int n_tokens;
  int32_t tokens[NEW_TOKENS];
  float logprobs[NEW_TOKENS];
  tlt_finish finish;
  bool by_eos;
} result;

static void fill_prompt(int index, int vocab, int32_t *prompt, int *n) {
  static const int lengths[PROMPTS] = {1,   2,   15,  16,  17,  33,  64, 99,
                                       127, 128, 129, 150, 180, 190, 30, 31};
  *n = lengths[index];
  for (int i = 0; i < *n; i++) prompt[i] = (index * 97 + i * i * 13 + 5) % vocab;
}

static tlt_request request_of(int index, const int32_t *prompt, int n, bool stops) {
  static const float temperatures[] = {1, 0.6f, 0, 1.5f};
  static const char *const stop[] = {"a", "e", "\n", "th", "%", "B", "7", "xyzzy"};
  static const int most[] = {NEW_TOKENS, 40, 5, 2, 1, 23, NEW_TOKENS, 17};
  return (tlt_request){.prompt = prompt,
                       .n_prompt = n,
                       .rollout = (uint32_t)index,
                       .n_samples = 1 + index % SAMPLES,
                       .max_tokens = most[index % 8],
                       .temperature = temperatures[index % 4],
                       .top_p = index % 3 == 1 ? 0.9f : 1,
                       .top_k = index % 5 == 4 ? 20 : 0,
                       .min_p = index % 7 == 3 ? 0.05f : 0,
                       .ignore_eos = index % 6 == 5,
                       .stop = stop,
                       .n_stop = stops && index % 2 ? 8 : 0};
}

/* ---- Speculators that know the answers, or nothing ---- */

typedef enum kind {
  CHAIN,
  SIBLINGS_AFTER,
  SIBLINGS_BEFORE,
  RANDOM,
  WRONG,
  DUPLICATES,
  BAD_TOKENS,
  BAD_PARENTS,
  GARBAGE,
  NEGATIVE_COUNT,
  HUGE_COUNT,
  DEEP,
  SILENT,
  KINDS
} kind;

typedef struct group {
  const tlt_spec_group *g;
  int known; /* prompt positions whose hidden states came */
} group;

typedef struct drafter {
  kind how;
  int depth;
  uint32_t seed;
  const result *truth; /* [ALL] */
  const tlt_model *m;
  tlt_forward *forward;
  float *logits;
  group groups[PROMPTS];
  bool open[ALL];
  int n_open, n_groups;
  int64_t accepted, drafted, right; /* right: nodes that should be accepted */
} drafter;

static uint32_t word(drafter *d) {
  d->seed = d->seed * 1664525u + 1013904223u;
  return d->seed >> 8;
}

static int below(drafter *d, int n) {
  return (int)(word(d) % (uint32_t)n);
}

static int index_of(const tlt_spec_group *g, uint32_t sample) {
  return (int)(g->rollout * SAMPLES + sample);
}

/* Token `ahead` places behind the last one, made up beyond the end. */
static int32_t right_token(drafter *d, const tlt_spec_seq *s, int ahead) {
  const result *r = &d->truth[index_of(s->group, s->sample)];
  int at = s->n_tokens + ahead;
  return at < r->n_tokens ? r->tokens[at] : below(d, d->m->weights->config.vocab);
}

static int32_t wrong_token(drafter *d, const tlt_spec_seq *s, int ahead) {
  int vocab = d->m->weights->config.vocab;
  return (right_token(d, s, ahead) + 1 + below(d, vocab - 1)) % vocab;
}

static int add(tlt_draft *t, int parent, int32_t token) {
  if (t->n == TLT_DRAFT_MAX) return parent;
  t->token[t->n] = token;
  t->parent[t->n] = (int16_t)parent;
  return t->n++;
}

static void siblings(drafter *d, const tlt_spec_seq *s, bool before) {
  for (int level = 0, at = -1; level < d->depth; level++) {
    int parent = at;
    if (!before) at = add(s->draft, parent, right_token(d, s, level));
    for (int i = 0; i < 2; i++) {
      int wrong = add(s->draft, parent, wrong_token(d, s, level));
      if (i) add(s->draft, wrong, right_token(d, s, level + 1));
    }
    if (before) at = add(s->draft, parent, right_token(d, s, level));
  }
}

static void random_tree(drafter *d, const tlt_spec_seq *s, int n) {
  int level[TLT_DRAFT_MAX];
  for (int i = 0; i < n; i++) {
    int parent = below(d, 3) ? i - 1 : below(d, i + 1) - 1;
    level[i] = parent < 0 ? 0 : level[parent] + 1;
    add(s->draft, parent, below(d, 4) ? right_token(d, s, level[i]) : wrong_token(d, s, level[i]));
  }
}

static void garbage(drafter *d, tlt_draft *t) {
  for (size_t i = 0; i < sizeof *t; i++) ((unsigned char *)t)[i] = (unsigned char)word(d);
}

static void spoil_some(drafter *d, const tlt_spec_seq *s) {
  static const int16_t parents[] = {-2, INT16_MIN, INT16_MAX, 63, 40, 1000};
  tlt_draft *t = s->draft;
  const int32_t tokens[] = {-1, d->m->weights->config.vocab, INT32_MAX, INT32_MIN};
  for (int i = 0; i < t->n; i++) {
    if (below(d, 6)) continue;
    if (d->how == BAD_TOKENS) t->token[i] = tokens[below(d, 4)];
    else t->parent[i] = below(d, 3) ? parents[below(d, 6)] : (int16_t)(i + below(d, 3));
  }
}

static void draft_one(drafter *d, const tlt_spec_seq *s) {
  tlt_draft *t = s->draft;
  int at = -1;
  switch (d->how) {
    case CHAIN:
      for (int i = 0; i < d->depth; i++) at = add(t, at, right_token(d, s, i));
      return;
    case SIBLINGS_AFTER:
    case SIBLINGS_BEFORE: siblings(d, s, d->how == SIBLINGS_BEFORE); return;
    case RANDOM: random_tree(d, s, below(d, 30)); return;
    case WRONG:
      for (int i = 0; i < d->depth; i++) at = add(t, at, wrong_token(d, s, i));
      return;
    case DUPLICATES:
      for (int i = 0; i < d->depth; i++) {
        int first = add(t, at, right_token(d, s, i)), second = add(t, at, right_token(d, s, i));
        at = below(d, 4) ? first : second;
      }
      return;
    case BAD_TOKENS:
    case BAD_PARENTS:
      random_tree(d, s, 40);
      spoil_some(d, s);
      return;
    case GARBAGE:
      garbage(d, t);
      t->n = TLT_DRAFT_MAX;
      return;
    case NEGATIVE_COUNT:
      random_tree(d, s, 9);
      t->n = -5;
      return;
    case HUGE_COUNT:
      random_tree(d, s, TLT_DRAFT_MAX);
      t->n = 1000;
      return;
    case DEEP:
      for (int i = 0; i < TLT_DRAFT_MAX; i++) at = add(t, at, right_token(d, s, i));
      return;
    default: return;
  }
}

static void propose(void *context, int n, tlt_spec_seq *seq, int room, int prompt_rows) {
  drafter *d = context;
  assert_true(room > 0 && prompt_rows >= 0);
  for (int i = 0; i < n; i++) {
    const result *r = &d->truth[index_of(seq[i].group, seq[i].sample)];
    assert_int_equal(seq[i].draft->n, 0);
    assert_true(seq[i].tokens_left >= r->n_tokens - seq[i].n_tokens);
    assert_true(seq[i].most_nodes >= seq[i].tokens_left - 1 || seq[i].most_nodes == TLT_DRAFT_MAX);
    assert_true(seq[i].n_tokens >= 1 && seq[i].n_tokens < r->n_tokens);
    assert_memory_equal(seq[i].tokens, r->tokens, (size_t)seq[i].n_tokens * sizeof(int32_t));
    draft_one(d, &seq[i]);
  }
}

/* ---- What the speculator is told ---- */

static void group_open(void *context, const tlt_spec_group *g) {
  drafter *d = context;
  assert_null(d->groups[g->rollout].g);
  d->groups[g->rollout] = (group){g, 0};
  d->n_groups++;
}

static void group_close(void *context, const tlt_spec_group *g) {
  drafter *d = context;
  assert_ptr_equal(d->groups[g->rollout].g, g);
  d->groups[g->rollout].g = NULL;
  d->n_groups--;
}

static void hear_open(void *context, const tlt_spec_seq *s) {
  drafter *d = context;
  int i = index_of(s->group, s->sample);
  assert_ptr_equal(d->groups[s->group->rollout].g, s->group);
  assert_int_equal(d->groups[s->group->rollout].known, s->group->n_prompt);
  assert_true(!d->open[i] && s->n_tokens == 1 && s->tokens_left >= 1);
  assert_int_equal(s->tokens[0], d->truth[i].tokens[0]);
  d->open[i] = true;
  d->n_open++;
}

static void hear_close(void *context, const tlt_spec_seq *s, tlt_finish finish) {
  drafter *d = context;
  int i = index_of(s->group, s->sample);
  assert_true(d->open[i]);
  assert_memory_equal(s->tokens, d->truth[i].tokens, (size_t)s->n_tokens * sizeof(int32_t));
  if (finish != TLT_FINISH_NONE) {
    assert_int_equal(finish, d->truth[i].finish);
    assert_int_equal(s->n_tokens, d->truth[i].n_tokens);
  }
  d->open[i] = false;
  d->n_open--;
}

static float logprob_of(drafter *d, const void *hidden, int row, const tlt_spec_group *g,
                        int32_t token) {
  const tlt_config *c = &d->m->weights->config;
  size_t bytes = tlt_act_stride((size_t)c->hidden) * d->m->kernels->act_size;
  tlt_forward_logits(d->forward, (const unsigned char *)hidden + (size_t)row * bytes, 1, d->logits);
  return tlt_logprob(d->m->kernels, d->logits, c->vocab, g->how.temperature, token, NULL);
}

static void hear_prompt(void *context, const tlt_spec_group *g, int pos0, int n,
                        const void *hidden) {
  drafter *d = context;
  const result *r = &d->truth[index_of(g, 0)];
  assert_int_equal(d->groups[g->rollout].known, pos0);
  d->groups[g->rollout].known += n;
  if (pos0 + n == g->n_prompt)
    assert_true(logprob_of(d, hidden, n - 1, g, r->tokens[0]) == r->logprobs[0]);
}

/* The path that the answer takes through a draft; ends with the answer. */
static int true_path(const tlt_draft *t, const int32_t *tokens, int n, int16_t *path) {
  int length = 0, at = -1;
  for (; length < n; length++) {
    int next = 0;
    while (next < t->n && (t->parent[next] != at || t->token[next] != tokens[length])) next++;
    if (next == t->n) break;
    path[length] = (int16_t)(at = next);
  }
  return length;
}

static void check_draft(const drafter *d, const tlt_draft *t, int tokens_left) {
  int depth[TLT_DRAFT_MAX];
  assert_in_range(t->n, 0, TLT_DRAFT_MAX);
  for (int i = 0; i < t->n; i++) {
    assert_true(t->parent[i] >= -1 && t->parent[i] < i);
    assert_true(t->token[i] >= 0 && t->token[i] < d->m->weights->config.vocab);
    depth[i] = t->parent[i] < 0 ? 1 : depth[t->parent[i]] + 1;
    assert_true(depth[i] <= TLT_DRAFT_DEPTH && depth[i] < tokens_left);
  }
}

static void hear_verified(void *context, const tlt_spec_step *step) {
  drafter *d = context;
  int rows = 0;
  assert_true(step->n > 0 && step->seconds > 0 && step->context >= 1 && step->hidden);
  for (int i = 0; i < step->n; i++) {
    const tlt_spec_result *r = &step->result[i];
    const result *truth = &d->truth[index_of(r->group, r->sample)];
    int before = r->n_tokens - r->n_new;
    int16_t path[TLT_DRAFT_DEPTH];
    check_draft(d, r->draft, NEW_TOKENS - before);
    assert_true(d->open[index_of(r->group, r->sample)] && r->n_new >= 1 && before >= 1);
    int n = true_path(r->draft, truth->tokens + before, truth->n_tokens - before, path);
    assert_int_equal(r->n_path, n);
    assert_memory_equal(r->path, path, (size_t)n * sizeof *path);
    assert_int_equal(r->n_new, before + n == truth->n_tokens ? n : n + 1);
    assert_int_equal(r->finish, r->n_tokens == truth->n_tokens ? truth->finish : TLT_FINISH_NONE);
    assert_int_equal(r->row0, rows);
    for (int t = below(d, 4); t < r->n_new; t += 4)
      assert_true(logprob_of(d, step->hidden, rows + (t ? 1 + path[t - 1] : 0), r->group,
                             truth->tokens[before + t]) == truth->logprobs[before + t]);
    rows += 1 + r->draft->n;
    d->drafted += r->draft->n;
    d->accepted += n;
  }
  assert_int_equal(step->decode_rows, rows);
}

static tlt_speculator speculator_of(drafter *d) {
  return (tlt_speculator){.context = d,
                          .wants_hidden = true,
                          .group_open = group_open,
                          .group_close = group_close,
                          .prompt = hear_prompt,
                          .open = hear_open,
                          .close = hear_close,
                          .propose = propose,
                          .verified = hear_verified};
}

/* ---- Runs ---- */

typedef struct way {
  int batch, chunk, draft_rows;
  size_t kv_bytes;
} way;

typedef struct run {
  result result[ALL];
  int done;
  tlt_engine_stats stats;
} run;

static void keep(void *context, const tlt_sample *s) {
  run *r = context;
  result *to = &r->result[s->rollout * SAMPLES + s->sample];
  assert_int_equal(to->n_tokens, 0);
  to->n_tokens = s->n_tokens;
  to->finish = s->finish;
  to->by_eos = s->stopped_by_eos;
  memcpy(to->tokens, s->tokens, (size_t)s->n_tokens * sizeof *s->tokens);
  memcpy(to->logprobs, s->logprobs, (size_t)s->n_tokens * sizeof *s->logprobs);
  r->done++;
}

static void submit_all(tlt_engine *e, bool stops) {
  for (int p = 0; p < PROMPTS; p++) {
    int32_t prompt[POSITIONS];
    int n;
    fill_prompt(p, e->model->weights->config.vocab, prompt, &n);
    tlt_request r = request_of(p, prompt, n, stops);
    assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  }
}

static tlt_engine *engine_of(tlt_model *m, const tlt_tokenizer *t, const way *w) {
  tlt_engine_options o = {.batch = w->batch,
                          .max_positions = POSITIONS,
                          .prefill_chunk = w->chunk,
                          .kv_bytes = w->kv_bytes,
                          .seed = 3,
                          .draft_rows = w->draft_rows};
  tlt_engine *e;
  tlt_err err = {0};
  if (tlt_engine_create(m, t, &o, &e, &err) != TLT_OK) fail_msg("%s", err.text);
  return e;
}

static void drain(tlt_engine *e, run *r) {
  tlt_err err = {0};
  for (int steps = 0; tlt_engine_pending(e); steps++) {
    if (tlt_engine_step(e, keep, r, &err) != TLT_OK) fail_msg("%s", err.text);
    assert_true(steps < 5000);
  }
  assert_int_equal(e->blocks.n_free, e->blocks.count);
  assert_int_equal(e->blocks.reserved, 0);
  tlt_engine_stats_get(e, &r->stats);
}

static void go(tlt_model *m, const tlt_tokenizer *t, const way *w, drafter *d,
               const tlt_hidden_sink *sink, run *r) {
  tlt_engine *e = engine_of(m, t, w);
  *r = (run){0};
  if (d) {
    tlt_speculator s = speculator_of(d);
    d->m = m;
    d->forward = &e->forward;
    d->logits = calloc((size_t)m->weights->config.vocab, sizeof *d->logits);
    assert_int_equal(tlt_engine_set_speculator(e, &s, NULL), TLT_OK);
  }
  tlt_engine_set_sink(e, sink);
  submit_all(e, t != NULL);
  drain(e, r);
  tlt_engine_free(e);
  if (!d) return;
  free(d->logits);
  assert_int_equal(d->n_open, 0);
  assert_int_equal(d->n_groups, 0);
  assert_int_equal(r->stats.draft_tokens, d->drafted);
  assert_int_equal(r->stats.accepted_tokens, d->accepted);
}

static void assert_same(const run *a, const run *b, const char *what, int number) {
  assert_int_equal(a->done, b->done);
  if (memcmp(a->result, b->result, sizeof a->result))
    fail_msg("%s %d changed tokens or log-probabilities", what, number);
}

static tlt_tokenizer *tiny_tokenizer(void) {
  static const char *texts[] = {"the theme of the thesis then", "a b c 1 2 3"};
  static const char *specials[] = {"<end>"};
  const size_t lengths[] = {strlen(texts[0]), strlen(texts[1])};
  char folder[] = "/tmp/tlt-speculate-XXXXXX";
  tlt_tokenizer *t;
  tlt_err err = {0};
  assert_non_null(mkdtemp(folder));
  if (tlt_tokenizer_train(texts, lengths, 2, 270, specials, 1, "<end>", folder, &err) != TLT_OK ||
      tlt_tokenizer_open(folder, &t, &err) != TLT_OK)
    fail_msg("%s", err.text);
  assert_int_equal(tlt_path_remove(folder, NULL), TLT_OK);
  return t;
}

static tlt_model *model_of(tlt_arch arch, const char *numerics, int threads) {
  tlt_config c = tiny_config(arch);
  c.layers = 2;
  c.vocab = arch == TLT_ARCH_QWEN2 ? 1331 : 280;
  c.max_positions = POSITIONS;
  c.n_eos = 4;
  for (int i = 0; i < 4; i++) c.eos[i] = 11 + 60 * i;
  return tiny_model(&c, numerics, threads);
}

/* ---- No bit changes ---- */

static const way ways[] = {{16, 3, 4096, 0}, {3, 512, 64, 0}, {1, 20, 63, 0},
                           {16, 3, 7, 0},    {16, 40, 1, 0},  {5, 1, 200, 0}};
enum { WAYS = sizeof ways / sizeof *ways };

static void check_ways(tlt_arch arch, const char *numerics) {
  static run plain, other;
  tlt_model *m = model_of(arch, numerics, 2);
  tlt_tokenizer *t = tiny_tokenizer();
  if (!m) skip();
  const way free_run = {16, 512, 0, 0};
  int ends[3] = {0};
  go(m, t, &free_run, NULL, NULL, &plain);
  for (int i = 0; i < ALL; i++) {
    const result *r = &plain.result[i];
    if (r->n_tokens) ends[r->finish == TLT_FINISH_LENGTH ? 0 : r->by_eos ? 1 : 2]++;
  }
  assert_true(ends[0] > 2 && ends[1] > 2 && (ends[2] > 1 || m->weights->config.vocab > 280));
  for (int how = 0; how < KINDS; how++) {
    drafter d = {.how = (kind)how, .depth = 4 + 5 * (int)arch, .truth = plain.result};
    d.seed = (uint32_t)how;
    go(m, t, &ways[(how + 2 * (int)arch) % WAYS], &d, NULL, &other);
    assert_same(&plain, &other, "speculation", how);
  }
  tlt_tokenizer_close(t);
  tlt_model_close(m);
}

static void portable_bits_do_not_change(void **state) {
  (void)state;
  for (int arch = 0; arch < 3; arch++) check_ways((tlt_arch)arch, "portable");
}

static void bf16_bits_do_not_change(void **state) {
  (void)state;
  const tlt_kernels *k;
  if (tlt_kernels_choose("avx512bf16", &k, NULL) != TLT_OK) skip();
  for (int arch = 0; arch < 3; arch++) check_ways((tlt_arch)arch, "avx512bf16");
}

/* ---- Accepted where right ---- */

static int64_t steps_of(const run *plain, int per_step) {
  int64_t steps = 0;
  for (int i = 0; i < ALL; i++)
    if (plain->result[i].n_tokens)
      steps += (plain->result[i].n_tokens - 1 + per_step - 1) / per_step;
  return steps;
}

static void right_drafts_are_accepted(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 2);
  const way free_run = {16, 512, 0, 0}, alone = {1, 512, 63, 0}, together = {16, 512, 2048, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  static const kind kinds[] = {CHAIN, SIBLINGS_AFTER, SIBLINGS_BEFORE, CHAIN};
  for (int i = 0; i < 4; i++) {
    drafter d = {.how = kinds[i], .depth = i == 3 ? 20 : 4, .truth = plain.result};
    go(m, NULL, i % 2 ? &alone : &together, &d, NULL, &other);
    assert_same(&plain, &other, "oracle", i);
    /* rows of last tokens: one for depth + 1 tokens of each sample */
    int64_t steps = steps_of(&plain, d.depth + 1), drawn = 0;
    for (int s = 0; s < ALL; s++)
      if (plain.result[s].n_tokens) drawn += plain.result[s].n_tokens - 1;
    assert_true(d.accepted >= drawn - steps && d.accepted <= drawn);
    if (i % 2) assert_true(other.stats.steps <= steps + PROMPTS + ALL);
  }
  drafter wrong = {.how = WRONG, .depth = 6, .truth = plain.result};
  go(m, NULL, &together, &wrong, NULL, &other);
  assert_int_equal(wrong.accepted, 0);
  assert_true(wrong.drafted > 0);
  tlt_model_close(m);
}

static void deepest_path_is_accepted(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 1);
  const way free_run = {16, 512, 0, 0}, alone = {1, 512, 63, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  drafter d = {.how = DEEP, .truth = plain.result};
  go(m, NULL, &alone, &d, NULL, &other);
  assert_same(&plain, &other, "deep", 0);
  assert_true(d.accepted >= steps_of(&plain, 1) - steps_of(&plain, TLT_DRAFT_DEPTH + 1));
  tlt_model_close(m);
}

/* ---- Memory ---- */

/* The least memory that one sequence needs is the same with drafts. */
static void little_memory_only_takes_longer(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 2);
  const way free_run = {16, 512, 0, 0};
  size_t block = tlt_kv_layout_of(2, 2, 10, m->kernels->act_size).block_bytes;
  go(m, NULL, &free_run, NULL, NULL, &plain);
  for (int blocks = 14; blocks < 60; blocks += 15) {
    const way w = {16, 40, 500, (size_t)blocks * block};
    drafter d = {.how = SIBLINGS_BEFORE, .depth = 9, .truth = plain.result};
    go(m, NULL, &w, &d, NULL, &other);
    assert_same(&plain, &other, "little memory", blocks);
    assert_true(other.stats.peak_blocks <= blocks);
  }
  tlt_model_close(m);
}

/* ---- Hidden states ---- */

/* Order does not count: a sum of hashes of everything that a row brings. */
typedef struct seen {
  int64_t rows[TLT_MAX_TAPS];
  uint64_t sum[8];
} seen;

static void look(void *context, int tap, int n, const tlt_hidden_row *rows, const void *data,
                 size_t element_size, int width, size_t stride) {
  seen *s = context;
  for (int i = 0; i < n; i++) {
    char digest[TLT_SHA256_HEX];
    uint64_t part[8];
    tlt_sha256 h;
    tlt_sha256_begin(&h);
    tlt_sha256_add(&h, &tap, sizeof tap);
    tlt_sha256_add(&h, &rows[i], sizeof rows[i]);
    tlt_sha256_add(&h, (const unsigned char *)data + (size_t)i * stride * element_size,
                   (size_t)width * element_size);
    tlt_sha256_end(&h, digest);
    memcpy(part, digest, sizeof part);
    for (int j = 0; j < 8; j++) s->sum[j] += part[j];
    s->rows[tap + 1]++;
  }
}

static void sink_sees_the_same_rows(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_QWEN3, "auto", 2);
  tlt_tokenizer *t = tiny_tokenizer();
  const way free_run = {7, 30, 0, 0};
  seen want = {0};
  tlt_hidden_sink sink = {&want, 4, {TLT_TAP_FINAL, 0, 2, 1}, look};
  go(m, t, &free_run, NULL, &sink, &plain);
  for (int how = 0; how < KINDS; how++) {
    drafter d = {.how = (kind)how, .depth = 5, .truth = plain.result};
    seen got = {0};
    sink.context = &got;
    go(m, t, &ways[how % WAYS], &d, &sink, &other);
    assert_same(&plain, &other, "sink", how);
    assert_memory_equal(&got, &want, sizeof got);
  }
  tlt_tokenizer_close(t);
  tlt_model_close(m);
}

/* ---- Use ---- */

static void clearing_tells_the_speculator(void **state) {
  (void)state;
  static run plain, other;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 2);
  const way free_run = {16, 512, 0, 0}, w = {5, 40, 100, 0};
  go(m, NULL, &free_run, NULL, NULL, &plain);
  tlt_engine *e = engine_of(m, NULL, &w);
  drafter d = {.how = RANDOM, .truth = plain.result, .m = m, .forward = &e->forward};
  d.logits = calloc((size_t)m->weights->config.vocab, sizeof *d.logits);
  tlt_speculator s = speculator_of(&d);
  assert_int_equal(tlt_engine_set_speculator(e, &s, NULL), TLT_OK);
  for (int steps = 0; steps < 30; steps++) {
    other = (run){0};
    submit_all(e, false);
    for (int i = 0; i < steps; i++)
      assert_int_equal(tlt_engine_step(e, keep, &other, NULL), TLT_OK);
    tlt_engine_clear(e);
    assert_int_equal(d.n_open, 0);
    assert_int_equal(d.n_groups, 0);
    assert_int_equal(tlt__blocks_available(&e->blocks), e->blocks.count);
  }
  other = (run){0};
  submit_all(e, false);
  drain(e, &other);
  assert_same(&plain, &other, "clearing", 0);
  free(d.logits);
  tlt_engine_free(e);
  tlt_model_close(m);
}

static void misuse_is_refused(void **state) {
  (void)state;
  tlt_model *m = model_of(TLT_ARCH_LLAMA, "auto", 1);
  drafter d = {.how = SILENT};
  tlt_speculator s = speculator_of(&d);
  way w = {2, 40, 0, 0};
  tlt_err err = {0};
  tlt_engine *e = engine_of(m, NULL, &w);
  assert_int_equal(tlt_engine_set_speculator(e, &s, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "draft_rows"));
  assert_int_equal(tlt_engine_set_speculator(e, NULL, &err), TLT_OK);
  tlt_engine_free(e);
  w.draft_rows = 5;
  e = engine_of(m, NULL, &w);
  submit_all(e, false);
  assert_int_equal(tlt_engine_set_speculator(e, &s, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "pending"));
  tlt_engine_free(e);
  tlt_engine_options o = {.batch = 1, .max_positions = 100, .draft_rows = -1};
  assert_int_equal(tlt_engine_create(m, NULL, &o, &e, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "draft_rows"));
  tlt_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(portable_bits_do_not_change),     cmocka_unit_test(bf16_bits_do_not_change),
      cmocka_unit_test(right_drafts_are_accepted),       cmocka_unit_test(deepest_path_is_accepted),
      cmocka_unit_test(little_memory_only_takes_longer), cmocka_unit_test(sink_sees_the_same_rows),
      cmocka_unit_test(clearing_tells_the_speculator),   cmocka_unit_test(misuse_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
