#define _GNU_SOURCE
#include "cluster/launch.h"

#include <errno.h>
#include <mpi.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/terminal.h"
#include "cluster/launch_filter.h"
#include "cluster/launch_scratch.h"

enum { MPIRUN_ARGS_MAX = 64, POLL_MS = 100 };
static const double kill_after_seconds = 3;

/* ---- signals: handlers only count ---- */

static volatile sig_atomic_t stops, saves;

static void on_stop(int number) {
  (void)number;
  stops++;
}

static void on_save(int number) {
  (void)number;
  saves++;
}

static const int caught[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
enum { N_CAUGHT = sizeof caught / sizeof *caught };

static void catch_signals(struct sigaction before[N_CAUGHT]) {
  stops = saves = 0;
  for (int i = 0; i < N_CAUGHT; i++) {
    struct sigaction action = {.sa_handler = caught[i] == SIGUSR2 ? on_save : on_stop};
    sigaction(caught[i], &action, &before[i]);
  }
}

static void restore_signals(const struct sigaction before[N_CAUGHT]) {
  for (int i = 0; i < N_CAUGHT; i++) sigaction(caught[i], &before[i], NULL);
}

/* ---- mpirun's command line ---- */

static tlt_status find_mpirun(char path[TLT_PROC_PATH_MAX], tlt_err *err) {
  if (tlt_proc_find("mpirun.openmpi", path, NULL) == TLT_OK) return TLT_OK;
  if (tlt_proc_find("mpirun", path, NULL) == TLT_OK) return TLT_OK;
  return tlt_fail(err, TLT_EIO,
                  "mpirun: not found in PATH; several workers need Open MPI (Debian package "
                  "openmpi-bin)");
}

/* Everything stays on this machine and is quiet. Open MPI 5 has another runtime below it, PRRTE,
 * with settings of its own. */
#if OMPI_MAJOR_VERSION >= 5
static const char *const settings[][3] = {
    {"--prtemca", "plm", "ssh"}, /* no batch system; the only other one there is */
    {"--prtemca", "ras", "^slurm,gridengine,pbs"},
    {"--mca", "pml", "ob1"},
    {"--mca", "btl", "self,sm"},
};
/* Otherwise it holds back what ends without a newline, progress for example. */
static const char *const flags[] = {"--map-by", ":OVERSUBSCRIBE", "--output", ":raw"};

/* Where its files go. */
static const char *const places[][2] = {{"--mca", "btl_sm_backing_directory"},
                                        {"--prtemca", "prte_tmpdir_base"}};
#else
static const char *const settings[][3] = {
    {"--mca", "plm", "isolated"}, /* neither ssh nor a batch system */
    {"--mca", "ras", "^slurm,gridengine"},
    {"--mca", "pml", "ob1"},
    {"--mca", "btl", "self,vader"},
    {"--mca", "oob_tcp_if_include", "lo"},
    {"--mca", "orte_base_help_aggregate", "0"},
};
static const char *const flags[] = {"--oversubscribe"};
static const char *const places[][2] = {{"--mca", "btl_vader_backing_directory"},
                                        {"--mca", "orte_tmpdir_base"}};
#endif
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* mpirun with its options, the program and its arguments; the caller frees the array only. */
static const char **command_line(const tlt_launch_options *o, const char *mpirun,
                                 const char *program, const char *scratch, const char *terminal,
                                 char number[16]) {
  size_t n = 0, n_args = 0;
  while (o->argv[n_args]) n_args++;
  const char **line = tlt_calloc(MPIRUN_ARGS_MAX + n_args + 1, sizeof *line);
  if (!line) return NULL;
  snprintf(number, 16, "%d", o->workers);
  line[n++] = mpirun;
  line[n++] = "-n";
  line[n++] = number;
  if (geteuid() == 0) line[n++] = "--allow-run-as-root";
  for (size_t i = 0; i < COUNT(flags); i++) line[n++] = flags[i];
  line[n++] = "--bind-to"; /* tlt_cluster_bind does that */
  line[n++] = "none";
  for (size_t i = 0; i < COUNT(settings); i++)
    for (int part = 0; part < 3; part++) line[n++] = settings[i][part];
  for (size_t i = 0; *scratch && i < COUNT(places); i++) {
    line[n++] = places[i][0];
    line[n++] = places[i][1];
    line[n++] = scratch;
  }
  if (*terminal) {
    line[n++] = "-x";
    line[n++] = terminal;
  }
  line[n++] = program;
  for (size_t i = 1; i < n_args; i++) line[n++] = o->argv[i];
  return line;
}

static tlt_status start(const tlt_launch_options *o, const char *scratch, tlt_proc *p,
                        tlt_err *err) {
  char mpirun[TLT_PROC_PATH_MAX], self[TLT_PROC_PATH_MAX], number[16], terminal[300] = "";
  tlt_status s = find_mpirun(mpirun, err);
  if (s != TLT_OK) return s;
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n < 0) return tlt_fail(err, TLT_EIO, "/proc/self/exe: %s", strerror(errno));
  self[n] = 0;
  tlt_terminal_pass_on(terminal, sizeof terminal);
  const char **line =
      command_line(o, mpirun, o->program ? o->program : self, scratch, terminal, number);
  if (!line) return tlt_fail_nomem(err, "mpirun's command line", MPIRUN_ARGS_MAX);
  s = tlt_proc_start(&(tlt_proc_options){.argv = line}, p, err);
  tlt_free(line);
  return s;
}

