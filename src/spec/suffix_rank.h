/* Which continuations of a place to propose, and in which order. */
#ifndef TLT_SPEC_SUFFIX_RANK_H
#define TLT_SPEC_SUFFIX_RANK_H

#include "kernels/sample.h"
#include "spec/source.h"
#include "spec/suffix_automaton.h"

enum { TLT_MATCH_CAP = 255 }; /* matches are reported up to here */

/* Fill at most k candidates for what follows place `at`, as source.h and suffix.h define them.
 * Returns how many. */
int tlt_suffix_rank(const tlt_automaton *a, tlt_cursor at, const tlt_draw *draw, float temperature,
                    int k, tlt_candidate *out);

#endif
