/* top-k, top-p and min-p without sorting: a filter is a smallest score that stays and, among equal
 * scores, the highest id that stays. Both are found by radix selection over integer weights, so the
 * result is that of the sorting definition in sample.h. Included by sample.inc.h. */
#include "base/fmath.h"
#include "kernels/lanes.h"
#include "kernels/sample.h"

typedef struct tlt_filter {
  float top;       /* largest score */
  float floor;     /* lower scores go */
  int32_t last_id; /* of the scores equal to floor, higher ids go */
  float min_p;
} tlt_filter;

/* Scores of tokens that may decide a cut, in ascending order of id. */
typedef struct candidates {
  float *score, *weight;
  int32_t *id;
  int count;
  uint64_t *table; /* [SELECT_BINS] */
} candidates;

enum { SELECT_BINS = 2048 };

TLT_INLINE bool tlt_filter_keeps(const tlt_filter *f, float s, int32_t v) {
  if (s < f->floor || (s == f->floor && v > f->last_id)) return false;
  return f->min_p <= 0 || tlt_sample_weight(s, f->top) >= f->min_p;
}

/* Maxima of the chunks, NaN skipped, and their maximum. */
static float maxima(const float *x, int n, float *chunk_max) {
  tlt_vf low = tlt_vf_set(-INFINITY), all = low;
  for (int base = 0; base < n; base += TLT_SAMPLE_CHUNK) {
    tlt_vf top = low;
    for (int i = base; i < n && i < base + TLT_SAMPLE_CHUNK; i += TLT_LANES) {
      int m = tlt_lanes_of((size_t)(n - i));
      top = tlt_vf_max(tlt_vf_first_n(m, tlt_vf_load_n(x + i, m), low), top);
    }
    chunk_max[base / TLT_SAMPLE_CHUNK] = tlt_vf_hmax(top);
    all = tlt_vf_max(top, all);
  }
  return tlt_vf_hmax(all);
}

static void divide(const float *x, int n, float temperature, float *out) {
  tlt_vf t = tlt_vf_set(temperature);
  for (int i = 0; i < n; i += TLT_LANES) {
    int m = tlt_lanes_of((size_t)(n - i));
    tlt_vf_store_n(out + i, m, tlt_vf_div(tlt_vf_load_n(x + i, m), t));
  }
}

static uint64_t sum_lanes(tlt_vi a) {
  uint32_t lane[TLT_LANES];
  uint64_t sum = 0;
  tlt_vi_store(lane, a);
  for (int i = 0; i < TLT_LANES; i++) sum += lane[i];
  return sum;
}

/* Sum of tlt_sample_units over all scores. w 2^40 is split at 2^20, so that both parts fit in 32
 * bits: a lane holds at most 4 parts of at most 2^20 between two calls of sum_lanes. */
static uint64_t total_units(const float *score, int n, float top) {
  tlt_vf m = tlt_vf_set(top), half = tlt_vf_set(0x1p20f);
  uint64_t total = 0;
  for (int base = 0; base < n; base += TLT_SAMPLE_CHUNK) {
    tlt_vi high = tlt_vi_set(0), low = tlt_vi_set(0);
    for (int i = base; i < n && i < base + TLT_SAMPLE_CHUNK; i += TLT_LANES) {
      int k = tlt_lanes_of((size_t)(n - i));
      tlt_vf s = tlt_vf_first_n(k, tlt_vf_load_n(score + i, k), tlt_vf_set(-INFINITY));
      tlt_vf w = tlt_vexp(tlt_vf_sub(s, m));
      w = tlt_vf_mul(tlt_vf_if_nan(w, tlt_vf_set(0.0f), w), half);
      tlt_vi whole = tlt_vf_to_int(w);
      tlt_vf rest = tlt_vf_mul(tlt_vf_sub(w, tlt_vf_from_int(whole)), half);
      high = tlt_vi_add(high, whole);
      low = tlt_vi_add(low, tlt_vf_to_int(rest));
    }
    total += (sum_lanes(high) << 20) + sum_lanes(low);
  }
  return total;
}

/* Collect scores from `least` up that pass the cut of f. */
static void collect(candidates *c, const float *score, int n, const float *chunk_max, float least,
                    const tlt_filter *f) {
  c->count = 0;
  for (int base = 0; base < n; base += TLT_SAMPLE_CHUNK) {
    if (chunk_max[base / TLT_SAMPLE_CHUNK] < least) continue;
    for (int i = base; i < n && i < base + TLT_SAMPLE_CHUNK; i += TLT_LANES) {
      int k = tlt_lanes_of((size_t)(n - i));
      uint32_t in = tlt_vf_mask_ge(tlt_vf_load_n(score + i, k), tlt_vf_set(least));
      for (in &= (1u << k) - 1; in; in &= in - 1) {
        int v = i + __builtin_ctz(in);
        if (score[v] == f->floor && v > f->last_id) continue;
        c->id[c->count] = v;
        c->score[c->count++] = score[v];
      }
    }
  }
}

