/* Runs one case of drafter training for differential tests (tests/py/test_drafter_torch.py):
 *   drafter_tool "CASE" OUT THREADS [REPEAT]
 * CASE: a line as in drafter_case.h; OUT gets the results as fp32. With REPEAT the micro-batch is
 * trained that many times, and tokens per second go to standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "drafter_case.h"
#include "io/file.h"

static void stop(const char *text) {
  fprintf(stderr, "drafter_tool: %s\n", text);
  exit(1);
}

static void repeat(drafter_world *w, int times) {
  tlt_err err;
  double best = 1e9;
  for (int i = 0; i < times; i++) {
    double start = tlt_now();
    if (tlt_drafter_trainer_accumulate(w->t, &w->m, NULL, &err)) stop(err.text);
    double seconds = tlt_now() - start;
    if (seconds < best) best = seconds;
  }
  int tokens = w->m.cu[w->m.n_samples];
  printf("%d tokens in %.4f s: %.0f tokens/s\n", tokens, best, tokens / best);
}

int main(int argc, char **argv) {
  drafter_case c;
  drafter_world w;
  tlt_err err;
  if (argc < 4 || !case_read(&c, argv[1]))
    stop("usage: drafter_tool \"CASE\" OUT THREADS [REPEAT]");
  case_open(&c, NULL, atoi(argv[3]), &w);
  size_t n = case_results(&c, &w);
  float *to = tlt_calloc(n, sizeof *to);
  case_run(&c, &w, to);
  if (tlt_file_store(argv[2], to, n * sizeof *to, &err)) stop(err.text);
  if (argc > 4) repeat(&w, atoi(argv[4]));
  tlt_free(to);
  case_close(&w);
  return 0;
}
