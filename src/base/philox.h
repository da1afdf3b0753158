/* Counter-based randomness: Philox4x32-10 (Salmon et al. 2011, by Random123). No generator state
 * exists anywhere; a draw is a pure function of its key (seed, purpose) and its counter. */
#ifndef TLT_BASE_PHILOX_H
#define TLT_BASE_PHILOX_H

#include <stdint.h>

/* Values are part of the determinism contract: never renumber. */
typedef enum tlt_purpose {
  TLT_PURPOSE_SAMPLE = 1, /* counter: rollout index, sample, position, vocabulary index / 4 */
  TLT_PURPOSE_SHUFFLE = 2, /* counter: epoch, element, 0, 0 */
  TLT_PURPOSE_INIT = 3,    /* counter: tensor index, element / 4 low, high, 0 */
  TLT_PURPOSE_TASK = 4,    /* counter: problem index, draw number, task, 0 */
  TLT_PURPOSE_BOOTSTRAP = 5, /* counter: resample, statistic, 0, draw / 4 */
  TLT_PURPOSE_BANDIT = 6,    /* counter: draw, 0, 0, 0; changes speed, never a token */
} tlt_purpose;

typedef struct tlt_random4 {
  uint32_t v[4];
} tlt_random4;

tlt_random4 tlt_philox(uint32_t seed, tlt_purpose purpose, uint32_t c0, uint32_t c1, uint32_t c2,
                       uint32_t c3);

/* A stream for code that needs "the next random number": draws are words of successive counters
 * c3 = 0, 1, 2, ... under fixed (seed, purpose, c0, c1, c2). */
typedef struct tlt_stream {
  uint32_t seed, c0, c1, c2, next;
  tlt_purpose purpose;
  int left;
  tlt_random4 block;
} tlt_stream;

tlt_stream tlt_stream_open(uint32_t seed, tlt_purpose purpose, uint32_t c0, uint32_t c1, uint32_t c2);
uint32_t tlt_stream_u32(tlt_stream *s);

/* Uniform in 0 .. n-1 without bias (rejection); n >= 1. */
uint32_t tlt_stream_below(tlt_stream *s, uint32_t n);

/* Uniform in low .. high, both included. */
int64_t tlt_stream_range(tlt_stream *s, int64_t low, int64_t high);

#endif
