/* One trainer over several processes and hosts: the bits of one process.
 * Alone: build/tests/unit/train/test_team */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/philox.h"
#include "fixture.h"
#include "team.h"

enum { STEPS = 7, MICROS = 4, MOST = TEAM_HOSTS * TEAM_PROCESSES };

/* What a run leaves, of every process. */
typedef struct outcome {
  char masters[65], moments[65], weights[65];
  tlt_step_result step[STEPS];
  int64_t steps;
} outcome;

typedef struct plan {
  tlt_config config;
  tlt_numerics numerics;
  int threads;
  uint32_t deal;    /* how micro-batches are dealt out */
  outcome *outcome; /* [MOST], shared */
} plan;

#define CHECK(x)                                                      \
  do {                                                                \
    if (!(x)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

/* ---- a run ----------------------------------------------------------------------------------- */

typedef struct run {
  const plan *p;
  const tlt_team *team;
  int me, of; /* among all processes of all hosts */
  tlt_weights *w;
  tlt_trainer *t;
} run;

static const tlt_kernels *kernels_of(const plan *p) {
  if (p->numerics == TLT_NUMERICS_AVX512BF16)
    return tlt_kernels_get(p->numerics, TLT_ISA_AVX512BF16);
  for (tlt_isa isa = TLT_ISA_AVX512; isa > TLT_ISA_SCALAR; isa--)
    if (tlt_kernels_get(p->numerics, isa)) return tlt_kernels_get(p->numerics, isa);
  return tlt_kernels_get(p->numerics, TLT_ISA_SCALAR);
}

static void loss_bad(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  fix_loss(context, m, n, logp, dlogp);
  dlogp[n / 2] = *(float *)context;
}

/* Whose a micro-batch is: any process, or with deal 0 the first. */
static bool is_mine(const run *r, int step, int micro) {
  tlt_stream s = tlt_stream_open(r->p->deal, TLT_PURPOSE_TASK, (uint32_t)step, (uint32_t)micro, 0);
  uint32_t owner = tlt_stream_below(&s, (uint32_t)r->of);
  return r->p->deal ? (int)owner == r->me : r->me == 0;
}

static void add(run *r, int step, int micro) {
  if (!is_mine(r, step, micro)) return;
  tlt_err err = {0};
  tlt_micro m = fix_micro(&r->p->config, micro);
  float bad = step == 2 ? NAN : 1e9f;
  bool spoil = (step == 2 || step == 4) && micro == 1;
  tlt_status status =
      tlt_trainer_accumulate(r->t, &m, spoil ? loss_bad : fix_loss, &bad, NULL, NULL, NULL, &err);
  if (status) fprintf(stderr, "%s\n", err.text);
  CHECK(!status);
}

/* Step 3 starts with gradients that are dropped, of one process only; step 5 has none. */
static void gather(run *r, int step) {
  if (step == 3) {
    add(r, step, 0);
    CHECK(!tlt_trainer_clear(r->t, NULL));
    CHECK(!tlt_trainer_clear(r->t, NULL));
  }
  for (int micro = 0; micro < MICROS && step != 5; micro++) add(r, step, micro);
}

static void hash_moments(tlt_trainer *t, char hex[65]) {
  tlt_sha256 h;
  size_t bytes = tlt_trainer_elements(t) * sizeof(float);
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, tlt_trainer_moment1(t), bytes);
  tlt_sha256_add(&h, tlt_trainer_moment2(t), bytes);
  tlt_sha256_end(&h, hex);
}

/* As a resumed run does: one process writes into the state, all take it over. */
static void restore(run *r) {
  if (!r->team || r->team->rank == 0) {
    float *moment = tlt_trainer_moment1(r->t);
    for (uint64_t i = 0; i < tlt_trainer_elements(r->t); i += 97) moment[i] *= 0.5f;
  }
  CHECK(!tlt_trainer_restored(r->t, tlt_trainer_steps(r->t) + 3, NULL));
}

static void train(run *r, outcome *o) {
  tlt_err err;
  for (int s = 0; s < STEPS; s++) {
    tlt_adamw how = {.lr = 1e-2f,
                     .beta1 = 0.9f,
                     .beta2 = 0.95f,
                     .eps = 1e-8f,
                     .weight_decay = 0.1f,
                     .clip_norm = s % 2 ? 0 : 0.5f};
    gather(r, s);
    CHECK(!tlt_trainer_step(r->t, 1.0f / 300, &how, &o->step[s], &err));
    if (s == 5) restore(r);
  }
  o->steps = tlt_trainer_steps(r->t);
  tlt_trainer_sha256(r->t, o->masters);
  hash_moments(r->t, o->moments);
  CHECK(!tlt_weights_sha256(r->w, o->weights, &err));
}

static int run_process(void *context, const tlt_team *team) {
  const plan *p = context;
  run r = {.p = p, .team = team, .of = 1};
  tlt_err err;
  tlt_pool *pool;
  int size = team ? team->size : 1;
  r.me = team_host(team) * size + (team ? team->rank : 0);
  for (r.of = size; r.of < MOST && p->outcome[r.of].steps == -1;) r.of++;
  CHECK(!tlt_pool_create(p->threads, &pool, &err));
  CHECK(!tlt_weights_create_shared(&p->config, team, &r.w, &err));
  if (!team || team->rank == 0) fix_fill(r.w, 1);
  tlt_trainer_options o = {
      .micro_tokens = 64, .max_sample = FIX_ROWS, .activation_mb = 1, .team = team};
  CHECK(!tlt_trainer_create(r.w, kernels_of(p), pool, &o, &r.t, &err));
  train(&r, &p->outcome[r.me]);
  tlt_trainer_free(r.t);
  tlt_weights_free(r.w);
  tlt_pool_free(pool);
  if (team) CHECK(team_shares(team) == 0);
  return 0;
}

/* The outcome of all processes, which are the same. */
static outcome run_plan(plan p, int hosts, int size) {
  int processes = hosts * (size ? size : 1);
  for (int i = 0; i < MOST; i++) p.outcome[i] = (outcome){.steps = i < processes ? -1 : 0};
  assert_true(team_run(hosts, size, run_process, &p));
  outcome o = p.outcome[0];
  for (int i = 1; i < processes; i++) assert_memory_equal(&p.outcome[i], &o, sizeof o);
  return o;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static outcome *shared_outcomes(void) {
  void *p =
      mmap(NULL, MOST * sizeof(outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(p != MAP_FAILED);
  return p;
}

static void assert_steps(const outcome *o) {
  for (int s = 0; s < STEPS; s++) {
    const tlt_step_result *r = &o->step[s];
    assert_int_equal(r->skipped, s == 2 || s == 4);
    if (r->skipped) assert_non_null(strstr(r->bad_param, ".weight"));
    else assert_int_equal(r->grad_norm > 0, s != 5);
  }
  assert_int_equal(o->steps, STEPS - 2 + 3);
}

static void same_bits(tlt_config c, tlt_numerics numerics) {
  plan p = {.config = c, .numerics = numerics, .threads = 2, .outcome = shared_outcomes()};
  if (kernels_of(&p)) {
    outcome want = run_plan(p, 1, 0);
    assert_steps(&want);
    static const int shape[][2] = {{1, 1}, {1, 2}, {1, 3}, {2, 1}, {2, 2}, {1, 3}};
    for (int i = 0; i < 6; i++) {
      p.deal = (uint32_t)i;
      p.threads = 1 + i % 2;
      outcome got = run_plan(p, shape[i][0], shape[i][1]);
      assert_memory_equal(&got, &want, sizeof got);
    }
  }
  munmap(p.outcome, MOST * sizeof(outcome));
}

static void same_bits_llama(void **state) {
  (void)state;
  tlt_config c = fix_config(TLT_ARCH_LLAMA);
  c.hidden = 100; /* more blocks than processes */
  c.vocab = 4001;
  same_bits(c, TLT_NUMERICS_PORTABLE);
  same_bits(c, TLT_NUMERICS_AVX512BF16);
}

static void same_bits_qwen2(void **state) {
  (void)state;
  same_bits(fix_config(TLT_ARCH_QWEN2), TLT_NUMERICS_PORTABLE);
}

static void same_bits_qwen3(void **state) {
  (void)state;
  tlt_config c = fix_config(TLT_ARCH_QWEN3);
  c.vocab = 301; /* fewer blocks than processes */
  c.layers = 1;
  same_bits(c, TLT_NUMERICS_PORTABLE);
  same_bits(c, TLT_NUMERICS_AVX512BF16);
}

/* A failure of one process is one of all, with its text. */
static int fail_alone(void *context, const tlt_team *team) {
  tlt_config c = fix_config(TLT_ARCH_LLAMA);
  tlt_weights *w;
  tlt_trainer *t = NULL;
  tlt_pool *pool;
  tlt_err err;
  (void)context;
  CHECK(!tlt_pool_create(1, &pool, &err));
  CHECK(!tlt_weights_create_shared(&c, team, &w, &err));
  tlt_trainer_options o = {
      .micro_tokens = team->rank == 1 ? 0 : 64, .max_sample = 64, .team = team};
  const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR);
  CHECK(tlt_trainer_create(w, k, pool, &o, &t, &err) == TLT_EUSAGE);
  CHECK(strstr(err.text, "got micro_tokens 0") && !t);
  o.micro_tokens = 64;
  tlt_weights *own;
  CHECK(!tlt_weights_create(&c, &own, &err));
  CHECK(tlt_trainer_create(own, k, pool, &o, &t, &err) == TLT_EINTERNAL);
  tlt_weights_free(own);
  tlt_weights_free(w);
  tlt_pool_free(pool);
  CHECK(team_shares(team) == 0);
  return 0;
}

static void failures_are_everybodys(void **state) {
  (void)state;
  assert_true(team_run(1, 3, fail_alone, NULL));
}

/* A directory: loaded once; without its tensors, only rank 0 looks for them. */
static int load_model(void *context, const tlt_team *team) {
  const char *folder = context;
  tlt_pool *pool;
  tlt_weights *w, *own;
  tlt_err err;
  char hex[65], want[65];
  CHECK(!tlt_pool_create(1, &pool, &err));
  CHECK(!tlt_weights_load_shared(TLT_MODEL, pool, team, &w, &err));
  CHECK(!tlt_weights_load(TLT_MODEL, pool, &own, &err));
  CHECK(!tlt_weights_sha256(w, hex, &err) && !tlt_weights_sha256(own, want, &err));
  CHECK(!strcmp(hex, want) && w->team == team && !own->team);
  tlt_weights_free(own);
  tlt_weights_free(w);
  CHECK(tlt_weights_load_shared(folder, pool, team, &w, &err) != TLT_OK);
  CHECK(!w && strstr(err.text, folder) && strstr(err.text, "safetensors"));
  tlt_pool_free(pool);
  return team_shares(team) != 0;
}

static void models_are_loaded_once(void **state) {
  (void)state;
  char folder[] = "/tmp/tlt-team-XXXXXX", command[512];
  assert_non_null(mkdtemp(folder));
  snprintf(command, sizeof command, "cp '%s/config.json' '%s'", TLT_MODEL, folder);
  assert_int_equal(system(command), 0);
  assert_true(team_run(1, 3, load_model, folder));
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  assert_int_equal(system(command), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bits_llama),        cmocka_unit_test(same_bits_qwen2),
      cmocka_unit_test(same_bits_qwen3),        cmocka_unit_test(failures_are_everybodys),
      cmocka_unit_test(models_are_loaded_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
