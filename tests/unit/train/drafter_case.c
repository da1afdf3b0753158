#include "drafter_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Tensors other than parameters, whose number is their place in the list + 16. */
enum { EMBED, HEAD, TOKENS, HIDDEN, FIRST_PARAM = 16, SUMS = 6 };

static uint32_t hash(uint32_t seed, uint32_t tensor, uint32_t i) {
  uint32_t u = (i + 1) * 2654435761u + tensor * 0x9e3779b9u + seed * 0x85ebca6bu;
  u = (u ^ (u >> 15)) * 0x2c1b3c6du;
  u = (u ^ (u >> 12)) * 0x297a2d39u;
  return u ^ (u >> 15);
}

/* -128 .. 127, scaled by a power of two. */
static float value(uint32_t seed, uint32_t tensor, uint32_t i, float scale) {
  return (float)((int)(hash(seed, tensor, i) & 255) - 128) * scale;
}

static void must(tlt_status status, const tlt_err *err) {
  if (!status) return;
  fprintf(stderr, "%s\n", err->text);
  abort();
}

bool case_read(drafter_case *c, const char *line) {
  tlt_config *g = &c->config;
  tlt_drafter_options *o = &c->options;
  int at = 0;
  *c = (drafter_case){.cu = {0}};
  *g = (tlt_config){.arch = TLT_ARCH_LLAMA,
                    .layers = 1,
                    .max_positions = 4096,
                    .norm_eps = 1e-6f,
                    .rope_theta = 10000,
                    .bos = -1,
                    .pad = -1};
  if (sscanf(line, "%31s %d %d %d %d %d %d %d %u %d %f %f %f %f %d %d%n", c->numerics, &g->hidden,
             &g->heads, &g->kv_heads, &g->head_dim, &g->inter, &g->vocab, &c->hot, &c->seed,
             &o->unroll, &o->decay, &o->hidden_weight, &o->token_weight, &c->temperature, &c->steps,
             &c->samples, &at) < 16 ||
      c->samples > CASE_SAMPLES)
    return false;
  for (int s = 0, n; s < c->samples; s++) {
    int tokens;
    if (sscanf(line + at, "%d %d%n", &c->prompt[s], &tokens, &n) < 2) return false;
    at += n;
    c->cu[s + 1] = c->cu[s] + tokens;
    if (tokens > o->max_sample) o->max_sample = tokens;
  }
  o->micro_tokens = c->cu[c->samples];
  return true;
}

static void set_param(const tlt_param *p, uint32_t seed, uint32_t tensor, float scale) {
  float *row = tlt_malloc((size_t)p->k * sizeof *row);
  for (int r = 0; r < p->n; r++) {
    for (int i = 0; i < p->k; i++) {
      uint32_t at = (uint32_t)(r * p->k + i);
      row[i] = p->matrix ? value(seed, tensor, at, scale)
                         : 1.0f + (float)(hash(seed, tensor, at) & 127) / 128.0f;
    }
    tlt_param_set_rows((tlt_param *)p, r, 1, row);
  }
  tlt_free(row);
}

static void make_micro(const drafter_case *c, drafter_world *w) {
  size_t h = (size_t)c->config.hidden, stride = tlt_act_stride(h) * w->k->act_size;
  float *row = tlt_malloc(h * sizeof *row);
  int all = c->cu[c->samples];
  w->tokens = tlt_malloc((size_t)all * sizeof *w->tokens);
  for (int i = 0; i < all; i++)
    w->tokens[i] = (int32_t)(hash(c->seed, TOKENS, (uint32_t)i) % (uint32_t)c->config.vocab);
  for (int s = 0; s < c->samples; s++) {
    int n = c->cu[s + 1] - c->cu[s];
    w->hidden[s] = tlt_calloc_aligned((size_t)n, stride);
    for (int i = 0; i < n; i++) {
      for (size_t x = 0; x < h; x++)
        row[x] = value(c->seed, HIDDEN, (uint32_t)((size_t)(c->cu[s] + i) * h + x), 0x1p-6f);
      w->k->to_act(row, h, (char *)w->hidden[s] + (size_t)i * stride);
    }
  }
  tlt_free(row);
  w->m = (tlt_draft_micro){.n_samples = c->samples,
                           .tokens = w->tokens,
                           .cu = c->cu,
                           .prompt = c->prompt,
                           .hidden = (const void *const *)w->hidden,
                           .temperature = c->temperature};
}

