#include "train/hot.h"

#include <stdlib.h>

#include "base/mem.h"

typedef struct seen_token {
  int64_t times;
  int32_t token;
} seen_token;

static int more_often(const void *a, const void *b) {
  const seen_token *x = a, *y = b;
  if (x->times != y->times) return x->times < y->times ? 1 : -1;
  return x->token < y->token ? -1 : 1;
}

static int ascending(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return x < y ? -1 : x > y;
}

tlt_status tlt_hot_choose(const int64_t *seen, int vocab, int most, int32_t *hot, int *n,
                          tlt_err *err) {
  seen_token *order = tlt_calloc((size_t)vocab, sizeof *order);
  *n = 0;
  if (!order) return tlt_fail_nomem(err, "hot tokens", (size_t)vocab * sizeof *order);
  for (int i = 0; i < vocab; i++) order[i] = (seen_token){seen[i], i};
  qsort(order, (size_t)vocab, sizeof *order, more_often);
  for (; *n < vocab && *n < most && order[*n].times; ++*n) hot[*n] = order[*n].token;
  qsort(hot, (size_t)*n, sizeof *hot, ascending);
  tlt_free(order);
  return TLT_OK;
}

double tlt_hot_share(const int32_t *hot, int n, const int64_t *seen, int vocab) {
  int64_t all = 0, covered = 0;
  for (int i = 0; i < vocab; i++) all += seen[i];
  for (int i = 0; i < n; i++) covered += seen[hot[i]];
  return all ? (double)covered / (double)all : 0;
}
