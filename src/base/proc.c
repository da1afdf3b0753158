#define _GNU_SOURCE
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

/* ---- looking up the program ---- */

static bool is_program(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

tlt_status tlt_proc_find(const char *name, char path[TLT_PROC_PATH_MAX], tlt_err *err) {
  if (strchr(name, '/')) {
    int n = snprintf(path, TLT_PROC_PATH_MAX, "%s", name);
    if (n >= TLT_PROC_PATH_MAX) return tlt_fail(err, TLT_EIO, "%.40s...: path too long", name);
    if (access(path, F_OK)) return tlt_fail(err, TLT_EIO, "%s: %s", name, strerror(errno));
    return is_program(path) ? TLT_OK : tlt_fail(err, TLT_EIO, "%s: not executable", name);
  }
  const char *at = getenv("PATH");
  for (at = at ? at : "/usr/local/bin:/usr/bin:/bin"; *name && *at;) {
    int length = (int)strcspn(at, ":");
    int n = snprintf(path, TLT_PROC_PATH_MAX, "%.*s/%s", length, at, name);
    if (length && n < TLT_PROC_PATH_MAX && is_program(path)) return TLT_OK;
    at += length;
    at += *at == ':';
  }
  return tlt_fail(err, TLT_EIO, "%s: not found in PATH", name);
}

/* ---- environment ---- */

static bool name_kept(const char *entry, const char *const *keep) {
  size_t n = strcspn(entry, "=");
  for (; *keep; keep++) {
    size_t length = strlen(*keep);
    if (length && (*keep)[length - 1] == '*' ? n >= length - 1 && !strncmp(entry, *keep, length - 1)
                                             : n == length && !strncmp(entry, *keep, n))
      return true;
  }
  return false;
}

/* Entries of the environment that are kept; the caller frees the array only. */
static char **kept_environment(const char *const *keep) {
  size_t n = 0, kept = 0;
  while (environ && environ[n]) n++;
  char **copy = tlt_malloc((n + 1) * sizeof *copy);
  for (size_t i = 0; copy && i < n; i++)
    if (!keep || name_kept(environ[i], keep)) copy[kept++] = environ[i];
  if (copy) copy[kept] = NULL;
  return copy;
}

/* ---- pipes ---- */

typedef struct pipes {
  int in[2], out[2], err[2], report[2]; /* [0] is read, [1] written; report carries exec's errno */
} pipes;

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void close_pipes(pipes *p) {
  int *const all[] = {p->in, p->out, p->err, p->report};
  for (int i = 0; i < 4; i++) {
    close_fd(&all[i][0]);
    close_fd(&all[i][1]);
  }
}

/* A close-on-exec pipe whose ends are above 2, so that the child's dup2 cannot overwrite one of
 * them when the parent runs with a standard descriptor closed. */
static bool make_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC)) {
    ends[0] = ends[1] = -1;
    return false;
  }
  for (int i = 0; i < 2; i++) {
    if (ends[i] > 2) continue;
    int moved = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
    close(ends[i]);
    ends[i] = moved;
  }
  return ends[0] >= 0 && ends[1] >= 0;
}

static bool make_pipes(pipes *p) {
  *p = (pipes){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
  if (!make_pipe(p->in) || !make_pipe(p->out) || !make_pipe(p->err) || !make_pipe(p->report))
    return false;
  const int ours[] = {p->in[1], p->out[0], p->err[0]};
  for (int i = 0; i < 3; i++)
    if (fcntl(ours[i], F_SETFL, O_NONBLOCK)) return false;
  return true;
}

/* ---- the child, between fork and exec: only system calls ---- */

static void lower_limit(int which, uint64_t value) {
  struct rlimit limit;
  if (!value || getrlimit((__rlimit_resource_t)which, &limit)) return;
  if (limit.rlim_max == RLIM_INFINITY || value < limit.rlim_max) limit.rlim_max = value;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > limit.rlim_max)
    limit.rlim_cur = limit.rlim_max;
  setrlimit((__rlimit_resource_t)which, &limit);
}

