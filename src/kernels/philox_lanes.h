/* Philox4x32-10 for the 64 words of 16 consecutive counters: tlt_philox of base/philox.h lane by lane
 * (Salmon et al. 2011). Only c3 differs between the counters of a draw, so the first round and half
 * of the second and third are the same for all and are done once per draw. */
#ifndef TLT_KERNELS_PHILOX_LANES_H
#define TLT_KERNELS_PHILOX_LANES_H

#include "base/philox.h"
#include "kernels/kernels.h"
#include "kernels/lanes.h"

#define TLT_PHILOX_M0 0xd2511f53u
#define TLT_PHILOX_M1 0xcd9e8d57u
#define TLT_PHILOX_W0 0x9e3779b9u
#define TLT_PHILOX_W1 0xbb67ae85u

/* What is common to all counters of one draw; the letters are those of tlt_noise_open. */
typedef struct tlt_noise {
  uint32_t x2, x0, y0, y2, y1; /* xored into the state in rounds 1, 2, 3, 3; c1 after round 3 */
  uint32_t k0, k1;             /* keys of round 4 */
} tlt_noise;

TLT_INLINE uint64_t tlt_mul_wide(uint32_t a, uint32_t b) { return (uint64_t)a * b; }

/* Rounds 1 to 3 with counter (c0, c1, c2, *): a state with * marks what depends on c3.
 *   after 1: (a0, a1, *, a3)   after 2: (*, *, b2, b3)   after 3: (*, y1, *, *) */
TLT_INLINE tlt_noise tlt_noise_open(const tlt_draw *d) {
  tlt_noise n;
  uint32_t k0 = d->seed, k1 = TLT_PURPOSE_SAMPLE;
  uint64_t p0 = tlt_mul_wide(TLT_PHILOX_M0, d->rollout);
  uint64_t p1 = tlt_mul_wide(TLT_PHILOX_M1, d->position);
  uint32_t a0 = (uint32_t)(p1 >> 32) ^ d->sample ^ k0, a1 = (uint32_t)p1, a3 = (uint32_t)p0;
  n.x2 = (uint32_t)(p0 >> 32) ^ k1;
  k0 += TLT_PHILOX_W0, k1 += TLT_PHILOX_W1;
  p0 = tlt_mul_wide(TLT_PHILOX_M0, a0);
  n.x0 = a1 ^ k0;
  uint32_t b2 = (uint32_t)(p0 >> 32) ^ a3 ^ k1, b3 = (uint32_t)p0;
  k0 += TLT_PHILOX_W0, k1 += TLT_PHILOX_W1;
  p1 = tlt_mul_wide(TLT_PHILOX_M1, b2);
  n.y0 = (uint32_t)(p1 >> 32) ^ k0;
  n.y1 = (uint32_t)p1;
  n.y2 = b3 ^ k1;
  n.k0 = k0 + TLT_PHILOX_W0, n.k1 = k1 + TLT_PHILOX_W1;
  return n;
}

/* Words of eight counters, given in the low halves of 64-bit lanes; results in the low halves, the
 * high halves hold rubbish. */
TLT_INLINE void tlt_philox_half(const tlt_noise *n, tlt_vi c3, tlt_vi out[4]) {
  tlt_vi m0 = tlt_vi_set(TLT_PHILOX_M0), m1 = tlt_vi_set(TLT_PHILOX_M1);
  tlt_vi p1 = tlt_vi_mul_even(m1, tlt_vi_xor(c3, tlt_vi_set(n->x2)));
  tlt_vi p0 = tlt_vi_mul_even(m0, tlt_vi_xor(tlt_vi_high_to_low(p1), tlt_vi_set(n->x0)));
  tlt_vi s0 = tlt_vi_xor(p1, tlt_vi_set(n->y0)), s1 = tlt_vi_set(n->y1);
  tlt_vi s2 = tlt_vi_xor(tlt_vi_high_to_low(p0), tlt_vi_set(n->y2)), s3 = p0;
  uint32_t k0 = n->k0, k1 = n->k1;
#pragma GCC unroll 7
  for (int round = 4; round <= 10; round++) {
    p0 = tlt_vi_mul_even(m0, s0);
    p1 = tlt_vi_mul_even(m1, s2);
    s0 = tlt_vi_xor(tlt_vi_xor(tlt_vi_high_to_low(p1), s1), tlt_vi_set(k0));
    s2 = tlt_vi_xor(tlt_vi_xor(tlt_vi_high_to_low(p0), s3), tlt_vi_set(k1));
    s1 = p1;
    s3 = p0;
    k0 += TLT_PHILOX_W0, k1 += TLT_PHILOX_W1;
  }
  out[0] = s0, out[1] = s1, out[2] = s2, out[3] = s3;
}

/* Words of the 64 tokens from 64 c on: token 64 c + 16 q + i is lane i of out[q].
 * Lane 4 t + b computes counter 16 c + 4 b + t, so that transposing 4 x 4 gives token order. */
TLT_INLINE void tlt_noise_words(const tlt_noise *n, uint32_t c, tlt_vi out[4]) {
  static const uint32_t counter_of_lane[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  tlt_vi c3 = tlt_vi_add(tlt_vi_load(counter_of_lane), tlt_vi_set(16 * c)), even[4], odd[4];
  tlt_philox_half(n, c3, even);
  tlt_philox_half(n, tlt_vi_high_to_low(c3), odd);
  for (int j = 0; j < 4; j++) out[j] = tlt_vi_even_odd(even[j], tlt_vi_low_to_high(odd[j]));
  tlt_vi_transpose4(out);
}

#endif
