/* tlt sft: supervised fine-tuning from a configuration file. */
#include "app/sft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/progress.h"
#include "cmd/run_args.h"

static void show_progress(void *context, const tlt_sft_progress *p) {
  (void)context;
  char left[32];
  bool milestone = p->step == p->steps || p->step % 100 == 0 || p->eval_accuracy >= 0;
  if (!milestone) {
    tlt_progress_show("step %lld/%lld  loss %.4f  %.0f tokens/s  %s left", (long long)p->step,
                      (long long)p->steps, p->loss, p->rate, tlt_progress_time(p->left, left));
    return;
  }
  tlt_progress_clear();
  fprintf(stderr, "step %lld/%lld  loss %.4f  %.0f tokens/s  %s left", (long long)p->step,
          (long long)p->steps, p->loss, p->rate, tlt_progress_time(p->left, left));
  if (p->eval_accuracy >= 0) fprintf(stderr, "  held-back %.1f %%", 100 * p->eval_accuracy);
  fputc('\n', stderr);
}

static void show_memory(void *context, const tlt_train_memory *m) {
  (void)context;
  fprintf(stderr, "memory: weights %.0f MB, training %.0f MB, engine %.0f MB, together %.0f MB\n",
          (double)m->weights / 1e6, (double)m->training / 1e6, (double)m->engine / 1e6,
          (double)m->total / 1e6);
}

static void print_summary(const tlt_sft_summary *s) {
  printf("\n%lld steps, %lld tokens in %.0f s (%.0f tokens/s)\n", (long long)s->steps,
         (long long)s->tokens, s->seconds, s->seconds > 0 ? (double)s->tokens / s->seconds : 0);
  printf("  loss       %.4f -> %.4f nats per token\n", s->loss_first, s->loss_last);
  if (s->dropped)
    printf("  left out   %lld samples beyond data.max_tokens\n", (long long)s->dropped);
  if (s->has_eval) {
    printf("  accuracy   %.1f %% (95 %%: %.1f to %.1f)\n", 100 * s->accuracy.value,
           100 * s->accuracy.low, 100 * s->accuracy.high);
    printf("  answers    %.1f tokens on average, %.1f %% cut off, %.1f %% parse\n", s->eval_length,
           100 * s->eval_cut, 100 * s->eval_parsed);
  }
  printf("\nfinal model: %s\nSHA-256 of the final weights: %s\n", s->final, s->weights_sha256);
}

static int sft_main(int argc, char **argv) {
  tlt_train_options o = {.threads = -1};
  tlt_run_args run = {0};
  tlt_arg table[TLT_RUN_ARGS];
  tlt_run_args_rows(&run, &o, "threads (0: all cores; default as configured)", table);
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_sft_summary summary;
  tlt_status s = tlt_args_parse(&tlt_cmd_sft, table, TLT_RUN_ARGS, argc, argv, &rest, &n_rest,
                                &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK) s = tlt_run_args_take(&run, rest, n_rest, &o, &err);
  if (s == TLT_OK && tlt_stop_install() != 0)
    s = tlt_fail(&err, TLT_EIO, "cannot install signal handlers: %s", strerror(errno));
  if (s == TLT_OK) {
    tlt_sft_hooks hooks = {NULL, show_progress, show_memory};
    s = tlt_sft(&o, &hooks, &tlt_stop_flags, &summary, &err);
  }
  tlt_progress_clear();
  if (s == TLT_OK && summary.already_complete) printf("already complete: %s\n", summary.run);
  if (s == TLT_OK) print_summary(&summary);
  return s == TLT_OK ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_sft = {"sft", "CONFIG.yaml [--run DIR] [options]",
                                 "supervised fine-tuning, also from random weights", sft_main};
