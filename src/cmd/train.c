/* tlt train: reinforcement learning from a configuration file. */
#include "rl/train.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/cluster.h"
#include "cluster/launch.h"
#include "cmd/commands.h"
#include "cmd/progress.h"
#include "cmd/run_args.h"
#include "cmd/version.h"
#include "cmd/view.h"
#include "report/metrics.h"
#include "report/report.h"
#include "report/tee.h"
#include "report/tensorboard.h"
#include "report/trace.h"
#include "report/watch.h"
#include "rl/config.h"

enum { TLT_ARGS_MAX = 256 }; /* arguments passed on to workers */

static const char *const phase_names[] = {"load", "rollout", "update", "eval", "save", "done"};

/* Where the measurements of the run go. */
typedef struct observers {
  tlt_tee tee;
  tlt_view view;
  tlt_metrics_sink view_metrics;
  const tlt_http_address *where; /* of the live page; NULL: none */
  tlt_watch *watch;
  tlt_metrics_sink watch_metrics;
  tlt_trace_sink watch_trace;
} observers;

static void tell_watch(tlt_watch *watch, const tlt_train_progress *p) {
  if (!watch || p->phase == TLT_PHASE_STEP_DONE) return;
  tlt_watch_progress(watch, &(tlt_feed_progress){.phase = phase_names[p->phase],
                                                 .step = p->step,
                                                 .steps = p->steps,
                                                 .done = p->done,
                                                 .total = p->total,
                                                 .rate = p->rate,
                                                 .left = p->left});
}

static void show_progress(void *context, const tlt_train_progress *p) {
  const observers *to = context;
  tell_watch(to->watch, p);
  if (p->phase == TLT_PHASE_STEP_DONE) tlt_view_step(&to->view, p);
  else tlt_view_show(&to->view, p, tlt_stop_flags.stop != 0);
}

static void show_memory(void *context, const tlt_train_memory *m) {
  (void)context;
  fprintf(stderr,
          "memory: weights %.0f MB, training %.0f MB, engine %.0f MB, reference %.0f MB, "
          "speculation at most %.0f MB, drafter training at most %.0f MB, together %.0f MB\n",
          (double)m->weights / 1e6, (double)m->training / 1e6, (double)m->engine / 1e6,
          (double)m->reference / 1e6, (double)m->speculation / 1e6, (double)m->drafting / 1e6,
          (double)m->total / 1e6);
}

static void print_share(const char *name, const tlt_share *s) {
  printf("  %-26s %5.1f %%   (95 %%: %.1f to %.1f)\n", name, 100 * s->value, 100 * s->low,
         100 * s->high);
}

static void print_phase(const char *name, double seconds, double total) {
  printf("  %-26s %7.1f s   %4.1f %%\n", name, seconds, total > 0 ? 100 * seconds / total : 0);
}

/* The run is done whether or not there is a page about it. */
static void write_report(const char *run) {
  tlt_err err = {0};
  tlt_report_result report;
  if (tlt_report_write(run, NULL, tlt_program_version(), &report, &err) == TLT_OK)
    printf("report: %s\n", report.path);
  else fprintf(stderr, "warning: no report: %s\n", err.text);
}

static void print_summary(const tlt_train_summary *s) {
  printf("\n%lld of %lld steps done (%lld now), %d worker%s, run directory %s\n",
         (long long)s->steps_done, (long long)s->steps_total, (long long)s->steps_here, s->workers,
         s->workers > 1 ? "s" : "", s->run);
  if (s->has_eval) {
    printf("\naccuracy on %lld held-back problems x %lld samples\n", (long long)s->eval_problems,
           (long long)s->eval_samples);
    print_share("before", &s->accuracy_first);
    print_share("after", &s->accuracy_last);
    print_share("gain", &s->gain);
    printf("  %-26s %5.1f -> %.1f tokens\n", "answer length", s->eval_length_first,
           s->eval_length_last);
    if (s->best_step >= 0)
      printf("  %-26s step %lld, %.1f %%\n", "best checkpoint", (long long)s->best_step,
             100 * s->best_accuracy);
  }
  printf("\ntraining\n  %-26s %5.3f -> %.3f\n  %-26s %5.1f -> %.1f tokens\n", "reward",
         s->reward_first, s->reward_last, "answer length", s->length_first, s->length_last);
  printf("\ntime\n");
  print_phase("rollout", s->seconds_rollout, s->seconds_total);
  print_phase("update", s->seconds_update, s->seconds_total);
  print_phase("evaluation", s->seconds_eval, s->seconds_total);
  print_phase("saving", s->seconds_save, s->seconds_total);
  print_phase("loading", s->seconds_load, s->seconds_total);
  print_phase("total", s->seconds_total, s->seconds_total);
  printf("  %-26s %7.0f tokens/s\n  %-26s %7.0f tokens/s\n", "generation", s->rollout_rate,
         "update", s->update_rate);
  if (s->final[0]) printf("\nfinal model: %s\n", s->final);
  write_report(s->run);
  printf("SHA-256 of the final weights: %s\n", s->weights_sha256);
}

static void observe(observers *to) {
  tlt_tee_add(
      &to->tee,
      &(tlt_tee_part){.name = "metrics.jsonl", .needed = true, .metrics = &tlt_metrics_jsonl});
  tlt_tee_add(&to->tee,
              &(tlt_tee_part){.name = "trace.json", .needed = true, .trace = &tlt_trace_json});
  to->view_metrics = tlt_view_metrics(&to->view);
  tlt_tee_add(&to->tee, &(tlt_tee_part){.name = "view", .metrics = &to->view_metrics});
}

