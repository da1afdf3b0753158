/* tlt bench: figures measured here and now. */
#include "app/bench.h"

#include <stdio.h>
#include <string.h>

#include "app/bench_kernels.h"
#include "cmd/commands.h"
#include "io/text.h"

static void print_table(const tlt_bench_table *t) {
  printf("%-28s %8s %12s %12s %12s  %s\n", "what", "rows", "median", "lowest", "highest", "unit");
  for (int i = 0; i < t->count; i++) {
    const tlt_bench_row *r = &t->row[i];
    char rows[16] = "";
    if (r->rows) snprintf(rows, sizeof rows, "%d", r->rows);
    printf("%-28s %8s %12.3f %12.3f %12.3f  %s\n", r->what, rows, r->value, r->low, r->high,
           r->unit);
  }
}

static void print_json(const tlt_bench_table *t) {
  for (int i = 0; i < t->count; i++) {
    const tlt_bench_row *r = &t->row[i];
    tlt_json_writer w = {0};
    tlt_json_begin(&w, NULL, '{');
    tlt_json_put_string(&w, "what", r->what);
    tlt_json_put_int(&w, "rows", r->rows);
    tlt_json_put_f64(&w, "median", r->value);
    tlt_json_put_f64(&w, "lowest", r->low);
    tlt_json_put_f64(&w, "highest", r->high);
    tlt_json_put_string(&w, "unit", r->unit);
    tlt_json_end(&w, '}');
    tlt_json_newline(&w);
    if (w.text.data) fputs(w.text.data, stdout);
    tlt_text_free(&w.text);
  }
}

static tlt_status run(const char *what, const char *model, const char *numerics, int threads,
                      int rounds, tlt_bench_table *t, tlt_err *err) {
  if (!strcmp(what, "kernels")) return tlt_bench_kernels(numerics, threads, rounds, t, err);
  tlt_model *m = NULL;
  tlt_model_options o = {.numerics = numerics, .threads = threads};
  tlt_status s = tlt_model_open(model, &o, &m, err);
  if (s == TLT_OK && !strcmp(what, "generate")) s = tlt_bench_generate(m, rounds, t, err);
  else if (s == TLT_OK && !strcmp(what, "noise")) s = tlt_bench_noise(m, rounds, t, err);
  else if (s == TLT_OK && !strcmp(what, "train")) s = tlt_bench_train(m, rounds, t, err);
  tlt_model_close(m);
  return s;
}

static bool is_figure(const char *what) {
  static const char *const name[] = {"kernels", "generate", "noise", "train"};
  for (int i = 0; i < 4; i++)
    if (!strcmp(what, name[i])) return true;
  return false;
}

static int bench_main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "policy")) return tlt_bench_policy_main(argc - 1, argv + 1);
  if (argc > 1 && !strcmp(argv[1], "rollout")) return tlt_bench_rollout_main(argc - 1, argv + 1);
  const char *model = "models/tiny-countdown", *numerics = NULL;
  int threads = 0, rounds = 5;
  bool json = false;
  const tlt_arg table[] = {
      {"model", TLT_ARG_TEXT, &model, 0, 0, "DIR",
       "model, except for 'kernels' (models/tiny-countdown)"},
      {"numerics", TLT_ARG_TEXT, &numerics, 0, 0, "PATH",
       "auto, portable, avx512bf16 or amx (auto)"},
      {"threads", TLT_ARG_INT, &threads, 0, 1024, "N", "threads (0: all cores)"},
      {"rounds", TLT_ARG_INT, &rounds, 1, 64, "N", "rounds; the median is shown (5)"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "one JSON object per figure"},
  };
  tlt_err err = {0};
  tlt_bench_table results = {.count = 0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&tlt_cmd_bench, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && (n_rest != 1 || !is_figure(rest[0])))
    s = tlt_fail(&err, TLT_EUSAGE,
                 "expected one of: kernels, generate, noise, train, policy, rollout");
  if (s == TLT_OK) s = run(rest[0], model, numerics, threads, rounds, &results, &err);
  if (results.count) (json ? print_json : print_table)(&results);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_bench = {"bench", "kernels|generate|noise|train|policy|rollout [options]",
                                   "measure kernels, generation, training or speculation",
                                   bench_main};
