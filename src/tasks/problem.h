/* Problems and datasets: what a policy is asked and what decides whether an answer is right.
 *
 * A dataset is either a JSONL file, one object per line,
 *     {"id": "...", "prompt": "..." | [{"role": "...", "content": "..."}, ...],
 *      "answer": "...", "meta": {...}, "completion": "..."}
 * or made by a task generator (tasks/task.h). Datasets are immutable after opening and may be read
 * by many threads. */
#ifndef TLT_TASKS_PROBLEM_H
#define TLT_TASKS_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/sha256.h"
#include "tasks/verifier.h"
#include "tlt/status.h"
#include "tlt/tokenizer.h"

/* Caps on dataset files; beyond them TLT_EDATA. A line is capped by the JSONL reader of io. */
enum {
  TLT_DATASET_MAX_PROBLEMS = 1 << 26,
  TLT_PROBLEM_MAX_MESSAGES = 128,
  TLT_PROBLEM_MAX_NUMBERS = 16,
  TLT_PROBLEM_ID_MAX = 256, /* bytes */
};

/* All pointers are owned by the dataset (or by the caller of tlt_task_make) and UTF-8. */
typedef struct tlt_problem {
  const char *id; /* unique in its dataset; the line number ("17") when the file gives none */

  /* Exactly one of the two: plain text, or a conversation for the chat template. */
  const char *prompt;  /* NUL-terminated; NULL for a conversation */
  size_t prompt_bytes; /* without the terminator; the text may hold NUL bytes */
  const tlt_message *messages;
  size_t n_messages;

  const char *answer; /* NULL when absent (data for imitation only) */
  size_t answer_bytes;
  const char *completion; /* worked trace; NULL when absent */
  size_t completion_bytes;
  const char *meta; /* compact JSON object; NULL when absent */

  /* What the countdown verifier needs, from meta.numbers and meta.target. */
  int64_t numbers[TLT_PROBLEM_MAX_NUMBERS];
  int n_numbers; /* 0 when absent */
  int64_t target;
} tlt_problem;

typedef struct tlt_dataset tlt_dataset;

/* What every line must have beside a prompt. */
typedef enum tlt_dataset_need {
  TLT_NEED_ANSWER,     /* training by reward and evaluation: what the verifier needs */
  TLT_NEED_COMPLETION, /* imitation */
  TLT_NEED_NOTHING,    /* external reward */
} tlt_dataset_need;

/* Read a whole JSONL file. The verifier matters for TLT_NEED_ANSWER only: COUNTDOWN wants
 * meta.numbers and meta.target, MATH and NUMERIC an answer that they can read, EXACT any answer.
 * Unknown keys are ignored. Errors, all TLT_EDATA "FILE:LINE: ...": not an object, missing or
 * wrongly typed field, empty prompt, unknown role, bad UTF-8, duplicate id (both lines), no problem
 * at all; a missing file or one that is not regular too. Unreadable: TLT_EIO. */
tlt_status tlt_dataset_load(const char *path, tlt_dataset_need need, tlt_verifier verifier,
                            tlt_dataset **out, tlt_err *err);
void tlt_dataset_close(tlt_dataset *d); /* NULL is harmless */

size_t tlt_dataset_count(const tlt_dataset *d);                    /* at least 1 */
const tlt_problem *tlt_dataset_at(const tlt_dataset *d, size_t i); /* i < count */
tlt_verifier tlt_dataset_verifier(const tlt_dataset *d);

/* SHA-256, lower-case hex: of the file's bytes, or of the JSONL lines of generated problems. */
const char *tlt_dataset_hash(const tlt_dataset *d);

/* Order of handing out: problem index for a rollout index. epoch = rollout / n; each epoch is a
 * permutation of 0 .. n-1 by Fisher-Yates, element i swapped with floor(u (i+1) / 2^64), u = two
 * words of Philox(seed, SHUFFLE, epoch, i): a pure function of (n, seed, rollout). The handle only
 * caches one epoch; it belongs to one thread at a time. Epochs wrap at 2^32. */
typedef struct tlt_shuffle tlt_shuffle;
tlt_status tlt_shuffle_open(size_t n, uint32_t seed, tlt_shuffle **out, tlt_err *err); /* n >= 1 */
size_t tlt_shuffle_at(tlt_shuffle *s, uint64_t rollout);
void tlt_shuffle_close(tlt_shuffle *s);

/* One problem as a JSONL line without newline, NUL-terminated, keys in the order id, prompt,
 * answer, completion, meta, absent ones left out; caller frees with tlt_free. NULL when out of
 * memory. */
char *tlt_problem_json(const tlt_problem *p, size_t *n);

#endif
