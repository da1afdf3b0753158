/* The trainer's bits: what they may not depend on, and its edges.
 * Alone: build/tests/unit/train/test_train */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fixture.h"
#include "train/loss.h"

typedef struct setup {
  tlt_arch arch;
  tlt_numerics numerics;
  tlt_isa isa;
  int threads;
  size_t activation_mb;
  bool reverse; /* micro-batches in the other order */
  bool known;   /* give the log-probabilities */
} setup;

typedef struct outcome {
  float logp[2][FIX_ROWS], entropy[2][FIX_ROWS];
  float norm;
  char gradient[65], weights[65], masters[65];
} outcome;

static tlt_trainer *open_trainer(const setup *s, tlt_weights *w, tlt_pool **pool) {
  tlt_err err;
  tlt_trainer *t;
  const tlt_kernels *k = tlt_kernels_get(s->numerics, s->isa);
  tlt_trainer_options o = {
      .micro_tokens = 64, .max_sample = FIX_ROWS, .activation_mb = s->activation_mb};
  assert_int_equal(tlt_pool_create(s->threads, pool, &err), TLT_OK);
  if (tlt_trainer_create(w, k, *pool, &o, &t, &err)) fail_msg("%s", err.text);
  return t;
}

static void hash_gradients(tlt_trainer *t, const tlt_weights *w, char hex[65]) {
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  for (int p = 0; p < w->n_params; p++) {
    size_t n = (size_t)w->param[p].n * (size_t)w->param[p].k;
    float *g = tlt_malloc(n * sizeof *g);
    tlt_trainer_gradient(t, &w->param[p], g);
    tlt_sha256_add(&h, g, n * sizeof *g);
    tlt_free(g);
  }
  tlt_sha256_end(&h, hex);
}

/* Two micro-batches, one step, and their log-probabilities after it. */
static outcome train(setup s) {
  outcome o = {0};
  tlt_err err;
  tlt_pool *pool;
  tlt_config c = fix_config(s.arch);
  tlt_weights *w = fix_weights(&c, 1);
  tlt_trainer *t = open_trainer(&s, w, &pool);
  for (int i = 0; i < 2; i++) {
    int which = s.reverse ? 1 - i : i;
    tlt_micro m = fix_micro(&c, which);
    float known[FIX_ROWS];
    if (s.known) assert_int_equal(tlt_trainer_logprobs(t, &m, known, &err), TLT_OK);
    tlt_status status = tlt_trainer_accumulate(t, &m, fix_loss, NULL, s.known ? known : NULL,
                                               o.logp[which], o.entropy[which], &err);
    if (status) fail_msg("%s", err.text);
  }
  hash_gradients(t, w, o.gradient);
  tlt_adamw how = {.lr = 1e-2f,
                   .beta1 = 0.9f,
                   .beta2 = 0.95f,
                   .eps = 1e-8f,
                   .weight_decay = 0.1f,
                   .clip_norm = 1.0f};
  tlt_step_result r;
  assert_int_equal(tlt_trainer_step(t, 1.0f / 300, &how, &r, &err), TLT_OK);
  assert_false(r.skipped);
  o.norm = r.grad_norm;
  tlt_trainer_sha256(t, o.masters);
  assert_int_equal(tlt_weights_sha256(w, o.weights, &err), TLT_OK);
  tlt_trainer_free(t);
  tlt_weights_free(w);
  tlt_pool_free(pool);
  return o;
}

static void assert_same(const outcome *a, const outcome *b) {
  assert_memory_equal(a->logp, b->logp, sizeof a->logp);
  assert_memory_equal(a->entropy, b->entropy, sizeof a->entropy);
  assert_string_equal(a->gradient, b->gradient);
  assert_string_equal(a->masters, b->masters);
  assert_string_equal(a->weights, b->weights);
  assert_true(a->norm == b->norm);
}

/* ---- bits ------------------------------------------------------------------------------------ */

static const tlt_isa fastest[] = {
    [TLT_NUMERICS_PORTABLE] = TLT_ISA_SCALAR, [TLT_NUMERICS_AVX512BF16] = TLT_ISA_AVX512BF16};

static tlt_isa best_isa(tlt_numerics n) {
  if (n == TLT_NUMERICS_PORTABLE)
    for (tlt_isa isa = TLT_ISA_AVX512; isa > TLT_ISA_SCALAR; isa--)
      if (tlt_kernels_get(n, isa)) return isa;
  return fastest[n];
}

