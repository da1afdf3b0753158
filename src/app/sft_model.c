#include "app/sft_model.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

static const char end_of_text[] = "<|end|>";

/* ---- tokenizer ------------------------------------------------------------------------------ */

/* prompt and completion of item i as one text. */
static tlt_status text_of(tlt_sft_source *source, size_t i, char **text, size_t *n, tlt_err *err) {
  tlt_problem p;
  tlt_status s = tlt_sft_source_at(source, i, &p, err);
  if (s != TLT_OK) return s;
  size_t first = p.prompt ? p.prompt_bytes : 0;
  *n = first + p.completion_bytes;
  *text = tlt_malloc(*n + 1);
  if (!*text) return tlt_fail_nomem(err, "tokenizer text", *n);
  if (first) memcpy(*text, p.prompt, first);
  memcpy(*text + first, p.completion, p.completion_bytes);
  return TLT_OK;
}

static tlt_status train_tokenizer(tlt_sft_source *source, const tlt_conf_init *init,
                                  const char *dir, tlt_err *err) {
  size_t count = source->count < (size_t)init->texts ? source->count : (size_t)init->texts;
  char **texts = tlt_calloc(count, sizeof *texts);
  size_t *lengths = tlt_calloc(count, sizeof *lengths);
  tlt_status s = texts && lengths ? TLT_OK : tlt_fail_nomem(err, "tokenizer texts", count * 16);
  for (size_t i = 0; s == TLT_OK && i < count; i++)
    s = text_of(source, i, &texts[i], &lengths[i], err);
  if (s == TLT_OK) s = tlt_dir_make(dir, err);
  const char *const specials[] = {end_of_text};
  if (s == TLT_OK)
    s = tlt_tokenizer_train((const char *const *)texts, lengths, count, (int)init->vocab, specials,
                            1, end_of_text, dir, err);
  for (size_t i = 0; texts && i < count; i++) tlt_free(texts[i]);
  tlt_free(texts);
  tlt_free(lengths);
  return s;
}

static tlt_status open_tokenizer(tlt_sft_model *m, const tlt_sft_config *c, const char *run,
                                 tlt_err *err) {
  char probe[TLT_PATH_MAX];
  bool fresh = c->init.config && !c->init.tokenizer;
  if (fresh) tlt_path_join(m->tokenizer_dir, run, "tokenizer");
  else
    snprintf(m->tokenizer_dir, sizeof m->tokenizer_dir, "%s",
             c->init.config ? c->init.tokenizer : c->common.model);
  tlt_path_join(probe, m->tokenizer_dir, "tokenizer.json");
  if (fresh && !tlt_path_exists(probe)) {
    tlt_status s = train_tokenizer(&m->source, &c->init, m->tokenizer_dir, err);
    if (s != TLT_OK) return s;
  }
  return tlt_tokenizer_open(m->tokenizer_dir, &m->tokenizer, err);
}

/* ---- weights ----------------------------------------------------------------------------------
 */

static tlt_status create_random(tlt_sft_model *m, const tlt_sft_config *c,
                                const tlt_model_options *o, tlt_err *err) {
  tlt_config config;
  char dir[TLT_PATH_MAX];
  snprintf(dir, sizeof dir, "%s", c->init.config);
  size_t n = strlen(dir), tail = strlen("/config.json");
  if (n > tail && !strcmp(dir + n - tail, "/config.json")) dir[n - tail] = 0;
  tlt_status s = tlt_config_load(dir, &config, err);
  if (s != TLT_OK) return s;
  int vocab = tlt_tokenizer_vocab(m->tokenizer);
  if (!c->init.tokenizer) {
    config.vocab = vocab;
    config.eos[0] = tlt_tokenizer_id(m->tokenizer, end_of_text, strlen(end_of_text));
    config.n_eos = 1;
    config.bos = config.pad = -1;
  } else if (vocab > config.vocab) {
    return tlt_fail(err, TLT_EDATA, "%s: got vocab_size %d, expected at least the tokenizer's %d",
                    c->init.config, config.vocab, vocab);
  }
  s = tlt_model_create(&config, o, &m->model, err);
  return s == TLT_OK ? tlt_weights_init(m->model->weights, (uint32_t)c->common.seed, err) : s;
}