/* ---- passing on what workers print ---- */

/* To one of our own standard streams; once it is closed, what comes is dropped. */
static void pass(void *context, const char *text, size_t n) {
  int *fd = context;
  while (n && *fd >= 0) {
    ssize_t done = write(*fd, text, n);
    if (done >= 0) {
      text += done;
      n -= (size_t)done;
    } else if (errno == EAGAIN) {
      poll(&(struct pollfd){*fd, POLLOUT, 0}, 1, POLL_MS);
    } else if (errno != EINTR) {
      *fd = -1;
    }
  }
}

typedef struct stream {
  int from, to; /* from: -1 at its end */
  tlt__filter filter;
} stream;

static void pass_stream(stream *s) {
  char text[65536];
  ptrdiff_t n = 1;
  while (s->from >= 0 && (n = tlt_proc_read(s->from, text, sizeof text)) > 0)
    tlt__filter_feed(&s->filter, text, (size_t)n);
  if (n < 0) s->from = -1;
}

/* Wait for output or a signal, pass on what there is. */
static void pass_streams(stream s[2]) {
  struct pollfd fd[2] = {{s[0].from, POLLIN, 0}, {s[1].from, POLLIN, 0}};
  if (poll(fd, 2, POLL_MS) <= 0) {
    tlt__filter_quiet(&s[0].filter, false);
    tlt__filter_quiet(&s[1].filter, false);
    return;
  }
  for (int i = 0; i < 2; i++)
    if (fd[i].revents) pass_stream(&s[i]);
}

/* ---- running ---- */

/* What was asked so far. */
typedef struct asked {
  int stops, saves;
  double last; /* when the workers were told to end at once; 0: not yet */
} asked;

static void pass_signals(const tlt_proc *p, asked *a) {
  for (; a->saves < saves; a->saves++) tlt_proc_signal(p, SIGUSR2);
  for (; a->stops < stops; a->stops++) {
    if (a->stops == 1) a->last = tlt_now();
    tlt_proc_signal(p, a->stops == 0 ? SIGUSR1 : a->stops == 1 ? SIGTERM : SIGKILL);
  }
  if (a->last > 0 && tlt_now() - a->last > kill_after_seconds) tlt_proc_signal(p, SIGKILL);
}

static bool is_own_code(int code) {
#define SAME(name, number, text) \
  if (code == (number)) return true;
  TLT_STATUS_LIST(SAME)
#undef SAME
  return false;
}

/* mpirun's own errors are small negative numbers, of which 8 bits remain. */
static const int mpirun_failed = 160;

/* What became of the run: how is tlt_proc_ended's, of mpirun. */
static tlt_status judge(const tlt__fate *f, const char *how, const asked *a, int *exit_code,
                        tlt_err *err) {
  int code = -1, signal_number = f->signal;
  sscanf(how, "exit status %d", &code);
  if (code < 0) sscanf(how, "signal %d", &signal_number);
  *exit_code = 75;
  if (a->stops > 1 || (a->stops == 1 && signal_number == SIGUSR1)) return TLT_OK;
  if (f->signal)
    return tlt_fail(err, TLT_EWORKER, "worker %d died (signal %d, %s); the others were stopped",
                    f->rank, f->signal, f->signal_name);
  if (code < 0) return tlt_fail(err, TLT_EWORKER, "mpirun died (%s)", how);
  *exit_code = f->exit_code >= 0 ? f->exit_code : code;
  if (is_own_code(*exit_code)) return TLT_OK;
  if (f->rank < 0 && code >= mpirun_failed)
    return tlt_fail(err, TLT_EIO, "mpirun failed (%s)", how);
  if (f->rank < 0) return tlt_fail(err, TLT_EWORKER, "a worker ended with %s", how);
  if (f->exit_code < 0)
    return tlt_fail(err, TLT_EWORKER, "worker %d ended before the others", f->rank);
  return tlt_fail(err, TLT_EWORKER, "worker %d ended with exit status %d", f->rank, f->exit_code);
}

/* Stay with mpirun until it has ended. */
static tlt_status attend(tlt_proc *p, int *exit_code, tlt_err *err) {
  char how[TLT_PROC_HOW_MAX] = "";
  tlt_proc_close_in(p);
  stream streams[2] = {{.from = p->out, .to = STDOUT_FILENO},
                       {.from = p->err, .to = STDERR_FILENO}};
  for (int i = 0; i < 2; i++) tlt__filter_init(&streams[i].filter, pass, &streams[i].to);
  asked a = {0};
  while (!tlt_proc_ended(p, false, how)) {
    pass_signals(p, &a);
    pass_streams(streams);
  }
  for (int i = 0; i < 2; i++) {
    pass_stream(&streams[i]);
    tlt__filter_quiet(&streams[i].filter, true);
  }
  tlt_proc_close(p);
  return judge(&streams[1].filter.fate, how, &a, exit_code, err);
}

tlt_status tlt_launch(const tlt_launch_options *options, int *exit_code, tlt_err *err) {
  struct sigaction before[N_CAUGHT];
  char scratch[TLT__SCRATCH_MAX];
  tlt_proc p;
  catch_signals(before);
  tlt__scratch_make(options->workers, scratch);
  tlt_status s = start(options, scratch, &p, err);
  if (s == TLT_OK) s = attend(&p, exit_code, err);
  tlt__scratch_remove(scratch);
  restore_signals(before);
  return s;
}
