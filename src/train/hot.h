/* Which tokens a drafter computes logits for: those that were drawn most often. */
#ifndef TLT_TRAIN_HOT_H
#define TLT_TRAIN_HOT_H

#include <stdint.h>

#include "tlt/status.h"

/* The at most `most` tokens with the highest counts seen [vocab], lower ids first where equal,
 * tokens never seen left out: hot [most], *n of them, ascending. TLT_ENOMEM. */
tlt_status tlt_hot_choose(const int64_t *seen, int vocab, int most, int32_t *hot, int *n,
                          tlt_err *err);

/* Share of the drawn tokens that are among hot [n]; 0 when none were drawn. */
double tlt_hot_share(const int32_t *hot, int n, const int64_t *seen, int vocab);

#endif
