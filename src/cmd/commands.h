/* The subcommands; each lives in a file of its name. */
#ifndef TLT_CMD_COMMANDS_H
#define TLT_CMD_COMMANDS_H

#include "cmd/args.h"

extern const tlt_command tlt_cmd_train, tlt_cmd_sft, tlt_cmd_eval, tlt_cmd_generate, tlt_cmd_score,
    tlt_cmd_tokenize, tlt_cmd_data, tlt_cmd_bench, tlt_cmd_check, tlt_cmd_drafter,
    tlt_cmd_report, tlt_cmd_compare;

/* Parts of a subcommand with options of their own; argv[0] is their name. */
int tlt_bench_policy_main(int argc, char **argv);
int tlt_bench_rollout_main(int argc, char **argv);
int tlt_drafter_eval_main(int argc, char **argv);

#endif
