/* Shared by update.c and update_task.c. */
#ifndef TLT_RL_UPDATE_INTERNAL_H
#define TLT_RL_UPDATE_INTERNAL_H

#include "rl/update.h"

/* Not masked, not replaced. */
bool tlt_update_includes(const tlt_group *g);
/* Of these, those with anything but zeros in their gradient. */
bool tlt_update_needs(const tlt_update *u, const tlt_group *g);

void tlt_update_make_waiting(tlt_update *u, int i);

#endif
