/* What the files of cluster/ share. */
#ifndef TLT_CLUSTER_INTERNAL_H
#define TLT_CLUSTER_INTERNAL_H

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "cluster/cluster.h"

/* A message to the own rank. */
typedef struct tlt__local {
  struct tlt__local *next;
  int tag;
  size_t bytes;
  void *data;
} tlt__local;

/* The message that is being received or was handed out. */
typedef struct tlt__incoming {
  enum { TLT__NOTHING, TLT__MATCHED, TLT__UNDER_WAY, TLT__READY } state;
  MPI_Message message;
  MPI_Request request;
  int from, tag;
  size_t bytes, capacity;
  void *data;
} tlt__incoming;

/* Sends under way: request[i] belongs to data[i]. */
typedef struct tlt__outgoing {
  MPI_Request *request;
  void **data;
  int *done; /* scratch of MPI_Testsome */
  int n, capacity;
} tlt__outgoing;

/* What the processes of a team keep in shared memory. */
typedef struct tlt__member {
  _Alignas(64) _Atomic uint32_t beats; /* grows while the process lives */
  _Atomic uint32_t gone;               /* it has closed and will not beat again */
  int32_t rank;                        /* among all workers */
} tlt__member;

typedef struct tlt__control {
  _Alignas(64) _Atomic uint32_t arrived, generation;
  _Atomic uint32_t broken; /* a collective failed: nobody need wait any more */
  _Atomic uint32_t lost;   /* someone is seeing to a lost worker */
  tlt__member member[];
} tlt__control;

typedef struct tlt__watchdog {
  pthread_t thread;
  bool running;
  double interval;
  uint32_t patience; /* intervals without a beat */
  uint32_t *seen, *silent;
  _Atomic uint32_t stop;
} tlt__watchdog;

struct tlt_cluster {
  int rank, size, host_rank, host_size, hosts;
  bool mpi;
  tlt_cluster_options options;
  MPI_Comm messages, world, host; /* of their own, so that nothing is confused */
  MPI_Comm team_comm, leaders;    /* leaders: MPI_COMM_NULL but for team rank 0 */
  int n_leaders;
  tlt__incoming in;
  tlt__outgoing out;
  tlt__local *first_local, *last_local;
  tlt_team team;
  tlt__control *control; /* NULL in a team of one */
  size_t control_bytes;
  tlt__watchdog watchdog;
};

/* TLT_OK, or TLT_EWORKER with MPI's text. */
tlt_status tlt__mpi(int code, const char *what, tlt_err *err);

/* Sleep a little, for somebody who has waited since `since` (tlt_now): not within the first 20
 * microseconds; while `since` lies in the future, only let others run. futex and its value as seen:
 * woken when it changes; NULL: just sleep. */
void tlt__pause(double since, _Atomic uint32_t *futex, uint32_t seen);
void tlt__wake(_Atomic uint32_t *futex);

/* Wait for a request of a collective function while messages progress. code: what starting it
 * returned. busy: seconds that moving its data may take; so long the wait does not sleep. */
tlt_status tlt__finish(tlt_cluster *c, int code, MPI_Request *request, double busy,
                       const char *what, tlt_err *err);

/* Large data moves in chunks, after all of comm have come (sleeping), at full speed (not
 * sleeping). */
enum { TLT__CHUNK = 8 << 20 };
#define TLT__CHUNK_SECONDS 0.05
tlt_status tlt__assemble(tlt_cluster *c, MPI_Comm comm, size_t bytes, tlt_err *err);

/* Collective over comm: one integer of every process, reduced. */
tlt_status tlt__reduce(tlt_cluster *c, MPI_Comm comm, int mine, MPI_Op op, int *result,
                       const char *what, tlt_err *err);

/* cluster.c's parts */
tlt_status tlt__complete_sends(tlt_cluster *c, tlt_err *err);
void tlt__messages_close(tlt_cluster *c);
tlt_status tlt__team_open(tlt_cluster *c, tlt_err *err);
void tlt__team_close(tlt_cluster *c);
tlt_status tlt__watchdog_start(tlt_cluster *c, tlt_err *err);
void tlt__watchdog_stop(tlt_cluster *c);

#endif
