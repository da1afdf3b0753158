/* The best few of a drafter's tokens under the target's noise. Noise comes by vocabulary id, and
 * the ids of a slice are scattered, so a random block is computed for every token whose logit
 * leaves it a chance, sixteen at a time; logarithms only for those whose word does too. Included
 * once per instruction set, which defines TLT_NAME(name) first. */
#include "kernels/philox_lanes.h"
#include "kernels/sample_bound.inc.h"
#include "kernels/sample_filter.inc.h"
#include "kernels/table.h"

#define HEAD_DEPTH 8.0f   /* nats below the largest that are looked at first */
#define MOST_DEPTH 100.0f /* as in the contract */

typedef struct top_search {
  const float *logits;
  const int32_t *id;
  int n;
  float temperature, low;
  const tlt_filter *filter; /* NULL: none */
  tlt_noise noise;
  bound bound;
  tlt_draft_choice *best; /* [k] descending */
  int k, count;
} top_search;

static bool before(float sum, int32_t index, const tlt_draft_choice *c) {
  return sum > c->score || (sum == c->score && index < c->index);
}

static void insert(top_search *s, int32_t index, float sum) {
  int at = s->k - 1;
  if (s->count < s->k) at = s->count++;
  else if (!before(sum, index, &s->best[at])) return;
  for (; at > 0 && before(sum, index, &s->best[at - 1]); at--) s->best[at] = s->best[at - 1];
  s->best[at] = (tlt_draft_choice){index, sum};
}

static void raise_bound(top_search *s, double sum) {
  float floor = s->low * s->temperature;
  if (s->filter && s->filter->floor > floor) floor = s->filter->floor;
  set_bound(&s->bound, sum, s->temperature, floor - 1e-6f * fabsf(floor));
}

/* Exact sum of one token; its random word is given. */
static void try_token(top_search *s, int i, uint32_t word) {
  float score = s->logits[i] / s->temperature;
  if (!(score >= s->low) || (s->filter && !tlt_filter_keeps(s->filter, score, i))) return;
  insert(s, i, score + tlt_gumbel(word));
  if (s->count < s->k) return;
  double least = (double)s->best[s->k - 1].score;
  if (least > s->bound.value) raise_bound(s, least);
}

/* Random words of sixteen ids: word id % 4 of block id / 4. */
TLT_INLINE tlt_vi words_of(const tlt_noise *noise, tlt_vi id) {
  tlt_vi block = tlt_vi_srl(id, 2), one = tlt_vi_set(1), zero = tlt_vi_set(0), w[4], even[4],
         odd[4];
  tlt_philox_half(noise, block, even);
  tlt_philox_half(noise, tlt_vi_high_to_low(block), odd);
  for (int j = 0; j < 4; j++) w[j] = tlt_vi_even_odd(even[j], tlt_vi_low_to_high(odd[j]));
  tlt_vi bit0 = tlt_vi_sub(zero, tlt_vi_and(id, one));
  tlt_vi bit1 = tlt_vi_sub(zero, tlt_vi_and(tlt_vi_srl(id, 1), one));
  tlt_vi low = tlt_vi_xor(w[0], tlt_vi_and(tlt_vi_xor(w[0], w[1]), bit0));
  tlt_vi high = tlt_vi_xor(w[2], tlt_vi_and(tlt_vi_xor(w[2], w[3]), bit0));
  return tlt_vi_xor(low, tlt_vi_and(tlt_vi_xor(low, high), bit1));
}

static __attribute__((noinline)) void try_passing(top_search *s, int first, uint32_t pass,
                                                  tlt_vi words) {
  uint32_t word[TLT_LANES];
  tlt_vi_store(word, words);
  for (; pass; pass &= pass - 1) {
    int lane = __builtin_ctz(pass);
    try_token(s, first + lane, word[lane]);
  }
}

/* Sixteen tokens, or the m that are left. */
TLT_INLINE void visit_lanes(top_search *s, int first, int m) {
  uint32_t valid = (1u << m) - 1, left[TLT_LANES] = {0};
  tlt_vf x = tlt_vf_load_n(s->logits + first, m);
  if (!(tlt_vf_mask_ge(x, tlt_vf_set(s->bound.least)) & valid)) return;
  const uint32_t *id = (const uint32_t *)s->id + first;
  if (m < TLT_LANES) id = memcpy(left, id, (size_t)m * sizeof *id);
  tlt_vi words = words_of(&s->noise, tlt_vi_load(id));
  uint32_t pass = may_win(&s->bound, x, words) & valid;
  if (pass) try_passing(s, first, pass, words);
}

/* Chunks whose maximum lies in [from, below) and that may hold one of the best. */
static void visit(top_search *s, const float *chunk_max, float from, float below) {
  int chunks = (int)tlt_sample_chunks(s->n);
  for (int c = 0; c < chunks; c++) {
    if (!(chunk_max[c] >= from) || chunk_max[c] >= below || chunk_max[c] < s->bound.least) continue;
    int first = c * TLT_SAMPLE_CHUNK, end = first + TLT_SAMPLE_CHUNK;
    for (; first + TLT_LANES <= end && first + TLT_LANES <= s->n; first += TLT_LANES)
      visit_lanes(s, first, TLT_LANES);
    if (first < end && first < s->n) visit_lanes(s, first, s->n - first);
  }
}

static int greedy_top(top_search *s) {
  for (int i = 0; i < s->n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(s->n - i));
    float least = s->count < s->k ? -INFINITY : s->best[s->k - 1].score;
    uint32_t pass = tlt_vf_mask_ge(tlt_vf_load_n(s->logits + i, m), tlt_vf_set(least));
    for (pass &= (1u << m) - 1; pass; pass &= pass - 1) {
      int v = i + __builtin_ctz(pass);
      if (s->logits[v] > -INFINITY) insert(s, v, s->logits[v]);
    }
  }
  return s->count;
}

int TLT_NAME(tlt_draft_top)(const float *logits, const int32_t *id, int n, const tlt_sampling *how,
                            const tlt_draw *draw, int k, tlt_draft_choice *best, void *scratch) {
  float *chunk_max = scratch;
  float m = maxima(logits, n, chunk_max);
  tlt_filter filter;
  top_search s = {.logits = logits, .id = id, .n = n, .temperature = how->temperature};
  s.best = best;
  s.k = k < n ? k : n;
  if (!isfinite(m)) return 0;
  if (how->temperature < TLT_GREEDY_BELOW) return greedy_top(&s);
  if (!isfinite(m / how->temperature)) return 0;
  s.noise = tlt_noise_open(draw);
  if (tlt_sample_filters(how)) {
    s.logits = find_filter(logits, n, how, scratch, &filter);
    s.temperature = 1;
    s.filter = &filter;
    m = filter.top;
  }
  s.low = m / s.temperature - MOST_DEPTH;
  raise_bound(&s, (double)s.low - NOISE_MIN);
  float head = m - HEAD_DEPTH * s.temperature;
  visit(&s, chunk_max, head, INFINITY);
  visit(&s, chunk_max, -INFINITY, head);
  return s.count;
}
