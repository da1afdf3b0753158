/* Collective functions: MPI's non-blocking ones, with sleeping polls. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/internal.h"

enum { SMALL = 64 << 10 }; /* bytes that move at once */

tlt_status tlt__finish(tlt_cluster *c, int code, MPI_Request *request, double busy,
                       const char *what, tlt_err *err) {
  tlt_status s = tlt__mpi(code, what, err);
  double start = tlt_now() + busy;
  for (int done = 0; s == TLT_OK;) {
    s = tlt__mpi(MPI_Test(request, &done, MPI_STATUS_IGNORE), what, err);
    if (s == TLT_OK && done) return TLT_OK;
    if (s == TLT_OK) s = tlt__complete_sends(c, err);
    if (s == TLT_OK) tlt__pause(start, NULL, 0);
  }
  return s;
}

tlt_status tlt__reduce(tlt_cluster *c, MPI_Comm comm, int mine, MPI_Op op, int *result,
                       const char *what, tlt_err *err) {
  MPI_Request request;
  int code = MPI_Iallreduce(&mine, result, 1, MPI_INT, op, comm, &request);
  return tlt__finish(c, code, &request, 0, what, err);
}

static tlt_status barrier(tlt_cluster *c, MPI_Comm comm, tlt_err *err) {
  MPI_Request request;
  int code = MPI_Ibarrier(comm, &request);
  return tlt__finish(c, code, &request, 0, "barrier", err);
}

tlt_status tlt__assemble(tlt_cluster *c, MPI_Comm comm, size_t bytes, tlt_err *err) {
  return bytes > SMALL ? barrier(c, comm, err) : TLT_OK;
}

tlt_status tlt_cluster_barrier(tlt_cluster *c, tlt_err *err) {
  return c->size == 1 ? TLT_OK : barrier(c, c->world, err);
}

tlt_status tlt_cluster_bcast(tlt_cluster *c, int root, void *data, size_t bytes, tlt_err *err) {
  if (c->size == 1) return TLT_OK;
  char *at = data;
  tlt_status s = tlt__assemble(c, c->world, bytes, err);
  for (size_t done = 0; done < bytes && s == TLT_OK; done += TLT__CHUNK) {
    size_t n = bytes - done < TLT__CHUNK ? bytes - done : TLT__CHUNK;
    MPI_Request request;
    int code = MPI_Ibcast(at + done, (int)n, MPI_BYTE, root, c->world, &request);
    s = tlt__finish(c, code, &request, TLT__CHUNK_SECONDS, "broadcast", err);
  }
  return s;
}

tlt_status tlt_cluster_sum_f32(tlt_cluster *c, float *x, size_t n, tlt_err *err) {
  if (c->size == 1) return TLT_OK;
  const size_t most = TLT__CHUNK / sizeof *x;
  tlt_status s = tlt__assemble(c, c->world, n * sizeof *x, err);
  for (size_t done = 0; done < n && s == TLT_OK; done += most) {
    int part = (int)(n - done < most ? n - done : most);
    MPI_Request request;
    int code = MPI_Iallreduce(MPI_IN_PLACE, x + done, part, MPI_FLOAT, MPI_SUM, c->world, &request);
    s = tlt__finish(c, code, &request, TLT__CHUNK_SECONDS, "sum", err);
  }
  return s;
}

/* ---- agreement ---- */

/* The same size in every version of the program, so that different versions can tell. */
typedef struct values {
  int32_t n;
  char text[TLT_AGREE_ITEMS_MAX][TLT_AGREE_VALUE_MAX];
} values;

typedef struct difference {
  char what[64], here[TLT_AGREE_VALUE_MAX], there[TLT_AGREE_VALUE_MAX];
} difference;

/* Whether mine differ from those of rank 0, and in what. */
static bool differs(const values *mine, const values *zero, const char *const what[],
                    difference *d) {
  if (mine->n != zero->n) {
    snprintf(d->what, sizeof d->what, "program");
    snprintf(d->here, sizeof d->here, "another one");
    snprintf(d->there, sizeof d->there, "the expected one");
    return true;
  }
  for (int i = 0; i < mine->n; i++) {
    if (!strcmp(mine->text[i], zero->text[i])) continue;
    snprintf(d->what, sizeof d->what, "%s", what[i]);
    memcpy(d->here, mine->text[i], sizeof d->here);
    memcpy(d->there, zero->text[i], sizeof d->there);
    return true;
  }
  return false;
}

/* The lowest rank that raises its hand (size: none), known to all. */
static tlt_status lowest_rank(tlt_cluster *c, bool raised, int *lowest, tlt_err *err) {
  return tlt__reduce(c, c->world, raised ? c->rank : c->size, MPI_MIN, lowest, "agreement", err);
}

tlt_status tlt_cluster_agree(tlt_cluster *c, const char *const what[], const char *const value[],
                             int n, tlt_err *err) {
  if (n < 0 || n > TLT_AGREE_ITEMS_MAX)
    return tlt_fail(err, TLT_EINTERNAL, "agreement about %d items", n);
  if (c->size == 1) return TLT_OK;
  values mine = {.n = n}, zero;
  difference d = {0};
  for (int i = 0; i < n; i++) snprintf(mine.text[i], sizeof mine.text[i], "%s", value[i]);
  zero = mine;
  int who = c->size;
  tlt_status s = tlt_cluster_bcast(c, 0, &zero, sizeof zero, err);
  bool mismatch = s == TLT_OK && differs(&mine, &zero, what, &d);
  if (s == TLT_OK) s = lowest_rank(c, mismatch, &who, err);
  if (s != TLT_OK || who == c->size) return s;
  s = tlt_cluster_bcast(c, who, &d, sizeof d, err);
  if (s != TLT_OK) return s;
  return tlt_fail(err, TLT_EWORKER,
                  "workers disagree: %.63s: worker %d has %.255s, worker 0 %.255s", d.what, who,
                  d.here, d.there);
}

static int gravity(tlt_status s) {
  switch (s) {
    case TLT_OK: return 0;
    case TLT_ESTOPPED: return 1;
    case TLT_EWORKER: return 2;
    default: return 3;
  }
}

tlt_status tlt_cluster_agree_status(tlt_cluster *c, tlt_status mine, tlt_err *err) {
  if (c->size == 1) return mine;
  tlt_err said = {.status = mine};
  if (mine != TLT_OK && err) said = *err;
  said.status = mine;
  int grave = gravity(mine), gravest = 0, who = c->size;
  tlt_status s = tlt__reduce(c, c->world, grave, MPI_MAX, &gravest, "agreement", err);
  if (s != TLT_OK || gravest == 0) return s;
  s = lowest_rank(c, grave == gravest, &who, err);
  if (s == TLT_OK) s = tlt_cluster_bcast(c, who, &said, sizeof said, err);
  if (s != TLT_OK) return s;
  if (err) *err = said;
  return who ? tlt_fail_prefix(err, "worker %d", who), said.status : said.status;
}
