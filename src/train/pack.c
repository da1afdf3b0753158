#include "train/pack.h"

#include <stdbool.h>

int tlt_pack_micro(const int32_t *length, const int32_t *group, int n, int micro_tokens,
                   int32_t *first) {
  int count = 0;
  int64_t tokens = 0;
  for (int i = 0; i < n; i++) {
    bool crosses = i > 0 && group && group[i] != group[i - 1];
    if (i == 0 || crosses || tokens + length[i] > micro_tokens) {
      first[count++] = i;
      tokens = 0;
    }
    tokens += length[i];
  }
  first[count] = n;
  return count;
}
