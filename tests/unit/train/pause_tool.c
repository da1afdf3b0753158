/* How long training keeps a paused pool's hook waiting:
 *   pause_tool MODEL_DIR NUMERICS THREADS SAMPLES LENGTH [ROUNDS [drafter]]
 * trains ROUNDS micro-batches of SAMPLES x LENGTH random tokens (with `drafter`, of a fresh drafter
 * on random hidden states) and prints the times between two calls of the hook, in ms, and the
 * return addresses where the longest ended (for addr2line). */
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/drafter.h"
#include "train/drafter.h"
#include "train/loss.h"

enum { MAX_GAPS = 1 << 20, WORST = 12, FRAMES = 6 };

extern char __executable_start; /* by the linker */

typedef struct gap {
  double ms;
  void *at[FRAMES];
} gap;

static double *gaps;
static gap worst[WORST];
static int n_gaps;
static double last;

static void keep(double ms) {
  int low = 0;
  for (int i = 1; i < WORST; i++)
    if (worst[i].ms < worst[low].ms) low = i;
  if (ms <= worst[low].ms) return;
  worst[low].ms = ms;
  backtrace(worst[low].at, FRAMES);
}

static bool hook(void *context) {
  (void)context;
  double ms = 1e3 * (tlt_now() - last);
  if (n_gaps < MAX_GAPS) gaps[n_gaps++] = ms;
  keep(ms);
  last = tlt_now();
  return true;
}

static void must(tlt_status s, const tlt_err *err) {
  if (s == TLT_OK) return;
  fprintf(stderr, "pause_tool: %s\n", err->text);
  exit(1);
}

typedef struct work {
  tlt_pool *pool;
  const tlt_kernels *k;
  tlt_weights *w;
  int samples, length;
  int32_t *tokens, *cu, *prompt;
} work;

static double train_target(const work *x, int rounds) {
  tlt_err err;
  tlt_trainer *t;
  tlt_trainer_options o = {
      .micro_tokens = x->samples * x->length, .max_sample = x->length, .activation_mb = 1024};
  tlt_micro m = {x->samples, x->tokens, x->cu, x->prompt, 1};
  must(tlt_trainer_create(x->w, x->k, x->pool, &o, &t, &err), &err);
  tlt_pool_set_pause(x->pool, hook, NULL);
  double start = last = tlt_now();
  for (int i = 0; i < rounds; i++)
    must(tlt_trainer_accumulate(t, &m, tlt_loss_sft, NULL, NULL, NULL, NULL, &err), &err);
  hook(NULL);
  double seconds = tlt_now() - start;
  tlt_pool_set_pause(x->pool, NULL, NULL);
  tlt_trainer_free(t);
  return seconds;
}

static double train_drafter(const work *x, int rounds) {
  tlt_err err;
  tlt_drafter *d;
  tlt_drafter_trainer *t;
  tlt_drafter_options o = tlt_drafter_options_default(x->length);
  size_t h = (size_t)x->w->config.hidden, rows = (size_t)(x->samples * x->length);
  size_t stride = tlt_act_stride(h) * x->k->act_size;
  unsigned char *act = tlt_calloc_aligned(rows, stride);
  const void **hidden = tlt_calloc((size_t)x->samples, sizeof *hidden);
  float *row = tlt_calloc(h, sizeof *row);
  o.micro_tokens = (int)rows;
  if (!act || !hidden || !row) abort();
  for (size_t r = 0; r < rows; r++) {
    for (size_t i = 0; i < h; i++) row[i] = (float)((r * 31 + i * 17) % 101) * 0.02f - 1.0f;
    x->k->to_act(row, h, act + r * stride);
  }
  for (int s = 0; s < x->samples; s++) hidden[s] = act + (size_t)(s * x->length) * stride;
  tlt_draft_micro m = {x->samples, x->tokens, x->cu, x->prompt, hidden, 1};
  must(tlt_drafter_create(x->w, 0, 1, &d, &err), &err);
  must(tlt_drafter_trainer_create(d, x->k, x->pool, &o, &t, &err), &err);
  tlt_pool_set_pause(x->pool, hook, NULL);
  double start = last = tlt_now();
  for (int i = 0; i < rounds; i++) must(tlt_drafter_trainer_accumulate(t, &m, NULL, &err), &err);
  hook(NULL);
  double seconds = tlt_now() - start;
  tlt_pool_set_pause(x->pool, NULL, NULL);
  tlt_drafter_trainer_free(t);
  tlt_drafter_free(d);
  tlt_free(row);
  tlt_free(hidden);
  tlt_free(act);
  return seconds;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int by_ms(const void *a, const void *b) {
  return -by_size(&((const gap *)a)->ms, &((const gap *)b)->ms);
}

static void print(double seconds, int rounds) {
  qsort(gaps, (size_t)n_gaps, sizeof *gaps, by_size);
  qsort(worst, WORST, sizeof *worst, by_ms);
  printf("%.3f s per micro-batch, %d pauses: median %.2f p99 %.2f longest %.2f ms\n",
         seconds / rounds, n_gaps, gaps[n_gaps / 2], gaps[(n_gaps - 1) * 99 / 100],
         gaps[n_gaps - 1]);
  if (!getenv("WHERE")) return;
  for (int i = 0; i < WORST && worst[i].ms > 0; i++) {
    printf("%6.2f", worst[i].ms);
    for (int f = 2; f < FRAMES; f++) printf(" %td", (char *)worst[i].at[f] - &__executable_start);
    printf("\n");
  }
}

int main(int argc, char **argv) {
  tlt_err err;
  if (argc < 6) {
    fprintf(stderr,
            "usage: pause_tool MODEL_DIR NUMERICS THREADS SAMPLES LENGTH [ROUNDS [drafter]]\n");
    return 2;
  }
  int rounds = argc > 6 ? atoi(argv[6]) : 3;
  work x = {.samples = atoi(argv[4]), .length = atoi(argv[5])};
  gaps = malloc(MAX_GAPS * sizeof *gaps);
  must(tlt_pool_create(atoi(argv[3]), &x.pool, &err), &err);
  must(tlt_kernels_choose(argv[2], &x.k, &err), &err);
  must(tlt_weights_load(argv[1], x.pool, &x.w, &err), &err);
  x.tokens = tlt_calloc((size_t)(x.samples * x.length), sizeof *x.tokens);
  x.cu = tlt_calloc((size_t)x.samples + 1, sizeof *x.cu);
  x.prompt = tlt_calloc((size_t)x.samples, sizeof *x.prompt);
  for (int i = 0; i < x.samples * x.length; i++) x.tokens[i] = (100 + 7919 * i) % x.w->config.vocab;
  for (int s = 0; s < x.samples; s++) {
    x.prompt[s] = 1;
    x.cu[s + 1] = (s + 1) * x.length;
  }
  bool drafter = argc > 7 && !strcmp(argv[7], "drafter");
  print(drafter ? train_drafter(&x, rounds) : train_target(&x, rounds), rounds);
  tlt_free(x.prompt);
  tlt_free(x.cu);
  tlt_free(x.tokens);
  tlt_weights_free(x.w);
  tlt_pool_free(x.pool);
  free(gaps);
  return 0;
}
