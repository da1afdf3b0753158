/* Mathematical answers in LaTeX: strip what does not change the value, then compare as rationals
 * where both sides are numbers, else as texts. */
#include <ctype.h>
#include <string.h>

#include "tasks/verifier_internal.h"

/* Longer answers are compared byte for byte. */
enum { ANSWER_MAX = 2048 };

typedef struct plain {
  char s[ANSWER_MAX];
  size_t n;
  bool spaced_comma; /* "1, 234" is a list, "1,234" a number */
} plain;

static bool starts(tlt_span a, const char *word) {
  size_t n = strlen(word);
  return a.n >= n && !memcmp(a.s, word, n);
}

static tlt_span skip(tlt_span a, size_t n) {
  return (tlt_span){a.s + n, a.n - n};
}

/* The first word of the list that a starts with; its index, or -1. A command ends where its letters
 * end, so \le does not match \left. */
static int match(tlt_span a, const char *const *words, size_t *n) {
  for (int i = 0; words[i]; i++) {
    *n = strlen(words[i]);
    bool letters = words[i][0] == '\\' && isalpha((unsigned char)words[i][*n - 1]);
    if (starts(a, words[i]) && !(letters && a.n > *n && isalpha((unsigned char)a.s[*n]))) return i;
  }
  return -1;
}

static const char *const dropped[] = {"\\left", "\\right",  "\\displaystyle",
                                      "\\%",    "%",        "\\$",
                                      "$",      "\\,",      "\\;",
                                      "\\:",    "\\!",      "\\ ",
                                      "~",      "^\\circ",  "^{\\circ}",
                                      "\\circ", "\xc2\xb0", NULL};

static const struct {
  const char *from, *to;
} replaced[] = {{"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\cdot", "*"},
                {"\\times", "*"},      {"{,}", ","},          {"\xe2\x88\x92", "-"},
                {"\\lbrace", "\\{"},   {"\\rbrace", "\\}"}};

static const char *const groups[] = {"\\text{",   "\\mbox{",   "\\mathrm{",
                                     "\\textbf{", "\\textrm{", NULL};

static void put(plain *out, const char *s, size_t n) {
  if (n > sizeof out->s - out->n) n = sizeof out->s - out->n;
  memcpy(out->s + out->n, s, n);
  out->n += n;
}

/* Bytes of a \text{...} group at the start of a. Behind a value it is a unit and goes; at the start
 * it is the answer itself and its content stays. */
static size_t take_group(tlt_span a, plain *out) {
  size_t n;
  if (match(a, groups, &n) < 0) return 0;
  const char *end = memchr(a.s, '}', a.n);
  if (!end) return 0;
  tlt_span inside = tlt_span_trim((tlt_span){a.s + n, (size_t)(end - a.s) - n});
  if (!out->n) put(out, inside.s, inside.n);
  return (size_t)(end - a.s) + 1;
}

static size_t take_replaced(tlt_span a, plain *out) {
  for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) {
    const char *const one[] = {replaced[i].from, NULL};
    size_t n;
    if (match(a, one, &n) == 0) {
      put(out, replaced[i].to, strlen(replaced[i].to));
      return n;
    }
  }
  return 0;
}

/* "x = 5" means 5: drop a left side of one or two letters. */
static tlt_span right_side(tlt_span a) {
  const char *sign = a.n ? memchr(a.s, '=', a.n) : NULL;
  if (!sign) return a;
  tlt_span left = tlt_span_trim((tlt_span){a.s, (size_t)(sign - a.s)});
  if (!left.n || left.n > 2 || !isalpha((unsigned char)left.s[0])) return a;
  return skip(a, (size_t)(sign - a.s) + 1);
}

/* Drop one trailing unit word that a blank separates from what is before it. */
static bool drop_unit(tlt_span *a) {
  static const char *const units[] = {
      "cm",          "mm",         "m",      "km",      "in",      "inch",   "inches",
      "ft",          "foot",       "feet",   "yards",   "miles",   "meters", "metres",
      "centimeters", "kilometers", "mph",    "g",       "kg",      "grams",  "kilograms",
      "pounds",      "ounces",     "liters", "gallons", "dollars", "cents",  "seconds",
      "minutes",     "hours",      "days",   "weeks",   "months",  "years",  "degrees",
      "percent",     "units",      "square", "cubic",   "people",  NULL};
  size_t n = 0;
  while (n < a->n && isalpha((unsigned char)a->s[a->n - 1 - n])) n++;
  if (!n || n >= a->n || !isspace((unsigned char)a->s[a->n - 1 - n])) return false;
  for (int i = 0; units[i]; i++) {
    if (strlen(units[i]) == n && !memcmp(a->s + a->n - n, units[i], n)) {
      *a = tlt_span_trim((tlt_span){a->s, a->n - n});
      return true;
    }
  }
  return false;
}

