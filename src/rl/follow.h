/* A worker that is led: decodes the groups it is handed, computes the gradients it is given, joins
 * collective steps, until the leader says that the run is over (crew.h has the messages). */
#ifndef TLT_RL_FOLLOW_H
#define TLT_RL_FOLLOW_H

#include "rl/session.h"

/* Returns TLT_OK when the leader stopped the run, for whatever reason: the leader reports it. A
 * failure here is sent to the leader, which stops the run; the status is returned then. step: the
 * last one that is done. */
tlt_status tlt_follow(tlt_session *s, int64_t step, tlt_err *err);

#endif
