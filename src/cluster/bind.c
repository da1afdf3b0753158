/* Dividing the cores of a host among its workers. */
#include <hwloc.h>
#include <stdlib.h>

#include "base/log.h"
#include "cluster/internal.h"

static tlt_status load_topology(hwloc_topology_t *t, tlt_err *err) {
  if (hwloc_topology_init(t)) return tlt_fail(err, TLT_ENOMEM, "out of memory: processor topology");
  if (hwloc_topology_load(*t) == 0) return TLT_OK;
  hwloc_topology_destroy(*t);
  return tlt_fail(err, TLT_EIO, "cannot read the processor topology");
}

static uint32_t hash(const char *s) {
  uint32_t h = 2166136261u; /* FNV-1a */
  for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
  return h;
}

/* Whether all workers of this host may use the same processing units. */
static tlt_status all_the_same(tlt_cluster *c, hwloc_const_bitmap_t allowed, bool *same,
                               tlt_err *err) {
  char *text = NULL;
  int code = hwloc_bitmap_asprintf(&text, allowed);
  uint32_t mine = code < 0 ? 0 : hash(text), both[2] = {mine, ~mine}, least[2] = {0};
  free(text); /* hwloc's */
  MPI_Request request;
  code = MPI_Iallreduce(both, least, 2, MPI_UINT32_T, MPI_MIN, c->host, &request);
  tlt_status s = tlt__finish(c, code, &request, 0, "comparing processor masks", err);
  *same = s == TLT_OK && least[0] == ~least[1]; /* lowest and highest hash */
  return s;
}

/* One processing unit of each core that may be used, in the order of the topology, so that
 * neighbours share caches and memory; NULL set: only count. From `first`, at most `n`. */
static int collect_cores(hwloc_topology_t t, hwloc_const_bitmap_t allowed, int first, int n,
                         hwloc_bitmap_t set) {
  int found = 0, taken = 0;
  for (hwloc_obj_t core = NULL; (core = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_CORE, core));) {
    hwloc_bitmap_t own = hwloc_bitmap_dup(core->cpuset);
    if (!own) return 0;
    hwloc_bitmap_and(own, own, allowed);
    bool usable = !hwloc_bitmap_iszero(own);
    if (usable && found++ >= first && taken < n) {
      hwloc_bitmap_singlify(own);
      if (set) hwloc_bitmap_or(set, set, own);
      taken++;
    }
    hwloc_bitmap_free(own);
  }
  return taken;
}

static int part(int of, int rank, int ranks) {
  return of * (rank + 1) / ranks - of * rank / ranks;
}

/* Bind to this worker's run of cores; their number, 0 when that failed. */
static int bind_part(tlt_cluster *c, hwloc_topology_t t, hwloc_const_bitmap_t allowed, int cores) {
  int first = cores * c->host_rank / c->host_size, n = part(cores, c->host_rank, c->host_size);
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  int bound = set ? collect_cores(t, allowed, first, n, set) : 0;
  if (bound && hwloc_set_cpubind(t, set, HWLOC_CPUBIND_PROCESS)) {
    tlt_log_write(TLT_LOG_WARN, "worker %d cannot be bound to its cores", c->rank);
    bound = n;
  }
  hwloc_bitmap_free(set);
  return bound;
}

static tlt_status divide(tlt_cluster *c, hwloc_topology_t t, hwloc_const_bitmap_t allowed,
                         int asked, int *threads, tlt_err *err) {
  bool same = false;
  tlt_status s = all_the_same(c, allowed, &same, err);
  if (s != TLT_OK) return s;
  int cores = collect_cores(t, allowed, 0, INT32_MAX, NULL), own = cores;
  if (same && cores < c->host_size) {
    if (c->host_rank == 0)
      tlt_log_write(TLT_LOG_WARN, "%d workers on %d cores: they take turns", c->host_size, cores);
    own = 1;
  } else if (same) {
    own = bind_part(c, t, allowed, cores);
  }
  *threads = asked > 0 ? part(asked, c->host_rank, c->host_size) : own;
  if (*threads < 1) *threads = 1;
  return TLT_OK;
}

tlt_status tlt_cluster_bind(tlt_cluster *c, int threads_asked, int *threads, tlt_err *err) {
  *threads = threads_asked;
  if (c->size == 1) return TLT_OK;
  hwloc_topology_t t;
  tlt_status s = load_topology(&t, err);
  if (s != TLT_OK) return s;
  hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
  if (!allowed) s = tlt_fail(err, TLT_ENOMEM, "out of memory: processor mask");
  else if (hwloc_get_cpubind(t, allowed, HWLOC_CPUBIND_PROCESS))
    hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(t));
  if (s == TLT_OK) s = divide(c, t, allowed, threads_asked, threads, err);
  hwloc_bitmap_free(allowed);
  hwloc_topology_destroy(t);
  return s;
}
