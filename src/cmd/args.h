/* Command-line options as a table per subcommand, over getopt_long. */
#ifndef TLT_CMD_ARGS_H
#define TLT_CMD_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "tlt/status.h"

typedef enum tlt_arg_kind {
  TLT_ARG_FLAG,   /* bool *: set to true */
  TLT_ARG_TEXT,   /* const char **: borrowed from argv */
  TLT_ARG_INT,    /* int *: decimal, low .. high */
  TLT_ARG_SEED,   /* uint32_t *: decimal, 0 .. 2^32 - 1 */
  TLT_ARG_NUMBER, /* float *: finite decimal, low .. high */
  TLT_ARG_LIST,   /* tlt_arg_list *: may be given many times */
  TLT_ARG_MAYBE,  /* const char **: optional value (--resume[=how]), "" when given without */
} tlt_arg_kind;

enum { TLT_ARG_LIST_MAX = 64 };

typedef struct tlt_arg_list {
  const char *value[TLT_ARG_LIST_MAX];
  int count;
} tlt_arg_list;

typedef struct tlt_arg {
  const char *name; /* without dashes */
  tlt_arg_kind kind;
  void *to;
  double low, high;  /* INT, NUMBER; low == high == 0: any */
  const char *value; /* name of the value in --help */
  const char *help;
} tlt_arg;

typedef struct tlt_command {
  const char *name;
  const char *synopsis; /* after "tlt name " */
  const char *summary;
  int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit code */
} tlt_command;

/* Parse argv[1..]; positional arguments are moved to *rest. --help prints the table to stdout and
 * sets *help. Unknown options, bad numbers, missing values: TLT_EUSAGE naming the option. */
tlt_status tlt_args_parse(const tlt_command *command, const tlt_arg *table, size_t count, int argc,
                          char **argv, char ***rest, int *n_rest, bool *help, tlt_err *err);

/* Print "tlt: <text>" to stderr and return the exit code of err. */
int tlt_report_error(const tlt_err *err);

#endif
