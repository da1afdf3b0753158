/* Inside of a dataset; private to src/tasks. */
#ifndef TLT_TASKS_DATASET_INTERNAL_H
#define TLT_TASKS_DATASET_INTERNAL_H

#include "base/mem.h"
#include "io/text.h"
#include "tasks/problem.h"

struct tlt_dataset {
  tlt_arena texts;
  tlt_problem *problems;
  size_t n, room;
  tlt_verifier verifier;
  char hash[TLT_SHA256_HEX];
};

/* An empty dataset, or TLT_ENOMEM. */
tlt_status tlt__dataset_new(tlt_verifier verifier, tlt_dataset **out, tlt_err *err);

/* Room for one more problem at d->problems[d->n]; the caller fills it and counts it. */
tlt_status tlt__dataset_grow(tlt_dataset *d, tlt_err *err);

/* n bytes and a NUL, kept as long as the dataset; NULL when out of memory. */
char *tlt__dataset_keep(tlt_dataset *d, const char *s, size_t n);

/* The member "prompt": a text or the list of messages. */
void tlt__problem_put_prompt(tlt_json_writer *w, const tlt_problem *p);

#endif
