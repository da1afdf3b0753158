#include "base/team.h"

#include "base/mem.h"

/* What a process tells the others. */
typedef struct report {
  tlt_status status;
  tlt_err err;
} report;

static tlt_status judge(const report *reports, int size, tlt_status mine, tlt_err *err) {
  if (mine != TLT_OK) return mine;
  for (int rank = 0; rank < size; rank++)
    if (reports[rank].status != TLT_OK)
      return tlt_fail(err, reports[rank].status, "%s", reports[rank].err.text);
  return TLT_OK;
}

tlt_status tlt_team_agree(const tlt_team *team, tlt_status mine, tlt_err *err) {
  if (!tlt_team_shares(team)) return mine;
  void *memory = NULL;
  size_t bytes = (size_t)team->size * sizeof(report);
  tlt_err lost;
  tlt_status status = team->share(team->context, bytes, &memory, mine ? &lost : err);
  if (status) return mine ? mine : status;
  report *reports = memory;
  reports[team->rank].status = mine;
  if (mine) {
    if (err) reports[team->rank].err = *err;
    else tlt_fail(&reports[team->rank].err, mine, "%s", tlt_status_text(mine));
  }
  status = team->barrier(team->context, mine ? &lost : err);
  if (!status) status = judge(reports, team->size, mine, err);
  team->unshare(team->context, memory, bytes);
  return mine ? mine : status;
}