static void invariant(tlt_arch arch, tlt_numerics numerics) {
  setup base = {.arch = arch,
                .numerics = numerics,
                .isa = best_isa(numerics),
                .threads = 1,
                .activation_mb = 64};
  if (!tlt_kernels_get(numerics, base.isa)) return;
  outcome want = train(base);
  assert_true(want.norm > 0);
  const int threads[] = {2, 3, 16};
  for (int i = 0; i < 3; i++) {
    setup s = base;
    s.threads = threads[i];
    s.reverse = i % 2;
    s.known = i > 0;
    s.activation_mb = i == 1 ? 0 : 1;
    outcome got = train(s);
    assert_same(&got, &want);
  }
}

static void same_bits_llama(void **state) {
  (void)state;
  invariant(TLT_ARCH_LLAMA, TLT_NUMERICS_PORTABLE);
  invariant(TLT_ARCH_LLAMA, TLT_NUMERICS_AVX512BF16);
}

static void same_bits_qwen2(void **state) {
  (void)state;
  invariant(TLT_ARCH_QWEN2, TLT_NUMERICS_PORTABLE);
  invariant(TLT_ARCH_QWEN2, TLT_NUMERICS_AVX512BF16);
}

static void same_bits_qwen3(void **state) {
  (void)state;
  invariant(TLT_ARCH_QWEN3, TLT_NUMERICS_PORTABLE);
  invariant(TLT_ARCH_QWEN3, TLT_NUMERICS_AVX512BF16);
}

static void portable_same_bits_on_every_isa(void **state) {
  (void)state;
  for (tlt_arch arch = TLT_ARCH_LLAMA; arch <= TLT_ARCH_QWEN3; arch++) {
    outcome want = train((setup){.arch = arch, .threads = 2, .activation_mb = 64});
    for (tlt_isa isa = TLT_ISA_AVX2; isa <= TLT_ISA_AVX512; isa++) {
      if (!tlt_kernels_get(TLT_NUMERICS_PORTABLE, isa)) continue;
      outcome got = train((setup){.arch = arch, .isa = isa, .threads = 2, .activation_mb = 64});
      assert_same(&got, &want);
    }
  }
}

/* ---- one trainer, several questions ---------------------------------------------------------- */

typedef struct world {
  tlt_config c;
  tlt_weights *w;
  tlt_pool *pool;
  tlt_trainer *t;
  char masters[65];
} world;

static int open_world(void **state) {
  static world x;
  setup s = {.numerics = TLT_NUMERICS_PORTABLE,
             .isa = best_isa(TLT_NUMERICS_PORTABLE),
             .threads = 2,
             .activation_mb = 8};
  x.c = fix_config(TLT_ARCH_LLAMA);
  x.w = fix_weights(&x.c, 2);
  x.t = open_trainer(&s, x.w, &x.pool);
  tlt_trainer_sha256(x.t, x.masters);
  *state = &x;
  return 0;
}

static int close_world(void **state) {
  world *x = *state;
  tlt_trainer_free(x->t);
  tlt_weights_free(x->w);
  tlt_pool_free(x->pool);
  return 0;
}

static const tlt_adamw plain = {.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};

static void logprobs_do_not_depend_on_company(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 2);
  float all[FIX_ROWS], one[FIX_ROWS];
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, all, &err), TLT_OK);
  int at = 0;
  for (int s = 0; s < m.n_samples; s++) {
    int32_t cu[2] = {0, m.cu[s + 1] - m.cu[s]};
    tlt_micro single = {1, m.tokens + m.cu[s], cu, &m.prompt[s], m.temperature};
    int n = tlt_micro_targets(&single);
    assert_int_equal(tlt_trainer_logprobs(x->t, &single, one, &err), TLT_OK);
    assert_memory_equal(one, all + at, (size_t)n * sizeof *one);
    at += n;
  }
  assert_int_equal(at, tlt_micro_targets(&m));
}

static void mismatch_is_found(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 2);
  float known[FIX_ROWS];
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, known, &err), TLT_OK);
  known[1] = nextafterf(known[1], 0);
  assert_int_equal(tlt_trainer_accumulate(x->t, &m, fix_loss, NULL, known, NULL, NULL, &err),
                   TLT_EINTERNAL);
  assert_non_null(strstr(err.text, "rollout/training mismatch: sample 1 position 30"));
  assert_int_equal(tlt_trainer_clear(x->t, NULL), TLT_OK);
}

