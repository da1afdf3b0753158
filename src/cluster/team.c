/* The processes of one host that share memory: base/team.h over MPI and shared pages. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared_pages.h"
#include "cluster/internal.h"

/* ---- sharing ---- */

/* Whether all members say yes. */
static tlt_status all_say(tlt_cluster *c, MPI_Comm comm, bool mine, bool *all, tlt_err *err) {
  int lowest = 0;
  tlt_status s = tlt__reduce(c, comm, mine, MPI_MIN, &lowest, "sharing memory", err);
  *all = s == TLT_OK && lowest;
  return s;
}

/* share() between the members of comm. Why the own part failed, if it did, goes to the log. */
static tlt_status share_among(tlt_cluster *c, MPI_Comm comm, size_t bytes, void **out,
                              tlt_err *err) {
  tlt_shared_pages pages = {0};
  tlt_err why = {0};
  tlt_status mine = TLT_OK;
  int rank;
  bool all_fine = false;
  void *p = NULL;
  *out = NULL;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) mine = tlt_shared_pages_make(bytes, &pages, &p, &why);
  tlt_shared_pages made = pages;
  MPI_Request request;
  int code = MPI_Ibcast(&made, sizeof made, MPI_BYTE, 0, comm, &request);
  tlt_status s = tlt__finish(c, code, &request, 0, "sharing memory", err);
  if (s == TLT_OK && rank > 0)
    mine = made.bytes != bytes ? tlt_fail(&why, TLT_ENOMEM, "shared memory of %zu bytes", bytes)
                               : tlt_shared_pages_open(&made, &p, &why);
  if (s == TLT_OK) s = all_say(c, comm, mine == TLT_OK, &all_fine, err);
  tlt_shared_pages_close(&pages);
  if (s == TLT_OK && all_fine) {
    *out = p;
    return TLT_OK;
  }
  tlt_shared_pages_unmap(p, bytes);
  if (s != TLT_OK) return s;
  if (mine != TLT_OK) tlt_log_write(TLT_LOG_DEBUG, "worker %d: %s", c->rank, why.text);
  return tlt_fail_nomem(err, "memory shared between workers", bytes);
}

static tlt_status share(void *context, size_t bytes, void **out, tlt_err *err) {
  tlt_cluster *c = context;
  if (c->team.size > 1) return share_among(c, c->team_comm, bytes, out, err);
  *out = tlt_pages_alloc(bytes);
  return *out ? TLT_OK : tlt_fail_nomem(err, "memory of a worker", bytes);
}

static void unshare(void *context, void *p, size_t bytes) {
  tlt_cluster *c = context;
  if (c->team.size > 1) tlt_shared_pages_unmap(p, bytes);
  else tlt_pages_free(p, bytes);
}

/* ---- barrier ---- */

static tlt_status broken(tlt_err *err) {
  return tlt_fail(err, TLT_EWORKER, "another worker of this machine failed");
}

/* The last to come starts the next generation and wakes the others. */
static tlt_status barrier(void *context, tlt_err *err) {
  tlt_cluster *c = context;
  tlt__control *k = c->control;
  if (c->team.size == 1) return TLT_OK;
  uint32_t generation = atomic_load(&k->generation);
  if (atomic_fetch_add(&k->arrived, 1) + 1 == (uint32_t)c->team.size) {
    atomic_store(&k->arrived, 0);
    atomic_fetch_add(&k->generation, 1);
    tlt__wake(&k->generation);
    return atomic_load(&k->broken) ? broken(err) : TLT_OK;
  }
  double start = tlt_now();
  while (atomic_load(&k->generation) == generation) {
    if (atomic_load(&k->broken)) return broken(err);
    tlt_status s = tlt__complete_sends(c, err);
    if (s != TLT_OK) return s;
    tlt__pause(start, &k->generation, generation);
  }
  return TLT_OK;
}

/* ---- sum over hosts ---- */

