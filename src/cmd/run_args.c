#include "cmd/run_args.h"

#include <string.h>

void tlt_run_args_rows(tlt_run_args *a, tlt_train_options *o, const char *threads_help,
                       tlt_arg *table) {
  const tlt_arg rows[TLT_RUN_ARGS] = {
      {"run", TLT_ARG_TEXT, &o->run, 0, 0, "DIR",
       "run directory (runs/<name of the configuration>)"},
      {"threads", TLT_ARG_INT, &o->threads, 0, 1024, "N", threads_help},
      {"numerics", TLT_ARG_TEXT, &o->numerics, 0, 0, "PATH", "auto, portable, avx512bf16 or amx"},
      {"resume", TLT_ARG_MAYBE, &a->resume, 0, 0, "HOW",
       "go on with a used run directory; last-good: past a damaged checkpoint; changed: accept "
       "another model, data or processor"},
      {"set", TLT_ARG_LIST, &a->sets, 0, 0, "KEY=VALUE",
       "override a configuration key; may be repeated"},
  };
  memcpy(table, rows, sizeof rows);
}

tlt_status tlt_run_args_take(const tlt_run_args *a, char **rest, int n_rest, tlt_train_options *o,
                             tlt_err *err) {
  if (n_rest != 1)
    return tlt_fail(err, TLT_EUSAGE, "expected one configuration file, got %d", n_rest);
  o->config = rest[0];
  o->sets = a->sets.value;
  o->n_sets = a->sets.count;
  return a->resume ? tlt_resume_find(a->resume, &o->resume, err) : TLT_OK;
}
