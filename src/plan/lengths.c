#include "plan/lengths.h"

#include <math.h>

#define FADE 0.999f /* of what earlier answers count when one is added */
enum { BINS_PER_OCTAVE = 8 };

static int bin_of(int tokens) {
  int i = (int)(BINS_PER_OCTAVE * log2((double)(tokens > 1 ? tokens : 1)));
  return i < TLT_LENGTH_BINS ? i : TLT_LENGTH_BINS - 1;
}

void tlt_lengths_add(tlt_lengths *l, int tokens) {
  int b = bin_of(tokens);
  for (int i = 0; i < TLT_LENGTH_BINS; i++) {
    l->count[i] *= FADE;
    l->sum[i] *= FADE;
  }
  l->total = l->total * FADE + 1;
  l->count[b] += 1;
  l->sum[b] += (float)tokens;
}

double tlt_lengths_left(const tlt_lengths *l, int tokens) {
  double count = 0, sum = 0;
  for (int i = bin_of(tokens) + 1; i < TLT_LENGTH_BINS; i++) {
    count += (double)l->count[i];
    sum += (double)l->sum[i];
  }
  double guess = tokens + 1.0; /* weighs as one answer */
  return (sum - count * tokens + guess) / (count + 1);
}
