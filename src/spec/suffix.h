/* Drafts from what was written before: this prompt's other samples, earlier answers to the same
 * prompt, the prompt and the sequence itself. No weights.
 *
 * One suffix automaton per prompt over all these texts: the longest suffix of a sequence that also
 * occurs elsewhere is found exactly, in amortised constant time per token, and the counts of its
 * continuations are the weights (log count + noise; the counted texts were sampled at T, so counts
 * are not divided by it). Continuations that make up less than 1/32 of a context are left out, and
 * so are contexts of no token and such with more than 256 continuations. Where fewer than k are
 * left, up to two shorter suffixes add theirs; these always rank behind (suffix_rank.c).
 * The gap of the best candidate is to the second of the same context; where there is none, to an
 * unseen token of a quarter of an occurrence and mean noise. `match` ends at 255.
 *
 * Tokens of running siblings count as soon as they exist. Insertion is put off until a draft is
 * asked for, and then spread: at most 4096 tokens in one `begin`; a sequence that is not up to date
 * yet drafts nothing. A step allocates nothing; sequences' tokens are copied, 4 bytes each.
 *
 * Answers of finished samples are kept by prompt (compared by tokens, the newest 16) under a byte
 * cap, the longest unused prompt dropped first, so that later epochs draft from earlier ones. A
 * group sees what was kept when it was opened. */
#ifndef TLT_SPEC_SUFFIX_H
#define TLT_SPEC_SUFFIX_H

#include "spec/source.h"

typedef struct tlt_suffix_options {
  int batch; /* slots of the engine */
  int max_positions;
  uint32_t seed;          /* of sampling */
  size_t history_bytes;   /* answers kept between rollouts, automata not included; 0: none */
  size_t automaton_bytes; /* cap on all automata together; 0: 256 MiB. Taken as it is needed, about
                             80 bytes per token. Where it ends nothing more is inserted and drafts
                             go on from what is there */
} tlt_suffix_options;

/* Most memory that the source will ever take. */
size_t tlt_suffix_bytes(const tlt_suffix_options *o);

tlt_status tlt_suffix_create(const tlt_suffix_options *o, tlt_source *out, tlt_err *err);

#endif
