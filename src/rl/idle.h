/* What a worker does while it has nothing to decode: gradients of complete groups, and micro-steps
 * of the drafter (design section 8).
 *
 * Both run as they would run anywhere, with the pool's pause hook set (base/pool.h): every few
 * milliseconds somebody looks at messages and, if new groups have come, decodes them first, in the
 * middle of the gradient, which goes on afterwards. A gradient is never dropped; a micro-step of
 * the drafter is, as soon as there is anything else to do. */
#ifndef TLT_RL_IDLE_H
#define TLT_RL_IDLE_H

#include <stdbool.h>

#include "base/pool.h"
#include "events/spans.h"

typedef struct tlt_idle {
  tlt_pool *pool;
  tlt_account *account; /* NULL: none is kept */
  bool gradients;       /* take gradients while the rollout runs */
  bool drafter_first;   /* order of the two */
  bool lend;            /* cores go to other workers while this one waits */
  /* One micro-step of the drafter; false: there is nothing to train on, or it is not worth it.
   * NULL: the drafter is not trained. */
  bool (*micro_step)(void *context);
  void *context;
  /* For measuring what idle work costs others: it rests every other `toggle_s` seconds, while the
   * rollout runs. 0: never. */
  double toggle_s;
} tlt_idle;

/* Idle work is to rest now. */
bool tlt_idle_rests(const tlt_idle *i);

/* Bring the drafter forward by one micro-step, in pauses of which look(context) is asked whether
 * there is still nothing better to do. The account stays at it, so that micro-steps in a row are
 * one span. false: nothing was to be done, and the account is as before. */
bool tlt_idle_draft(const tlt_idle *i, bool (*look)(void *context), void *context);

/* About to wait, which would be accounted as `why`: lend the cores where that is wanted. Returns
 * `why`, or TLT_WORK_LENDING while somebody has them. */
tlt_work tlt_idle_wait(const tlt_idle *i, tlt_work why);

#endif
