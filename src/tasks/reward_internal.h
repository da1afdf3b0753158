/* Parts of the reward processes; private to src/tasks. */
#ifndef TLT_TASKS_REWARD_INTERNAL_H
#define TLT_TASKS_REWARD_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/proc.h"
#include "io/text.h"
#include "tasks/reward.h"

enum {
  TLT__REWARD_DEPTH = 8, /* items that wait in one child */
  TLT__REWARD_WHY = 640, /* bytes of a reason */
  TLT__REWARD_STDERR = 2048,
};

/* One completion on its way to a score. */
typedef struct tlt__item {
  struct tlt__item *next; /* in a queue */
  uint64_t id;
  char problem[TLT_PROBLEM_ID_MAX + 1];
  char *line; /* the request, ends with a newline */
  size_t n;
  double submitted, handed, deadline; /* tlt_now(); handed: to the child that has it */
  bool alone;                         /* was in a child that failed: must not share one again */
  int failures;                       /* of children, blamed on this item */
} tlt__item;

typedef enum tlt__child_state {
  TLT__CHILD_OFF,      /* no process; to be started */
  TLT__CHILD_GREETING, /* started, hello awaited */
  TLT__CHILD_READY,
  TLT__CHILD_STOPPING, /* failed: told to end, not yet reaped */
} tlt__child_state;

/* One process and what is in it. */
typedef struct tlt__child {
  tlt_proc proc;
  tlt__child_state state;
  double deadline;                     /* of the hello, or when SIGKILL follows */
  tlt_text out, in;                    /* towards and from the child */
  size_t written, used;                /* of out: in its pipe; of in: the line given last */
  tlt__item *items[TLT__REWARD_DEPTH]; /* handed over and unanswered, oldest first */
  int n_items;
  double answered;                /* tlt_now() of its latest answer, 0: none */
  char words[TLT__REWARD_STDERR]; /* the last of its stderr */
  size_t n_words;
  char why[TLT__REWARD_WHY]; /* set when it is STOPPING */
  bool timed_out;
} tlt__child;

/* One answer line. */
typedef struct tlt__reply {
  uint64_t id;
  double reward;
  const char *error; /* the child's own word for a failure, or NULL; points into json */
  void *json;        /* json_t, released by tlt__reply_free */
} tlt__reply;

/* ---- reward_line.c: the protocol's lines ---- */

/* Request line of an item, ended by a newline; *line freed by the caller. TLT_ENOMEM, or
 * TLT_EREWARD when it is too long. */
tlt_status tlt__request_line(uint64_t id, const tlt_problem *p, const char *completion,
                             size_t bytes, char **line, size_t *n, tlt_err *err);
tlt_status tlt__reply_read(const char *line, size_t n, tlt__reply *out, tlt_err *err);
void tlt__reply_free(tlt__reply *r);
tlt_status tlt__hello_check(const char *line, size_t n, tlt_err *err);
extern const char tlt__hello_line[];

/* Words of a command line: an array ended by NULL whose strings live in the same allocation. */
tlt_status tlt__command_split(const char *command, char ***argv, tlt_err *err);

/* The last line-ish part of a child's stderr as one printable line. */
void tlt__words_print(const tlt__child *c, char *to, size_t room);

/* ---- reward_child.c: one process ---- */

tlt_status tlt__child_start(tlt__child *c, char *const *argv, double timeout_s, tlt_err *err);

/* Queue an item's line for writing; the child has room (n_items < TLT__REWARD_DEPTH). */
tlt_status tlt__child_give(tlt__child *c, tlt__item *item, double timeout_s, tlt_err *err);

/* Write what its stdin takes and read its stderr. */
void tlt__child_pump(tlt__child *c);

/* Next whole line of its stdout, reading what is there now; valid until the next call. false: none
 * yet, or the child was stopped for what it did. */
bool tlt__child_line(tlt__child *c, const char **line, size_t *n);

/* Take item i out of the child. */
tlt__item *tlt__child_take(tlt__child *c, int i);

/* After an answer: the i-th item left has at most i * timeout_s from now. */
void tlt__child_tighten(tlt__child *c, double timeout_s);

/* Begin to end it: SIGTERM now, SIGKILL after two seconds. */
void tlt__child_stop(tlt__child *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Deadlines: stops a late child, kills one that ignores SIGTERM. true once it is gone: its items
 * are still in it, `why` says how it ended, and the caller sets its state. */
bool tlt__child_check(tlt__child *c);

/* Free buffers and pipes of a child that is gone; its items are the caller's. */
void tlt__child_clear(tlt__child *c);

#endif
