/* Figures of `tlt bench`: measured here and now, medians over rounds. */
#ifndef TLT_APP_BENCH_H
#define TLT_APP_BENCH_H

#include "tlt/model.h"

enum { TLT_BENCH_MAX_ROWS = 64 };

typedef struct tlt_bench_row {
  char what[48];    /* decode, prefill, forward+backward, gemm, ... */
  int rows;         /* batch or rows; 0: not applicable */
  double value;     /* median over rounds */
  double low, high; /* fastest and slowest round, same unit */
  const char *unit; /* "tokens/s", "ms", "GB/s", "GFLOP/s", "%" */
} tlt_bench_row;

typedef struct tlt_bench_table {
  tlt_bench_row row[TLT_BENCH_MAX_ROWS];
  int count;
} tlt_bench_table;

/* Append a row from the values of `rounds` rounds (sorted in place). A full table drops the row. */
void tlt_bench_add(tlt_bench_table *t, const char *what, int rows, double *values, int rounds,
                   const char *unit);

/* Decode at batch 1, 8, 16, 32 (T = 1, 40-token distinct prompts, 64 tokens, prefill left out) and
 * prefill of 4 x 512 tokens with logits of the last. */
tlt_status tlt_bench_generate(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err);

/* A decode step of 32 sequences at temperature 1 beside the same at temperature 0, in turn. */
tlt_status tlt_bench_noise(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err);

/* Forward + backward of 4 x 512 tokens in one micro-batch, and an optimizer step. */
tlt_status tlt_bench_train(tlt_model *m, int rounds, tlt_bench_table *t, tlt_err *err);

#endif
