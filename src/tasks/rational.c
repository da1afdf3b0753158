/* Numbers of the verifiers: bounded rationals and how they are read from text. Every loop runs over
 * the text once and every value is bounded, so hostile text costs its length and nothing more. */
#include <ctype.h>
#include <string.h>

#include "tasks/verifier_internal.h"

typedef __int128 wide;

static wide wide_abs(wide a) {
  return a < 0 ? -a : a;
}

/* Euclid: at most about 180 divisions of 128-bit numbers. */
static wide wide_gcd(wide a, wide b) {
  while (b) {
    wide rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* p/q into lowest terms; false when q is 0 or the result is too large. */
static bool reduce(wide p, wide q, tlt_rational *out) {
  if (!q) return false;
  if (q < 0) p = -p, q = -q;
  wide g = wide_gcd(wide_abs(p), q);
  p /= g, q /= g;
  if (wide_abs(p) > TLT_RATIONAL_MAX || q > TLT_RATIONAL_MAX) return false;
  *out = (tlt_rational){(int64_t)p, (int64_t)q};
  return true;
}

/* Products of two values of at most 10^18 are below 10^36, sums of two of those below 2^127. */
bool tlt_rational_apply(char op, tlt_rational a, tlt_rational b, tlt_rational *out) {
  wide ap = a.p, aq = a.q, bp = b.p, bq = b.q;
  if (op == '*') return reduce(ap * bp, aq * bq, out);
  if (op == '/') return reduce(ap * bq, aq * bp, out);
  return reduce(op == '+' ? ap * bq + bp * aq : ap * bq - bp * aq, aq * bq, out);
}

bool tlt_rational_equal(tlt_rational a, tlt_rational b) {
  return a.p == b.p && a.q == b.q;
}

static bool digit_at(tlt_span a, size_t i) {
  return i < a.n && a.s[i] >= '0' && a.s[i] <= '9';
}

/* Bytes of a sign at the start; *negative set. */
static size_t read_sign(tlt_span a, bool *negative) {
  static const char minus[] = "\xe2\x88\x92"; /* U+2212 */
  *negative = a.n && a.s[0] == '-';
  if (a.n && (a.s[0] == '-' || a.s[0] == '+')) return 1;
  if (a.n >= 3 && !memcmp(a.s, minus, 3)) {
    *negative = true;
    return 3;
  }
  return 0;
}

/* Decimal digits gathered so far: value = mantissa / 10^scale. Zeros are held back until a later
 * digit needs them, so that 5.000...0 and 500...0 stay exact. */
typedef struct decimal {
  int64_t mantissa;
  long scale, zeros;
  bool exact;
} decimal;

static void take_digit(decimal *d, char c, bool fraction) {
  d->scale += fraction;
  if (c == '0') {
    d->zeros += d->mantissa != 0;
    return;
  }
  for (; d->zeros >= 0 && d->exact; d->zeros--) {
    if (d->mantissa > TLT_RATIONAL_MAX / 10) d->exact = false;
    else d->mantissa *= 10;
  }
  d->zeros = 0;
  if (d->exact && d->mantissa <= TLT_RATIONAL_MAX - (c - '0')) d->mantissa += c - '0';
  else d->exact = false;
}

/* Digits with "," between groups of three, from position i; returns the position behind them. A
 * comma is taken only after 1-3 digits and before exactly three. */
static size_t read_integer(tlt_span a, size_t i, decimal *d) {
  size_t group = 0;
  bool grouped = false;
  for (;;) {
    for (; digit_at(a, i); i++, group++) take_digit(d, a.s[i], false);
    bool comma = i < a.n && a.s[i] == ',' && (grouped ? group == 3 : group >= 1 && group <= 3) &&
                 digit_at(a, i + 1) && digit_at(a, i + 2) && digit_at(a, i + 3) &&
                 !digit_at(a, i + 4);
    if (!comma) return i;
    i++;
    group = 0;
    grouped = true;
  }
}

/* "e-5"; returns the position behind it, or i when there is none. */
static size_t read_exponent(tlt_span a, size_t i, decimal *d) {
  if (i >= a.n || (a.s[i] != 'e' && a.s[i] != 'E')) return i;
  size_t at = i + 1;
  bool negative = at < a.n && a.s[at] == '-';
  at += at < a.n && (a.s[at] == '-' || a.s[at] == '+');
  if (!digit_at(a, at)) return i;
  long value = 0;
  for (; digit_at(a, at); at++) value = value < 1000 ? value * 10 + (a.s[at] - '0') : value;
  d->scale += negative ? value : -value;
  return at;
}

/* mantissa * 10^zeros / 10^scale */
static bool decimal_value(decimal d, bool negative, tlt_rational *out) {
  long power = d.zeros - d.scale;
  *out = (tlt_rational){0, 1};
  if (!d.exact) return false;
  if (!d.mantissa) return true;
  if (power > 18 || power < -36) return false;
  wide p = negative ? -d.mantissa : d.mantissa, q = 1;
  for (; power > 0; power--) p *= 10;
  for (; power < 0; power++) q *= 10;
  return reduce(p, q, out);
}

size_t tlt_number_read(tlt_span a, tlt_rational *out, bool *exact) {
  bool negative;
  decimal d = {.exact = true};
  size_t i = read_sign(a, &negative);
  size_t first = i;
  i = read_integer(a, i, &d);
  bool any = i > first;
  if (i < a.n && a.s[i] == '.' && digit_at(a, i + 1)) {
    for (i++; digit_at(a, i); i++) take_digit(&d, a.s[i], true);
    any = true;
  }
  if (!any) return 0;
  i = read_exponent(a, i, &d);
  *exact = decimal_value(d, negative, out);
  return i;
}

static tlt_span skip(tlt_span a, size_t n) {
  return (tlt_span){a.s + n, a.n - n};
}

/* A number or number/number at the start of a; bytes read, 0 when there is none. */
static size_t read_quotient(tlt_span a, tlt_rational *out, bool *exact) {
  size_t n = tlt_number_read(a, out, exact);
  if (!n || n + 1 >= a.n || a.s[n] != '/') return n;
  tlt_rational under;
  bool under_exact;
  size_t m = tlt_number_read(skip(a, n + 1), &under, &under_exact);
  if (!m) return n;
  *exact = *exact && under_exact && tlt_rational_apply('/', *out, under, out);
  return n + 1 + m;
}

bool tlt_number_whole(tlt_span a, tlt_rational *out) {
  a = tlt_span_trim(a);
  if (a.n && a.s[0] == '$') a = skip(a, 1);
  while (a.n && strchr("%.$", a.s[a.n - 1]) && a.s[a.n - 1]) a.n--;
  bool exact;
  size_t n = read_quotient(a, out, &exact);
  return n && n == a.n && exact;
}

bool tlt_number_last(tlt_span a, tlt_rational *out) {
  bool found = false;
  for (size_t i = 0; i < a.n;) {
    tlt_rational number;
    bool exact;
    size_t n = read_quotient(skip(a, i), &number, &exact);
    /* A minus behind a digit or a closing bracket is an operation: 7-3 ends in 3. */
    bool operation = n && i && !isdigit((unsigned char)a.s[i]) && a.s[i] != '.' &&
                     (isalnum((unsigned char)a.s[i - 1]) || a.s[i - 1] == ')');
    if (!n || operation) {
      i++;
      continue;
    }
    if (exact) *out = number;
    found = exact;
    i += n;
  }
  return found;
}
