#include "app/bench.h"

#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void tlt_bench_add(tlt_bench_table *t, const char *what, int rows, double *values, int rounds,
                   const char *unit) {
  if (t->count == TLT_BENCH_MAX_ROWS || rounds < 1) return;
  qsort(values, (size_t)rounds, sizeof *values, ascending);
  tlt_bench_row *r = &t->row[t->count++];
  snprintf(r->what, sizeof r->what, "%s", what);
  r->rows = rows;
  r->value = values[rounds / 2];
  r->low = values[0];
  r->high = values[rounds - 1];
  r->unit = unit;
}
