/* Workers: processes that train together, started by mpirun, srun or `tlt train --workers`
 * (cluster/launch.h). Without one of those there is a single process and MPI is never called.
 *
 * Rank 0 .. size-1 counts all workers. Workers of one host that can share memory form a team
 * (base/team.h); where they cannot, each is a team of its own, and base/team.h's sum over hosts
 * runs between all of them.
 *
 * Threads: all functions belong to the thread that opened the cluster (MPI_THREAD_FUNNELED),
 * except tlt_cluster_launched. Nothing here waits busily: whoever waits for another worker sleeps,
 * at most a sixteenth of the time already waited and at most 2 ms at once. Only large data of a
 * collective function is moved without sleeping, once all have come.
 *
 * Errors of every function below: TLT_EWORKER when MPI reports a failure; the run is over then.
 * A worker that dies is seen by mpirun, which ends the others within seconds; one that hangs is
 * seen by the watchdog (tlt_cluster_options) of the workers that share its host's memory. */
#ifndef TLT_CLUSTER_CLUSTER_H
#define TLT_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/team.h"
#include "tlt/status.h"

typedef struct tlt_cluster tlt_cluster;

/* ---- start and end ---- */

/* Called at most once per process, on a thread of the cluster's own, when worker `rank` of this
 * host has shown no sign of life for the watchdog's time. text: one line that says so, valid during
 * the call. Only one worker of a host calls it. The process ends with exit code 8 when it returns;
 * it may write files and to stderr and must take no lock that the main thread could hold. */
typedef void (*tlt_cluster_lost)(void *context, int rank, const char *text);

typedef struct tlt_cluster_options {
  double watchdog_seconds; /* 0: 20 */
  tlt_cluster_lost lost;   /* may be NULL */
  void *lost_context;
} tlt_cluster_options;

/* Whether a launcher started this process as one of several (its environment says so): then
 * tlt_cluster_open joins the others. Under srun without a known number: one of any number. */
bool tlt_cluster_launched(void);

/* Collective when launched. options may be NULL. At most once per process. Failing to share memory
 * is not an error (one warning to the log); the environment variable TLT_SHARE=off forces it.
 * TLT_EWORKER, TLT_ENOMEM. A launched process dies (SIGKILL) with the launcher that started it. */
tlt_status tlt_cluster_open(const tlt_cluster_options *options, tlt_cluster **out, tlt_err *err);

/* Collective. Messages that nobody received are dropped. NULL is harmless. Once broken it waits for
 * nobody and leaves MPI as it is: the process is to end with 8, whereupon mpirun ends the others.
 */
void tlt_cluster_close(tlt_cluster *c);

/* Whether MPI has reported a failure to this process: others may wait for good in a function that
 * this one has left, so there is nobody to come to an agreement with. */
bool tlt_cluster_broken(void);

/* End the processes of all workers now, with this exit code; for a failure the others cannot learn
 * about in an orderly way. Does not return. */
_Noreturn void tlt_cluster_abort(tlt_cluster *c, int exit_code);

/* ---- who is there ---- */

int tlt_cluster_rank(const tlt_cluster *c);
int tlt_cluster_size(const tlt_cluster *c);
int tlt_cluster_host_rank(const tlt_cluster *c); /* among the workers of this machine */
int tlt_cluster_host_size(const tlt_cluster *c);
int tlt_cluster_hosts(const tlt_cluster *c); /* machines */

/* The team of this process, valid until close; NULL when there is one worker. */
const tlt_team *tlt_cluster_team(tlt_cluster *c);

/* ---- messages ---- */

enum {
  TLT_MESSAGE_TAG_MAX = 32767,
  TLT_MESSAGE_BYTES_MAX = 1 << 30,
};

typedef struct tlt_mail {
  int from, tag;
  const void *data; /* malloc-aligned; NULL when bytes is 0 */
  size_t bytes;
} tlt_mail;

/* Copy and send; returns at once, however many are under way. Messages between the same two workers
 * arrive in the order sent; to == own rank is fine. bytes at most TLT_MESSAGE_BYTES_MAX, tag
 * 0 .. TLT_MESSAGE_TAG_MAX. The other side sees it while both call functions of this file now and
 * then. TLT_ENOMEM: not sent. */
tlt_status tlt_cluster_send(tlt_cluster *c, int to, int tag, const void *data, size_t bytes,
                            tlt_err *err);

/* The next message, if one is there: *got says. out->data is valid until the next receive or wait.
 * TLT_ENOMEM: no memory for it; it stays the next message. */
tlt_status tlt_cluster_receive(tlt_cluster *c, tlt_mail *out, bool *got, tlt_err *err);

/* Sleep until a message is there or the seconds are over. Seconds 0: only let messages progress. */
tlt_status tlt_cluster_wait(tlt_cluster *c, double seconds, tlt_err *err);

/* ---- collective functions: called by all workers in the same order ---- */

tlt_status tlt_cluster_barrier(tlt_cluster *c, tlt_err *err);

/* data [bytes] of rank root becomes that of all; bytes is the same everywhere. */
tlt_status tlt_cluster_bcast(tlt_cluster *c, int root, void *data, size_t bytes, tlt_err *err);

/* x [n] becomes the sum over ranks, the same bits everywhere; the order of addition depends on the
 * number of workers. */
tlt_status tlt_cluster_sum_f32(tlt_cluster *c, float *x, size_t n, tlt_err *err);

enum { TLT_AGREE_ITEMS_MAX = 16, TLT_AGREE_VALUE_MAX = 256 };

/* Every worker gives n named values (program version, hash of the model, ...), each shorter than
 * TLT_AGREE_VALUE_MAX (the rest is not compared), n at most TLT_AGREE_ITEMS_MAX. Where any differs
 * from rank 0's: TLT_EWORKER on every rank, with the lowest such rank, the item and both values. */
tlt_status tlt_cluster_agree(tlt_cluster *c, const char *const what[], const char *const value[],
                             int n, tlt_err *err);

/* Every worker says how its part went; all get the gravest status and the text of the worker it
 * came from, with its rank in front unless it is 0. err holds the own text where mine is not
 * TLT_OK. TLT_ESTOPPED is the lightest failure, TLT_EWORKER the next: it is often the consequence
 * of another. */
tlt_status tlt_cluster_agree_status(tlt_cluster *c, tlt_status mine, tlt_err *err);

/* ---- cores ---- */

/* Collective. Divide the cores that this host's workers may use (affinity mask, cgroup) among them
 * in contiguous runs, bind the process to its run (one processing unit per core), and say how many
 * threads it should start: its cores, or its part of threads_asked (> 0: threads per host). With
 * more workers than cores: one thread each, not bound, and a warning. Workers that a launcher has
 * bound already, each to its own, stay as they are. One worker: *threads = threads_asked, nothing
 * is bound. */
tlt_status tlt_cluster_bind(tlt_cluster *c, int threads_asked, int *threads, tlt_err *err);

#endif
