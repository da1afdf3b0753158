/* Problem generators with worked traces.
 *
 * countdown: reach a target from given numbers, each used exactly once, with + - * / on positive
 * integers (differences positive, quotients exact).
 *     prompt      "3 7 25 = 46\n"
 *     completion  "1 25-3=22 22+7=29 22-7=15 22*7=154\n"     one line per first step tried,
 * numbered; "2 7*3=21 21+25=46\n"                      its second steps in the order + - * /
 *                 "answer (7*3)+25"
 * Lines are tried in random order without repetition until one hits the target or patience ends;
 * then the last thing tried is given as the answer, which is wrong. Patience is what reinforcement
 * learning can change: the comment on top of tasks/countdown.c says how.
 *
 * arithmetic: a chain of sums, differences and products with the usual precedence.
 *     prompt      "12+7*3-4\n"
 *     completion  "7*3=21 12+21=33 33-4=29\nanswer 29"
 *
 * A problem is a pure function of (task, options, split, seed, index). The split is a function of
 * the canonical problem alone (sorted numbers and target; the chain's text), so training traces, RL
 * problems and held-back problems are disjoint whatever seeds and counts are used. */
#ifndef TLT_TASKS_TASK_H
#define TLT_TASKS_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/problem.h"
#include "tasks/verifier.h"
#include "tlt/status.h"

/* CRC-32 of the canonical text modulo 100: below 75 train, below 90 rl, else eval. */
typedef enum tlt_split { TLT_SPLIT_ALL, TLT_SPLIT_TRAIN, TLT_SPLIT_RL, TLT_SPLIT_EVAL } tlt_split;

/* "all", "train", "rl", "eval"; anything else TLT_EUSAGE. */
tlt_status tlt_split_find(const char *name, tlt_split *out, tlt_err *err);

/* Integer options of a task, for help texts and configuration. */
typedef struct tlt_task_option {
  const char *name, *help;
  int64_t low, high, fallback;
} tlt_task_option;

typedef struct tlt_task_setting {
  const char *name;
  int64_t value;
} tlt_task_setting;

/* Options of a task by name, ended by an entry whose name is NULL; NULL for an unknown task. */
const tlt_task_option *tlt_task_options(const char *task);

/* Names of all tasks, ended by NULL. */
const char *const *tlt_task_names(void);

typedef struct tlt_task tlt_task; /* immutable, shared by threads */

/* Unknown task, unknown option or a value out of range: TLT_EUSAGE naming it and what is legal.
 * traces: problems get a completion (the problems themselves are the same with and without). */
tlt_status tlt_task_open(const char *task, const tlt_task_setting *settings, size_t n_settings,
                         tlt_split split, uint32_t seed, bool traces, tlt_task **out, tlt_err *err);

/* The same with options as "name=value,name=value" (the form TLT_YAML_OPTIONS gives); NULL: none.
 */
tlt_status tlt_task_open_options(const char *task, const char *options, tlt_split split,
                                 uint32_t seed, bool traces, tlt_task **out, tlt_err *err);
void tlt_task_close(tlt_task *t);
tlt_verifier tlt_task_verifier(const tlt_task *t);
bool tlt_task_traces(const tlt_task *t);

/* Problem number index into *p, its texts into buffers of `room`, which the caller provides and
 * which p points into. Never allocates. TLT_EUSAGE when the options leave no problem in the split
 * (no match in 1e5 draws). Different indexes may give equal problems. */
enum { TLT_TASK_TEXT_MAX = 16384 };
typedef struct tlt_task_room {
  char canonical[1024]; /* equal for equal problems; decides the split */
  char id[64], prompt[1024], answer[1024], meta[1024], completion[TLT_TASK_TEXT_MAX];
} tlt_task_room;
tlt_status tlt_task_make(const tlt_task *t, uint32_t index, tlt_task_room *room, tlt_problem *p,
                         tlt_err *err);

/* Dataset of `count` problems. Without traces they are distinct (indexes whose canonical problem
 * came before are passed over); with traces repetitions stay, their traces differ. Too few distinct
 * problems: TLT_EUSAGE with how many there seem to be. */
tlt_status tlt_dataset_generate(const tlt_task *t, size_t count, tlt_dataset **out, tlt_err *err);

/* Lines of such a dataset one after another, for `tlt data`: each call gives the next problem as
 * tlt_problem_json does; caller frees. *line is NULL at the end. */
typedef struct tlt_task_lines tlt_task_lines;
tlt_status tlt_task_lines_open(const tlt_task *t, size_t count, tlt_task_lines **out, tlt_err *err);
tlt_status tlt_task_lines_next(tlt_task_lines *l, char **line, size_t *n, tlt_err *err);
void tlt_task_lines_close(tlt_task_lines *l);

#endif
