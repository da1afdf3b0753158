/* What a worker does and when: seconds per state of one RL step, a bounded list of spans, and how
 * many sequences it decoded. Between who works (rl) and who writes (report). No I/O.
 *
 * An account belongs to the main thread of its worker. Its spans lie end to end: at every moment
 * between begin and end the worker is in exactly one state, so the seconds of all states add up to
 * the time between the two. Every function takes NULL as account and then does nothing. */
#ifndef TLT_EVENTS_SPANS_H
#define TLT_EVENTS_SPANS_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

/* States and the names that metrics and trace give them. */
#define TLT_WORK_LIST(X)                                                                  \
  X(OTHER, "other")         /* none of the below */                                       \
  X(DECODING, "decoding")   /* engine steps of rollouts: prompts, answers, drafts */      \
  X(IDLE, "idle")           /* nothing left to decode and no other work */                \
  X(LENDING, "lending")     /* the same, while others compute on its cores */             \
  X(DRAFTER, "drafter")     /* micro-steps of the drafter, averaging and publishing it */ \
  X(GRADIENT, "gradient")   /* gradients of groups, early or in the update */             \
  X(REWARD, "reward")       /* nothing to do but wait for scores */                       \
  X(UPDATE, "update")       /* reduction and optimizer step */                            \
  X(SAVING, "saving")       /* checkpoint, rollout and metrics files */                   \
  X(WAITING, "waiting")     /* for other workers */                                       \
  X(REFERENCE, "reference") /* log-probabilities of the KL reference */                   \
  X(EVAL, "eval")           /* engine steps of evaluations */

typedef enum tlt_work {
#define TLT_WORK_ENUM(id, name) TLT_WORK_##id,
  TLT_WORK_LIST(TLT_WORK_ENUM)
#undef TLT_WORK_ENUM
      TLT_WORK_STATES
} tlt_work;

const char *tlt_work_name(tlt_work state);

/* What goes on beside the states and may overlap them and each other. */
#define TLT_ASIDE_LIST(X)                                                               \
  X(GROUP, "group")        /* a group from hand-out until all its answers are scored */ \
  X(SCORING, "reward")     /* a reward process with one answer; `by` is its number */   \
  X(WRITING, "checkpoint") /* of the drafter, by a thread in the background; its RL step */

typedef enum tlt_aside_kind {
#define TLT_ASIDE_ENUM(id, name) TLT_ASIDE_##id,
  TLT_ASIDE_LIST(TLT_ASIDE_ENUM)
#undef TLT_ASIDE_ENUM
      TLT_ASIDE_KINDS
} tlt_aside_kind;

const char *tlt_aside_name(tlt_aside_kind kind);

/* Parts of a step as its leader goes through them, each until the next one begins. */
#define TLT_STAGE_LIST(X) \
  X(ROLLOUT, "rollout")   \
  X(UPDATE, "update")     \
  X(DRAFTER, "drafter")   \
  X(EVAL, "evaluation")   \
  X(SAVING, "saving")

typedef enum tlt_stage {
#define TLT_STAGE_ENUM(id, name) TLT_STAGE_##id,
  TLT_STAGE_LIST(TLT_STAGE_ENUM)
#undef TLT_STAGE_ENUM
      TLT_STAGES
} tlt_stage;

const char *tlt_stage_name(tlt_stage stage);

enum {
  TLT_SPANS_MAX = 1024,
  TLT_POINTS_MAX = 200,
  TLT_ASIDES_MAX = 1024,
  TLT_STAGES_MAX = 12,
  TLT_NO_DETAIL = -1 /* a span that is about nothing in particular */
};

/* Seconds since the account's begin. detail: a group or rollout index. count: how often this was
 * entered (several micro-steps in a row are one span). */
typedef struct tlt_span {
  double begin, end;
  int64_t detail;
  int32_t state, count;
} tlt_span;

/* Sums over `steps` engine steps from `at` (seconds since begin) on: sequences / steps is the batch
 * size, tokens / sequences the accepted length. */
typedef struct tlt_point {
  double at;
  int64_t steps, sequences, tokens;
} tlt_point;

/* Seconds since the account's begin, which may be after that of the aside. detail: rollout index,
 * or the step of a checkpoint. */
typedef struct tlt_aside {
  double begin, end;
  int64_t detail;
  int32_t kind, by;
} tlt_aside;