static void loss_zero(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  (void)m, (void)logp;
  for (int i = 0; i < n; i++) dlogp[i] = 0;
  ++*(int *)context;
}

static void loss_nan(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  fix_loss(context, m, n, logp, dlogp);
  dlogp[n / 2] = NAN;
}

static void loss_huge(void *context, const tlt_micro *m, int n, const float *logp, float *dlogp) {
  (void)m, (void)logp;
  for (int i = 0; i < n; i++) dlogp[i] = *(float *)context;
}

static void bad_gradients_skip_the_step(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 2);
  tlt_step_result r;
  char hex[65];
  float huge = 1e9f;
  for (int i = 0; i < 2; i++) {
    tlt_loss_fn loss = i ? loss_huge : loss_nan;
    assert_int_equal(tlt_trainer_accumulate(x->t, &m, loss, &huge, NULL, NULL, NULL, &err), TLT_OK);
    assert_int_equal(tlt_trainer_step(x->t, 1, &plain, &r, &err), TLT_OK);
    assert_true(r.skipped);
    assert_true(strncmp(r.bad_param, "model.", 6) == 0);
    assert_int_equal(tlt_trainer_steps(x->t), 0);
    tlt_trainer_sha256(x->t, hex);
    assert_string_equal(hex, x->masters);
  }
}

/* No single partial is beyond the limit, but their sum may be. */
static void overflow_by_many_partials(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 2);
  tlt_step_result r = {0};
  float large = 2e3f;
  int rounds = 0;
  while (rounds < 4000 && !r.skipped) {
    for (int i = 0; i < 1 << (rounds < 6 ? rounds : 6); i++)
      assert_int_equal(tlt_trainer_accumulate(x->t, &m, loss_huge, &large, NULL, NULL, NULL, &err),
                       TLT_OK);
    tlt_adamw none = {.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};
    assert_int_equal(tlt_trainer_step(x->t, 1e-3f, &none, &r, &err), TLT_OK);
    large *= 2;
    rounds++;
  }
  assert_true(r.skipped);
  assert_true(rounds > 1);
}

static void step_without_gradient(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 2);
  tlt_step_result r;
  int calls = 0;
  int64_t steps = tlt_trainer_steps(x->t);
  memset(tlt_trainer_moment1(x->t), 0, tlt_trainer_elements(x->t) * sizeof(float));
  memset(tlt_trainer_moment2(x->t), 0, tlt_trainer_elements(x->t) * sizeof(float));
  tlt_trainer_sha256(x->t, x->masters);
  assert_int_equal(tlt_trainer_accumulate(x->t, &m, loss_zero, &calls, NULL, NULL, NULL, &err),
                   TLT_OK);
  assert_int_equal(calls, 1);
  assert_int_equal(tlt_trainer_step(x->t, 1, &plain, &r, &err), TLT_OK);
  assert_false(r.skipped);
  assert_true(r.grad_norm == 0);
  assert_int_equal(tlt_trainer_steps(x->t), steps + 1);
  char hex[65];
  tlt_trainer_sha256(x->t, hex);
  assert_string_equal(hex, x->masters);
}

static void bad_micro_batches(void **state) {
  world *x = *state;
  tlt_err err;
  float logp[FIX_ROWS];
  int32_t token[3] = {1, 2, 3}, cu[2] = {0, 3}, prompt[1] = {1};
  tlt_micro m = {1, token, cu, prompt, 1.0f};
  token[1] = x->c.vocab;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_EDATA);
  token[1] = -1;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_EDATA);
  token[1] = 2;
  prompt[0] = 0;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_EDATA);
  prompt[0] = 4;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_EDATA);
  prompt[0] = 3;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_OK); /* no targets */
  prompt[0] = 1;
  cu[1] = FIX_ROWS + 1;
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, logp, &err), TLT_EDATA);
}