static void strip(tlt_span a, plain *out) {
  *out = (plain){.n = 0};
  a = tlt_span_trim(right_side(tlt_span_trim(a)));
  while (a.n && a.s[a.n - 1] == '.') a.n--;
  while (drop_unit(&a)) {
  }
  while (a.n) {
    size_t n = take_group(a, out);
    if (!n) n = take_replaced(a, out);
    if (!n && match(a, dropped, &n) < 0) {
      n = 1;
      if (!isspace((unsigned char)a.s[0])) put(out, a.s, 1);
      else if (out->n && out->s[out->n - 1] == ',') out->spaced_comma = true;
    }
    a = skip(a, n);
  }
}

/* One argument of \frac at the start of a, "{...}" or one character; its bytes, 0 when missing. */
static size_t frac_argument(tlt_span a, tlt_rational *out) {
  if (!a.n) return 0;
  if (a.s[0] != '{') return tlt_number_whole((tlt_span){a.s, 1}, out) ? 1 : 0;
  const char *end = memchr(a.s, '}', a.n);
  if (!end) return 0;
  size_t n = (size_t)(end - a.s);
  return tlt_number_whole((tlt_span){a.s + 1, n - 1}, out) ? n + 1 : 0;
}

/* \frac and its two arguments as all of a. */
static bool read_frac(tlt_span a, tlt_rational *out) {
  static const char word[] = "\\frac";
  if (!starts(a, word)) return false;
  a = skip(a, sizeof word - 1);
  tlt_rational over, under;
  size_t n = frac_argument(a, &over);
  if (!n) return false;
  a = skip(a, n);
  n = frac_argument(a, &under);
  return n && n == a.n && tlt_rational_apply('/', over, under, out);
}

/* A number, a/b, \frac, or a whole number followed by \frac, each with a sign before it. */
static bool read_value(tlt_span a, tlt_rational *out) {
  if (tlt_number_whole(a, out)) return true;
  bool negative = a.n && a.s[0] == '-';
  if (a.n && (a.s[0] == '-' || a.s[0] == '+')) a = skip(a, 1);
  tlt_rational whole = {0, 1}, part;
  bool exact = true;
  size_t n = a.n && isdigit((unsigned char)a.s[0]) ? tlt_number_read(a, &whole, &exact) : 0;
  if (!exact || whole.q != 1 || !read_frac(skip(a, n), &part) ||
      !tlt_rational_apply('+', whole, part, out))
    return false;
  if (negative) out->p = -out->p;
  return true;
}

static bool same_answer(tlt_span a, tlt_span b) {
  if (a.n > ANSWER_MAX || b.n > ANSWER_MAX) /* stripping never lengthens */
    return tlt_span_equal(a, b);
  plain pa, pb;
  strip(a, &pa);
  strip(b, &pb);
  tlt_span sa = {pa.s, pa.n}, sb = {pb.s, pb.n};
  if (pa.n && tlt_span_equal(sa, sb)) return true;
  tlt_rational va, vb;
  return !pa.spaced_comma && !pb.spaced_comma && read_value(sa, &va) && read_value(sb, &vb) &&
         tlt_rational_equal(va, vb);
}

tlt_verdict tlt_verify_math(tlt_span expected, tlt_span text) {
  tlt_span want = tlt_find_boxed(expected), got = tlt_find_boxed(text);
  if (!want.s) want = tlt_span_trim(expected);
  if (!got.s) got = tlt_find_answer(text);
  if (got.n) return (tlt_verdict){same_answer(want, got) ? 1.0 : 0.0, true};
  tlt_rational last, value;
  if (!tlt_number_last(text, &last)) return (tlt_verdict){0.0, false};
  plain stripped;
  if (want.n > ANSWER_MAX) return (tlt_verdict){0.0, true};
  strip(want, &stripped);
  bool right = !stripped.spaced_comma && read_value((tlt_span){stripped.s, stripped.n}, &value) &&
               tlt_rational_equal(value, last);
  return (tlt_verdict){right ? 1.0 : 0.0, true};
}
