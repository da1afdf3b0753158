#include "base/fmath.h"

double tlt_exp(double x) {
  if (x != x) return x;
  if (x < -745.2) return 0.0;
  if (x > 709.78) return (double)INFINITY;
  double n = rint(x * 1.4426950408889634074);
  double r = fma(n, -6.93147180369123816490e-01, x);
  r = fma(n, -1.90821492927058770002e-10, r);
  double p = 1.0;
  for (int i = 14; i >= 1; i--) p = fma(p, r / i, 1.0); /* r^15 / 15! < 1e-19 */
  return ldexp(p, (int)n);
}

double tlt_log(double x) {
  int e;
  double m = frexp(x, &e);
  if (m < 0.70710678118654752440) {
    m *= 2;
    e -= 1;
  }
  double s = (m - 1) / (m + 1), z = s * s, p = 0; /* ln m = 2 artanh s, |s| < 0.1716 */
  for (int k = 23; k >= 1; k -= 2) p = fma(p, z, 1.0 / k);
  double low = fma((double)e, 1.90821492927058770002e-10, 2 * s * p);
  return fma((double)e, 6.93147180369123816490e-01, low);
}

double tlt_pow(double x, double y) { return tlt_exp(y * tlt_log(x)); }

static double sin_poly(double r) {
  double z = r * r, p = 1.0;
  for (int k = 19; k >= 3; k -= 2) p = fma(p, -z / (k * (k - 1)), 1.0);
  return r * p;
}

static double cos_poly(double r) {
  double z = r * r, p = 1.0;
  for (int k = 20; k >= 2; k -= 2) p = fma(p, -z / (k * (k - 1)), 1.0);
  return p;
}

void tlt_sincos(double x, double *sine, double *cosine) {
  double n = rint(x * 0.63661977236758134308);
  double r = fma(n, -1.57079632673412561417e+00, x); /* pi/2 in three parts of 33 bits */
  r = fma(n, -6.07710050630396597660e-11, r);
  r = fma(n, -2.02226624879595063154e-21, r);
  double s = sin_poly(r), c = cos_poly(r);
  switch ((long long)n & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s; break;
  }
}
