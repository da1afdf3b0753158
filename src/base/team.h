/* Processes of one host that work on the same memory, as the layers below the cluster see them.
 * cluster/ implements it over MPI; without one (NULL) a process is alone.
 *
 * Collective functions are called by the main thread of every process of the team in the same
 * order. They sleep while they wait. A failure means that the team is broken: give up. */
#ifndef TLT_BASE_TEAM_H
#define TLT_BASE_TEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_team {
  void *context;
  int rank, size; /* among the processes of this host that share memory */

  /* Collective. No process of this host goes on before all have come. */
  tlt_status (*barrier)(void *context, tlt_err *err);

  /* Collective: zeroed, page-aligned memory that every process of this host sees, huge pages
   * advised; not necessarily at the same address. bytes must be the same everywhere.
   * TLT_ENOMEM on every process when any could not have it. */
  tlt_status (*share)(void *context, size_t bytes, void **out, tlt_err *err);
  void (*unshare)(void *context, void *p, size_t bytes); /* not collective; NULL is harmless */

  /* Collective over the processes of all hosts: x [n], in shared memory, becomes the sum over
   * hosts. Everything written to x before the call by any process of the host is in the sum, and
   * the sum is visible to all of them afterwards. Integer addition: the order does not matter. */
  tlt_status (*sum_hosts)(void *context, int64_t *x, size_t n, tlt_err *err);
} tlt_team;

/* More than one process: NULL and a team of one are not. */
static inline bool tlt_team_shares(const tlt_team *team) { return team && team->size > 1; }

/* Collective: every process brings how it fared so far, TLT_OK or what *err says, and gets the same
 * answer: TLT_OK when all are well, else a failure. Its own text stays with a process that failed;
 * the others get that of the lowest rank which did. A failure that only one process can have comes
 * before collective calls; this comes between. */
tlt_status tlt_team_agree(const tlt_team *team, tlt_status mine, tlt_err *err);

/* The contiguous share of `items` that belongs to a process: first .. first of the next rank - 1. */
static inline int64_t tlt_team_first(const tlt_team *team, int rank, int64_t items) {
  return team ? items * rank / team->size : rank ? items : 0;
}

#endif
