#include "base/philox.h"

#include <Random123/philox.h>

tlt_random4 tlt_philox(uint32_t seed, tlt_purpose purpose, uint32_t c0, uint32_t c1, uint32_t c2,
                       uint32_t c3) {
  philox4x32_ctr_t counter = {{c0, c1, c2, c3}};
  philox4x32_key_t key = {{seed, (uint32_t)purpose}};
  philox4x32_ctr_t r = philox4x32(counter, key);
  return (tlt_random4){{r.v[0], r.v[1], r.v[2], r.v[3]}};
}

tlt_stream tlt_stream_open(uint32_t seed, tlt_purpose purpose, uint32_t c0, uint32_t c1,
                           uint32_t c2) {
  return (tlt_stream){.seed = seed, .purpose = purpose, .c0 = c0, .c1 = c1, .c2 = c2};
}

uint32_t tlt_stream_u32(tlt_stream *s) {
  if (s->left == 0) {
    s->block = tlt_philox(s->seed, s->purpose, s->c0, s->c1, s->c2, s->next++);
    s->left = 4;
  }
  return s->block.v[4 - s->left--];
}

uint32_t tlt_stream_below(tlt_stream *s, uint32_t n) {
  uint32_t limit = UINT32_MAX - (uint32_t)(0x100000000ull % n); /* last accepted word */
  uint32_t x;
  do x = tlt_stream_u32(s);
  while (x > limit);
  return x % n;
}

int64_t tlt_stream_range(tlt_stream *s, int64_t low, int64_t high) {
  return low + (int64_t)tlt_stream_below(s, (uint32_t)(high - low + 1));
}
