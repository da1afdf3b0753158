/* What a generator implements; private to src/tasks. */
#ifndef TLT_TASKS_TASK_INTERNAL_H
#define TLT_TASKS_TASK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/philox.h"
#include "tasks/task.h"

enum { TLT_TASK_MAX_OPTIONS = 16 };

/* Philox counter word 1 of the draws that make the trace; problems use 0, 1, 2, ... per attempt. */
#define TLT_TASK_TRACE_DRAW 0xffffffffu

/* One kind of task. v: option values in the order of `options`. */
typedef struct tlt_task_kind {
  const char *name;
  uint32_t number; /* Philox counter word 2: never renumber */
  tlt_verifier verifier;
  const tlt_task_option *options; /* ended by a NULL name */

  /* Rules between options; NULL when legal, else the rule that is broken. */
  const char *(*check)(const int64_t *v);

  /* One attempt at a problem: fills canonical, prompt, answer and meta of room and the numbers of
   * p. false: nothing sensible came out, draw again. */
  bool (*draw)(const int64_t *v, tlt_stream *s, tlt_task_room *room, tlt_problem *p);

  /* Worked trace of the problem that draw just made, into room->completion. */
  void (*trace)(const int64_t *v, tlt_stream *s, const tlt_problem *p, tlt_task_room *room);
} tlt_task_kind;

extern const tlt_task_kind tlt_task_countdown, tlt_task_arithmetic;

/* Bounded text: appends are cut silently at the end of the buffer, which is always NUL-terminated;
 * callers keep a reserve (TLT_FIXED_RESERVE) and stop before it is touched. */
typedef struct tlt_fixed {
  char *at;
  size_t n, room;
} tlt_fixed;
enum { TLT_FIXED_RESERVE = 1024 };

tlt_fixed tlt_fixed_in(char *buffer, size_t room);
void tlt_fixed_add(tlt_fixed *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
