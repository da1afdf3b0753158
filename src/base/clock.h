/* The clocks. Monotonic seconds; differences only. */
#ifndef TLT_BASE_CLOCK_H
#define TLT_BASE_CLOCK_H

#include <stdbool.h>

double tlt_now(void);  /* monotonic seconds */
double tlt_wall(void); /* seconds since 1970, for logs only */
double tlt_cpu(void);  /* processor seconds of all threads of this process */

/* How far tlt_now() of another process is ahead of this one's, as far as messages there and back
 * tell: hosts start their clocks at different times. Zeroed: nothing is known. */
typedef struct tlt_clock_gap {
  double low, high; /* seconds between which it lies */
  double at;        /* tlt_now() when that was so */
  bool known;
} tlt_clock_gap;

/* A message left here at `sent`, the other's clock said `there` after it came, and the answer was
 * here at `received`. Narrows what is known, which blurs with time, as clocks drift apart. */
void tlt_clock_gap_learn(tlt_clock_gap *g, double sent, double there, double received);

/* The middle of what is possible; 0 where that is possible, as on one host. */
double tlt_clock_ahead(const tlt_clock_gap *g);

#endif
