#include "app/task_prompts.h"

#include "base/mem.h"

static tlt_status encode(const tlt_tokenizer *t, const tlt_problem *problem, bool chat,
                         tlt_prompt *out, tlt_err *err) {
  size_t n = 0;
  tlt_message user = {"user", problem->prompt};
  out->id = tlt_strdup(problem->id);
  if (!out->id) return tlt_fail_nomem(err, "prompt", 0);
  tlt_status s = chat ? tlt_chat_encode(t, &user, 1, true, &out->tokens, &n, err)
                      : tlt_tokenizer_encode(t, problem->prompt, problem->prompt_bytes, false,
                                             &out->tokens, &n, err);
  out->n_tokens = (int)n;
  return s;
}

static tlt_status encode_all(const tlt_tokenizer *t, const tlt_dataset *data, bool chat,
                             tlt_prompts *out, tlt_err *err) {
  size_t count = tlt_dataset_count(data);
  out->at = tlt_calloc(count, sizeof *out->at);
  if (!out->at) return tlt_fail_nomem(err, "prompts", count * sizeof *out->at);
  for (size_t i = 0; i < count; i++) {
    out->count++;
    tlt_status s = encode(t, tlt_dataset_at(data, i), chat, &out->at[i], err);
    if (s != TLT_OK) return s;
    if (out->at[i].n_tokens > out->longest) out->longest = out->at[i].n_tokens;
  }
  return TLT_OK;
}

tlt_status tlt_prompts_of_task(const tlt_tokenizer *t, const char *task, const char *options,
                               tlt_split split, uint32_t seed, int count, bool chat,
                               tlt_prompts *out, tlt_err *err) {
  tlt_task *generator = NULL;
  tlt_dataset *data = NULL;
  *out = (tlt_prompts){0};
  tlt_status s = tlt_task_open_options(task, options, split, seed, false, &generator, err);
  if (s == TLT_OK) s = tlt_dataset_generate(generator, (size_t)count, &data, err);
  if (s == TLT_OK) s = encode_all(t, data, chat, out, err);
  if (s != TLT_OK) tlt_prompts_free(out);
  tlt_dataset_close(data);
  tlt_task_close(generator);
  return s;
}
