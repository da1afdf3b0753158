/* The workers of a run as their leader sees them, and the messages between them.
 *
 * Worker 0 leads: it runs the loop (loop.h), holds the run directory, hands out groups and gradient
 * tasks, and is a worker like the others. The others follow (follow.h): they do what messages say
 * and answer. Nobody waits for anybody while a worker decodes; STEP and PUBLISH are the only
 * messages that all answer with collective calls, and they are sent when no task is at work.
 *
 *   leader to worker                          worker to leader
 *   ROLLOUT  a rollout begins                 WANT     another group would find room
 *   HAND     decode this group                GROUP    a group is complete
 *   TASK     gradient of this group           RESULT   what a task measured
 *   END      the rollout is over              PROGRESS answers and tokens so far
 *   CANCEL   drop it                          ENDED    sums of the rollout, answer to END and
 * CANCEL STEP     optimizer step                   FREE     nothing to decode: a task would be
 * welcome PUBLISH  new drafter                      ACCOUNT  seconds and spans, answer to REPORT
 *   REPORT   the step is over                 FAILED   status and text; nothing follows
 *   STOP     the run is over
 *
 * Alone (cluster NULL) a crew of one sends nothing. */
#ifndef TLT_RL_CREW_H
#define TLT_RL_CREW_H

#include "base/clock.h"
#include "cluster/cluster.h"
#include "events/spans.h"
#include "rl/drafting.h"
#include "rl/update.h"
#include "spec/speculator.h"
#include "tasks/reward.h"

typedef enum tlt_tag {
  TLT_TAG_ROLLOUT,
  TLT_TAG_HAND,
  TLT_TAG_TASK,
  TLT_TAG_END,
  TLT_TAG_CANCEL,
  TLT_TAG_STEP,
  TLT_TAG_PUBLISH,
  TLT_TAG_REPORT,
  TLT_TAG_STOP,
  TLT_TAG_WANT,
  TLT_TAG_GROUP,
  TLT_TAG_RESULT,
  TLT_TAG_PROGRESS,
  TLT_TAG_ENDED,
  TLT_TAG_FREE,
  TLT_TAG_ACCOUNT,
  TLT_TAG_FAILED
} tlt_tag;

typedef struct tlt_msg_rollout {
  int64_t step;   /* RL step */
  uint32_t first; /* rollout index */
  int32_t evaluation;
} tlt_msg_rollout;

typedef struct tlt_msg_publish {
  double seconds; /* of the last step */
} tlt_msg_publish;

typedef struct tlt_msg_step {
  float scale;
  tlt_adamw how;
} tlt_msg_step;

typedef struct tlt_msg_progress {
  int64_t answers, tokens, prompt_tokens;
} tlt_msg_progress;

/* Sums of a worker's rollout. */
typedef struct tlt_msg_ended {
  tlt_msg_progress done;
  tlt_spec_stats spec;
  tlt_reward_stats reward; /* since the start of the run */
} tlt_msg_ended;

/* In front of the bytes of an account. */
typedef struct tlt_msg_report {
  double now;                 /* tlt_now() of the worker */
  tlt_drafting_sums drafting; /* of the step */
} tlt_msg_report;

typedef struct tlt_msg_failed {
  int32_t status;
  char text[TLT_ERR_TEXT];
} tlt_msg_failed;

typedef struct tlt_crew_worker {
  int open;   /* groups handed out and not complete */
  bool wants; /* asked for another */
  bool free;  /* nothing to decode and no task */
  bool ended; /* its sums of this rollout are here, or its account after REPORT */
  int task;   /* gradient task at work there, or -1 */
  tlt_msg_ended sums;
  tlt_msg_report report; /* of the step that was reported last, as accounts below */
} tlt_crew_worker;

typedef struct tlt_crew {
  tlt_cluster *cluster; /* NULL: alone */
  int size;
  tlt_crew_worker *worker; /* [size]; 0 is the leader itself */
  /* where messages of the running phase go */
  tlt_update *update;   /* NULL: no tasks */
  tlt_account *account; /* [size], owned: of the step that was reported last; the leader's clock */
  tlt_clock_gap *clock; /* [size], owned: of the workers' hosts */
  double asked;         /* when REPORT was sent */
  tlt_status (*group)(void *context, int from, const void *bytes, size_t n, tlt_err *err);
  void *context;
} tlt_crew;

/* cluster is borrowed. Only memory can fail. */
tlt_status tlt_crew_open(tlt_crew *c, tlt_cluster *cluster, tlt_err *err);
void tlt_crew_close(tlt_crew *c); /* zeroed is harmless */

/* The same message to every other worker. */
tlt_status tlt_crew_tell(tlt_crew *c, tlt_tag tag, const void *data, size_t n, tlt_err *err);

/* The body of a message that has n bytes. TLT_EINTERNAL where it has not. */
tlt_status tlt_crew_read(const tlt_mail *m, void *to, size_t n, tlt_err *err);

/* Take all messages that are here; hand waiting tasks to free workers. Never blocks. A worker's
 * failure, and a message that makes no sense (TLT_EINTERNAL, TLT_EDATA), is returned with its
 * number before the text. */
tlt_status tlt_crew_serve(tlt_crew *c, tlt_err *err);

/* Sleep until a message is here, at most `seconds`. */
tlt_status tlt_crew_wait(tlt_crew *c, double seconds, tlt_err *err);

/* Tell the others what a phase is and forget what the last one left. */
tlt_status tlt_crew_begin(tlt_crew *c, const tlt_msg_rollout *what, tlt_err *err);
/* END or CANCEL to all, then serve until every worker has answered. */
tlt_status tlt_crew_end(tlt_crew *c, tlt_tag tag, tlt_err *err);

/* Accounts and sums of all workers of the step that is over: own and those of the others, which
 * begin new ones. */
tlt_status tlt_crew_report(tlt_crew *c, const tlt_account *account, const tlt_msg_report *own,
                           tlt_err *err);

/* Answers, tokens and prompt tokens of the other workers so far. */
tlt_msg_progress tlt_crew_progress(const tlt_crew *c);

/* One call of the optimizer on every worker, collective. */
tlt_status tlt_crew_step(tlt_crew *c, tlt_trainer *t, float scale, const tlt_adamw *how,
                         tlt_step_result *result, tlt_err *err);

/* The run is over: followers return. */
void tlt_crew_stop(tlt_crew *c);

#endif
