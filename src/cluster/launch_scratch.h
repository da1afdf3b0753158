/* A directory for Open MPI's files: those through which workers exchange messages, and its own
 * tables. It leaves them behind when everything is killed at once; the next launch removes those of
 * launchers that are gone. */
#ifndef TLT_CLUSTER_LAUNCH_SCRATCH_H
#define TLT_CLUSTER_LAUNCH_SCRATCH_H

#include <stdbool.h>

enum { TLT__SCRATCH_MAX = 64 };

/* Make it for this process, in memory (/dev/shm) where that has room for so many workers, else in
 * /tmp. false, and an empty path: Open MPI takes its own place. */
bool tlt__scratch_make(int workers, char path[TLT__SCRATCH_MAX]);
void tlt__scratch_remove(const char *path); /* with what is in it; empty is harmless */

#endif
