#include "app/sft_data.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"

tlt_status tlt_sft_source_open(const tlt_conf_sft_data *c, tlt_sft_source *out, tlt_err *err) {
  *out = (tlt_sft_source){0};
  if (c->file) {
    tlt_status s =
        tlt_dataset_load(c->file, TLT_NEED_COMPLETION, TLT_VERIFY_EXACT, &out->file, err);
    if (s == TLT_OK) out->count = tlt_dataset_count(out->file);
    return s;
  }
  out->room = tlt_malloc(sizeof *out->room);
  if (!out->room) return tlt_fail_nomem(err, "task texts", sizeof *out->room);
  out->count = (size_t)c->count;
  tlt_status s = tlt_task_open_options(c->task, c->options, TLT_SPLIT_TRAIN, (uint32_t)c->seed,
                                       true, &out->task, err);
  if (s != TLT_OK) tlt_sft_source_close(out);
  return s;
}

void tlt_sft_source_close(tlt_sft_source *s) {
  tlt_dataset_close(s->file);
  tlt_task_close(s->task);
  tlt_free(s->room);
  *s = (tlt_sft_source){0};
}

tlt_status tlt_sft_source_at(tlt_sft_source *s, size_t i, tlt_problem *p, tlt_err *err) {
  if (s->task) return tlt_task_make(s->task, (uint32_t)i, s->room, p, err);
  *p = *tlt_dataset_at(s->file, i);
  return TLT_OK;
}

void tlt_sft_source_hash(const tlt_sft_source *s, const tlt_conf_sft_data *c, char hex[65]) {
  if (s->file) {
    memcpy(hex, tlt_dataset_hash(s->file), 65);
    return;
  }
  char text[512];
  int n = snprintf(text, sizeof text, "%s %lld %lld %s", c->task, (long long)c->seed,
                   (long long)c->count, c->options ? c->options : "");
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  tlt_sha256_add(&h, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  tlt_sha256_end(&h, hex);
}

/* ---- batches ------------------------------------------------------------------------------ */

static tlt_status encode_prompt(const tlt_sft_stream *s, const tlt_problem *p, int32_t **ids,
                                size_t *n, tlt_err *err) {
  if (!p->prompt)
    return tlt_chat_encode(s->tokenizer, p->messages, p->n_messages, true, ids, n, err);
  if (!s->chat)
    return tlt_tokenizer_encode(s->tokenizer, p->prompt, p->prompt_bytes, false, ids, n, err);
  tlt_message m = {"user", p->prompt};
  return tlt_chat_encode(s->tokenizer, &m, 1, true, ids, n, err);
}

static tlt_status reserve(tlt_sft_batch *b, int samples, int tokens, tlt_err *err) {
  if (samples > b->room_samples) {
    int32_t *cu = tlt_realloc(b->cu, ((size_t)samples + 1) * sizeof *cu);
    if (cu) b->cu = cu;
    int32_t *prompt = tlt_realloc(b->prompt, (size_t)samples * sizeof *prompt);
    if (prompt) b->prompt = prompt;
    if (!cu || !prompt) return tlt_fail_nomem(err, "batch", (size_t)samples * 8);
    b->room_samples = samples;
  }
  if (tokens > b->room_tokens) {
    int32_t *more = tlt_realloc(b->tokens, 2 * (size_t)tokens * sizeof *more);
    if (!more) return tlt_fail_nomem(err, "batch", 2 * (size_t)tokens * sizeof *more);
    b->tokens = more;
    b->room_tokens = 2 * tokens;
  }
  return TLT_OK;
}

static tlt_status append(const tlt_sft_stream *s, tlt_sft_batch *b, const int32_t *prompt,
                         size_t n_prompt, const int32_t *completion, size_t n_completion,
                         tlt_err *err) {
  size_t extra = s->eos >= 0, n = n_prompt + n_completion + extra;
  if (n > (size_t)s->max_tokens) {
    b->dropped++;
    return TLT_OK;
  }
  int at = b->cu[b->n];
  tlt_status status = reserve(b, b->n + 1, at + (int)n, err);
  if (status != TLT_OK) return status;
  memcpy(b->tokens + at, prompt, n_prompt * sizeof *prompt);
  memcpy(b->tokens + at + n_prompt, completion, n_completion * sizeof *completion);
  if (extra) b->tokens[at + (int)n - 1] = s->eos;
  b->prompt[b->n++] = (int32_t)n_prompt;
  b->cu[b->n] = at + (int32_t)n;
  b->targets += (int64_t)(n - n_prompt);
  return TLT_OK;
}

static tlt_status load_item(tlt_sft_stream *s, size_t index, tlt_sft_batch *b, tlt_err *err) {
  tlt_problem p;
  int32_t *prompt = NULL, *completion = NULL;
  size_t n_prompt = 0, n_completion = 0;
  tlt_status status = tlt_sft_source_at(s->source, index, &p, err);
  if (status != TLT_OK) return status;
  status = encode_prompt(s, &p, &prompt, &n_prompt, err);
  if (status == TLT_OK)
    status = tlt_tokenizer_encode(s->tokenizer, p.completion, p.completion_bytes, false,
                                  &completion, &n_completion, err);
  if (status == TLT_OK && (n_prompt == 0 || n_completion == 0))
    status = tlt_fail(err, TLT_EDATA, "got no tokens, expected a prompt and a completion");
  if (status == TLT_OK) status = append(s, b, prompt, n_prompt, completion, n_completion, err);
  else tlt_fail_prefix(err, "sample %s", p.id);
  tlt_free(prompt);
  tlt_free(completion);
  return status;
}

tlt_status tlt_sft_batch_load(tlt_sft_stream *s, uint64_t from, int n, tlt_sft_batch *b,
                              tlt_err *err) {
  tlt_status status = reserve(b, n, 1024, err);
  if (status != TLT_OK) return status;
  b->n = 0;
  b->cu[0] = 0;
  b->targets = b->dropped = 0;
  for (int i = 0; status == TLT_OK && i < n; i++)
    status = load_item(s, tlt_shuffle_at(s->order, from + (uint64_t)i), b, err);
  return status;
}

void tlt_sft_batch_free(tlt_sft_batch *b) {
  tlt_free(b->tokens);
  tlt_free(b->cu);
  tlt_free(b->prompt);
  *b = (tlt_sft_batch){0};
}
