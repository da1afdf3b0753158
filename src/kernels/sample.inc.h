/* The vector sampler: equal to tlt_sample_reference on every input, without noise or logarithms for
 * tokens that cannot win. Included once per instruction set, which defines TLT_NAME(name) first.
 *
 * Pruning. A token wins only with s + g >= B, B the best sum so far. With u its uniform,
 * g = -ln(-ln(1 - u)) <= -ln u, so u <= exp(s - B) is necessary; and since u >= 2^-33, no token with
 * s < B - 22.88 can win. Tokens are visited in chunks of 64; a chunk is skipped by its maximum, else
 * its random words are compared with a bound above exp(s - B) that costs one FMA and two
 * conversions, and only the few that pass get the exact noise. The chunk of the largest logit comes
 * first and gives a B close to the final one; then chunks within 8 of it; then the rest. On flat rows
 * every chunk is visited and no logarithms are taken, which is the cheapest that is known there. */
#include "kernels/sample.h"

#include "kernels/philox_lanes.h"
#include "kernels/sample_filter.inc.h"
#include "kernels/table.h"

#define NOISE_MAX 22.9   /* above -ln(2^-33) */
#define NOISE_MIN 2.82   /* above -(least noise) = ln(-ln 2^-24) */
#define HEAD_DEPTH 8.0f  /* nats below the largest that count as head */
#define SLACK 1e-4       /* covers rounding in noise and bounds, with SLACK_RELATIVE |B| */
#define SLACK_RELATIVE 0x1p-18
#define BOUND_BITS 30    /* words are compared by their upper bits, as signed integers */

typedef struct search {
  const float *logits;
  int n;
  float temperature;
  const tlt_filter *filter; /* NULL: none */
  tlt_noise noise;
  float best;
  int32_t best_id;  /* -1: none yet */
  double bound;     /* nothing below it can win */
  float least;      /* no chunk whose largest logit is below can hold the winner */
  tlt_vf scale, offset; /* bits of the float 2^30 exp(l / T - bound), nearly: l scale + offset */
} search;

/* exp as the bits of a float: 2^f <= 1 + f on [0, 1], so linear interpolation of the mantissa is an
 * upper bound (Schraudolph 1999). */
static void set_bound(search *s, double value) {
  const double log2e = 1.4426950408889634;
  s->bound = value - SLACK - SLACK_RELATIVE * fabs(value);
  s->scale = tlt_vf_set((float)(log2e * 0x1p23 / (double)s->temperature));
  s->offset = tlt_vf_set((float)((127 + BOUND_BITS - s->bound * log2e) * 0x1p23));
  s->least = (float)((s->bound - NOISE_MAX) * (double)s->temperature);
  if (s->filter && s->filter->floor > s->least) s->least = s->filter->floor;
}

/* Exact sum of one token; v's random word is given. */
static void try_token(search *s, int v, uint32_t word) {
  float score = s->logits[v] / s->temperature;
  if (score != score || (s->filter && !tlt_filter_keeps(s->filter, score, v))) return;
  float sum = score + tlt_gumbel(word);
  if (s->best_id >= 0 && (sum < s->best || (sum == s->best && v > s->best_id))) return;
  bool better = s->best_id < 0 || sum > s->best;
  s->best = sum;
  s->best_id = v;
  if (better && (double)sum > s->bound) set_bound(s, (double)sum);
}

/* Lanes whose word may let them win. */
TLT_INLINE uint32_t may_win(const search *s, tlt_vf logits, tlt_vi words) {
  tlt_vf top = tlt_vf_set((float)(127 + BOUND_BITS) * 0x1p23f);
  tlt_vf t = tlt_vf_fma(logits, s->scale, s->offset);
  t = tlt_vf_min(tlt_vf_max(t, tlt_vf_set(0.0f)), top);
  tlt_vi limit = tlt_vf_to_int(tlt_vi_as_float(tlt_vf_to_int(t)));
  return tlt_vi_mask_le(tlt_vi_srl(words, 32 - BOUND_BITS), limit);
}

