/* Verifiers: is this completion a right answer. Pure functions of the texts, linear in their
 * length, without backtracking, recursion on input or big numbers; safe on any bytes; any thread.
 *
 * The final answer of a completion is, in this order: what stands in the last <answer>...</answer>;
 * the rest of the line after the last marker, which is a line starting with "answer" (any case, an
 * optional ":" follows) or "####" anywhere; the content of the last \boxed{...} with its braces
 * matched. For `math`, \boxed comes first. `numeric` and `math` fall back to the last number of the
 * text. White space at both ends is dropped.
 *
 * exact      the final answer equals the expected answer byte for byte.
 * numeric    both are decimal numbers (sign, thousands separators, fraction, exponent) or a/b,
 * equal as rationals. countdown  an expression of + - * / and parentheses that uses each given
 * number exactly once and equals the target, in exact rational arithmetic; an overflow of int64 is
 * wrong. An
 *            "= number" at the end is ignored.
 * math       LaTeX around a number stripped (\left, \right, \text, $, units, %, degree, thousands
 *            separators), \frac, \dfrac, \tfrac and a/b read as rationals and compared exactly;
 *            otherwise the stripped texts are compared. Powers and roots are never evaluated. */
#ifndef TLT_TASKS_VERIFIER_H
#define TLT_TASKS_VERIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

struct tlt_problem;

typedef enum tlt_verifier {
  TLT_VERIFY_NUMERIC,
  TLT_VERIFY_EXACT,
  TLT_VERIFY_COUNTDOWN,
  TLT_VERIFY_MATH,
} tlt_verifier;

typedef struct tlt_verdict {
  double score; /* 0 or 1 */
  bool parsed;  /* a final answer of the right form was found, right or wrong */
} tlt_verdict;

/* Unknown name: TLT_EUSAGE with the legal ones. */
tlt_status tlt_verifier_find(const char *name, tlt_verifier *out, tlt_err *err);
const char *tlt_verifier_name(tlt_verifier v);

/* Whether v can compare with this expected answer: numeric wants a number in it, exact and math any
 * text, countdown nothing. */
bool tlt_verifier_can_read(tlt_verifier v, const char *answer, size_t n);

/* p must have what v needs (the dataset checked it). completion need not be valid UTF-8. */
tlt_verdict tlt_verify(tlt_verifier v, const struct tlt_problem *p, const char *completion,
                       size_t bytes);

#endif
