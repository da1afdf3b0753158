/* Drives the trainer for differential tests (tests/py/test_train_torch.py):
 *   train_tool MODEL_DIR PLAN OUT_DIR
 * PLAN is text, one item per line:
 *   numerics NAME | threads N | activation_mb N | micro_tokens N | temperature T
 *   adamw LR BETA1 BETA2 EPS DECAY CLIP | steps N
 *   micro                       starts a micro-batch
 *   sample PROMPT ID ID ...     adds a sample to it
 * With steps 0 the SFT gradient of all micro-batches together goes to OUT_DIR/gradient.f32 (all
 * tensors in name order, unnormalised); otherwise step s trains on micro-batch s mod their number.
 * loss.txt has a line per micro-batch or step (mean loss, gradient norm, seconds); names.txt
 * "name n k"; masters.f32 the fp32 masters afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"
#include "train/loss.h"

enum { MAX_MICRO = 64, MAX_TOKENS = 1 << 20, PLAN_CAP = 1 << 24 };

typedef struct batch_text {
  int32_t tokens[MAX_TOKENS], cu[4097], prompt[4096];
  int samples;
} batch_text;

typedef struct plan {
  char numerics[32];
  int threads, micro_tokens, steps, micros, longest;
  size_t activation_mb;
  float temperature;
  tlt_adamw how;
  batch_text *micro[MAX_MICRO];
} plan;

static void stop(const char *text) {
  fprintf(stderr, "train_tool: %s\n", text);
  exit(1);
}

static void check(tlt_status status, const tlt_err *err) {
  if (status) stop(err->text);
}

static void add_sample(plan *p, char *line) {
  if (!p->micros) stop("sample before micro");
  batch_text *b = p->micro[p->micros - 1];
  int at = b->cu[b->samples], first = at;
  b->prompt[b->samples] = (int32_t)strtol(line, &line, 10);
  for (char *end;; line = end) {
    long id = strtol(line, &end, 10);
    if (end == line) break;
    if (at == MAX_TOKENS) stop("micro-batch too long");
    b->tokens[at++] = (int32_t)id;
  }
  b->cu[++b->samples] = at;
  if (at - first > p->longest) p->longest = at - first;
  if (at > p->micro_tokens) p->micro_tokens = at;
}

static void read_line(plan *p, char *line) {
  float *f = &p->how.lr;
  if (sscanf(line, "numerics %31s", p->numerics) == 1) return;
  if (sscanf(line, "threads %d", &p->threads) == 1) return;
  if (sscanf(line, "activation_mb %zu", &p->activation_mb) == 1) return;
  if (sscanf(line, "micro_tokens %d", &p->micro_tokens) == 1) return;
  if (sscanf(line, "temperature %f", &p->temperature) == 1) return;
  if (sscanf(line, "steps %d", &p->steps) == 1) return;
  if (sscanf(line, "adamw %f %f %f %f %f %f", f, f + 1, f + 2, f + 3, f + 4, f + 5) == 6) return;
  if (strncmp(line, "sample ", 7) == 0) {
    add_sample(p, line + 7);
  } else if (strcmp(line, "micro") == 0 && p->micros < MAX_MICRO) {
    p->micro[p->micros++] = tlt_calloc(1, sizeof(batch_text));
  } else if (*line) {
    stop(line);
  }
}

static void read_plan(plan *p, const char *path) {
  tlt_err err;
  char *text;
  size_t n;
  *p = (plan){.numerics = "portable", .threads = 1, .activation_mb = 1024, .temperature = 1};
  check(tlt_file_load(path, PLAN_CAP, &text, &n, &err), &err);
  for (char *line = text, *end; *line; line = end + 1) {
    end = strchr(line, '\n');
    if (!end) stop("plan does not end with a newline");
    *end = 0;
    read_line(p, line);
  }
  tlt_free(text);
}

static void store(const char *dir, const char *name, const void *data, size_t bytes) {
  char path[TLT_PATH_MAX];
  tlt_err err;
  tlt_path_join(path, dir, name);
  check(tlt_file_store(path, data, bytes, &err), &err);
}

static void store_gradient(const tlt_trainer *t, const tlt_weights *w, const char *dir) {
  float *g = tlt_malloc(w->elements * sizeof *g);
  for (int p = 0; p < w->n_params; p++)
    tlt_trainer_gradient(t, &w->param[p], g + w->param[p].offset);
  store(dir, "gradient.f32", g, w->elements * sizeof *g);
  tlt_free(g);
}

static void store_names(const tlt_weights *w, const char *dir) {
  size_t cap = (size_t)w->n_params * 128, at = 0;
  char *text = tlt_malloc(cap);
  for (int p = 0; p < w->n_params; p++)
    at += (size_t)snprintf(text + at, cap - at, "%s %d %d\n", w->param[p].name, w->param[p].n,
                           w->param[p].k);
  store(dir, "names.txt", text, at);
  tlt_free(text);
}

static void run(plan *p, tlt_trainer *t, char *text, size_t cap) {
  tlt_err err;
  size_t at = 0;
  int rounds = p->steps ? p->steps : p->micros;
  for (int i = 0; i < rounds; i++) {
    const batch_text *b = p->micro[i % p->micros];
    tlt_micro m = {b->samples, b->tokens, b->cu, b->prompt, p->temperature};
    tlt_sft_loss loss = {0, 0};
    tlt_step_result r = {0};
    double start = tlt_now();
    check(tlt_trainer_accumulate(t, &m, tlt_loss_sft, &loss, NULL, NULL, NULL, &err), &err);
    double middle = tlt_now();
    float scale = loss.targets ? 1.0f / (float)loss.targets : 1.0f;
    if (p->steps) check(tlt_trainer_step(t, scale, &p->how, &r, &err), &err);
    at += (size_t)snprintf(text + at, cap - at, "%.9g %.9g %.4f %.4f\n",
                           loss.sum / (double)(loss.targets ? loss.targets : 1),
                           (double)r.grad_norm, middle - start, tlt_now() - middle);
  }
}

int main(int argc, char **argv) {
  static plan p;
  tlt_err err;
  tlt_pool *pool;
  tlt_weights *w;
  tlt_trainer *t;
  const tlt_kernels *k;
  if (argc != 4) stop("usage: train_tool MODEL_DIR PLAN OUT_DIR");
  read_plan(&p, argv[2]);
  check(tlt_pool_create(p.threads, &pool, &err), &err);
  check(tlt_kernels_choose(p.numerics, &k, &err), &err);
  check(tlt_weights_load(argv[1], pool, &w, &err), &err);
  tlt_trainer_options o = {.micro_tokens = p.micro_tokens,
                           .max_sample = p.longest,
                           .activation_mb = p.activation_mb};
  check(tlt_trainer_create(w, k, pool, &o, &t, &err), &err);
  size_t cap = 128 * (size_t)(p.steps + p.micros + 1);
  char *text = tlt_calloc(1, cap);
  run(&p, t, text, cap);
  store(argv[3], "loss.txt", text, strlen(text));
  store_names(w, argv[3]);
  if (!p.steps) store_gradient(t, w, argv[3]);
  store(argv[3], "masters.f32", tlt_trainer_masters(t), w->elements * sizeof(float));
  tlt_free(text);
  tlt_trainer_free(t);
  tlt_weights_free(w);
  tlt_pool_free(pool);
  for (int i = 0; i < p.micros; i++) tlt_free(p.micro[i]);
  return 0;
}