/* Saved masters and moments, put into a fresh trainer, continue with the same bits. */
static void restored_state_continues(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_step_result r;
  size_t n = tlt_trainer_elements(x->t);
  tlt_micro m = fix_micro(&x->c, 1);
  tlt_weights *w = fix_weights(&x->c, 9);
  setup s = {
      .numerics = TLT_NUMERICS_PORTABLE, .isa = best_isa(TLT_NUMERICS_PORTABLE), .threads = 1};
  tlt_pool *pool;
  tlt_trainer *t = open_trainer(&s, w, &pool);
  assert_int_equal(tlt_trainer_accumulate(x->t, &m, tlt_loss_sft, NULL, NULL, NULL, NULL, &err),
                   TLT_OK);
  assert_int_equal(tlt_trainer_step(x->t, 0.01f, &plain, &r, &err), TLT_OK);
  memcpy(tlt_trainer_masters(t), tlt_trainer_masters(x->t), n * sizeof(float));
  memcpy(tlt_trainer_moment1(t), tlt_trainer_moment1(x->t), n * sizeof(float));
  memcpy(tlt_trainer_moment2(t), tlt_trainer_moment2(x->t), n * sizeof(float));
  assert_int_equal(tlt_trainer_restored(t, tlt_trainer_steps(x->t), NULL), TLT_OK);
  tlt_trainer *both[] = {t, x->t};
  char hex[2][65];
  tlt_sft_loss loss[2] = {{0, 0}, {0, 0}};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(
        tlt_trainer_accumulate(both[i], &m, tlt_loss_sft, &loss[i], NULL, NULL, NULL, &err),
        TLT_OK);
    assert_int_equal(tlt_trainer_step(both[i], 0.01f, &plain, &r, &err), TLT_OK);
    tlt_trainer_sha256(both[i], hex[i]);
  }
  assert_string_equal(hex[0], hex[1]);
  assert_true(loss[0].sum == loss[1].sum && loss[0].sum > 0);
  tlt_trainer_free(t);
  tlt_weights_free(w);
  tlt_pool_free(pool);
}

static void forward_only_scores_the_same(void **state) {
  world *x = *state;
  tlt_err err;
  tlt_micro m = fix_micro(&x->c, 3);
  float a[FIX_ROWS], b[FIX_ROWS];
  tlt_trainer *t;
  tlt_trainer_options o = {.micro_tokens = 8, .max_sample = FIX_ROWS, .forward_only = true};
  const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, best_isa(TLT_NUMERICS_PORTABLE));
  assert_int_equal(tlt_trainer_create(x->w, k, x->pool, &o, &t, &err), TLT_OK);
  assert_int_equal(tlt_trainer_logprobs(t, &m, a, &err), TLT_OK);
  assert_int_equal(tlt_trainer_logprobs(x->t, &m, b, &err), TLT_OK);
  assert_memory_equal(a, b, (size_t)tlt_micro_targets(&m) * sizeof *a);
  assert_int_equal(tlt_trainer_accumulate(t, &m, fix_loss, NULL, NULL, NULL, NULL, &err),
                   TLT_EINTERNAL);
  tlt_trainer_free(t);
}

static void fingerprints(void **state) {
  (void)state;
  char want[65], got[65];
  tlt_numerics_fingerprint(tlt_kernels_get(TLT_NUMERICS_PORTABLE, TLT_ISA_SCALAR), want);
  assert_int_equal(strlen(want), 64);
  for (tlt_isa isa = TLT_ISA_AVX2; isa <= TLT_ISA_AVX512; isa++) {
    const tlt_kernels *k = tlt_kernels_get(TLT_NUMERICS_PORTABLE, isa);
    if (!k) continue;
    tlt_numerics_fingerprint(k, got);
    assert_string_equal(got, want);
  }
  const tlt_kernels *bf16 = tlt_kernels_get(TLT_NUMERICS_AVX512BF16, TLT_ISA_AVX512BF16);
  if (!bf16) return;
  char again[65];
  tlt_numerics_fingerprint(bf16, got);
  tlt_numerics_fingerprint(bf16, again);
  assert_string_equal(got, again);
  assert_string_not_equal(got, want);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fingerprints),
      cmocka_unit_test(same_bits_llama),
      cmocka_unit_test(same_bits_qwen2),
      cmocka_unit_test(same_bits_qwen3),
      cmocka_unit_test(portable_same_bits_on_every_isa),
      cmocka_unit_test_setup_teardown(logprobs_do_not_depend_on_company, open_world, close_world),
      cmocka_unit_test_setup_teardown(mismatch_is_found, open_world, close_world),
      cmocka_unit_test_setup_teardown(bad_gradients_skip_the_step, open_world, close_world),
      cmocka_unit_test_setup_teardown(overflow_by_many_partials, open_world, close_world),
      cmocka_unit_test_setup_teardown(step_without_gradient, open_world, close_world),
      cmocka_unit_test_setup_teardown(bad_micro_batches, open_world, close_world),
      cmocka_unit_test_setup_teardown(restored_state_continues, open_world, close_world),
      cmocka_unit_test_setup_teardown(forward_only_scores_the_same, open_world, close_world),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
