/* The rollout phase over an engine and a reward program that finish in random order: the groups at
 * the end depend on the indexes alone, with and without refill.
 * Alone: build/tests/unit/rl/test_rl_rollout */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "rl/rollout.h"
#include "tasks/task.h"

/* ---- stand-ins ------------------------------------------------------------------------------- */

enum { QUEUE_MAX = 4096, SAMPLES = 3, ROOM = 7 };

struct tlt_engine {
  uint32_t rollout[QUEUE_MAX], sample[QUEUE_MAX];
  int n;
};
struct tlt_reward {
  uint64_t id[QUEUE_MAX];
  size_t n;
};
struct tlt_spec {
  int nothing;
};
static tlt_stream order; /* of finishing; its seed is what must not matter */

static uint32_t mix(uint32_t a, uint32_t b) {
  return tlt_philox(5, TLT_PURPOSE_TASK, a, b, 0, 0).v[0];
}

int tlt_engine_pending(const tlt_engine *e) {
  return e->n;
}
int tlt_engine_room(const tlt_engine *e) {
  return e->n < ROOM ? ROOM - e->n : 0;
}
void tlt_engine_clear(tlt_engine *e) {
  e->n = 0;
}
void tlt_engine_stats_get(const tlt_engine *e, tlt_engine_stats *out) {
  (void)e;
  *out = (tlt_engine_stats){0};
}

void tlt_spec_origins(const tlt_spec *s, uint32_t rollout, uint32_t sample, int n, char *out) {
  (void)s;
  for (int i = 0; i < n; i++) out[i] = ".seb"[mix(rollout, sample + (uint32_t)i) % 4];
}

tlt_status tlt_engine_submit(tlt_engine *e, const tlt_request *r, tlt_err *err) {
  (void)err;
  for (int s = 0; s < r->n_samples; s++) {
    e->rollout[e->n] = r->rollout;
    e->sample[e->n++] = (uint32_t)s;
  }
  return TLT_OK;
}

tlt_status tlt_engine_step(tlt_engine *e, tlt_sample_fn done, void *context, tlt_err *err) {
  (void)err;
  int i = (int)tlt_stream_below(&order, (uint32_t)e->n);
  int32_t tokens[8];
  float logprobs[8];
  uint32_t rollout = e->rollout[i], sample = e->sample[i];
  int n = 1 + (int)(mix(rollout, sample) % 8);
  for (int t = 0; t < n; t++) {
    tokens[t] = (int32_t)(mix(rollout, sample + 100) % 50) + t;
    logprobs[t] = -(float)(t + 1);
  }
  e->n--;
  e->rollout[i] = e->rollout[e->n];
  e->sample[i] = e->sample[e->n];
  tlt_sample s = {.rollout = rollout,
                  .sample = sample,
                  .n_prompt = 1,
                  .n_tokens = n,
                  .tokens = tokens,
                  .logprobs = logprobs,
                  .finish = TLT_FINISH_STOP};
  done(context, &s);
  return TLT_OK;
}

tlt_status tlt_tokenizer_decode(const tlt_tokenizer *t, const int32_t *ids, size_t count,
                                bool skip_special, char **text, size_t *n, tlt_err *err) {
  (void)t, (void)ids, (void)count, (void)skip_special, (void)err;
  *text = tlt_strdup("text");
  *n = 4;
  return TLT_OK;
}

tlt_status tlt_reward_submit(tlt_reward *r, uint64_t id, const tlt_problem *p,
                             const char *completion, size_t bytes, tlt_err *err) {
  (void)p, (void)completion, (void)bytes, (void)err;
  r->id[r->n++] = id;
  return TLT_OK;
}

size_t tlt_reward_pending(const tlt_reward *r) {
  return r->n;
}

/* About half of the groups are constant. */
static double score_of(uint64_t id) {
  uint32_t rollout = (uint32_t)(id / SAMPLES);
  return mix(rollout, 7) % 2 ? 1 : mix(rollout, 9 + (uint32_t)(id % SAMPLES)) % 2;
}

