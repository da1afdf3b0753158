/* Speculators for tests: some know the answers from an earlier run, some write nonsense. They also
 * check everything that the engine tells them against these answers. */
#ifndef TLT_TESTS_DRAFTERS_H
#define TLT_TESTS_DRAFTERS_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

enum { PROMPTS = 16, SAMPLES = 3, ALL = PROMPTS * SAMPLES, POSITIONS = 200, NEW_TOKENS = 70 };

typedef struct result {
  int n_tokens;
  int32_t tokens[NEW_TOKENS];
  float logprobs[NEW_TOKENS];
  tlt_finish finish;
  bool by_eos;
} result;

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

#endif
