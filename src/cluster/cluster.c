#define _GNU_SOURCE
#include "cluster/cluster.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cluster/internal.h"

/* ---- who started us ---- */

bool tlt_cluster_launched(void) {
  const char *size = getenv("OMPI_COMM_WORLD_SIZE");
  if (!size) size = getenv("PMI_SIZE");
  if (size) return strtol(size, NULL, 10) > 1;
  return getenv("PMIX_RANK") != NULL;
}

/* ---- waiting ---- */

enum { SPIN_US = 20, SLEEP_LEAST_US = 50, SLEEP_MOST_US = 2000, SLEEP_PART = 16 };

void tlt__pause(double since, _Atomic uint32_t *futex, uint32_t seen) {
  double us = 1e6 * (tlt_now() - since), sleep = us / SLEEP_PART;
  if (us < SPIN_US) {
    if (us < 0) sched_yield();
    else _mm_pause();
    return;
  }
  if (sleep < SLEEP_LEAST_US) sleep = SLEEP_LEAST_US;
  if (sleep > SLEEP_MOST_US) sleep = SLEEP_MOST_US;
  const struct timespec t = {0, (long)(1000 * sleep)};
  if (futex) syscall(SYS_futex, futex, FUTEX_WAIT, seen, &t, NULL, 0);
  else nanosleep(&t, NULL);
}

void tlt__wake(_Atomic uint32_t *futex) {
  syscall(SYS_futex, futex, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

/* ---- MPI's errors ---- */

static bool broken; /* MPI has reported a failure */

bool tlt_cluster_broken(void) {
  return broken;
}

tlt_status tlt__mpi(int code, const char *what, tlt_err *err) {
  if (code == MPI_SUCCESS) return TLT_OK;
  broken = true;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  for (char *p = text; *p; p++)
    if (*p == '\n') *p = ' ';
  return tlt_fail(err, TLT_EWORKER, "workers: %s: %.400s", what, text);
}

/* ---- start and end ---- */

/* Settings of Open MPI that the user has not chosen. Messages are moved between polls that may be
 * milliseconds apart, so that more than three fragments must be under way; single copies between
 * processes need rights that containers do not give, and complain. */
static void set_defaults(void) {
  setenv("OMPI_MCA_pml_ob1_send_pipeline_depth", "64", 0);
#if OMPI_MAJOR_VERSION >= 5
  setenv("OMPI_MCA_smsc", "^cma,knem,xpmem", 0);
#else
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
#endif
}

static tlt_status start_mpi(tlt_err *err) {
  int initialized = 0, level = 0;
  MPI_Initialized(&initialized);
  if (initialized) return tlt_fail(err, TLT_EINTERNAL, "workers: opened twice");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  set_defaults();
  /* MPI_Init's failure is fatal in Open MPI, with its own message. */
  int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
  tlt_fp_environment();
  return tlt__mpi(code, "MPI_Init_thread", err);
}

static tlt_status duplicate(MPI_Comm from, MPI_Comm *to, tlt_err *err) {
  tlt_status s = tlt__mpi(MPI_Comm_dup(from, to), "MPI_Comm_dup", err);
  if (s == TLT_OK) MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN);
  return s;
}

/* Which processes are on this machine, and how many machines there are. */
static tlt_status find_hosts(tlt_cluster *c, tlt_err *err) {
  tlt_status s = tlt__mpi(
      MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &c->host),
      "MPI_Comm_split_type", err);
  if (s != TLT_OK) return s;
  MPI_Comm_set_errhandler(c->host, MPI_ERRORS_RETURN);
  MPI_Comm_rank(c->host, &c->host_rank);
  MPI_Comm_size(c->host, &c->host_size);
  return tlt__reduce(c, c->world, c->host_rank == 0, MPI_SUM, &c->hosts, "counting hosts", err);
}

static tlt_status join(tlt_cluster *c, tlt_err *err) {
  tlt_status s = start_mpi(err);
  if (s != TLT_OK) return s;
  c->mpi = true;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
  MPI_Comm_size(MPI_COMM_WORLD, &c->size);
  s = duplicate(MPI_COMM_WORLD, &c->world, err);
  if (s == TLT_OK) s = duplicate(MPI_COMM_WORLD, &c->messages, err);
  if (s == TLT_OK) s = find_hosts(c, err);
  if (s == TLT_OK && c->size > 1) s = tlt__team_open(c, err);
  if (s == TLT_OK) s = tlt__watchdog_start(c, err);
  return s;
}

tlt_status tlt_cluster_open(const tlt_cluster_options *options, tlt_cluster **out, tlt_err *err) {
  *out = NULL;
  tlt_cluster *c = tlt_calloc_aligned(1, sizeof *c);
  if (!c) return tlt_fail_nomem(err, "workers", sizeof *c);
  if (options) c->options = *options;
  c->size = c->host_size = c->hosts = 1;
  c->world = c->messages = c->host = c->team_comm = c->leaders = MPI_COMM_NULL;
  tlt_status s = tlt_cluster_launched() ? join(c, err) : TLT_OK;
  if (s != TLT_OK) {
    /* The others may be in another place: no collective clean-up, mpirun ends them with us. */
    tlt__watchdog_stop(c);
    tlt_free(c);
    return s;
  }
  *out = c;
  return TLT_OK;
}

static void free_comm(MPI_Comm *comm) {
  if (*comm != MPI_COMM_NULL) MPI_Comm_free(comm);
}

void tlt_cluster_close(tlt_cluster *c) {
  if (!c) return;
  if (c->mpi && !broken) tlt_cluster_barrier(c, NULL); /* whoever is gone after it is no loss */
  tlt__watchdog_stop(c);
  if (!broken) tlt__messages_close(c);
  tlt__team_close(c);
  if (c->mpi && !broken) {
    free_comm(&c->leaders);
    free_comm(&c->host);
    free_comm(&c->messages);
    free_comm(&c->world);
    MPI_Finalize();
  }
  tlt_free(c);
}

_Noreturn void tlt_cluster_abort(tlt_cluster *c, int exit_code) {
  if (c && c->mpi) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

int tlt_cluster_rank(const tlt_cluster *c) {
  return c->rank;
}
int tlt_cluster_size(const tlt_cluster *c) {
  return c->size;
}
int tlt_cluster_host_rank(const tlt_cluster *c) {
  return c->host_rank;
}
int tlt_cluster_host_size(const tlt_cluster *c) {
  return c->host_size;
}
int tlt_cluster_hosts(const tlt_cluster *c) {
  return c->hosts;
}
const tlt_team *tlt_cluster_team(tlt_cluster *c) {
  return c->size > 1 ? &c->team : NULL;
}
