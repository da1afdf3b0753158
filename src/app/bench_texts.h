/* Prompts of `tlt bench policy`. */
#ifndef TLT_APP_BENCH_TEXTS_H
#define TLT_APP_BENCH_TEXTS_H

#include "app/bench_policy.h"
#include "tasks/task.h"

enum { TLT_BENCH_PROMPT_MAX = 256 };

typedef struct tlt_bench_prompt {
  int n;
  int32_t token[TLT_BENCH_PROMPT_MAX];
} tlt_bench_prompt;

typedef struct tlt_bench_texts {
  const tlt_tokenizer *tokenizer;
  int vocab;
  tlt_task *task;
  tlt_task_room *room;
  tlt_bench_prompt *prompt; /* [most] */
  int most;
} tlt_bench_texts;

tlt_status tlt_bench_texts_open(tlt_bench_texts *b, tlt_model *m, const tlt_tokenizer *t,
                                const tlt_bench_policy_options *o, tlt_err *err);
void tlt_bench_texts_close(tlt_bench_texts *b);

/* n prompts of a kind; `first` numbers them, so that other numbers give other prompts. */
tlt_status tlt_bench_texts_fill(tlt_bench_texts *b, tlt_bench_text kind, uint32_t first, int n,
                                tlt_err *err);

/* A draft source without state that proposes arbitrary tokens and claims to be sure of them. */
tlt_source tlt_bench_hostile(tlt_model *m);

#endif
