/* The definition of sampling, without any shortcut. */
#include "kernels/sample.h"

#include <stdlib.h>

#include "kernels/table.h"

typedef struct token {
  float s;
  int32_t id;
} token;

/* Chunk maxima, then four arrays of the vector sampler's filters (the reference takes two of them)
 * and a table of 2048 64-bit sums. */
size_t tlt_sample_scratch_bytes(int vocab) {
  size_t chunks = tlt_sample_chunks(vocab);
  return (chunks + 15) / 16 * 64 + 4 * chunks * TLT_SAMPLE_CHUNK * sizeof(float) + 2048 * 8;
}

/* Descending s, then ascending id. */
static int by_score(const void *a, const void *b) {
  const token *x = a, *y = b;
  if (x->s != y->s) return x->s > y->s ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

/* How many of the sorted tokens survive top-k and top-p; at least 1. */
static int kept_tokens(const token *t, int n, const tlt_sampling *how) {
  float m = t[0].s;
  if (how->top_k > 0 && how->top_k < n) n = how->top_k;
  if (how->top_p < 1.0f) {
    uint64_t total = 0, gone = 0;
    for (int i = 0; i < n; i++) total += tlt_sample_units(t[i].s, m);
    uint64_t cut = tlt_sample_cut(how->top_p, total);
    while (n > 1 && (gone += tlt_sample_units(t[n - 1].s, m)) <= cut) n--;
  }
  return n;
}

static int32_t greedy(const float *logits, int n) {
  int32_t best = -1;
  for (int v = 0; v < n; v++) {
    if (logits[v] == logits[v] && (best < 0 || logits[v] > logits[best])) best = v;
  }
  return best < 0 ? 0 : best;
}

int32_t tlt_sample_reference(const float *logits, int n, const tlt_sampling *how,
                             const tlt_draw *draw, void *scratch) {
  if (how->temperature < TLT_GREEDY_BELOW) return greedy(logits, n);
  token *t = scratch;
  int count = 0;
  for (int v = 0; v < n; v++) {
    float s = logits[v] / how->temperature;
    if (s == s) t[count++] = (token){s, v};
  }
  if (count == 0) return 0;
  if (tlt_sample_filters(how)) {
    qsort(t, (size_t)count, sizeof *t, by_score);
    count = kept_tokens(t, count, how);
  }
  token best = {0, -1};
  float m = t[0].s, min_p = tlt_sample_min_p(how); /* m: the largest wherever there are filters */
  for (int i = 0; i < count; i++) {
    if (min_p > 0.0f && tlt_sample_weight(t[i].s, m) < min_p) continue;
    token now = {t[i].s + tlt_sample_noise(draw, t[i].id), t[i].id};
    if (best.id < 0 || by_score(&now, &best) < 0) best = now;
  }
  return best.id;
}

int32_t tlt_sample_scalar(const float *logits, int n, const tlt_sampling *how, const tlt_draw *draw,
                          void *scratch) {
  return tlt_sample_reference(logits, n, how, draw, scratch);
}
