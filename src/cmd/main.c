/* tlt: entry point, subcommand dispatch, version, crash note. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pool.h"
#include "cmd/commands.h"
#include "cmd/progress.h"
#include "cmd/version.h"

static const tlt_command *const commands[] = {
    &tlt_cmd_train,    &tlt_cmd_sft,  &tlt_cmd_eval,    &tlt_cmd_generate, &tlt_cmd_score,
    &tlt_cmd_tokenize, &tlt_cmd_data, &tlt_cmd_drafter, &tlt_cmd_bench,    &tlt_cmd_check,
    &tlt_cmd_report,   &tlt_cmd_compare,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(FILE *to) {
  fprintf(to,
          "tlt: reinforcement learning of small reasoning models on CPU servers\n\n"
          "usage: tlt COMMAND [options]\n\ncommands:\n");
  for (int i = 0; i < N_COMMANDS; i++)
    fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
  fprintf(to, "\n'tlt COMMAND --help' lists a command's options; 'tlt --version' the build.\n");
}

static void print_log(void *context, tlt_log_level level, const char *text) {
  (void)context;
  if (level == TLT_LOG_DEBUG) return;
  tlt_progress_clear();
  fprintf(stderr, "%s%s\n", level == TLT_LOG_WARN ? "warning: " : "", text);
}

/* Async-signal-safe: a stack note, then the signal's default action (SA_RESETHAND). */
static void on_crash(int signal_number) {
  static const char note[] = "tlt: internal bug: crash signal; stack follows\n";
  void *frames[64];
  ssize_t ignored = write(STDERR_FILENO, note, sizeof note - 1);
  (void)ignored;
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  raise(signal_number);
}

static void install_crash_note(void) {
  void *warm[4];
  backtrace(warm, 4); /* loads libgcc now, outside the handler */
  struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    sigaction(signals[i], &action, NULL);
}

int main(int argc, char **argv) {
  install_crash_note();
  signal(SIGPIPE, SIG_IGN);
  tlt_log_set_sink(print_log, NULL);
  tlt_fp_environment();
  if (argc < 2) return print_usage(stderr), 2;
  if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) return print_usage(stdout), 0;
  if (!strcmp(argv[1], "--version")) return tlt_print_version(), 0;
  for (int i = 0; i < N_COMMANDS; i++)
    if (!strcmp(argv[1], commands[i]->name)) return commands[i]->run(argc - 1, argv + 1);
  fprintf(stderr, "tlt: %s: unknown command; see 'tlt --help'\n", argv[1]);
  return 2;
}