void case_open(const drafter_case *c, const tlt_kernels *k, int threads, drafter_world *w) {
  tlt_err err;
  *w = (drafter_world){.k = k};
  if (!k) must(tlt_kernels_choose(c->numerics, &w->k, &err), &err);
  must(tlt_pool_create(threads, &w->pool, &err), &err);
  must(tlt_weights_create(&c->config, &w->target, &err), &err);
  set_param(tlt_weights_find(w->target, "model.embed_tokens.weight"), c->seed, EMBED, 0x1p-7f);
  set_param(tlt_weights_find(w->target, "lm_head.weight"), c->seed, HEAD, 0x1p-7f);
  must(tlt_drafter_create(w->target, 0, 1, &w->d, &err), &err);
  for (int p = 0; p < w->d->weights.n_params; p++)
    set_param(&w->d->weights.param[p], c->seed, (uint32_t)(FIRST_PARAM + p), 0x1p-9f);
  int32_t *hot = tlt_malloc((size_t)c->hot * sizeof *hot);
  for (int i = 0; i < c->hot; i++) hot[i] = 2 * i;
  must(tlt_drafter_set_hot(w->d, w->target, hot, c->hot, &err), &err);
  tlt_free(hot);
  must(tlt_drafter_trainer_create(w->d, w->k, w->pool, &c->options, &w->t, &err), &err);
  make_micro(c, w);
}

void case_close(drafter_world *w) {
  for (int s = 0; s < CASE_SAMPLES; s++) tlt_free(w->hidden[s]);
  tlt_free(w->tokens);
  tlt_drafter_trainer_free(w->t);
  tlt_drafter_free(w->d);
  tlt_weights_free(w->target);
  tlt_pool_free(w->pool);
}

size_t case_results(const drafter_case *c, const drafter_world *w) {
  size_t n = w->d->weights.elements;
  return SUMS * (size_t)c->options.unroll + n + (c->steps ? n + 1 : 0);
}

static float *put_sums(const tlt_draft_stats *s, int unroll, float *to) {
  for (int j = 0; j < unroll; j++) {
    const double sums[SUMS] = {(double)s->rows[j], s->hidden[j],  s->token[j],
                               s->entropy[j],      s->overlap[j], s->agree[j]};
    for (int i = 0; i < SUMS; i++) *to++ = (float)sums[i];
  }
  return to;
}

void case_run(const drafter_case *c, drafter_world *w, float *to) {
  const tlt_adamw how = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f};
  const tlt_weights *d = &w->d->weights;
  tlt_trainer *state = tlt_drafter_trainer_state(w->t);
  tlt_draft_stats stats = {.rows = {0}};
  tlt_step_result r;
  tlt_err err;
  must(tlt_drafter_trainer_accumulate(w->t, &w->m, &stats, &err), &err);
  to = put_sums(&stats, c->options.unroll, to);
  for (int p = 0; p < d->n_params; p++)
    tlt_trainer_gradient(state, &d->param[p], to + d->param[p].offset);
  to += d->elements;
  for (int i = 0; i < c->steps; i++) {
    if (i) must(tlt_drafter_trainer_accumulate(w->t, &w->m, NULL, &err), &err);
    must(tlt_drafter_trainer_step(w->t, &how, &r, &err), &err);
  }
  if (!c->steps) return;
  memcpy(to, tlt_trainer_masters(state), d->elements * sizeof *to);
  to[d->elements] = r.grad_norm;
}
