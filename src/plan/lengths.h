/* How long answers will get, from those that are finished: lengths are long-tailed, so a sequence
 * that is already long is expected to go on for longer than a young one, and the longest decide
 * when a rollout ends. */
#ifndef TLT_PLAN_LENGTHS_H
#define TLT_PLAN_LENGTHS_H

enum { TLT_LENGTH_BINS = 96 };

typedef struct tlt_lengths {
  float count[TLT_LENGTH_BINS], sum[TLT_LENGTH_BINS]; /* of lengths by eighths of an octave */
  float total;
} tlt_lengths;

void tlt_lengths_add(tlt_lengths *l, int tokens); /* a finished answer */

/* Expected further tokens of an answer that has `tokens`: mean of (length - tokens) over longer
 * finished ones, faded; where there are none, as many again as it has. */
double tlt_lengths_left(const tlt_lengths *l, int tokens);

#endif
