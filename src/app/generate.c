#include "app/generate.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/text.h"

/* A finished sample that waits for its turn in the output order. */
typedef struct finished {
  bool done;
  int n_tokens;
  int32_t *tokens;
  float *logprobs;
  tlt_finish finish;
} finished;

typedef struct job {
  const tlt_tokenizer *tokenizer;
  const tlt_prompts *prompts;
  const tlt_generate_options *o;
  const tlt_generate_hooks *hooks;
  finished *slot; /* [prompts x n] */
  int64_t total, done, written, tokens;
  int submitted;     /* prompts handed to the engine */
  tlt_status status; /* first failure inside the callback */
  tlt_err *err;
} job;

static void keep(void *context, const tlt_sample *s) {
  job *j = context;
  finished *f = &j->slot[(int64_t)s->rollout * j->o->n + s->sample];
  size_t n = (size_t)s->n_tokens;
  f->tokens = tlt_malloc(n * sizeof *f->tokens);
  f->logprobs = tlt_malloc(n * sizeof *f->logprobs);
  if (!f->tokens || !f->logprobs) {
    if (j->status == TLT_OK) j->status = tlt_fail_nomem(j->err, "sample", n * 8);
    return;
  }
  memcpy(f->tokens, s->tokens, n * sizeof *f->tokens);
  memcpy(f->logprobs, s->logprobs, n * sizeof *f->logprobs);
  f->n_tokens = s->n_tokens;
  f->finish = s->finish;
  f->done = true;
  j->done++;
  j->tokens += s->n_tokens;
}

static tlt_status emit(job *j, int64_t index) {
  finished *f = &j->slot[index];
  tlt_generated g = {.prompt = &j->prompts->at[index / j->o->n],
                     .sample = (int)(index % j->o->n),
                     .n_tokens = f->n_tokens,
                     .tokens = f->tokens,
                     .logprobs = f->logprobs,
                     .finish = f->finish};
  char *text = NULL;
  tlt_status s = tlt_tokenizer_decode(j->tokenizer, f->tokens, (size_t)f->n_tokens, true, &text,
                                      &g.n_text, j->err);
  g.text = text;
  if (s == TLT_OK) s = j->hooks->sample(j->hooks->context, &g, j->err);
  tlt_free(text);
  tlt_free(f->tokens);
  tlt_free(f->logprobs);
  f->tokens = NULL;
  f->logprobs = NULL;
  return s;
}

static tlt_status emit_ready(job *j) {
  tlt_status s = TLT_OK;
  while (s == TLT_OK && j->written < j->total && j->slot[j->written].done)
    s = emit(j, j->written++);
  return s;
}

static tlt_status submit_more(job *j, tlt_engine *e) {
  while (j->submitted < j->prompts->count && tlt_engine_pending(e) < j->o->batch) {
    const tlt_prompt *p = &j->prompts->at[j->submitted];
    tlt_request r = {.prompt = p->tokens,
                     .n_prompt = p->n_tokens,
                     .rollout = (uint32_t)j->submitted,
                     .n_samples = j->o->n,
                     .max_tokens = j->o->max_tokens,
                     .temperature = j->o->temperature,
                     .top_p = j->o->top_p,
                     .min_p = j->o->min_p,
                     .top_k = j->o->top_k,
                     .ignore_eos = j->o->ignore_eos,
                     .stop = j->o->stop,
                     .n_stop = j->o->n_stop};
    tlt_status s = tlt_engine_submit(e, &r, j->err);
    if (s != TLT_OK) {
      tlt_fail_prefix(j->err, "prompt %s", p->id);
      return s;
    }
    j->submitted++;
  }
  return TLT_OK;
}

static tlt_status run(job *j, tlt_engine *e) {
  double start = tlt_now();
  while (j->written < j->total) {
    tlt_status s = submit_more(j, e);
    if (s == TLT_OK) s = tlt_engine_step(e, keep, j, j->err);
    if (s == TLT_OK) s = j->status;
    if (s == TLT_OK) s = emit_ready(j);
    if (s != TLT_OK) return s;
    if (j->hooks->progress)
      j->hooks->progress(j->hooks->context, j->done, j->total, j->tokens, tlt_now() - start);
  }
  return TLT_OK;
}

