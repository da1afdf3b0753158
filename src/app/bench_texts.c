#include "app/bench_texts.h"

#include <string.h>

#include "base/mem.h"
#include "base/philox.h"

enum { RANDOM_PROMPT = 24, PHRASE = 6, PHRASES = 8 };

static const char *const questions[] = {
    "What is the capital of France, and what is it known for?",
    "Write a short poem about the sea in autumn.",
    "Explain to a child why the sky is blue.",
    "Give me three ideas for a birthday present for my grandmother.",
    "How do I make a simple tomato soup?",
    "Summarise the story of Romeo and Juliet in two sentences.",
    "What is the difference between weather and climate?",
    "Write a polite letter asking a neighbour to turn down the music.",
    "List five animals that live in the desert.",
    "How does a bicycle stay upright?",
    "Translate 'good morning, how are you?' into Spanish and German.",
    "What should I see in Rome in one day?",
    "Explain what a prime number is and give some examples.",
    "Tell me a joke about a cat and a computer.",
    "What are the benefits of regular exercise?",
    "Describe how bread is made, step by step.",
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

const char *tlt_bench_text_name(tlt_bench_text t) {
  static const char *const name[TLT_BENCH_TEXTS] = {"task", "chat", "random", "repetitive",
                                                    "hostile"};
  return name[t];
}

tlt_status tlt_bench_texts_open(tlt_bench_texts *b, tlt_model *m, const tlt_tokenizer *t,
                                const tlt_bench_policy_options *o, tlt_err *err) {
  tlt_model_info info;
  tlt_model_info_get(m, &info);
  *b = (tlt_bench_texts){.tokenizer = t,
                         .vocab = tlt_tokenizer_vocab(t),
                         .most = o->answers > 4 ? o->answers : 4};
  for (int i = 0; i < o->n_batches; i++)
    if (o->batch[i] > b->most) b->most = o->batch[i];
  if (b->vocab > info.vocab) b->vocab = info.vocab;
  b->prompt = tlt_calloc((size_t)b->most, sizeof *b->prompt);
  b->room = tlt_calloc(1, sizeof *b->room);
  if (!b->prompt || !b->room) return tlt_fail_nomem(err, "bench", sizeof *b->room);
  return tlt_task_open_options(o->task, o->task_options, TLT_SPLIT_EVAL, o->seed, false, &b->task,
                               err);
}

void tlt_bench_texts_close(tlt_bench_texts *b) {
  tlt_task_close(b->task);
  tlt_free(b->room);
  tlt_free(b->prompt);
  *b = (tlt_bench_texts){0};
}

static void keep(tlt_bench_prompt *p, const int32_t *ids, size_t n) {
  p->n = n < TLT_BENCH_PROMPT_MAX ? (int)n : TLT_BENCH_PROMPT_MAX;
  memcpy(p->token, ids, (size_t)p->n * sizeof *ids);
}

static tlt_status fill_task(tlt_bench_texts *b, uint32_t number, tlt_bench_prompt *p,
                            tlt_err *err) {
  tlt_problem problem;
  int32_t *ids = NULL;
  size_t n = 0;
  tlt_status s = tlt_task_make(b->task, number, b->room, &problem, err);
  if (s == TLT_OK)
    s = tlt_tokenizer_encode(b->tokenizer, problem.prompt, strlen(problem.prompt), false, &ids, &n,
                             err);
  if (s == TLT_OK) keep(p, ids, n);
  tlt_free(ids);
  return s;
}

static tlt_status fill_chat(tlt_bench_texts *b, uint32_t number, tlt_bench_prompt *p,
                            tlt_err *err) {
  const char *text = questions[number % QUESTIONS];
  tlt_message message = {.role = "user", .content = text};
  int32_t *ids = NULL;
  size_t n = 0;
  tlt_err ignored;
  tlt_status s = tlt_chat_encode(b->tokenizer, &message, 1, true, &ids, &n, &ignored);
  if (s != TLT_OK) s = tlt_tokenizer_encode(b->tokenizer, text, strlen(text), false, &ids, &n, err);
  if (s == TLT_OK) keep(p, ids, n);
  tlt_free(ids);
  return s;
}

static void fill_random(const tlt_bench_texts *b, uint32_t number, int distinct, int n,
                        tlt_bench_prompt *p) {
  tlt_stream s = tlt_stream_open(number, TLT_PURPOSE_TASK, 1, 0, 0);
  p->n = n;
  for (int i = 0; i < n; i++)
    p->token[i] =
        i < distinct ? (int32_t)tlt_stream_below(&s, (uint32_t)b->vocab) : p->token[i - distinct];
}

tlt_status tlt_bench_texts_fill(tlt_bench_texts *b, tlt_bench_text kind, uint32_t first, int n,
                                tlt_err *err) {
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < n; i++) {
    uint32_t number = first + (uint32_t)i;
    tlt_bench_prompt *p = &b->prompt[i];
    if (kind == TLT_TEXT_CHAT) s = fill_chat(b, number, p, err);
    else if (kind == TLT_TEXT_RANDOM) fill_random(b, number, RANDOM_PROMPT, RANDOM_PROMPT, p);
    else if (kind == TLT_TEXT_REPETITIVE) fill_random(b, number, PHRASE, PHRASE * PHRASES, p);
    else s = fill_task(b, number, p, err);
  }
  return s;
}

/* ---- the hostile drafter -----------------------------------------------------------------------
 */

static void hostile_grow(void *context, const tlt_spec_seq *seq, int n, tlt_grow *node, int k) {
  int vocab = ((const tlt_model *)context)->weights->config.vocab;
  for (int i = 0; i < n; i++) {
    const tlt_spec_seq *q = &seq[node[i].seq];
    uint32_t at = (uint32_t)(node[i].position * 31 + node[i].node * 7 + q->tokens[q->n_tokens - 1]);
    node[i].n = k;
    for (int c = 0; c < k; c++)
      node[i].candidate[c] =
          (tlt_candidate){.token = (int32_t)((at * 2654435761u + (uint32_t)c) % (uint32_t)vocab),
                          .score = 100.0f - (float)c,
                          .gap = 50};
  }
}

tlt_source tlt_bench_hostile(tlt_model *m) {
  return (tlt_source){.name = "hostile", .context = m, .grow = hostile_grow};
}
