/* Scores for completions, asynchronously: by a built-in verifier, or by a user's program.
 *
 * User's program. `workers` long-lived children, JSON lines on stdin and stdout, stderr kept for
 * messages (its last 2 KiB). Each line is an object and at most TLT_REWARD_LINE_MAX bytes:
 *     to the child    {"hello": "tlt", "version": 1}
 *     from the child  {"hello": "NAME", "version": 1}      any name but "tlt"
 *     to the child    {"id": 12, "prompt": ..., "completion": "...", "answer": ..., "meta": {...}}
 *     from the child  {"id": 12, "reward": 0.5}  or  {"id": 12, "error": "why"}
 * Several items may wait in a child; answers may come in any order. End of stdin means: exit. A
 * completion that is not valid UTF-8 is sent with U+FFFD for each bad byte and for NUL.
 *
 * Children run in their own process group, with a cleaned environment (PATH, HOME, LANG, LC_*,
 * TMPDIR, TZ, PYTHON*, and names starting with TLT_REWARD_), no new privileges, resource limits,
 * and die with the thread that opened them. That is hygiene, not a sandbox.
 *
 * Deadline: the i-th item waiting in a child has i * timeout_s from when it was handed over or, if
 * that is sooner, from the child's latest answer. A
 * late, dead or nonsense-speaking child (bad JSON, unknown id, reward not finite or above 1e6) is
 * stopped (SIGTERM, 2 s, SIGKILL to its group) and started again; its unanswered items are handed
 * out again, each alone in a child. An item that was the oldest of a failing child twice, or that
 * the child calls an error, ends the run (TLT_REWARD_ABORT) or is masked. TLT_REWARD_RESTARTS
 * starts in a row without an answered item end the run in any case. A score is never invented.
 *
 * Threads: a handle belongs to the thread that opened it. Nothing happens between calls, so call
 * tlt_reward_poll with timeout 0 between engine steps. */
#ifndef TLT_TASKS_REWARD_H
#define TLT_TASKS_REWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/problem.h"
#include "tasks/verifier.h"
#include "tlt/status.h"

enum {
  TLT_REWARD_VERSION = 1,
  TLT_REWARD_LINE_MAX = 1 << 20, /* bytes of one line, both ways */
  TLT_REWARD_RESTARTS = 5,
  TLT_REWARD_WORKERS_MAX = 256,
};

typedef enum tlt_reward_on_error { TLT_REWARD_ABORT, TLT_REWARD_MASK } tlt_reward_on_error;

typedef struct tlt_reward_options {
  const char *command; /* NULL: the verifier. Else words split at blanks, '...' and "..." respected,
                          no shell; the first is looked up in PATH */
  tlt_verifier verifier; /* used when command is NULL */
  int workers;           /* 1 .. TLT_REWARD_WORKERS_MAX */
  double timeout_s;      /* > 0 */
  tlt_reward_on_error on_error;
  double mask_share; /* masked share of items above which the run ends; 0 means 0.01; counted from
                        the 100th item on */
} tlt_reward_options;

typedef struct tlt_reward tlt_reward;

/* Starts the children and waits for every hello (at most timeout_s). Missing or not executable
 * program, no or wrong hello: TLT_EREWARD. Bad options: TLT_EUSAGE. */
tlt_status tlt_reward_open(const tlt_reward_options *options, tlt_reward **out, tlt_err *err);
void tlt_reward_close(tlt_reward *r); /* stops the children; NULL is harmless */

typedef struct tlt_reward_result {
  uint64_t id;
  double reward; /* 0 when masked */
  bool parsed;   /* verifier's flag; true for a user's program */
  bool masked;   /* no score could be had: drop the whole group */
  /* timing, not part of what is reproducible */
  double seconds;      /* from submit to answer */
  int child;           /* number of the process that answered */
  double began, ended; /* tlt_now(): when it could begin with the item (it was handed over, the last
                          one was answered) and when its answer was seen; 0: no process answered */
} tlt_reward_result;

/* Queue one completion; copies what it needs, never blocks. id: below 2^53, not pending now. */
tlt_status tlt_reward_submit(tlt_reward *r, uint64_t id, const tlt_problem *p,
                             const char *completion, size_t bytes, tlt_err *err);

/* Move lines both ways and take up to max finished results, in the order they finished. Waits up to
 * timeout_s for the first one (0: not at all; negative: until there is one or nothing is pending).
 * TLT_EREWARD names item, problem and reason and ends with the child's stderr; afterwards only
 * tlt_reward_close is legal. */
tlt_status tlt_reward_poll(tlt_reward *r, double timeout_s, tlt_reward_result *results, size_t max,
                           size_t *count, tlt_err *err);

size_t tlt_reward_pending(const tlt_reward *r); /* submitted and not yet returned by poll */

/* Totals since open. */
typedef struct tlt_reward_stats {
  uint64_t items, masked, timeouts, errors, restarts;
  double seconds_sum, seconds_max; /* latency of answered items, submit to answer */
} tlt_reward_stats;
tlt_reward_stats tlt_reward_totals(const tlt_reward *r);

#endif
