/* tlt data: generated problems as JSONL on standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/commands.h"
#include "tasks/task.h"

enum { MAX_TASK_OPTIONS = 16, MAX_TABLE = 24 };

static const tlt_arg common[] = {
    {"count", TLT_ARG_INT, NULL, 1, 100000000, "N", "problems (10)"},
    {"seed", TLT_ARG_SEED, NULL, 0, 0, "S", "seed of the problems (0)"},
    {"split", TLT_ARG_TEXT, NULL, 0, 0, "NAME", "all, train, rl or eval: disjoint sets (all)"},
    {"traces", TLT_ARG_FLAG, NULL, 0, 0, NULL, "add worked traces as \"completion\""},
};

static tlt_status print_lines(const tlt_task *t, size_t count, tlt_err *err) {
  tlt_task_lines *lines = NULL;
  tlt_status s = tlt_task_lines_open(t, count, &lines, err);
  while (s == TLT_OK) {
    char *line = NULL;
    size_t n;
    s = tlt_task_lines_next(lines, &line, &n, err);
    if (s != TLT_OK || !line) break;
    if (fwrite(line, 1, n, stdout) != n || putchar('\n') == EOF)
      s = tlt_fail(err, TLT_EIO, "standard output: cannot write");
    tlt_free(line);
  }
  tlt_task_lines_close(lines);
  if (s == TLT_OK && fflush(stdout)) s = tlt_fail(err, TLT_EIO, "standard output: cannot write");
  return s;
}

static tlt_status find_task(int argc, char **argv, const char **task, tlt_err *err) {
  for (int i = 1; i < argc; i++)
    for (const char *const *name = tlt_task_names(); *name; name++)
      if (!strcmp(argv[i], *name)) {
        *task = *name;
        return TLT_OK;
      }
  char names[256] = "";
  for (const char *const *name = tlt_task_names(); *name; name++) {
    strncat(names, " ", sizeof names - strlen(names) - 1);
    strncat(names, *name, sizeof names - strlen(names) - 1);
  }
  return tlt_fail(err, TLT_EUSAGE, "expected a task, one of:%s", names);
}

static int data_main(int argc, char **argv) {
  const char *task = NULL, *split_name = "all";
  uint32_t seed = 0;
  int count = 10, values[MAX_TASK_OPTIONS], n = 0;
  bool traces = false, help;
  tlt_err err = {0};
  tlt_arg table[MAX_TABLE];
  memcpy(table, common, sizeof common);
  void *to[] = {&count, &seed, &split_name, &traces};
  size_t rows = sizeof common / sizeof *common;
  for (size_t i = 0; i < rows; i++) table[i].to = to[i];
  tlt_status s = find_task(argc, argv, &task, &err);
  const tlt_task_option *options = task ? tlt_task_options(task) : NULL;
  for (; options && options[n].name && n < MAX_TASK_OPTIONS; n++) {
    values[n] = (int)options[n].fallback;
    table[rows++] =
        (tlt_arg){options[n].name,         TLT_ARG_INT, &values[n],     (double)options[n].low,
                  (double)options[n].high, "N",         options[n].help};
  }
  char **rest;
  int n_rest;
  tlt_err parse_err = {0};
  tlt_status parsed =
      tlt_args_parse(&tlt_cmd_data, table, rows, argc, argv, &rest, &n_rest, &help, &parse_err);
  if (parsed == TLT_OK && help) return 0;
  if (s != TLT_OK) return tlt_report_error(&err);
  if (parsed != TLT_OK) return tlt_report_error(&parse_err);
  if (n_rest != 1) {
    tlt_fail(&err, TLT_EUSAGE, "expected one task, got %d arguments", n_rest);
    return tlt_report_error(&err);
  }
  tlt_split split = TLT_SPLIT_ALL;
  tlt_task_setting settings[MAX_TASK_OPTIONS];
  for (int i = 0; i < n; i++) settings[i] = (tlt_task_setting){options[i].name, values[i]};
  tlt_task *t = NULL;
  s = tlt_split_find(split_name, &split, &err);
  if (s == TLT_OK)
    s = tlt_task_open(task, settings, (size_t)n, split, seed, traces, &t, &err);
  if (s == TLT_OK) s = print_lines(t, (size_t)count, &err);
  tlt_task_close(t);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_data = {"data", "TASK [options]",
                                  "problems with exact answers, as JSONL on stdout", data_main};
