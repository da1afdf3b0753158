/* Hosts of forked processes that form teams, for tests: memory of a host is a memfd that its
 * processes map at different addresses, barriers are those of pthread. */
#ifndef TLT_TEST_TRAIN_TEAM_H
#define TLT_TEST_TRAIN_TEAM_H

#include "base/team.h"

enum { TEAM_HOSTS = 2, TEAM_PROCESSES = 3 };

/* Fork hosts x size processes (at most TEAM_HOSTS, TEAM_PROCESSES), each of which calls run with the
 * team it is in (its host: see team_host) and ends with the value returned; true when all returned
 * 0 within a minute. With size 1 a team of one, with size 0 no team (NULL) in a single process. */
typedef int (*team_main)(void *context, const tlt_team *team);
bool team_run(int hosts, int size, team_main run, void *context);

int team_host(const tlt_team *team);
int team_shares(const tlt_team *team); /* calls of share so far minus those of unshare */

#endif
