/* Cores between the workers of a host: what one has no use for now serves another's runs. The pool
 * (base/pool.h) is the only user.
 *
 * There is one word per worker, in memory that all of them see: its cores are in use, offered, or
 * borrowed by some worker. Nobody waits for anybody. A worker takes its cores back by writing its
 * word; whoever had borrowed them looks at the word before every run and then lets go, so that for
 * the rest of one run both may want the same core. The result of a run does not depend on threads,
 * so that none of this can show in it.
 *
 * Only cores that are bound to one worker alone are lent. One owner thread per worker. */
#ifndef TLT_BASE_LENDING_H
#define TLT_BASE_LENDING_H

#include <stdbool.h>

#include "base/team.h"

enum { TLT_LENDING_MOST = 16 }; /* threads that a worker may borrow at once */

typedef struct tlt_lending tlt_lending;

/* Collective, after the cores of a host were divided; threads is how many this worker has of its
 * own. *out is NULL, and all is well, where nothing can be lent: no team, or one of a single
 * process. */
tlt_status tlt_lending_open(const tlt_team *team, int threads, tlt_lending **out, tlt_err *err);
void tlt_lending_close(tlt_lending *l); /* not collective; NULL is harmless */

/* Threads that may ever be borrowed at once; slots below are numbered 0 .. most-1. */
int tlt_lending_most(const tlt_lending *l);

/* Own cores are free from now on, and borrowed ones are given back. Again: no change. */
void tlt_lending_offer(tlt_lending *l);
/* Own cores are needed from now on. */
void tlt_lending_resume(tlt_lending *l);
/* Own cores are at work for somebody else. */
bool tlt_lending_is_taken(const tlt_lending *l);

/* Own cores are needed from now on; let go of what was taken back, borrow what is offered: an even
 * share of it among the workers that are at work. Returns how many slots are in use. */
int tlt_lending_settle(tlt_lending *l);
/* Logical processor of a slot; -1: not in use. */
int tlt_lending_cpu(const tlt_lending *l, int slot);

#endif
