#include "tasks/verifier.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tasks/verifier_internal.h"

static const char *const names[] = {"numeric", "exact", "countdown", "math"};

tlt_status tlt_verifier_find(const char *name, tlt_verifier *out, tlt_err *err) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!strcmp(name, names[i])) {
      *out = (tlt_verifier)i;
      return TLT_OK;
    }
  }
  return tlt_fail(err, TLT_EUSAGE, "verifier: got '%s', expected numeric, exact, countdown or math",
                  name);
}

const char *tlt_verifier_name(tlt_verifier v) {
  return names[v];
}

/* ---- finding the final answer ---- */

tlt_span tlt_span_trim(tlt_span a) {
  while (a.n && isspace((unsigned char)a.s[0])) a.s++, a.n--;
  while (a.n && isspace((unsigned char)a.s[a.n - 1])) a.n--;
  return a;
}

bool tlt_span_equal(tlt_span a, tlt_span b) {
  return a.n == b.n && (!a.n || !memcmp(a.s, b.s, a.n));
}

tlt_span tlt_span_after_last(tlt_span a, const char *word) {
  size_t n = strlen(word);
  for (size_t at = a.n; at >= n && at > 0; at--) {
    if (a.s[at - n] == word[0] && !memcmp(a.s + at - n, word, n))
      return (tlt_span){a.s + at, a.n - at};
  }
  return (tlt_span){NULL, 0};
}

static tlt_span first_line(tlt_span a) {
  const char *end = a.n ? memchr(a.s, '\n', a.n) : NULL;
  if (end) a.n = (size_t)(end - a.s);
  return a;
}

/* Rest of a line that starts with the word "answer", or s NULL. */
static tlt_span answer_line(tlt_span line) {
  static const char word[] = "answer";
  enum { N = sizeof word - 1 };
  line = tlt_span_trim(line);
  if (line.n <= N || strncasecmp(line.s, word, N) || isalnum((unsigned char)line.s[N]))
    return (tlt_span){NULL, 0};
  line = tlt_span_trim((tlt_span){line.s + N, line.n - N});
  if (line.n && line.s[0] == ':') line = (tlt_span){line.s + 1, line.n - 1};
  return line;
}

static tlt_span last_answer_line(tlt_span text) {
  tlt_span found = {NULL, 0};
  while (text.n) {
    tlt_span line = first_line(text);
    tlt_span rest = answer_line(line);
    if (rest.s) found = rest;
    size_t used = line.n < text.n ? line.n + 1 : line.n;
    text = (tlt_span){text.s + used, text.n - used};
  }
  return found;
}

tlt_span tlt_find_boxed(tlt_span text) {
  tlt_span a = tlt_span_after_last(text, "\\boxed"), b = tlt_span_after_last(text, "\\fbox");
  if (b.s && (!a.s || b.s > a.s)) a = b;
  a = tlt_span_trim(a);
  if (!a.n || a.s[0] != '{') return (tlt_span){NULL, 0};
  size_t depth = 0;
  for (size_t i = 0; i < a.n; i++) {
    if (a.s[i] == '\\') i++;
    else if (a.s[i] == '{') depth++;
    else if (a.s[i] == '}' && --depth == 0) return tlt_span_trim((tlt_span){a.s + 1, i - 1});
  }
  return (tlt_span){NULL, 0};
}

tlt_span tlt_find_answer(tlt_span text) {
  static const char close_tag[] = "</answer>";
  enum { N = sizeof close_tag - 1 };
  tlt_span tag = tlt_span_after_last(text, "<answer>");
  if (tag.s) {
    for (size_t i = 0; i + N <= tag.n; i++) {
      if (tag.s[i] == '<' && !memcmp(tag.s + i, close_tag, N)) tag.n = i;
    }
    return tlt_span_trim(tag);
  }
  tlt_span line = last_answer_line(text);
  tlt_span hashes = first_line(tlt_span_after_last(text, "####"));
  if (hashes.s && (!line.s || hashes.s > line.s)) line = hashes;
  return line.s ? tlt_span_trim(line) : tlt_find_boxed(text);
}

/* ---- verdicts ---- */

static tlt_verdict verdict(bool right, bool parsed) {
  return (tlt_verdict){right ? 1.0 : 0.0, parsed};
}

static tlt_verdict verify_exact(tlt_span expected, tlt_span text) {
  tlt_span answer = tlt_find_answer(text);
  return verdict(answer.s && tlt_span_equal(answer, tlt_span_trim(expected)), answer.n > 0);
}

/* The number of a final answer, else of the whole text. */
static bool number_of(tlt_span text, tlt_rational *out) {
  tlt_span answer = tlt_find_answer(text);
  if (!answer.s) return tlt_number_last(text, out);
  return tlt_number_whole(answer, out) || tlt_number_last(answer, out);
}

static tlt_verdict verify_numeric(tlt_span expected, tlt_span text) {
  tlt_rational want, got;
  if (!number_of(text, &got)) return verdict(false, false);
  return verdict(number_of(expected, &want) && tlt_rational_equal(want, got), true);
}

bool tlt_verifier_can_read(tlt_verifier v, const char *answer, size_t n) {
  tlt_rational number;
  tlt_span span = tlt_span_trim((tlt_span){answer, n});
  return v == TLT_VERIFY_NUMERIC ? number_of(span, &number)
                                 : span.n > 0 || v == TLT_VERIFY_COUNTDOWN;
}

tlt_verdict tlt_verify(tlt_verifier v, const struct tlt_problem *p, const char *completion,
                       size_t bytes) {
  tlt_span text = {completion, bytes}, expected = {p->answer, p->answer_bytes};
  switch (v) {
    case TLT_VERIFY_NUMERIC: return verify_numeric(expected, text);
    case TLT_VERIFY_COUNTDOWN: return tlt_verify_countdown(p, text);
    case TLT_VERIFY_MATH: return tlt_verify_math(expected, text);
    default: return verify_exact(expected, text);
  }
}