static tlt_status sum_leaders(tlt_cluster *c, int64_t *x, size_t n, tlt_err *err) {
  const size_t most = TLT__CHUNK / sizeof *x;
  tlt_status s = tlt__assemble(c, c->leaders, n * sizeof *x, err);
  for (size_t done = 0; done < n && s == TLT_OK; done += most) {
    int part = (int)(n - done < most ? n - done : most);
    MPI_Request request;
    int code =
        MPI_Iallreduce(MPI_IN_PLACE, x + done, part, MPI_INT64_T, MPI_SUM, c->leaders, &request);
    s = tlt__finish(c, code, &request, TLT__CHUNK_SECONDS, "sum over hosts", err);
  }
  return s;
}

static tlt_status sum_hosts(void *context, int64_t *x, size_t n, tlt_err *err) {
  tlt_cluster *c = context;
  tlt_status s = barrier(c, err);
  if (s != TLT_OK || c->n_leaders == 1) return s;
  if (c->leaders != MPI_COMM_NULL) s = sum_leaders(c, x, n, err);
  if (s != TLT_OK && c->control) atomic_store(&c->control->broken, 1);
  return s == TLT_OK ? barrier(c, err) : s;
}

/* ---- start and end ---- */

/* Make the control block of this host's team; *shared says whether all of the host have it. */
static tlt_status share_control(tlt_cluster *c, bool *shared, tlt_err *err) {
  const char *wish = getenv("TLT_SHARE");
  bool may = !(wish && !strcmp(wish, "off")), all_may = false;
  void *p = NULL;
  *shared = false;
  tlt_status s = all_say(c, c->host, may, &all_may, err);
  if (s != TLT_OK || !all_may) return s;
  c->control_bytes = sizeof(tlt__control) + (size_t)c->host_size * sizeof(tlt__member);
  s = share_among(c, c->host, c->control_bytes, &p, err);
  c->control = p;
  *shared = s == TLT_OK;
  return s == TLT_ENOMEM ? TLT_OK : s;
}

/* All processes of all hosts share within their host, or none does: then each is a team of one. */
static tlt_status form_team(tlt_cluster *c, tlt_err *err) {
  bool shared = c->host_size == 1, all_share = false;
  tlt_status s = shared ? TLT_OK : share_control(c, &shared, err);
  if (s == TLT_OK) s = all_say(c, c->world, shared, &all_share, err);
  if (s != TLT_OK) return s;
  c->team_comm = all_share ? c->host : MPI_COMM_SELF;
  if (all_share) return TLT_OK;
  if (c->rank == 0)
    tlt_log_write(TLT_LOG_WARN,
                  "workers of one machine cannot share memory: each keeps its own copy of weights "
                  "and optimizer state");
  tlt_shared_pages_unmap(c->control, c->control_bytes);
  c->control = NULL;
  return TLT_OK;
}

tlt_status tlt__team_open(tlt_cluster *c, tlt_err *err) {
  tlt_status s = form_team(c, err);
  if (s != TLT_OK) return s;
  c->team = (tlt_team){
      .context = c, .barrier = barrier, .share = share, .unshare = unshare, .sum_hosts = sum_hosts};
  MPI_Comm_rank(c->team_comm, &c->team.rank);
  MPI_Comm_size(c->team_comm, &c->team.size);
  int leads = c->team.rank == 0;
  s = tlt__mpi(MPI_Comm_split(c->world, leads ? 0 : MPI_UNDEFINED, c->rank, &c->leaders),
               "MPI_Comm_split", err);
  if (s != TLT_OK) return s;
  if (leads) MPI_Comm_set_errhandler(c->leaders, MPI_ERRORS_RETURN);
  if (c->control) c->control->member[c->team.rank].rank = c->rank;
  return tlt__reduce(c, c->world, leads, MPI_SUM, &c->n_leaders, "counting teams", err);
}

void tlt__team_close(tlt_cluster *c) {
  tlt_shared_pages_unmap(c->control, c->control_bytes);
  c->control = NULL;
}
