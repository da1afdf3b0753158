/* machine.json: on what a run ran. Nothing in it enters a result.
 *
 * The members of the object describe the newest start:
 *   processor, cores, memory_gib, instruction_sets   of the leader's machine
 *   energy                 "counted" or "not available" (base/energy.h), there too
 *   tlt, model, numerics   program version; directory as configured; numerics path
 *   workers, hosts, threads   threads: of all workers together
 *   started                UTC, ISO 8601
 *   starts                 all of them, oldest first: started, after_step (0: from the beginning),
 *                          tlt, processor, numerics, workers, threads */
#ifndef TLT_RL_MACHINE_FILE_H
#define TLT_RL_MACHINE_FILE_H

#include "rl/rundir.h"
#include "rl/session.h"

/* last_step: of the checkpoint to go on from; -1: none, earlier starts are forgotten. A damaged
 * file is begun anew with a warning in the log. */
tlt_status tlt_machine_file_write(const tlt_rundir *dir, const tlt_session *s, const char *program,
                                  int64_t last_step, tlt_err *err);

#endif
