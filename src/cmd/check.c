/* tlt check: verify a model, drafter, dataset, checkpoint or run. */
#include "app/check.h"

#include <stdio.h>

#include "cmd/commands.h"

static int check_main(int argc, char **argv) {
  tlt_err err = {0};
  char **rest, report[TLT_CHECK_TEXT];
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&tlt_cmd_check, NULL, 0, argc, argv, &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && n_rest == 0) s = tlt_fail(&err, TLT_EUSAGE, "expected a path to check");
  for (int i = 0; s == TLT_OK && i < n_rest; i++) {
    s = tlt_check_path(rest[i], report, &err);
    if (s == TLT_OK) printf("%s: %s\n", rest[i], report);
  }
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_check = {"check", "PATH...", "verify a model, drafter, dataset, checkpoint or run",
                                   check_main};
