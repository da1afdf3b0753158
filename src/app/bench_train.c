#include "app/bench.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/model.h"
#include "train/loss.h"

enum { SAMPLES = 4, LENGTH = 512, MAX_ROUNDS = 64 };

tlt_status tlt_bench_train(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err) {
  static int32_t tokens[SAMPLES * LENGTH];
  static const int32_t cu[] = {0, LENGTH, 2 * LENGTH, 3 * LENGTH, 4 * LENGTH},
                       prompt[] = {1, 1, 1, 1};
  double rate[MAX_ROUNDS], step[MAX_ROUNDS];
  int vocab = m->weights->config.vocab;
  if (rounds > MAX_ROUNDS) rounds = MAX_ROUNDS;
  for (int i = 0; i < SAMPLES * LENGTH; i++) tokens[i] = (100 + 7919 * i) % vocab;
  tlt_trainer_options o = {
      .micro_tokens = SAMPLES * LENGTH, .max_sample = LENGTH, .activation_mb = 1024};
  tlt_adamw how = {.lr = 1e-6f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};
  tlt_micro micro = {SAMPLES, tokens, cu, prompt, 1};
  tlt_step_result result;
  tlt_trainer *trainer = NULL;
  tlt_status s = tlt_trainer_create(m->weights, m->kernels, m->pool, &o, &trainer, err);
  for (int r = -1; s == TLT_OK && r < rounds; r++) { /* round -1 warms up */
    double start = tlt_now();
    s = tlt_trainer_accumulate(trainer, &micro, tlt_loss_sft, NULL, NULL, NULL, NULL, err);
    double middle = tlt_now();
    if (s == TLT_OK) s = tlt_trainer_step(trainer, 1e-3f, &how, &result, err);
    if (r < 0) continue;
    rate[r] = SAMPLES * LENGTH / (middle - start);
    step[r] = 1e3 * (tlt_now() - middle);
  }
  tlt_trainer_free(trainer);
  if (s != TLT_OK) return s;
  tlt_bench_add(t, "forward+backward", SAMPLES * LENGTH, rate, rounds, "tokens/s");
  tlt_bench_add(t, "optimizer step", 0, step, rounds, "ms");
  return TLT_OK;
}
