#include "cmd/args.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 48, HELP_OPTION = 1000 };

static void print_help(const tlt_command *command, const tlt_arg *table, size_t count) {
  printf("usage: tlt %s %s\n\n%s\n\noptions:\n", command->name, command->synopsis,
         command->summary);
  for (size_t i = 0; i < count; i++) {
    char left[64];
    const char *value = table[i].value ? table[i].value : "";
    const char *form = table[i].kind == TLT_ARG_FLAG    ? "--%s"
                       : table[i].kind == TLT_ARG_MAYBE ? "--%s[=%s]"
                                                        : "--%s %s";
    snprintf(left, sizeof left, form, table[i].name, value);
    printf("  %-26s %s\n", left, table[i].help);
  }
  printf("  %-26s %s\n", "--help", "this text");
}

static tlt_status store_int(const tlt_arg *a, const char *text, tlt_err *err) {
  char *end;
  errno = 0;
  long v = strtol(text, &end, 10);
  bool any = a->low == 0 && a->high == 0;
  double low = any ? -2147483648.0 : a->low, high = any ? 2147483647.0 : a->high;
  if (end == text || *end || errno || (double)v < low || (double)v > high)
    return tlt_fail(err, TLT_EUSAGE, "--%s: got '%s', expected a whole number from %.0f to %.0f",
                    a->name, text, low, high);
  *(int *)a->to = (int)v;
  return TLT_OK;
}

static tlt_status store_seed(const tlt_arg *a, const char *text, tlt_err *err) {
  char *end;
  errno = 0;
  long long v = strtoll(text, &end, 10);
  if (end == text || *end || errno || v < 0 || v > UINT32_MAX)
    return tlt_fail(err, TLT_EUSAGE, "--%s: got '%s', expected a whole number from 0 to %lld",
                    a->name, text, (long long)UINT32_MAX);
  *(uint32_t *)a->to = (uint32_t)v;
  return TLT_OK;
}

static tlt_status store_number(const tlt_arg *a, const char *text, tlt_err *err) {
  char *end;
  double v = strtod(text, &end);
  bool any = a->low == 0 && a->high == 0;
  if (end == text || *end || !isfinite(v) || (!any && (v < a->low || v > a->high)))
    return tlt_fail(err, TLT_EUSAGE, "--%s: got '%s', expected a number from %g to %g", a->name,
                    text, any ? -HUGE_VAL : a->low, any ? HUGE_VAL : a->high);
  *(float *)a->to = (float)v;
  return TLT_OK;
}

static tlt_status store_list(const tlt_arg *a, const char *text, tlt_err *err) {
  tlt_arg_list *list = a->to;
  if (list->count == TLT_ARG_LIST_MAX)
    return tlt_fail(err, TLT_EUSAGE, "--%s: given more than %d times", a->name, TLT_ARG_LIST_MAX);
  list->value[list->count++] = text;
  return TLT_OK;
}

static tlt_status store(const tlt_arg *a, const char *text, tlt_err *err) {
  switch (a->kind) {
    case TLT_ARG_FLAG: *(bool *)a->to = true; return TLT_OK;
    case TLT_ARG_TEXT: *(const char **)a->to = text; return TLT_OK;
    case TLT_ARG_MAYBE: *(const char **)a->to = text ? text : ""; return TLT_OK;
    case TLT_ARG_INT: return store_int(a, text, err);
    case TLT_ARG_SEED: return store_seed(a, text, err);
    case TLT_ARG_NUMBER: return store_number(a, text, err);
    case TLT_ARG_LIST: return store_list(a, text, err);
  }
  return TLT_EINTERNAL;
}

static int has_arg(tlt_arg_kind kind) {
  if (kind == TLT_ARG_FLAG) return no_argument;
  return kind == TLT_ARG_MAYBE ? optional_argument : required_argument;
}

tlt_status tlt_args_parse(const tlt_command *command, const tlt_arg *table, size_t count, int argc,
                          char **argv, char ***rest, int *n_rest, bool *help, tlt_err *err) {
  struct option options[MAX_OPTIONS] = {{0}};
  if (count + 2 > MAX_OPTIONS) return tlt_fail(err, TLT_EINTERNAL, "option table too long");
  for (size_t i = 0; i < count; i++)
    options[i] = (struct option){table[i].name, has_arg(table[i].kind), NULL, (int)i};
  options[count] = (struct option){"help", no_argument, NULL, HELP_OPTION};
  *help = false;
  opterr = 0;
  optind = 1;
  for (;;) {
    int c = getopt_long(argc, argv, ":", options, NULL);
    if (c == -1) break;
    if (c == HELP_OPTION) {
      print_help(command, table, count);
      *help = true;
      return TLT_OK;
    }
    /* getopt has moved positional arguments behind: the option is what it looked at last. A single
     * letter is above all indices of the table, which is what a flag with a value gives. */
    if (c == ':') return tlt_fail(err, TLT_EUSAGE, "%s: a value is missing", argv[optind - 1]);
    if (c == '?' && optopt >= MAX_OPTIONS && optopt < HELP_OPTION)
      return tlt_fail(err, TLT_EUSAGE, "-%c: unknown option; see 'tlt %s --help'", optopt,
                      command->name);
    if (c == '?')
      return tlt_fail(err, TLT_EUSAGE, "%s: unknown option; see 'tlt %s --help'", argv[optind - 1],
                      command->name);
    tlt_status s = store(&table[c], optarg, err);
    if (s != TLT_OK) return s;
  }
  *rest = argv + optind;
  *n_rest = argc - optind;
  return TLT_OK;
}

int tlt_report_error(const tlt_err *err) {
  fprintf(stderr, "tlt: %s\n", err->text);
  return tlt_status_exit_code(err->status);
}