tlt_status tlt_reward_poll(tlt_reward *r, double timeout_s, tlt_reward_result *results, size_t max,
                           size_t *count, tlt_err *err) {
  (void)err;
  *count = 0;
  while (r->n && *count < max && (timeout_s != 0 || tlt_stream_below(&order, 3) == 0)) {
    size_t i = tlt_stream_below(&order, (uint32_t)r->n);
    results[(*count)++] = (tlt_reward_result){.id = r->id[i], .reward = score_of(r->id[i])};
    r->id[i] = r->id[--r->n];
    if (timeout_s != 0) break;
  }
  return TLT_OK;
}

/* No gradients here. */
void tlt_update_offer(tlt_update *u, int i) {
  (void)u, (void)i;
}
int tlt_update_take(tlt_update *u) {
  (void)u;
  return -1;
}
tlt_status tlt_update_do(tlt_update *u, int i, tlt_err *err) {
  (void)u, (void)i, (void)err;
  return TLT_OK;
}
tlt_status tlt_update_pack(const tlt_update *u, int i, void **bytes, size_t *n, tlt_err *err) {
  (void)u, (void)i, (void)bytes, (void)n, (void)err;
  return TLT_OK;
}
tlt_status tlt_update_receive(tlt_update *u, int i, const void *bytes, size_t n, tlt_err *err) {
  (void)u, (void)i, (void)bytes, (void)n, (void)err;
  return TLT_OK;
}
tlt_status tlt_trainer_step(tlt_trainer *t, float scale, const tlt_adamw *how,
                            tlt_step_result *result, tlt_err *err) {
  (void)t, (void)scale, (void)how, (void)result, (void)err;
  return TLT_OK;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

typedef struct fixture {
  tlt_dataset *data;
  uint32_t index[40];
  uint64_t first[41];
  int32_t tokens[40];
  tlt_problem_set set;
  tlt_shuffle *shuffle;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  tlt_err err;
  tlt_task *task;
  if (tlt_task_open("arithmetic", NULL, 0, TLT_SPLIT_RL, 3, false, &task, &err) != TLT_OK)
    return -1;
  if (tlt_dataset_generate(task, 40, &f->data, &err) != TLT_OK) return -1;
  tlt_task_close(task);
  for (uint32_t i = 0; i < 40; i++) {
    f->index[i] = i;
    f->first[i + 1] = i + 1;
    f->tokens[i] = (int32_t)i;
  }
  f->set = (tlt_problem_set){.data = f->data,
                             .n = 40,
                             .index = f->index,
                             .first = f->first,
                             .tokens = f->tokens,
                             .longest = 1};
  *state = f;
  return tlt_shuffle_open(40, 9, &f->shuffle, &err) == TLT_OK ? 0 : -1;
}

static int teardown(void **state) {
  fixture *f = *state;
  tlt_shuffle_close(f->shuffle);
  tlt_dataset_close(f->data);
  free(f);
  return 0;
}

static tlt_groups run(fixture *f, uint32_t seed, int prompts, int max_gen, uint32_t first) {
  static tlt_engine engine;
  static tlt_reward reward;
  static const tlt_spec spec;
  tlt_groups groups;
  tlt_rollout_stats stats;
  tlt_err err = {0};
  tlt_rollout_job job = {.decode = {.engine = &engine,
                                    .reward = &reward,
                                    .spec = &spec,
                                    .keep_text = true,
                                    .problems = &f->set,
                                    .shuffle = f->shuffle,
                                    .first = first,
                                    .samples = SAMPLES,
                                    .max_tokens = 8,
                                    .temperature = 1,
                                    .top_p = 1},
                         .prompts = prompts,
                         .max_gen = max_gen};
  order = tlt_stream_open(seed, TLT_PURPOSE_TASK, 0, 0, 0);
  assert_int_equal(tlt_groups_make(SAMPLES, prompts * max_gen, &groups, &err), TLT_OK);
  assert_int_equal(tlt_rollout_run(&job, &groups, &stats, &err), TLT_OK);
  assert_int_equal(engine.n, 0);
  assert_int_equal(reward.n, 0);
  return groups;
}

static void assert_same(const tlt_groups *a, const tlt_groups *b) {
  char x[65], y[65];
  assert_int_equal(a->n, b->n);
  tlt_groups_sha256(a, x);
  tlt_groups_sha256(b, y);
  assert_string_equal(x, y);
  for (int i = 0; i < a->n; i++) {
    assert_int_equal(a->group[i].rollout, b->group[i].rollout);
    assert_ptr_equal(a->group[i].problem, b->group[i].problem);
    assert_int_equal(a->group[i].constant, b->group[i].constant);
    assert_int_equal(a->group[i].replaced, b->group[i].replaced);
  }
}

static void test_order(void **state) {
  fixture *f = *state;
  for (int max_gen = 1; max_gen <= 8; max_gen *= 2)
    for (uint32_t first = 0; first < 60; first += 20) {
      tlt_groups want = run(f, 0, 6, max_gen, first);
      for (uint32_t seed = 1; seed < 40; seed++) {
        tlt_groups got = run(f, seed, 6, max_gen, first);
        assert_same(&want, &got);
        tlt_groups_free(&got);
      }
      tlt_groups_free(&want);
    }
}

/* prompts groups remain, all that vary among them; the cap is kept. */
static void test_refill(void **state) {
  fixture *f = *state;
  tlt_groups g = run(f, 1, 6, 8, 0);
  int varied = 0, kept = 0, dull = 0;
  for (int i = 0; i < g.n; i++) {
    assert_int_equal(g.group[i].rollout, i);
    varied += !g.group[i].constant;
    dull += g.group[i].constant;
    kept += !g.group[i].replaced;
    if (g.group[i].replaced) assert_true(g.group[i].constant);
  }
  assert_int_equal(varied, 6);
  assert_int_equal(kept, 6);
  assert_int_equal(g.n, 6 + dull);
  assert_true(dull > 0);
  tlt_groups_free(&g);

  g = run(f, 1, 6, 1, 0); /* without refill every group stays */
  assert_int_equal(g.n, 6);
  for (int i = 0; i < g.n; i++) assert_false(g.group[i].replaced);
  tlt_groups_free(&g);
}

static void test_cap(void **state) {
  fixture *f = *state;
  bool reached = false;
  for (uint32_t first = 0; first < 200; first += 10) {
    tlt_groups g = run(f, 1, 2, 2, first);
    int kept = 0;
    for (int i = 0; i < g.n; i++) kept += !g.group[i].replaced;
    assert_true(g.n <= 4);
    assert_int_equal(kept, 2);
    reached |= g.n == 4;
    tlt_groups_free(&g);
  }
  assert_true(reached);
}

/* ---- between workers ----
 */

static void assert_same_answers(const tlt_group *a, const tlt_group *b, bool record) {
  for (int s = 0; s < SAMPLES; s++) {
    const tlt_answer *x = &a->answer[s], *y = &b->answer[s];
    size_t n = (size_t)x->n_tokens;
    assert_int_equal(x->n_tokens, y->n_tokens);
    assert_memory_equal(x->tokens, y->tokens, n * sizeof *x->tokens);
    assert_memory_equal(x->logprobs, y->logprobs, n * sizeof *x->logprobs);
    assert_true(x->score == y->score && x->finish == y->finish);
    assert_int_equal(y->text != NULL, record);
    assert_int_equal(y->origins != NULL, record);
    if (!record) continue;
    assert_string_equal(x->text, y->text);
    assert_memory_equal(x->origins, y->origins, n);
  }
}

/* Everything comes back; of a message cut anywhere, nothing. */
static void test_pack(void **state) {
  tlt_groups g = run(*state, 1, 2, 1, 0);
  for (int record = 0; record < 2; record++) {
    void *bytes;
    size_t n;
    tlt_err err = {0};
    tlt_group got = {.rollout = g.group[1].rollout};
    assert_int_equal(tlt_group_pack(&g.group[1], SAMPLES, record, &bytes, &n, &err), TLT_OK);
    for (size_t cut = 0; cut < n; cut++) {
      assert_int_equal(tlt_group_unpack(bytes, cut, &got, SAMPLES, &err), TLT_EINTERNAL);
      assert_null(got.answer);
    }
    assert_int_equal(tlt_group_unpack(bytes, n, &got, SAMPLES, &err), TLT_OK);
    assert_same_answers(&g.group[1], &got, record);
    tlt_group_free(&got, SAMPLES);
    tlt_free(bytes);
  }
  tlt_groups_free(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_refill),
      cmocka_unit_test(test_cap),
      cmocka_unit_test(test_pack),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
