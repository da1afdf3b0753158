/* The clocks. Monotonic seconds; differences only. */
#ifndef TLT_BASE_CLOCK_H
#define TLT_BASE_CLOCK_H

double tlt_now(void);  /* monotonic seconds */
double tlt_wall(void); /* seconds since 1970, for logs only */
double tlt_cpu(void);  /* processor seconds of all threads of this process */

#endif
