/* Sources, trees and policies together: hostile sources change no token, and are soon left alone; a
 * perfect one is used; statistics add up; a plan is as deep as it pays.
 * Run alone: build/tests/unit/spec/test_speculator */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "../model/tiny.h"
#include "base/log.h"
#include "spec/internal.h"

enum { PROMPTS = 6, SAMPLES = 2, TOKENS = 60, PROMPT = 9 };

typedef struct texts {
  int n[PROMPTS * SAMPLES];
  int32_t token[PROMPTS * SAMPLES][TOKENS];
  float logprob[PROMPTS * SAMPLES][TOKENS];
} texts;

/* ---- sources -----------------------------------------------------------------------------------
 */

typedef enum habit {
  ORACLE, /* always right, from a run without drafts */
  WRONG,  /* never right, always sure */
  RANDOM,
  TWICE,   /* the same token several times */
  OUTSIDE, /* ids that are none */
  NOT_A_NUMBER,
  MANY,  /* as many as it may, with equal scores */
  FAILS, /* gives up after a while */
  HABITS
} habit;

typedef struct source {
  habit habit;
  const texts *truth;
  int vocab, calls, asked;
} source;

static int32_t right_token(const source *s, const tlt_spec_seq *q, int position) {
  int index = (int)(q->group->rollout * SAMPLES + q->sample), at = position - q->group->n_prompt;
  return at < s->truth->n[index] ? s->truth->token[index][at] : 0;
}

static tlt_candidate candidate(const source *s, const tlt_spec_seq *q, int position, int rank) {
  int32_t right = right_token(s, q, position);
  uint32_t h = (uint32_t)(position * 40503 + rank * 97 + s->calls) * 2654435761u;
  tlt_candidate c = {
      .token = (right + 1 + rank) % s->vocab, .score = 50.0f - (float)rank, .gap = 20};
  switch (s->habit) {
    case ORACLE: c.token = rank == 0 ? right : (right + rank) % s->vocab; break;
    case RANDOM: c.token = (int32_t)(h % (uint32_t)s->vocab); break;
    case TWICE: c.token = right; break;
    case OUTSIDE: c.token = rank % 2 ? -7 : INT32_MAX; break;
    case NOT_A_NUMBER: c.score = c.gap = NAN; break;
    case MANY: c.score = c.gap = 0; break;
    default: break;
  }
  return c;
}

static void grow(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k) {
  source *s = context;
  s->calls++;
  for (int i = 0; i < n; i++) {
    s->asked++;
    node[i].n = k;
    for (int r = 0; r < k; r++)
      node[i].candidate[r] = candidate(s, &seq[node[i].seq], node[i].position, r);
  }
}

static const char *failed(void *context) {
  const source *s = context;
  return s->habit == FAILS && s->calls > 5 ? "had enough" : NULL;
}

/* ---- runs --------------------------------------------------------------------------------------
 */

static void keep(void *context, const tlt_sample *s) {
  texts *t = context;
  int i = (int)(s->rollout * SAMPLES + s->sample);
  t->n[i] = s->n_tokens;
  memcpy(t->token[i], s->tokens, (size_t)s->n_tokens * sizeof *s->tokens);
  memcpy(t->logprob[i], s->logprobs, (size_t)s->n_tokens * sizeof *s->logprobs);
}

static void run(tlt_model *m, int batch, const char *policy, source *hostile, texts *out,
                tlt_spec_stats *stats) {
  tlt_spec_options so = {.draft = TLT_DRAFT_SUFFIX,
                         .policy = policy,
                         .batch = batch,
                         .max_positions = PROMPT + TOKENS,
                         .seed = 3};
  tlt_engine_options eo = {.batch = batch,
                           .max_positions = PROMPT + TOKENS,
                           .seed = 3,
                           .draft_rows = hostile ? tlt_spec_draft_rows(&so) : 0};
  tlt_engine *e;
  tlt_spec *spec = NULL;
  assert_int_equal(tlt_engine_create(m, NULL, &eo, &e, NULL), TLT_OK);
  if (hostile) {
    tlt_source s = {.name = "test", .context = hostile, .grow = grow, .failed = failed};
    assert_int_equal(tlt_spec_create(m, &so, &spec, NULL), TLT_OK);
    assert_int_equal(tlt_spec_add(spec, &s, TLT_EDGE_EAGLE, NULL), TLT_OK);
    assert_int_equal(tlt_spec_attach(spec, e, NULL), TLT_OK);
  }
  *out = (texts){.n = {0}};
  for (int p = 0; p < PROMPTS; p++) {
    int32_t prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) prompt[i] = (p * 31 + i * 7) % m->weights->config.vocab;
    tlt_request r = {.prompt = prompt,
                     .n_prompt = PROMPT,
                     .rollout = (uint32_t)p,
                     .n_samples = SAMPLES,
                     .max_tokens = TOKENS - p,
                     .temperature = p == 2 ? 0 : 0.5f + 0.3f * (float)p,
                     .top_p = p % 2 ? 0.9f : 1,
                     .ignore_eos = true};
    assert_int_equal(tlt_engine_submit(e, &r, NULL), TLT_OK);
  }
  while (tlt_engine_pending(e)) assert_int_equal(tlt_engine_step(e, keep, out, NULL), TLT_OK);
  if (spec) tlt_spec_stats_get(spec, stats);
  tlt_engine_free(e);
  tlt_spec_free(spec);
}

static int warnings;

static void count_warnings(void *context, tlt_log_level level, const char *text) {
  (void)context;
  warnings += level == TLT_LOG_WARN && strstr(text, "dropped") != NULL;
}

static const char *const policies[] = {"planner", "beg-mab",     "eg",
                                       "ucb1",    "fixed:1_1_2", "fixed:12_4_64"};
