/* What signals ask of a training loop. Handlers, which the command installs, only set these flags;
 * the loop reads them between engine steps and at the end of every RL step. */
#ifndef TLT_RL_STOP_H
#define TLT_RL_STOP_H

#include <signal.h>

typedef struct tlt_stop {
  volatile sig_atomic_t stop; /* signal number: finish the step, save, TLT_ESTOPPED */
  volatile sig_atomic_t save; /* nonzero: save at the end of the step and go on */
} tlt_stop;

/* The flags of this process. */
extern tlt_stop tlt_stop_flags;

/* SIGINT, SIGTERM and SIGUSR1 set `stop`, a second one ends the process at once with code 75
 * (async-signal-safe); SIGUSR2 sets `save`. TLT_EIO if a handler cannot be installed. */
int tlt_stop_install(void); /* 0, or -1 with errno */

#endif
