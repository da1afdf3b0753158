/* A range of a dataset with its prompts as token ids: what can be handed out. */
#ifndef TLT_RL_PROBLEM_SET_H
#define TLT_RL_PROBLEM_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/problem.h"
#include "tlt/tokenizer.h"

/* Immutable after opening. */
typedef struct tlt_problem_set {
  const tlt_dataset *data; /* borrowed */
  size_t n;                /* usable problems */
  size_t dropped;          /* prompts beyond the context, with drop */
  uint32_t *index;         /* [n] index in data */
  uint64_t *first;         /* [n + 1] offsets into tokens */
  int32_t *tokens;
  int longest; /* tokens of the longest usable prompt */
} tlt_problem_set;

typedef struct tlt_problem_set_options {
  size_t from, to; /* range of the dataset */
  bool chat; /* a plain prompt becomes one user message; conversations always use the template */
  int max_positions; /* a prompt must be shorter, so that one token of answer fits */
  bool drop;         /* leave longer prompts out instead of failing */
  const char *name;  /* of the dataset, for errors */
} tlt_problem_set_options;

/* Errors: TLT_EDATA for a prompt beyond the context (without drop), a prompt without any token, or
 * nothing left, with the count per reason; TLT_ENOMEM. The set is empty then. */
tlt_status tlt_problem_set_open(const tlt_dataset *data, const tlt_tokenizer *t,
                                const tlt_problem_set_options *o, tlt_problem_set *out,
                                tlt_err *err);
void tlt_problem_set_free(tlt_problem_set *p); /* zeroed is harmless */

#endif
