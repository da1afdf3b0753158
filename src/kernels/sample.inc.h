/* The vector sampler: equal to tlt_sample_reference on every input, without noise or logarithms for
 * tokens that cannot win. Included once per instruction set, which defines TLT_NAME(name) first.
 *
 * Tokens are visited in chunks of 64; a chunk is skipped by its maximum, else its random words are
 * compared with the bound of sample_bound.inc.h, and only the few that pass get the exact noise. The
 * chunk of the largest logit comes first and gives a sum to beat close to the final one; then chunks
 * within 8 of it; then the rest. On flat rows every chunk is visited and no logarithms are taken,
 * which is the cheapest that is known there. */
#include "kernels/sample.h"

#include "kernels/philox_lanes.h"
#include "kernels/sample_bound.inc.h"
#include "kernels/sample_filter.inc.h"
#include "kernels/table.h"

#define HEAD_DEPTH 8.0f /* nats below the largest that count as head */

typedef struct search {
  const float *logits;
  int n;
  float temperature;
  const tlt_filter *filter; /* NULL: none */
  tlt_noise noise;
  float best;
  int32_t best_id;  /* -1: none yet */
  bound bound;
} search;

static void raise_bound(search *s, double sum) {
  set_bound(&s->bound, sum, s->temperature, s->filter ? s->filter->floor : -INFINITY);
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
  if (better && (double)sum > s->bound.value) raise_bound(s, (double)sum);
}

/* Tokens of chunk c that may win, as bits; words: their random words. */
TLT_INLINE uint64_t passing(const search *s, int c, tlt_vi words[4]) {
  int base = c * TLT_SAMPLE_CHUNK;
  uint64_t pass = 0;
  tlt_noise_words(&s->noise, (uint32_t)c, words);
  if (base + TLT_SAMPLE_CHUNK <= s->n) {
    for (int q = 0; q < 4; q++)
      pass |= (uint64_t)may_win(&s->bound, tlt_vf_load(s->logits + base + 16 * q), words[q]) << 16 * q;
    return pass;
  }
  for (int q = 0; q < 4 && base + 16 * q < s->n; q++) {
    int m = tlt_lanes_of((size_t)(s->n - base - 16 * q));
    uint32_t lanes = may_win(&s->bound, tlt_vf_load_n(s->logits + base + 16 * q, m), words[q]);
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
    if (chunk_max[c] < from || chunk_max[c] >= below || chunk_max[c] < s->bound.least) continue;
    uint64_t pass = passing(s, c, words);
    if (pass) try_passing(s, c, pass, words);
  }
}

/* chunk_max [chunks] of logits, their maximum m finite. */
static int32_t search_all(search *s, const float *chunk_max, int chunks, float m) {
  int top = 0;
  while (chunk_max[top] != m) top++;
  raise_bound(s, (double)(m / s->temperature) - NOISE_MIN);
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