/* Unsigned integers in the order of floats; both zeros are one. */
static uint32_t order_key(float s) {
  uint32_t u = tlt_bits_f32(s + 0.0f);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static uint64_t weight_of(const candidates *c, int i) {
  return c->weight ? (uint64_t)(c->weight[i] * TLT_WEIGHT_UNIT) : 1;
}

/* Digits of selection, most significant first. Digit 0 counts 1/64 nats below the largest score from
 * above (the ordering is that of the key, since rounding is monotone) and separates most tokens that
 * matter; the rest are the bits of the key. */
enum { SELECT_DIGITS = 4 };

static uint32_t digit_of(float s, float top, int d) {
  static const int shift[SELECT_DIGITS] = {0, 21, 10, 0};
  static const uint32_t mask[SELECT_DIGITS] = {0, 2047, 2047, 1023};
  if (d > 0) return order_key(s) >> shift[d] & mask[d];
  float below = (top - s) * 64.0f;
  return below < (float)(SELECT_BINS - 1) ? SELECT_BINS - 1 - (uint32_t)below : 0;
}

/* The d-th digit in which the sum of weights from the largest down reaches *target, or -1; *target
 * loses what lies above that digit. */
static int select_digit(const candidates *c, float top, int d, uint64_t *target) {
  memset(c->table, 0, SELECT_BINS * sizeof *c->table);
  for (int i = 0; i < c->count; i++) c->table[digit_of(c->score[i], top, d)] += weight_of(c, i);
  for (int b = SELECT_BINS - 1; b >= 0; b--) {
    if (c->table[b] >= *target) return b;
    *target -= c->table[b];
  }
  return -1;
}

/* Move the candidates with this digit to the front; c counts only them from here on. */
static void keep_digit(candidates *c, float top, int d, uint32_t digit) {
  int kept = 0;
  for (int i = 0; i < c->count; i++) {
    if (digit_of(c->score[i], top, d) != digit) continue;
    c->score[kept] = c->score[i];
    c->id[kept] = c->id[i];
    if (c->weight) c->weight[kept] = c->weight[i];
    kept++;
  }
  c->count = kept;
}

/* Cut behind the first token, from the largest down, at which the weights reach target >= 1. No cut
 * when all together do not. Uses the candidates up. */
static void cut_at(candidates *c, uint64_t target, tlt_filter *f) {
  for (int d = 0; d < SELECT_DIGITS; d++) {
    int digit = select_digit(c, f->top, d, &target);
    if (digit < 0) return;
    keep_digit(c, f->top, d, (uint32_t)digit);
  }
  int i = 0; /* all that are left are equal, in ascending order of id */
  for (; weight_of(c, i) < target; i++) target -= weight_of(c, i);
  f->floor = c->score[i];
  f->last_id = c->id[i];
}

/* The k-th largest chunk maximum: at least k scores are not below it. */
static float least_of_top_k(candidates *c, const float *chunk_max, int chunks, int k, float top) {
  if (k > chunks) return -INFINITY;
  tlt_filter f = {.top = top, .floor = -INFINITY};
  c->count = chunks;
  for (int i = 0; i < chunks; i++) {
    c->score[i] = chunk_max[i];
    c->id[i] = i;
  }
  cut_at(c, (uint64_t)k, &f);
  return f.floor;
}

/* top-p over the candidates, which hold every token of weight in the total that can stay. */
static void cut_top_p(candidates *c, float *weight, uint64_t total, float top_p, tlt_filter *f) {
  tlt_vf m = tlt_vf_set(f->top);
  for (int i = 0; i < c->count; i += TLT_LANES) {
    int k = tlt_lanes_of((size_t)(c->count - i));
    tlt_vf_store_n(weight + i, k, tlt_vexp(tlt_vf_sub(tlt_vf_load_n(c->score + i, k), m)));
  }
  c->weight = weight;
  if (total == 0)
    for (int i = 0; i < c->count; i++) total += weight_of(c, i);
  uint64_t gone = tlt_sample_cut(top_p, total);
  cut_at(c, gone < total ? total - gone : 1, f);
}

/* The filter of one row and its scores logits / T; chunk_max, at the start of scratch, becomes that
 * of the scores. Without top-k, tokens below top - ln(n / (1 - p)) - 1 together weigh less than what
 * top-p takes away, so they need no place among the candidates. */
static const float *find_filter(const float *logits, int n, const tlt_sampling *how, void *scratch,
                                tlt_filter *f) {
  size_t chunks = tlt_sample_chunks(n), padded = chunks * TLT_SAMPLE_CHUNK;
  float *chunk_max = scratch, *score = chunk_max + (chunks + 15) / 16 * 16;
  candidates c = {.score = score + padded, .id = (int32_t *)(score + 2 * padded)};
  c.table = (uint64_t *)(score + 4 * padded);
  divide(logits, n, how->temperature, score);
  *f = (tlt_filter){.top = maxima(score, n, chunk_max), .floor = -INFINITY, .last_id = n};
  f->min_p = tlt_sample_min_p(how);
  bool few = how->top_k > 0 && how->top_k < n;
  if (few) {
    float least = least_of_top_k(&c, chunk_max, (int)chunks, how->top_k, f->top);
    collect(&c, score, n, chunk_max, least, f);
    cut_at(&c, (uint64_t)how->top_k, f);
  }
  if (how->top_p < 1.0f) {
    uint64_t total = few ? 0 : total_units(score, n, f->top);
    double depth = tlt_log(n / (1.0 - (double)how->top_p)) + 1;
    collect(&c, score, n, chunk_max, few ? f->floor : f->top - (float)depth, f);
    cut_top_p(&c, score + 3 * padded, total, how->top_p, f);
  }
  if (f->min_p > 0) { /* a floor for skipping chunks; the exact test is in tlt_filter_keeps */
    float least = f->top + (float)tlt_log((double)f->min_p) - 0.01f - 1e-6f * fabsf(f->top);
    if (least > f->floor) *f = (tlt_filter){f->top, least, n, f->min_p};
  }
  return score;
}
