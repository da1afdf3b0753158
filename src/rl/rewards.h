/* From scores to advantages. */
#ifndef TLT_RL_REWARDS_H
#define TLT_RL_REWARDS_H

#include "rl/config.h"
#include "rl/group.h"

/* Rewards of a group's answers: score and length penalty. */
void tlt_group_rewards(tlt_group *g, int samples, const tlt_train_config *c);

/* Advantages from rewards; a masked group gets 0. spread: standard deviation over the whole batch,
 * where the scale asks for it. */
void tlt_group_advantages(tlt_group *g, int samples, double spread, const tlt_train_config *c);

/* Both for all groups of a step. */
void tlt_groups_advantages(tlt_groups *g, const tlt_train_config *c);

#endif
