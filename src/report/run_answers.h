/* Answers that a run kept: rollouts/step-N.jsonl, and from spec.jsonl where their tokens came from.
 */
#ifndef TLT_REPORT_RUN_ANSWERS_H
#define TLT_REPORT_RUN_ANSWERS_H

#include "report/notices.h"

/* Texts are UTF-8, NUL-terminated, owned by the list they are in. */
typedef struct tlt_run_answer {
  int64_t step, rollout, sample;
  int64_t tokens;                    /* -1: not told */
  char *id, *prompt, *text, *finish; /* "" where the file has none */
  double score, reward;              /* NaN where the file has none */
  char *sources;                     /* one letter per token (docs/formats.md); NULL: not told */
  int64_t *bytes;                    /* [strlen(sources)] of text per token */
} tlt_run_answer;

typedef struct tlt_run_answers {
  tlt_run_answer *answer;
  int n, room;
} tlt_run_answers;

/* Steps that have a rollout file, ascending; free with tlt_free. TLT_ENOMEM. */
tlt_status tlt_run_answer_steps(const char *run, int64_t **steps, int *n, tlt_err *err);

/* Add at most `most` answers of a step, spread evenly over its file. TLT_ENOMEM. */
tlt_status tlt_run_answers_add(tlt_run_answers *a, const char *run, int64_t step, int most,
                               tlt_notices *notices, tlt_err *err);
/* Fill in sources and bytes of all answers in the list, in one pass over spec.jsonl. TLT_ENOMEM. */
tlt_status tlt_run_answers_sources(tlt_run_answers *a, const char *run, tlt_notices *notices,
                                   tlt_err *err);
void tlt_run_answers_free(tlt_run_answers *a);

/* Where two runs first differ in the answers of a step. */
typedef struct tlt_answer_difference {
  bool compared; /* at least one answer was in both files */
  bool differs;
  int64_t answers; /* compared */
  int64_t rollout, sample;
  int64_t token;               /* index in the answer, -1: the files do not tell */
  int64_t token_a, token_b;    /* ids there, -1: the answer had ended, or not told */
  char text_a[80], text_b[80]; /* some of both texts from where they part, "" when they agree */
} tlt_answer_difference;

/* The file of a step in two runs, answer by answer. TLT_ENOMEM. */
tlt_status tlt_run_answers_differ(const char *run_a, const char *run_b, int64_t step,
                                  tlt_notices *notices_a, tlt_notices *notices_b,
                                  tlt_answer_difference *out, tlt_err *err);

#endif