static tlt_status open_weights(tlt_sft_model *m, const tlt_sft_config *c, const char *numerics,
                               int threads, tlt_err *err) {
  tlt_model_options o = {.numerics = numerics ? numerics : c->common.numerics,
                         .threads = threads >= 0 ? threads : (int)c->common.threads};
  if (c->init.config) return create_random(m, c, &o, err);
  tlt_status s = tlt_model_open(c->common.model, &o, &m->model, err);
  if (s == TLT_OK && tlt_tokenizer_vocab(m->tokenizer) > m->model->weights->config.vocab)
    s = tlt_fail(err, TLT_EDATA, "%s: got a tokenizer with %d ids, expected at most %d",
                 c->common.model, tlt_tokenizer_vocab(m->tokenizer),
                 m->model->weights->config.vocab);
  return s;
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static tlt_status open_held_back(tlt_sft_model *m, const tlt_sft_config *c, tlt_err *err) {
  tlt_status s = TLT_OK;
  if (c->eval.file) {
    tlt_verifier verifier = TLT_VERIFY_NUMERIC;
    s = tlt_verifier_find(c->data.verifier, &verifier, err);
    if (s == TLT_OK) s = tlt_dataset_load(c->eval.file, TLT_NEED_ANSWER, verifier, &m->held, err);
  } else {
    tlt_task *task = NULL;
    s = tlt_task_open_options(c->data.task, c->data.options, TLT_SPLIT_EVAL, (uint32_t)c->data.seed,
                              false, &task, err);
    if (s == TLT_OK) s = tlt_dataset_generate(task, (size_t)c->eval.count, &m->held, err);
    tlt_task_close(task);
  }
  if (s != TLT_OK) return s;
  size_t count = tlt_dataset_count(m->held);
  tlt_problem_set_options o = {.to = count < (size_t)c->eval.count ? count : (size_t)c->eval.count,
                               .chat = c->data.chat,
                               .max_positions = m->model->weights->config.max_positions,
                               .name = c->eval.file ? c->eval.file : c->data.task};
  s = tlt_problem_set_open(m->held, m->tokenizer, &o, &m->problems, err);
  tlt_reward_options r = {.verifier = tlt_dataset_verifier(m->held), .workers = 1, .timeout_s = 30};
  if (s == TLT_OK) s = tlt_reward_open(&r, &m->reward, err);
  return s;
}

static tlt_engine_options engine_options(const tlt_sft_model *m, const tlt_sft_config *c) {
  int64_t context = m->model->weights->config.max_positions;
  int64_t longest = m->problems.longest + (int64_t)m->eval_max_tokens;
  int64_t rows = (int64_t)m->problems.n * c->eval.samples;
  return (tlt_engine_options){.batch = rows < 128 ? (int)rows : 128,
                              .max_positions = (int)(longest < context ? longest : context),
                              .seed = (uint32_t)c->common.seed};
}

tlt_status tlt_sft_model_evaluate(tlt_sft_model *m, const tlt_sft_config *c, tlt_eval_result *out,
                                  tlt_err *err) {
  tlt_rollout_job job = {.decode = {.engine = m->engine,
                                    .tokenizer = m->tokenizer,
                                    .reward = m->reward,
                                    .problems = &m->problems,
                                    .samples = (int)c->eval.samples,
                                    .max_tokens = m->eval_max_tokens,
                                    .temperature = (float)c->eval.temperature,
                                    .top_p = 1}};
  return tlt_evaluate(&job, NULL, out, err);
}

/* ---- all together ------------------------------------------------------------------------------
 */

static tlt_status allocate(tlt_sft_model *m, const tlt_sft_config *c,
                           void (*hook)(void *, const tlt_train_memory *), void *context,
                           tlt_err *err) {
  const tlt_model *model = m->model;
  tlt_trainer_options o = {.micro_tokens = (int)c->gradient.micro_tokens,
                           .max_sample = (int)c->data.max_tokens,
                           .activation_mb = (size_t)c->gradient.activation_mb};
  if (o.max_sample > model->weights->config.max_positions)
    o.max_sample = model->weights->config.max_positions;
  tlt_engine_options e = engine_options(m, c);
  m->memory.weights = model->weights->bytes;
  m->memory.training =
      tlt_trainer_bytes(model->weights, model->kernels, &o, tlt_pool_threads(model->pool));
  m->memory.engine = m->problems.n ? tlt_engine_bytes(model, &e) : 0;
  m->memory.total = m->memory.weights + m->memory.training + m->memory.engine;
  if (hook) hook(context, &m->memory);
  tlt_status s =
      tlt_trainer_create(model->weights, model->kernels, model->pool, &o, &m->trainer, err);
  if (s == TLT_OK && m->problems.n)
    s = tlt_engine_create(m->model, m->tokenizer, &e, &m->engine, err);
  m->stream.max_tokens = o.max_sample;
  return s;
}

tlt_status tlt_sft_model_open(tlt_sft_model *m, const tlt_sft_config *c, const char *run,
                              const char *numerics, int threads,
                              void (*hook)(void *context, const tlt_train_memory *memory),
                              void *context, tlt_err *err) {
  *m = (tlt_sft_model){0};
  m->eval_max_tokens = (int)(c->eval.max_tokens ? c->eval.max_tokens : c->data.max_tokens);
  bool evaluate = c->eval.every > 0 && (c->eval.file || c->data.task);
  tlt_status s = tlt_sft_source_open(&c->data, &m->source, err);
  if (s == TLT_OK) s = open_tokenizer(m, c, run, err);
  if (s == TLT_OK) s = open_weights(m, c, numerics, threads, err);
  if (s == TLT_OK && evaluate) s = open_held_back(m, c, err);
  if (s == TLT_OK) s = tlt_shuffle_open(m->source.count, (uint32_t)c->common.seed, &m->order, err);
  if (s == TLT_OK) s = tlt_weights_sha256(m->model->weights, m->start_sha256, err);
  if (s == TLT_OK) s = allocate(m, c, hook, context, err);
  if (s != TLT_OK) return s;
  const tlt_config *mc = &m->model->weights->config;
  m->stream.source = &m->source;
  m->stream.tokenizer = m->tokenizer;
  m->stream.order = m->order;
  m->stream.eos = mc->n_eos ? mc->eos[0] : -1;
  m->stream.chat = c->data.chat;
  return TLT_OK;
}

void tlt_sft_model_close(tlt_sft_model *m) {
  tlt_engine_free(m->engine);
  tlt_reward_close(m->reward);
  tlt_problem_set_free(&m->problems);
  tlt_dataset_close(m->held);
  tlt_trainer_free(m->trainer);
  tlt_shuffle_close(m->order);
  tlt_model_close(m->model);
  tlt_tokenizer_close(m->tokenizer);
  tlt_sft_source_close(&m->source);
  *m = (tlt_sft_model){0};
}