static void default_signals(void) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int i = 1; i < NSIG; i++) sigaction(i, &action, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const char *path, const tlt_proc_options *o, char **env,
                             const pipes *p, int parent) {
  setpgid(0, 0);
  default_signals();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127); /* it died before the line above */
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  lower_limit(RLIMIT_CPU, o->cpu_seconds);
  lower_limit(RLIMIT_AS, o->address_bytes);
  lower_limit(RLIMIT_NOFILE, o->open_files);
  lower_limit(RLIMIT_FSIZE, o->file_bytes);
  if (dup2(p->in[0], 0) >= 0 && dup2(p->out[1], 1) >= 0 && dup2(p->err[1], 2) >= 0) {
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    execve(path, (char *const *)(uintptr_t)o->argv, env);
  }
  int error_number = errno;
  if (write(p->report[1], &error_number, sizeof error_number) < 0) _exit(126);
  _exit(127);
}

/* errno of a failed exec, 0 when it succeeded (the pipe closed without a word). */
static int read_report(int fd) {
  int error_number = 0;
  ssize_t n;
  do n = read(fd, &error_number, sizeof error_number);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof error_number ? error_number : 0;
}

tlt_status tlt_proc_start(const tlt_proc_options *options, tlt_proc *out, tlt_err *err) {
  char path[TLT_PROC_PATH_MAX];
  *out = (tlt_proc){0, -1, -1, -1};
  tlt_status status = tlt_proc_find(options->argv[0], path, err);
  if (status != TLT_OK) return status;
  pipes p;
  char **env = NULL;
  int error_number = 0, parent = getpid(), pid = -1;
  if (make_pipes(&p) && (env = kept_environment(options->keep_env))) pid = fork();
  if (pid == 0) become(path, options, env, &p, parent);
  if (pid < 0) {
    error_number = errno ? errno : ENOMEM;
  } else {
    setpgid(pid, pid); /* both sides do it, so that it holds from here on whoever is first */
    close_fd(&p.report[1]);
    error_number = read_report(p.report[0]);
    if (error_number) waitpid(pid, NULL, 0);
  }
  tlt_free(env);
  if (error_number) {
    close_pipes(&p);
    return tlt_fail(err, TLT_EIO, "%s: cannot start: %s", path, strerror(error_number));
  }
  *out = (tlt_proc){pid, p.in[1], p.out[0], p.err[0]};
  p.in[1] = p.out[0] = p.err[0] = -1;
  close_pipes(&p);
  return TLT_OK;
}

/* ---- talking to it ---- */

/* SIGPIPE is blocked for this thread around the write and, if the write raised it, taken back
 * before it is unblocked; one that was pending before stays pending. */
ptrdiff_t tlt_proc_write(const tlt_proc *p, const void *data, size_t n) {
  sigset_t pipe_only, before, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  ssize_t written;
  do written = write(p->in, data, n);
  while (written < 0 && errno == EINTR);
  int error_number = errno;
  if (written < 0 && error_number == EPIPE && !sigismember(&pending, SIGPIPE)) {
    const struct timespec at_once = {0, 0};
    while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (written >= 0) return written;
  return error_number == EAGAIN ? 0 : -1;
}

ptrdiff_t tlt_proc_read(int fd, void *to, size_t n) {
  ssize_t got;
  do got = read(fd, to, n);
  while (got < 0 && errno == EINTR);
  if (got > 0) return got;
  return got < 0 && errno == EAGAIN ? 0 : -1;
}

void tlt_proc_signal(const tlt_proc *p, int signal_number) {
  if (p->pid > 0) kill(-p->pid, signal_number);
}

bool tlt_proc_ended(tlt_proc *p, bool wait, char how[TLT_PROC_HOW_MAX]) {
  siginfo_t info = {0};
  int result;
  if (p->pid <= 0) return true;
  /* Left unreaped at first: while the zombie holds the group's number, killing the group cannot hit
   * somebody else. */
  do result = waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT | (wait ? 0 : WNOHANG));
  while (result < 0 && errno == EINTR);
  if (result == 0 && info.si_pid == 0) return false;
  kill(-p->pid, SIGKILL);
  while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
  }
  p->pid = 0;
  if (how)
    snprintf(how, TLT_PROC_HOW_MAX, "%s %d", info.si_code == CLD_EXITED ? "exit status" : "signal",
             info.si_status);
  return true;
}

void tlt_proc_close_in(tlt_proc *p) {
  close_fd(&p->in);
}

void tlt_proc_close(tlt_proc *p) {
  close_fd(&p->in);
  close_fd(&p->out);
  close_fd(&p->err);
}
