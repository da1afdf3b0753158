#include "rl/problem_set.h"

#include <string.h>

#include "base/mem.h"

static tlt_status encode(const tlt_tokenizer *t, const tlt_problem *p, bool chat, int32_t **ids,
                         size_t *n, tlt_err *err) {
  if (p->prompt && !chat)
    return tlt_tokenizer_encode(t, p->prompt, p->prompt_bytes, false, ids, n, err);
  tlt_message user = {"user", p->prompt};
  const tlt_message *messages = p->prompt ? &user : p->messages;
  return tlt_chat_encode(t, messages, p->prompt ? 1 : p->n_messages, true, ids, n, err);
}

/* Append the ids of problem i; room is the capacity of out->tokens. */
static tlt_status append(tlt_problem_set *out, size_t i, const int32_t *ids, size_t n, size_t *room,
                         tlt_err *err) {
  uint64_t at = out->first[out->n];
  if (at + n > *room) {
    size_t more = *room * 2 + n + 4096;
    int32_t *grown = tlt_realloc(out->tokens, more * sizeof *grown);
    if (!grown) return tlt_fail_nomem(err, "prompts", more * sizeof *grown);
    out->tokens = grown;
    *room = more;
  }
  memcpy(out->tokens + at, ids, n * sizeof *ids);
  out->index[out->n++] = (uint32_t)i;
  out->first[out->n] = at + n;
  if ((int)n > out->longest) out->longest = (int)n;
  return TLT_OK;
}

static tlt_status add(tlt_problem_set *out, const tlt_tokenizer *t,
                      const tlt_problem_set_options *o, size_t i, size_t *room, tlt_err *err) {
  const tlt_problem *p = tlt_dataset_at(out->data, i);
  int32_t *ids = NULL;
  size_t n = 0;
  tlt_status s = encode(t, p, o->chat, &ids, &n, err);
  if (s != TLT_OK) {
    s = tlt_fail_prefix(err, "%s: problem %s", o->name, p->id);
  } else if (n == 0) {
    s = tlt_fail(err, TLT_EDATA, "%s: problem %s: got a prompt without tokens, expected at least 1",
                 o->name, p->id);
  } else if (n < (size_t)o->max_positions) {
    s = append(out, i, ids, n, room, err);
  } else if (o->drop) {
    out->dropped++;
  } else {
    s = tlt_fail(
        err, TLT_EDATA,
        "%s: problem %s: got a prompt of %zu tokens, expected fewer than the context of %d "
        "(data.too_long: drop leaves such problems out)",
        o->name, p->id, n, o->max_positions);
  }
  tlt_free(ids);
  return s;
}

tlt_status tlt_problem_set_open(const tlt_dataset *data, const tlt_tokenizer *t,
                                const tlt_problem_set_options *o, tlt_problem_set *out,
                                tlt_err *err) {
  size_t count = o->to - o->from, room = 0;
  *out = (tlt_problem_set){.data = data};
  out->index = tlt_calloc(count + 1, sizeof *out->index);
  out->first = tlt_calloc(count + 1, sizeof *out->first);
  tlt_status s = TLT_OK;
  if (!out->index || !out->first) s = tlt_fail_nomem(err, "problems", count * 12);
  for (size_t i = o->from; s == TLT_OK && i < o->to; i++) s = add(out, t, o, i, &room, err);
  if (s == TLT_OK && out->n == 0)
    s = tlt_fail(err, TLT_EDATA,
                 "%s: got no usable problem of %zu (%zu beyond the context of %d tokens)", o->name,
                 count, out->dropped, o->max_positions);
  if (s != TLT_OK) tlt_problem_set_free(out);
  return s;
}

void tlt_problem_set_free(tlt_problem_set *p) {
  tlt_free(p->index);
  tlt_free(p->first);
  tlt_free(p->tokens);
  *p = (tlt_problem_set){0};
}
