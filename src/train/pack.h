/* Which samples form a micro-batch: a pure function of lengths and groups, so that gradients do not
 * depend on workers, threads or memory. */
#ifndef TLT_TRAIN_PACK_H
#define TLT_TRAIN_PACK_H

#include <stdint.h>

/* Cut samples 0 .. n-1 into runs of consecutive samples. A run is filled up to micro_tokens tokens
 * of prompt and answer, never crosses a group, and a sample longer than that stands alone.
 * length [n] tokens of each sample; group [n] its group, equal for samples of one group, or NULL
 * when all are one; first [n + 1] gets the first sample of each run, first[count] = n.
 * Returns the number of runs. */
int tlt_pack_micro(const int32_t *length, const int32_t *group, int n, int micro_tokens,
                   int32_t *first);

#endif
