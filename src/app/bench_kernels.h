/* `tlt bench kernels`: what the kernels do on this machine. */
#ifndef TLT_APP_BENCH_KERNELS_H
#define TLT_APP_BENCH_KERNELS_H

#include "app/bench.h"

/* Over weights shaped like SmolLM2-135M (269 MB of random bf16): memory bandwidth, time of all
 * GEMMs of one forward for 1 to 256 rows, GEMM speed on weights that stay in cache, sampling and
 * log-probability of one row of 49,152 logits. numerics as for tlt_kernels_choose (NULL: auto),
 * threads 0: all cores. Allocates about 450 MB. */
tlt_status tlt_bench_kernels(const char *numerics, int threads, int rounds, tlt_bench_table *t,
                             tlt_err *err);

#endif