static tlt_engine_options engine_options(tlt_model *m, const job *j) {
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  int64_t longest = (int64_t)j->prompts->longest + j->o->max_tokens;
  if (longest > info.max_positions) longest = info.max_positions;
  int64_t batch = j->total < j->o->batch ? j->total : j->o->batch;
  return (tlt_engine_options){.batch = (int)batch,
                              .max_positions = (int)longest,
                              .prefill_chunk = j->o->prefill_chunk,
                              .seed = j->o->seed};
}

static tlt_spec_options spec_options(const job *j, const tlt_engine_options *e) {
  return (tlt_spec_options){.draft = j->o->draft,
                            .policy = j->o->policy,
                            .drafter = j->o->drafter,
                            .max_depth = j->o->max_depth,
                            .batch = e->batch,
                            .max_positions = e->max_positions,
                            .seed = e->seed};
}

static void free_slots(job *j) {
  for (int64_t i = 0; j->slot && i < j->total; i++) {
    tlt_free(j->slot[i].tokens);
    tlt_free(j->slot[i].logprobs);
  }
  tlt_free(j->slot);
}

tlt_status tlt_generate(tlt_model *m, const tlt_tokenizer *t, const tlt_prompts *prompts,
                        const tlt_generate_options *o, const tlt_generate_hooks *hooks,
                        tlt_generate_stats *stats, tlt_err *err) {
  job j = {.tokenizer = t, .prompts = prompts, .o = o, .hooks = hooks, .err = err};
  j.total = (int64_t)prompts->count * o->n;
  j.slot = tlt_calloc((size_t)j.total, sizeof *j.slot);
  if (!j.slot) return tlt_fail_nomem(err, "samples", (size_t)j.total * sizeof *j.slot);
  tlt_engine_options eo = engine_options(m, &j);
  tlt_spec_options so = spec_options(&j, &eo);
  eo.draft_rows = tlt_spec_draft_rows(&so);
  if (hooks->memory) hooks->memory(hooks->context, tlt_engine_bytes(m, &eo));
  tlt_engine *e = NULL;
  tlt_spec *spec = NULL;
  tlt_status s = tlt_engine_create(m, t, &eo, &e, err);
  if (s == TLT_OK && so.draft != TLT_DRAFT_OFF) s = tlt_spec_create(m, &so, &spec, err);
  if (s == TLT_OK && spec) s = tlt_spec_attach(spec, e, err);
  double start = tlt_now();
  if (s == TLT_OK) s = run(&j, e);
  if (s == TLT_OK) {
    *stats =
        (tlt_generate_stats){.samples = j.total, .tokens = j.tokens, .seconds = tlt_now() - start};
    tlt_engine_stats_get(e, &stats->engine);
    if (spec) tlt_spec_stats_get(spec, &stats->spec);
    for (int i = 0; i < prompts->count; i++) stats->prompt_tokens += prompts->at[i].n_tokens;
  }
  tlt_engine_free(e);
  tlt_spec_free(spec);
  free_slots(&j);
  return s;
}

char *tlt_generated_json(const tlt_generated *g, size_t *n) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "id", g->prompt->id);
  tlt_json_put_int(&w, "sample", g->sample);
  tlt_json_put_int(&w, "prompt_tokens", g->prompt->n_tokens);
  tlt_json_begin(&w, "tokens", '[');
  for (int i = 0; i < g->n_tokens; i++) tlt_json_put_int(&w, NULL, g->tokens[i]);
  tlt_json_end(&w, ']');
  tlt_json_begin(&w, "logprobs", '[');
  for (int i = 0; i < g->n_tokens; i++) tlt_json_put_f32(&w, NULL, g->logprobs[i]);
  tlt_json_end(&w, ']');
  tlt_json_put_string_n(&w, "text", g->text, g->n_text);
  tlt_json_put_string(&w, "finish", g->finish == TLT_FINISH_STOP ? "stop" : "length");
  tlt_json_end(&w, '}');
  tlt_json_newline(&w);
  if (w.text.failed) {
    tlt_text_free(&w.text);
    return NULL;
  }
  *n = w.text.n;
  return w.text.data;
}