static tlt_status serve(void *context, tlt_err *err) {
  observers *to = context;
  char url[TLT_HTTP_URL_MAX];
  if (!to->where) return TLT_OK;
  tlt_status s = tlt_watch_open(to->where, tlt_program_version(), &to->watch, err);
  if (s != TLT_OK) return tlt_fail_prefix(err, "--watch");
  to->watch_metrics = tlt_watch_metrics(to->watch);
  to->watch_trace = tlt_watch_trace(to->watch);
  tlt_tee_add(&to->tee, &(tlt_tee_part){.name = "--watch", .metrics = &to->watch_metrics});
  tlt_tee_add(&to->tee, &(tlt_tee_part){.name = "--watch", .trace = &to->watch_trace});
  tlt_http_url(tlt_watch_where(to->watch), url);
  fprintf(stderr, "watch: %s\n", url);
  if (!tlt_watch_where(to->watch)->loopback)
    fprintf(stderr,
            "warning: --watch: whoever reaches that address can read everything about the "
            "run: there is no password\n");
  return TLT_OK;
}

/* status.json and the page say the same about the end. */
static void end_watch(tlt_watch *watch, tlt_status s, const tlt_err *err) {
  const char *state = s == TLT_OK ? "done" : s == TLT_ESTOPPED ? "stopped" : "failed";
  tlt_watch_close(watch, state, s == TLT_OK ? NULL : err->text);
}

static void configured(void *context, const tlt_train_config *config) {
  observers *to = context;
  if (config->log.tensorboard)
    tlt_tee_add(&to->tee,
                &(tlt_tee_part){.name = "TensorBoard", .metrics = &tlt_metrics_tensorboard});
}

/* *follower: the leader says what there is to say. */
static tlt_status run(const tlt_train_options *o, const tlt_http_address *watch, bool *follower,
                      tlt_err *err) {
  if (tlt_stop_install() != 0)
    return tlt_fail(err, TLT_EIO, "cannot install signal handlers: %s", strerror(errno));
  observers to = {.where = watch};
  observe(&to);
  tlt_metrics_sink metrics = tlt_tee_metrics(&to.tee);
  tlt_trace_sink trace = tlt_tee_trace(&to.tee);
  tlt_train_hooks hooks = {.context = &to,
                           .leading = serve,
                           .configured = configured,
                           .metrics = &metrics,
                           .trace = &trace,
                           .progress = show_progress,
                           .memory = show_memory};
  tlt_train_summary summary = {0};
  tlt_status s = tlt_train(o, &hooks, &tlt_stop_flags, &summary, err);
  *follower = summary.follower;
  tlt_progress_clear();
  end_watch(to.watch, s, err);
  if (s == TLT_OK && summary.already_complete && !summary.follower)
    printf("already complete: %s (nothing to do)\n", summary.run);
  else if (s == TLT_OK && !summary.follower) print_summary(&summary);
  return s;
}

/* Start this command again as several workers. arguments: as given, "train" first. */
static int launch(int workers, int argc, char *const *arguments) {
  tlt_err err = {0};
  char *argv[TLT_ARGS_MAX + 2] = {(char *)"tlt"};
  int exit_code = 0;
  if (argc > TLT_ARGS_MAX) {
    tlt_fail(&err, TLT_EUSAGE, "got %d arguments, expected at most %d", argc, TLT_ARGS_MAX);
    return tlt_report_error(&err);
  }
  memcpy(argv + 1, arguments, (size_t)argc * sizeof *argv);
  tlt_launch_options o = {.workers = workers, .argv = argv};
  tlt_status s = tlt_launch(&o, &exit_code, &err);
  return s == TLT_OK ? exit_code : tlt_report_error(&err);
}

static int train_main(int argc, char **argv) {
  char *given[TLT_ARGS_MAX]; /* before parsing moves them */
  for (int i = 0; i < argc && i < TLT_ARGS_MAX; i++) given[i] = argv[i];
  tlt_train_options o = {.program = tlt_program_version(), .threads = -1};
  tlt_run_args args = {0};
  const char *watch = NULL;
  tlt_http_address where;
  bool follower = false;
  tlt_arg table[] = {
      [TLT_RUN_ARGS] = {"workers", TLT_ARG_INT, &o.workers, 1, 1024, "N",
                        "processes that train together (1); started here, or taken from mpirun "
                        "or srun"},
      {"watch", TLT_ARG_TEXT, &watch, 0, 0, "[HOST:]PORT",
       "serve a live page, its events and Prometheus text there; 0: any free port; without HOST "
       "for this machine only"},
  };
  tlt_run_args_rows(&args, &o,
                    "threads of all workers of a host (0: all cores; default as configured)",
                    table);
  tlt_err err = {0};
  char **rest;
  int n_rest;
  bool help;
  tlt_status s = tlt_args_parse(&tlt_cmd_train, table, sizeof table / sizeof *table, argc, argv,
                                &rest, &n_rest, &help, &err);
  if (s == TLT_OK && help) return 0;
  if (s == TLT_OK) s = tlt_run_args_take(&args, rest, n_rest, &o, &err);
  if (s == TLT_OK && watch && tlt_http_address_parse(watch, &where, &err) != TLT_OK)
    s = tlt_fail_prefix(&err, "--watch");
  if (s == TLT_OK) {
    if (o.workers > 1 && !tlt_cluster_launched()) return launch(o.workers, argc, given);
    s = run(&o, watch ? &where : NULL, &follower, &err);
  }
  tlt_progress_clear();
  return s == TLT_OK || follower ? 0 : tlt_report_error(&err);
}

const tlt_command tlt_cmd_train = {"train", "CONFIG.yaml [--run DIR] [options]",
                                   "train a model by reinforcement learning", train_main};
