/* Drafts from what was written before: this prompt's other samples, earlier answers to the same
 * prompt, and the sequence itself. No weights.
 *
 * One suffix automaton per prompt over all these texts: the longest suffix of a sequence that also
 * occurs elsewhere is found exactly, in amortised constant time per token, and the counts of its
 * continuations are the weights (log count + noise; the counted texts were sampled at T, so counts
 * are not divided by it). Tokens of running siblings count as soon as they exist. Insertion is put
 * off until a draft is asked for.
 *
 * Answers of finished samples are kept by prompt (compared by tokens) under a byte cap, the longest
 * unused prompt dropped first, so that later epochs draft from earlier ones. */
#ifndef TLT_SPEC_SUFFIX_H
#define TLT_SPEC_SUFFIX_H

#include "spec/source.h"

typedef struct tlt_suffix_options {
  int batch;            /* slots of the engine */
  int max_positions;
  uint32_t seed;        /* of sampling */
  size_t history_bytes; /* answers kept between rollouts, automata not included; 0: none */
  size_t automaton_bytes; /* cap on the automaton of one prompt; 0: 64 MiB. Beyond it nothing more
                             is inserted */
} tlt_suffix_options;

tlt_status tlt_suffix_create(const tlt_suffix_options *o, tlt_source *out, tlt_err *err);

#endif
