/* The reference system's policies (mit-han-lab/fastrl; formats.md section 3): bandits over fixed
 * strategies DEPTH_TOPK_VERIFY, kept for comparison with the planner.
 *
 * A strategy drafts DEPTH levels, extends the TOPK best nodes of each, and verifies VERIFY rows per
 * sequence, the sequence's own row included. The reward of a strategy at batch size B is
 * median accept length of the strategy * B / seconds; its score the median of its rewards in a
 * sliding window, per group of batch sizes (1-31 by 1, 32-120 by 8, from 128 by 32); a strategy not
 * yet seen scores infinity.
 *
 *   beg-mab  strategies belong to buckets of batch sizes by VERIFY (most rows for the smallest
 *            batches); epsilon-greedy among those of the bucket
 *   eg       epsilon-greedy among all with VERIFY * B <= 2048
 *   ucb1     10 % trimmed mean + sqrt(2 ln N / n) among the same, rewards scaled by the largest
 *   fixed    one strategy
 * Unlike the reference system's defaults every bucket holds several strategies. */
#ifndef TLT_PLAN_BANDIT_H
#define TLT_PLAN_BANDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_strategy {
  int depth, topk, verify;
} tlt_strategy;

typedef enum tlt_bandit_kind {
  TLT_BANDIT_BEG,
  TLT_BANDIT_EG,
  TLT_BANDIT_UCB1,
  TLT_BANDIT_FIXED
} tlt_bandit_kind;

enum {
  TLT_BANDIT_STRATEGIES = 16,
  TLT_BANDIT_WINDOW = 300,
  TLT_BANDIT_EPSILON_PERCENT = 10,
};

typedef struct tlt_bandit tlt_bandit;

/* "D_K_V"; depth 1 .. 32, topk 1 .. 4, verify 2 .. 64. False when it is not one. */
bool tlt_strategy_parse(const char *text, size_t n, tlt_strategy *out);

/* strategies [n]; NULL: the built-in ones. seed: of exploration. */
tlt_status tlt_bandit_create(tlt_bandit_kind kind, const tlt_strategy *strategies, int n,
                             uint32_t seed, tlt_bandit **out, tlt_err *err);
void tlt_bandit_free(tlt_bandit *b); /* NULL is harmless */

/* Strategy for a step of so many sequences, and its index for the reward. Allocates nothing. */
const tlt_strategy *tlt_bandit_choose(tlt_bandit *b, int sequences, int *index);

/* tokens: drawn in the step, all sequences together. */
void tlt_bandit_reward(tlt_bandit *b, int index, int sequences, int tokens, double seconds);

#endif
