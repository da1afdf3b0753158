#include "base/clock.h"

#include <math.h>
#include <time.h>

#define DRIFT 2e-4 /* seconds per second that two clocks may differ by, with room */

static double seconds(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double tlt_now(void) { return seconds(CLOCK_MONOTONIC); }
double tlt_wall(void) { return seconds(CLOCK_REALTIME); }
double tlt_cpu(void) { return seconds(CLOCK_PROCESS_CPUTIME_ID); }

void tlt_clock_gap_learn(tlt_clock_gap *g, double sent, double there, double received) {
  double low = there - received, high = there - sent, blur = DRIFT * (received - g->at);
  double both_low = fmax(low, g->low - blur), both_high = fmin(high, g->high + blur);
  bool agree = g->known && both_low <= both_high; /* else one of the machines was suspended */
  *g = (tlt_clock_gap){agree ? both_low : low, agree ? both_high : high, received, true};
}

double tlt_clock_ahead(const tlt_clock_gap *g) {
  return g->low <= 0 && g->high >= 0 ? 0 : (g->low + g->high) / 2;
}
