/* tlt report: what a run did, as one page. */
#include "report/report.h"

#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/version.h"
#include "report/payload.h"

static tlt_status print_json(const char *run, tlt_err *err) {
  tlt_run_log *log = NULL;
  tlt_json_writer w = {0};
  tlt_status s = tlt_run_log_open(run, &log, err);
  if (s == TLT_OK) s = tlt_payload_run(log, tlt_program_version(), NULL, &w, err);
  if (s == TLT_OK) printf("%s\n", w.text.data);
  tlt_text_free(&w.text);
  tlt_run_log_free(log);
  return s;
}

static tlt_status write_page(const char *run, const char *to, tlt_err *err) {
  tlt_report_result r;
  tlt_status s = tlt_report_write(run, to, tlt_program_version(), &r, err);
  if (s != TLT_OK) return s;
  printf("%s: %.1f MB", r.path, (double)r.bytes / 1e6);
  if (r.notices > 0)
    printf(", with %d note%s about what was damaged or left out", r.notices,
           r.notices > 1 ? "s" : "");
  printf("\n");
  return TLT_OK;
}

static int report_main(int argc, char **argv) {
  const char *to = NULL;
  bool json = false, help;
  const tlt_arg table[] = {
      {"out", TLT_ARG_TEXT, &to, 0, 0, "FILE", "write the page there (RUN/report.html)"},
      {"json", TLT_ARG_FLAG, &json, 0, 0, NULL, "print what the page shows as JSON instead"},
  };
  tlt_err err = {0};
  char **rest;
  int n_rest;
  tlt_status s = tlt_args_parse(&tlt_cmd_report, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK && n_rest != 1)
    s = tlt_fail(&err, TLT_EUSAGE, "expected one run directory, got %d", n_rest);
  if (s == TLT_OK && json && to)
    s = tlt_fail(&err, TLT_EUSAGE, "--json goes to the standard output, --out does not apply");
  if (s == TLT_OK) s = json ? print_json(rest[0], &err) : write_page(rest[0], to, &err);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_report = {"report", "RUN [--out FILE] [--json]",
                                    "one page about a run, finished or not", report_main};