static const int batches[] = {1, 5, 12};

static void check_sums(const tlt_spec_stats *s, const texts *t) {
  int64_t tokens = 0, sequences = 0;
  for (int i = 0; i < PROMPTS * SAMPLES; i++) tokens += t->n[i] - 1; /* the first from the prompt */
  for (int i = 0; i <= TLT_DRAFT_MAX; i++) sequences += s->plan_nodes[i];
  assert_int_equal(s->tokens, tokens);
  assert_int_equal(sequences, s->sequence_steps);
  for (int i = 0; i < TLT_EDGE_SOURCES; i++)
    for (int d = 0; d < TLT_SPEC_DEPTHS; d++)
      assert_true(s->accepted[i][d] <= s->tried[i][d] && s->tried[i][d] <= s->drafted[i][d]);
}

static void no_source_changes_a_token(void **state) {
  (void)state;
  static texts want, got;
  tlt_config c = tiny_config(TLT_ARCH_QWEN3);
  tlt_model *m = tiny_model(&c, "auto", 2);
  bool full = getenv("TLT_FULL") != NULL;
  run(m, 4, NULL, NULL, &want, NULL);
  for (int h = 0; h < HABITS; h++)
    for (int p = 0; p < 6; p++)
      for (int b = 0; b < 3; b++) {
        tlt_spec_stats stats;
        if (!full && b != (h + p) % 3) continue; /* every pair of habit, policy and batch occurs */
        source s = {.habit = (habit)h, .truth = &want, .vocab = m->weights->config.vocab};
        run(m, batches[b], policies[p], &s, &got, &stats);
        assert_memory_equal(&got, &want, sizeof want);
        check_sums(&stats, &got);
        if (h == ORACLE && p == 5) assert_true(tlt_spec_accept_length(&stats) > 6);
      }
  assert_true(warnings >= 1);
  tlt_model_close(m);
}

static void a_dropped_source_warns_once(void **state) {
  (void)state;
  static texts want, got;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "auto", 1);
  tlt_spec_stats stats;
  run(m, 4, NULL, NULL, &want, NULL);
  source s = {.habit = FAILS, .truth = &want, .vocab = m->weights->config.vocab};
  warnings = 0;
  run(m, 4, "fixed:2_2_4", &s, &got, &stats);
  assert_int_equal(warnings, 1);
  assert_int_equal(s.calls, 6);
  assert_memory_equal(&got, &want, sizeof want);
  tlt_model_close(m);
}

/* ---- one plan ----------------------------------------------------------------------------------
 */

enum { LIKELY = 87, UNLIKELY = 3, STEP_US = 10000000 };

/* Rows cost 2 % of a step each; a source's best guess holds in LIKELY of 100, its others hardly. */
static void teach(tlt_spec *s) {
  for (int i = 0; i < 4000; i++) {
    int rows = 1 + i % 24;
    tlt_cost_observe(&s->price->verify, rows, PROMPT + 4, STEP_US * (1 + 0.02 * (rows - 1)));
  }
  for (int i = 0; i < 4800; i++) {
    int rank = i / 100 % 3, tenth = i % 100;
    tlt_edge e = {.source = TLT_EDGE_EAGLE, .rank = rank, .depth = i / 300 % 8, .gap = 3};
    tlt_calibration_observe(&s->calibration, &e, tenth < (rank ? UNLIKELY : LIKELY));
  }
}

static void grow_likely(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k) {
  (void)context;
  (void)seq;
  for (int i = 0; i < n; i++) {
    node[i].n = k;
    for (int r = 0; r < k; r++)
      node[i].candidate[r] = (tlt_candidate){.token = 5 + r, .score = 9.0f - (float)r, .gap = 3};
  }
}

/* With one likely child per node, and others that just do not pay, the end of the chain is always the
 * least that does: the chain must go on all the same. A row costs 0.02 steps, 0.87^10 is 0.25. */
static void a_chain_goes_on_while_it_pays(void **state) {
  (void)state;
  tlt_config c = tiny_config(TLT_ARCH_LLAMA);
  tlt_model *m = tiny_model(&c, "auto", 1);
  tlt_spec_options so = {.draft = TLT_DRAFT_OFF, .batch = 1, .max_positions = 64};
  tlt_source likely = {.name = "likely", .grow = grow_likely};
  tlt_spec_group group = {.n_prompt = PROMPT};
  tlt_spec *s;
  assert_int_equal(tlt_spec_create(m, &so, &s, NULL), TLT_OK);
  assert_int_equal(tlt_spec_add(s, &likely, TLT_EDGE_EAGLE, NULL), TLT_OK);
  teach(s);
  for (int step = 0; step < 3; step++) { /* the price of a level is known from the second on */
    tlt_tree_reset(&s->tree[0]);
    s->n = s->full = 1;
    s->nodes = 0;
    s->source[0].begun = false;
    s->seq[0] = (tlt_spec_seq){.group = &group,
                               .n_tokens = 4,
                               .tokens_left = 40,
                               .most_nodes = 40,
                               .draft = &s->tree[0].grow};
    tlt_spec_plan(s, 63, 0);
  }
  int deepest = 0;
  for (int i = 0; i < s->tree[0].n; i++)
    if (s->tree[0].node[i].taken && s->tree[0].node[i].depth > deepest)
      deepest = s->tree[0].node[i].depth;
  assert_true(s->nodes >= 8 && s->nodes <= 16);
  assert_true(deepest >= 7);
  tlt_spec_free(s);
  tlt_model_close(m);
}

int main(void) {
  tlt_log_set_sink(count_warnings, NULL);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_source_changes_a_token),
      cmocka_unit_test(a_dropped_source_warns_once),
      cmocka_unit_test(a_chain_goes_on_while_it_pays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