typedef struct tlt_stage_mark {
  double at;
  int32_t stage, unused;
} tlt_stage_mark;

/* Read after tlt_account_finish or tlt_account_unpack; begin and end are tlt_now() of the worker's
 * host: whoever joins accounts of several hosts (rl/crew.h) shifts both by tlt_clock_ahead. */
typedef struct tlt_account {
  int64_t step; /* RL step; 0: the evaluation before training */
  double begin, end;
  double seconds[TLT_WORK_STATES];
  double folded; /* seconds that lie in spans of another state, see tlt_account_enter */
  double cpu;    /* processor seconds of all threads of the worker's process */
  double joules; /* of the worker's host where this worker counts them, else 0; NaN: not known.
                    Set by the worker after tlt_account_finish */
  int32_t worker, n_spans, n_points, n_asides, n_stages, running;
  int64_t asides_lost; /* left out because there were too many */
  tlt_stage_mark stage[TLT_STAGES_MAX];
  /* private: the span that is open (absolute time), and how coarse the lists have become */
  double since, shortest, shortest_aside, cpu_before;
  int64_t detail, per_point;
  int32_t state, count;
  tlt_span span[TLT_SPANS_MAX];
  tlt_point point[TLT_POINTS_MAX];
  tlt_aside aside[TLT_ASIDES_MAX];
} tlt_account;

/* Empty account of a step, its first span in the given state from now on. */
void tlt_account_begin(tlt_account *a, int64_t step, int worker, tlt_work state);

/* End the current span and begin one of another state, now (one reading of the clock); the same
 * state and detail only counts one more. Returns the state before, for a caller that goes back to
 * it. Outside begin and finish nothing happens.
 * When the list is full, spans shorter than 0.2 ms become part of the one before; should that not
 * halve the list, the bound is doubled until it does. `seconds` stay exact, `folded` tells how much
 * of the spans is thereby wrong. */
tlt_work tlt_account_enter(tlt_account *a, tlt_work state);
tlt_work tlt_account_enter_for(tlt_account *a, tlt_work state, int64_t detail);

/* What the open span is about: to come back to it with tlt_account_enter_for. */
int64_t tlt_account_detail(const tlt_account *a);

/* The last enter was for nothing: it does not count, and the worker is at `before` again. */
void tlt_account_unenter(tlt_account *a, tlt_work before);

/* Something went on from `from` to `to` (tlt_now()). When the list is full the shortest are left
 * out. */
void tlt_account_aside(tlt_account *a, tlt_aside_kind kind, int by, int64_t detail, double from,
                       double to);

/* A part of the step begins, now; the same again, or more than TLT_STAGES_MAX, changes nothing. */
void tlt_account_stage(tlt_account *a, tlt_stage stage);

/* An engine step just ended that decoded this many sequences and gave this many tokens. 0, 0: none
 * is left, draw the curve at zero. At most TLT_POINTS_MAX points, coarser as they become more. */
void tlt_account_decoded(tlt_account *a, int64_t sequences, int64_t tokens);

/* End the last span, now; returns end - begin. */
double tlt_account_finish(tlt_account *a);

/* A finished account as bytes in this host's order, for messages between ranks of one program.
 * pack: to has room for tlt_account_bytes(a), at most TLT_ACCOUNT_BYTES_MAX; returns that number.
 * unpack: TLT_EDATA when the bytes are no account. */
enum { TLT_ACCOUNT_BYTES_MAX = sizeof(tlt_account) };
size_t tlt_account_bytes(const tlt_account *a);
size_t tlt_account_pack(const tlt_account *a, void *to);
tlt_status tlt_account_unpack(tlt_account *a, const void *from, size_t bytes, tlt_err *err);

/* Where accounts go, like tlt_metrics_sink: called from the training thread of the leader, steps
 * ascending, within a step once per worker; report/trace.h has the file behind it. */
typedef struct tlt_trace_sink {
  /* Continue the trace of a run directory behind last_step: later steps are dropped (-1: all). */
  tlt_status (*start)(void *context, const char *run, int64_t last_step, void **state,
                      tlt_err *err);
  tlt_status (*put)(void *state, const tlt_account *a, tlt_err *err);
  tlt_status (*sync)(void *state, tlt_err *err);
  tlt_status (*close)(void *state, tlt_err *err); /* NULL state is harmless */
  void *context;                                  /* given to start; mostly NULL */
} tlt_trace_sink;

#endif
