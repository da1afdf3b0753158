#include "app/eval.h"

#include "tlt/model.h"

typedef struct parts {
  tlt_dataset *data;
  tlt_tokenizer *tokenizer;
  tlt_model *model;
  tlt_problem_set problems;
  tlt_reward *reward;
  tlt_engine *engine;
} parts;

static tlt_status open_problems(parts *p, const tlt_eval_options *o, tlt_err *err) {
  tlt_model_info info;
  tlt_model_info_get(p->model, &info);
  size_t count = tlt_dataset_count(p->data);
  tlt_problem_set_options po = {
      .to = o->limit && (size_t)o->limit < count ? (size_t)o->limit : count,
      .chat = o->chat,
      .max_positions = info.max_positions,
      .name = o->data};
  tlt_status s = tlt_problem_set_open(p->data, p->tokenizer, &po, &p->problems, err);
  tlt_reward_options r = {.verifier = tlt_dataset_verifier(p->data), .workers = 1, .timeout_s = 30};
  if (s == TLT_OK) s = tlt_reward_open(&r, &p->reward, err);
  if (s != TLT_OK) return s;
  int64_t longest = (int64_t)p->problems.longest + o->max_tokens;
  int64_t rows = (int64_t)p->problems.n * o->samples;
  tlt_engine_options eo = {
      .batch = rows < o->batch ? (int)rows : o->batch,
      .max_positions = (int)(longest < info.max_positions ? longest : info.max_positions),
      .seed = o->seed};
  return tlt_engine_create(p->model, p->tokenizer, &eo, &p->engine, err);
}

static tlt_status open_parts(parts *p, const tlt_eval_options *o, tlt_err *err) {
  tlt_verifier verifier = TLT_VERIFY_NUMERIC;
  tlt_status s = tlt_verifier_find(o->verifier, &verifier, err);
  if (s == TLT_OK) s = tlt_dataset_load(o->data, TLT_NEED_ANSWER, verifier, &p->data, err);
  if (s == TLT_OK) s = tlt_tokenizer_open(o->model, &p->tokenizer, err);
  tlt_model_options mo = {.numerics = o->numerics, .threads = o->threads};
  if (s == TLT_OK) s = tlt_model_open(o->model, &mo, &p->model, err);
  return s == TLT_OK ? open_problems(p, o, err) : s;
}

static void close_parts(parts *p) {
  tlt_engine_free(p->engine);
  tlt_reward_close(p->reward);
  tlt_problem_set_free(&p->problems);
  tlt_model_close(p->model);
  tlt_tokenizer_close(p->tokenizer);
  tlt_dataset_close(p->data);
}

tlt_status tlt_eval_model(const tlt_eval_options *o,
                          void (*progress)(void *context, int64_t done, int64_t total,
                                           int64_t tokens),
                          tlt_eval_report *out, tlt_err *err) {
  *out = (tlt_eval_report){0};
  parts p = {0};
  tlt_status s = open_parts(&p, o, err);
  if (s == TLT_OK) {
    tlt_rollout_job job = {.decode = {.engine = p.engine,
                                      .tokenizer = p.tokenizer,
                                      .reward = p.reward,
                                      .problems = &p.problems,
                                      .samples = o->samples,
                                      .max_tokens = o->max_tokens,
                                      .temperature = o->temperature,
                                      .top_p = o->top_p,
                                      .min_p = o->min_p,
                                      .top_k = o->top_k},
                           .progress = progress};
    s = tlt_evaluate(&job, NULL, &out->result, err);
  }
  close_parts(&p);
  for (int k = 1; s == TLT_OK && k <= o->samples && out->n_k < TLT_EVAL_KS; k *= 2) {
    out->k[out->n_k] = k;
    out->pass[out->n_k++] = tlt_eval_pass(out->result.right, out->result.problems, o->samples, k);
  }
  return s;
}

void tlt_eval_report_free(tlt_eval_report *r) {
  tlt_eval_result_free(&r->result);
}
