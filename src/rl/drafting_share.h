/* When a drafter is worth training.
 *
 * Its time comes out of the step, or out of idle time that would otherwise be lent to those who
 * still compute. Each publication tells what the training since the last one was worth: by how much
 * the held-back chain length of the trained drafter lies above that of the published one, both
 * measured on the same newest answers. For a target that moves this is the value of following it.
 * When the last four publications together brought less than half a percent (five percent while the
 * policy of speculation hardly uses the learned drafter: then only a drafter that gets much better
 * can matter), training rests for 8, 16, 32, then always 64 steps and tries four publications
 * again. It wakes at once, and forgets how often it rested, when the policy has moved away from the
 * published drafter: when the chain length, a mean over what was seen during the rest, lies two
 * percent below that of the last four publications, and by two standard errors, since every step
 * measures it on other answers. No tensors, no clock. */
#ifndef TLT_RL_DRAFTING_SHARE_H
#define TLT_RL_DRAFTING_SHARE_H

#include <stdbool.h>

enum { TLT_SHARE_WINDOW = 4, TLT_SHARE_LOOK = 4 };

typedef struct tlt_drafting_share {
  double gain[TLT_SHARE_WINDOW];   /* relative, of the last publications */
  double length[TLT_SHARE_WINDOW]; /* chain length of what each of them published or kept */
  int n;                           /* publications in a row */
  int rests;                       /* without a response in between */
  int left;                        /* steps to rest; 0: awake */
  double level, spread;            /* mean and deviation of length[] when it went to rest */
  double seen;                     /* sum of chain lengths since then, and how many */
  int n_seen;
} tlt_drafting_share;

bool tlt_share_rests(const tlt_drafting_share *s);

/* After a publication: chain lengths before and after; used: the drafter's nodes were verified in
 * at least one of a hundred sequence steps. */
void tlt_share_published(tlt_drafting_share *s, double before, double after, bool used);

/* Once per RL step. */
void tlt_share_step(tlt_drafting_share *s);
/* Training that rests wants to know the published drafter's chain length in this step. */
bool tlt_share_looks(const tlt_drafting_share *s);
void tlt_share_seen(tlt_drafting_share *s, double length);

#endif