/* Tokens of chunk c that may win, as bits; words: their random words. */
TLT_INLINE uint64_t passing(const search *s, int c, tlt_vi words[4]) {
  int base = c * TLT_SAMPLE_CHUNK;
  uint64_t pass = 0;
  tlt_noise_words(&s->noise, (uint32_t)c, words);
  if (base + TLT_SAMPLE_CHUNK <= s->n) {
    for (int q = 0; q < 4; q++)
      pass |= (uint64_t)may_win(s, tlt_vf_load(s->logits + base + 16 * q), words[q]) << 16 * q;
    return pass;
  }
  for (int q = 0; q < 4 && base + 16 * q < s->n; q++) {
    int m = tlt_lanes_of((size_t)(s->n - base - 16 * q));
    uint32_t lanes = may_win(s, tlt_vf_load_n(s->logits + base + 16 * q, m), words[q]);
    pass |= (uint64_t)(lanes & ((1u << m) - 1)) << 16 * q;
  }
  return pass;
}

/* Out of line: rare, and its stack array would burden the loop. */
static __attribute__((noinline)) void try_passing(search *s, int c, uint64_t pass,
                                                  const tlt_vi words[4]) {
  uint32_t word[TLT_SAMPLE_CHUNK];
  for (int q = 0; q < 4; q++) tlt_vi_store(word + 16 * q, words[q]);
  for (; pass; pass &= pass - 1) {
    int i = __builtin_ctzll(pass);
    try_token(s, c * TLT_SAMPLE_CHUNK + i, word[i]);
  }
}

/* Chunks first .. last-1 whose maximum lies in [from, below) and that may hold the winner. */
static void visit(search *s, const float *chunk_max, int first, int last, float from, float below) {
  tlt_vi words[4];
  for (int c = first; c < last; c++) {
    if (chunk_max[c] < from || chunk_max[c] >= below || chunk_max[c] < s->least) continue;
    uint64_t pass = passing(s, c, words);
    if (pass) try_passing(s, c, pass, words);
  }
}

/* chunk_max [chunks] of logits, their maximum m finite. */
static int32_t search_all(search *s, const float *chunk_max, int chunks, float m) {
  int top = 0;
  while (chunk_max[top] != m) top++;
  set_bound(s, (double)(m / s->temperature) - NOISE_MIN);
  visit(s, chunk_max, top, top + 1, -INFINITY, INFINITY);
  float head = m - HEAD_DEPTH * s->temperature;
  visit(s, chunk_max, 0, top, head, INFINITY);
  visit(s, chunk_max, top + 1, chunks, head, INFINITY);
  visit(s, chunk_max, 0, chunks, -INFINITY, head);
  return s->best_id;
}

/* First token that equals the maximum m of the chunk maxima. */
static int32_t first_maximum(const float *logits, int n, const float *chunk_max, float m) {
  int v = 0;
  while (chunk_max[v / TLT_SAMPLE_CHUNK] != m) v += TLT_SAMPLE_CHUNK;
  while (v < n - 1 && logits[v] != m) v++;
  return v;
}

int32_t TLT_NAME(tlt_sample)(const float *logits, int n, const tlt_sampling *how,
                             const tlt_draw *draw, void *scratch) {
  int chunks = (int)tlt_sample_chunks(n);
  float *chunk_max = scratch;
  float m = maxima(logits, n, chunk_max);
  if (!isfinite(m)) return tlt_sample_reference(logits, n, how, draw, scratch);
  if (how->temperature < TLT_GREEDY_BELOW) return first_maximum(logits, n, chunk_max, m);
  search s = {.logits = logits, .n = n, .temperature = how->temperature, .best_id = -1};
  s.noise = tlt_noise_open(draw);
  if (!isfinite(m / how->temperature)) return tlt_sample_reference(logits, n, how, draw, scratch);
  if (!tlt_sample_filters(how)) return search_all(&s, chunk_max, chunks, m);
  tlt_filter filter;
  s.logits = find_filter(logits, n, how, scratch, &filter);
  s.temperature = 1;
  s.filter = &filter;
  return search_all(&s, chunk_max, chunks, filter.top);
}
