/* The one thread pool: fork-join over numbered items.
 *
 * Waiting threads spin at most 20 microseconds and then sleep on a futex, so that a machine shared
 * with other processes is not slowed by waiting. Every thread runs with round-to-nearest and
 * denormals kept (MXCSR), and with omp_set_num_threads(1) where OpenMP is loaded. */
#ifndef TLT_BASE_POOL_H
#define TLT_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/team.h"

typedef struct tlt_pool tlt_pool;

/* One item of work. thread: 0 .. tlt_pool_threads-1, for per-thread scratch only; nothing that is
 * computed may depend on it. */
typedef void (*tlt_pool_task)(void *context, int64_t item, int thread);

/* threads: 0 means all cores this process may use. The calling thread is thread 0 of every run. */
tlt_status tlt_pool_create(int threads, tlt_pool **out, tlt_err *err);
/* Collective, for a worker among others of this host, whose cores were divided before: runs may
 * also use cores of other workers while these lend them. team outlives the pool; NULL or one of a
 * single process: as tlt_pool_create. */
tlt_status tlt_pool_create_shared(int threads, const tlt_team *team, tlt_pool **out, tlt_err *err);
void tlt_pool_free(tlt_pool *pool); /* NULL is harmless */

/* Threads that a run may have at most, those on borrowed cores included: for sizes of scratch. */
int tlt_pool_threads(const tlt_pool *pool);
/* Of these, those on cores of its own. */
int tlt_pool_own_threads(const tlt_pool *pool);
/* Threads that the next run will have, if nothing changes until then: for cutting work into items.
 */
int tlt_pool_active(const tlt_pool *pool);

/* Run task(context, i, thread) for every i in 0 .. items-1, each once, items handed out in
 * ascending order; returns when all are done. Allocates nothing. Not reentrant: one run at a
 * time, never from inside a task. */
void tlt_pool_run(tlt_pool *pool, tlt_pool_task task, void *context, int64_t items);

/* ---- pauses ---------------------------------------------------------------------------------- */

/* With a hook, every TLT_POOL_SLICE_MS (plus the item that is at work then) a run stops handing out
 * items, waits for those at work and calls hook(context) on the calling thread; so does the end of
 * a run when that is due. Work that is background to something else stays answerable that way: the
 * hook may itself use the pool, and such runs are ordinary ones, without pauses. The thread's
 * allocation guard is set aside meanwhile.
 *
 * Which items ran before a pause depends on time; that every item runs once, in ascending order of
 * starting, does not, nor do results.
 *
 * When hook returns false the work is abandoned: the rest of the run and every later run are
 * skipped without a word until tlt_pool_set_pause is called again, and whoever runs several in a
 * row asks tlt_pool_abandoned in between. hook NULL: no pauses. Not from inside a hook. */
enum { TLT_POOL_SLICE_MS = 4 };
typedef bool (*tlt_pool_hook)(void *context);
void tlt_pool_set_pause(tlt_pool *pool, tlt_pool_hook hook, void *context);
bool tlt_pool_abandoned(const tlt_pool *pool);

/* ---- lending --------------------------------------------------------------------------------- */

/* The owner is about to wait for others: its cores are theirs until its next run, which takes them
 * back at once. Nothing happens to a pool that shares with nobody. */
void tlt_pool_lend(tlt_pool *pool);
/* Back without a run: nobody has them while the owner waits on. */
void tlt_pool_keep(tlt_pool *pool);
/* Somebody has taken the lent cores. */
bool tlt_pool_is_lent(const tlt_pool *pool);

/* Set MXCSR as the contract demands in the calling thread; the pool does so in its own. Call it
 * again after initialising a foreign library. */
void tlt_fp_environment(void);

#endif
