/* What `tlt sft` and `tlt train` are told in the same way: a configuration and a run directory. */
#ifndef TLT_CMD_RUN_ARGS_H
#define TLT_CMD_RUN_ARGS_H

#include "cmd/args.h"
#include "rl/train.h"

enum { TLT_RUN_ARGS = 5 };

typedef struct tlt_run_args {
  tlt_arg_list sets;
  const char *resume;
} tlt_run_args;

/* Write TLT_RUN_ARGS rows to table: --run, --threads, --numerics, --resume and --set, which parsing
 * stores into o and a. threads_help: what --threads says in --help. */
void tlt_run_args_rows(tlt_run_args *a, tlt_train_options *o, const char *threads_help,
                       tlt_arg *table);

/* After parsing: the configuration named, the overrides and the way of resuming, to o, which
 * borrows from a and rest. TLT_EUSAGE: not one configuration, or no such way. */
tlt_status tlt_run_args_take(const tlt_run_args *a, char **rest, int n_rest, tlt_train_options *o,
                             tlt_err *err);

#endif
