/* Parts of the verifiers that more than one file uses; private to src/tasks. */
#ifndef TLT_TASKS_VERIFIER_INTERNAL_H
#define TLT_TASKS_VERIFIER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tasks/problem.h"
#include "tasks/verifier.h"

/* Bytes inside somebody else's text; s is NULL when there are none. */
typedef struct tlt_span {
  const char *s;
  size_t n;
} tlt_span;

tlt_span tlt_span_trim(tlt_span a); /* white space of both ends */
bool tlt_span_equal(tlt_span a, tlt_span b);

/* What follows the last occurrence of word in a; s NULL when absent. */
tlt_span tlt_span_after_last(tlt_span a, const char *word);

/* p/q in lowest terms, q >= 1, both at most TLT_RATIONAL_MAX in size. */
typedef struct tlt_rational {
  int64_t p, q;
} tlt_rational;
#define TLT_RATIONAL_MAX INT64_C(1000000000000000000)

/* a op b, op one of + - * /. false: division by zero, or too large. */
bool tlt_rational_apply(char op, tlt_rational a, tlt_rational b, tlt_rational *out);
bool tlt_rational_equal(tlt_rational a, tlt_rational b);

/* A decimal number at the start of a: sign (also U+2212), digits with "," between groups of three,
 * ".digits", exponent up to 18 in size. Returns the bytes read, 0 when there is none. *exact is
 * false when it is a number but too large or too fine for tlt_rational. */
size_t tlt_number_read(tlt_span a, tlt_rational *out, bool *exact);

/* The whole of a as a number or a/b, with "$" before and "%" or "." after allowed. */
bool tlt_number_whole(tlt_span a, tlt_rational *out);

/* The last number or a/b anywhere in a. */
bool tlt_number_last(tlt_span a, tlt_rational *out);

/* Content of the last \boxed{...} (also \fbox) with its braces matched; s NULL when there is none.
 */
tlt_span tlt_find_boxed(tlt_span text);

/* The final answer by marker, as verifier.h says, \boxed last; s NULL when there is none. */
tlt_span tlt_find_answer(tlt_span text);

tlt_verdict tlt_verify_countdown(const tlt_problem *p, tlt_span text);
tlt_verdict tlt_verify_math(tlt_span expected, tlt_span text);

#endif
