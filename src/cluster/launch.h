/* Starting workers on this machine: `tlt train --workers N` runs mpirun with itself as the program.
 *
 * The calling process stays as the launcher: it passes on what the workers print, unchanged and at
 * once, and turns signals into the ones that workers understand. When it dies, mpirun and all
 * workers die with it. */
#ifndef TLT_CLUSTER_LAUNCH_H
#define TLT_CLUSTER_LAUNCH_H

#include "tlt/status.h"

typedef struct tlt_launch_options {
  int workers;
  const char *program; /* full path; NULL: this program */
  char *const *argv;   /* its arguments, ended by NULL; argv[0] is not looked at */
} tlt_launch_options;

/* Run the workers until they have ended; call it before other threads exist and before any child is
 * started. Workers know the launcher's terminal (base/terminal.h), and have an empty standard
 * input.
 *
 * SIGINT, SIGTERM and SIGUSR1 become SIGUSR1 for every worker, which is to finish its step, save
 * and end with 75; a second one ends all workers within 3 seconds, a third at once. SIGUSR2 is
 * passed on.
 *
 * TLT_OK: the workers ended as they wanted, *exit_code is the run's exit code (rank 0's, or that of
 * the worker that ended first with another code than 0), and whatever there was to say was printed
 * by a worker. 75 when signals ended it.
 * TLT_EWORKER: a worker died or ended with a code that tlt does not have; err names it,
 * except where others ended well and mpirun does not say which (Open MPI 5).
 * TLT_EIO: mpirun is missing or does not work here. */
tlt_status tlt_launch(const tlt_launch_options *options, int *exit_code, tlt_err *err);

#endif
