/* Workers: the single-process stand-in, several real ones under mpirun (worker.c says what each
 * does), and the ways in which they end.
 * Run alone: build/tests/unit/cluster/test_cluster build/tests/unit/cluster/worker [name filter] */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <mpi.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cluster/cluster.h"
#include "cluster/launch.h"
#include "cluster/launch_filter.h"

enum { TEXT_MAX = 1 << 20, TEST_SECONDS = 100 };

static const char *worker;
static tlt_err err;

/* ---- running workers, with what they print caught ---- */

typedef struct result {
  tlt_status status;
  int exit_code;
  double seconds;
  char out[TEXT_MAX], err[TEXT_MAX];
} result;

static result r;
static FILE *caught[2];

static void read_back(FILE *from, char *text) {
  rewind(from);
  text[fread(text, 1, TEXT_MAX - 1, from)] = 0;
}

static void run(int workers, const char *name, const char *more) {
  char *argv[] = {"worker", (char *)(uintptr_t)name, (char *)(uintptr_t)more, NULL};
  tlt_launch_options o = {.workers = workers, .program = worker, .argv = argv};
  int keep[2];
  fflush(stdout);
  for (int i = 0; i < 2; i++) {
    keep[i] = dup(i + 1);
    caught[i] = tmpfile();
    assert_non_null(caught[i]);
    dup2(fileno(caught[i]), i + 1);
  }
  r.exit_code = -1;
  err.text[0] = 0;
  double start = tlt_now();
  r.status = tlt_launch(&o, &r.exit_code, &err);
  r.seconds = tlt_now() - start;
  for (int i = 0; i < 2; i++) {
    dup2(keep[i], i + 1);
    close(keep[i]);
    read_back(caught[i], i ? r.err : r.out);
    fclose(caught[i]);
  }
  printf("  %d x %s: %.1f s\n%s", workers, name, r.seconds, strcmp(name, "output") ? r.out : "");
  if (err.text[0]) printf("  %s\n", err.text);
}

/* Nothing of what mpirun says gets through. */
static void quiet_runtime(void) {
  assert_null(strstr(r.err, "mpirun"));
  assert_null(strstr(r.err, "prterun"));
}

static void succeed(const char *name) {
  for (int workers = 2; workers <= 3; workers++) {
    run(workers, name, NULL);
    if (r.status != TLT_OK || r.exit_code) print_error("%s%s\n", r.err, err.text);
    assert_int_equal(r.status, TLT_OK);
    assert_int_equal(r.exit_code, 0);
    quiet_runtime();
  }
}

/* ---- one process ---- */

static void test_alone(void **state) {
  (void)state;
  tlt_cluster *c = NULL;
  assert_false(tlt_cluster_launched());
  assert_int_equal(tlt_cluster_open(NULL, &c, &err), TLT_OK);
  assert_int_equal(tlt_cluster_rank(c), 0);
  assert_int_equal(tlt_cluster_size(c), 1);
  assert_int_equal(tlt_cluster_hosts(c), 1);
  assert_null(tlt_cluster_team(c));
  tlt_mail m;
  bool got = true;
  assert_int_equal(tlt_cluster_receive(c, &m, &got, &err), TLT_OK);
  assert_false(got);
  assert_int_equal(tlt_cluster_send(c, 0, 5, "first", 6, &err), TLT_OK);
  assert_int_equal(tlt_cluster_send(c, 0, 6, NULL, 0, &err), TLT_OK);
  double start = tlt_now();
  assert_int_equal(tlt_cluster_wait(c, 10, &err), TLT_OK);
  assert_true(tlt_now() - start < 1);
  assert_int_equal(tlt_cluster_receive(c, &m, &got, &err), TLT_OK);
  assert_true(got && m.from == 0 && m.tag == 5 && m.bytes == 6 && !strcmp(m.data, "first"));
  assert_int_equal(tlt_cluster_receive(c, &m, &got, &err), TLT_OK);
  assert_true(got && m.tag == 6 && m.bytes == 0 && !m.data);
  assert_int_equal(tlt_cluster_wait(c, 0.01, &err), TLT_OK);
  assert_int_equal(tlt_cluster_send(c, 1, 0, "x", 1, &err), TLT_EINTERNAL);
  assert_int_equal(tlt_cluster_send(c, 0, 7, "never read", 11, &err), TLT_OK);
  float x = 3;
  assert_int_equal(tlt_cluster_barrier(c, &err), TLT_OK);
  assert_int_equal(tlt_cluster_sum_f32(c, &x, 1, &err), TLT_OK);
  assert_true(x == 3);
  assert_int_equal(tlt_cluster_agree_status(c, TLT_EDATA, &err), TLT_EDATA);
  int threads = 7;
  assert_int_equal(tlt_cluster_bind(c, 0, &threads, &err), TLT_OK);
  assert_int_equal(threads, 0);
  tlt_cluster_close(c);
  tlt_cluster_close(NULL);
}

/* ---- several ---- */

static void test_messages(void **state) {
  (void)state;
  succeed("messages");
}

static void test_large(void **state) {
  (void)state;
  succeed("large");
}

static void test_unread(void **state) {
  (void)state;
  succeed("unread");
}

static void test_collectives(void **state) {
  (void)state;
  succeed("collectives");
}

static void test_agree(void **state) {
  (void)state;
  succeed("agree");
}

static void test_team(void **state) {
  (void)state;
  succeed("team");
  assert_null(strstr(r.err, "warning"));
  setenv("TLT_SHARE", "off", 1);
  succeed("team");
  unsetenv("TLT_SHARE");
  const char *first = strstr(r.err, "cannot share memory");
  assert_non_null(first);
  assert_null(strstr(first + 1, "cannot share memory"));
}

static void test_waiting(void **state) {
  (void)state;
  run(2, "waiting", NULL);
  assert_true(r.status == TLT_OK && r.exit_code == 0);
}

static void test_bind(void **state) {
  (void)state;
  succeed("bind");
}

/* ---- output ---- */

static void test_output(void **state) {
  (void)state;
  static char expected[TEXT_MAX];
  size_t n = 0;
  for (int i = 0; i < 5000; i++) n += (size_t)sprintf(expected + n, "line %d\n", i);
  run(2, "output", NULL);
  assert_int_equal(r.exit_code, 0);
  assert_string_equal(r.out, expected);
  assert_string_equal(
      r.err,
      "\rstep 1\rstep 2 ------\n"
      "--------------------------------------------------------------------------\n"
      "mine\n--------------------------------------------------------------------------\n\r\xff");
}

typedef struct collected {
  size_t n;
  char text[4096];
} collected;

static void collect(void *context, const char *text, size_t n) {
  collected *c = context;
  memcpy(c->text + c->n, text, n);
  c->n += n;
  c->text[c->n] = 0;
}

#define RULE "--------------------------------------------------------------------------\n"

static void filter_case(const char *in, const char *out, int rank, int signal_number, int code) {
  size_t length = strlen(in);
  for (size_t cut = 1; cut <= length; cut++) { /* in pieces of every size */
    static tlt__filter f;
    collected c = {0};
    tlt__filter_init(&f, collect, &c);
    for (size_t i = 0; i < length; i += cut)
      tlt__filter_feed(&f, in + i, length - i < cut ? length - i : cut);
    tlt__filter_quiet(&f, true);
    assert_string_equal(c.text, out);
    assert_int_equal(f.fate.rank, rank);
    assert_int_equal(f.fate.signal, signal_number);
    assert_int_equal(f.fate.exit_code, code);
  }
}

static void test_filter(void **state) {
  (void)state;
  filter_case("", "", -1, 0, -1);
  filter_case("1 a\n-- b\n", "1 a\n-- b\n", -1, 0, -1);
  filter_case("\rhalf" RULE
              "mpirun.openmpi noticed that process rank 12 with PID 0 on node x exited on "
              "signal 9 (Killed).\n" RULE "after",
              "\rhalfafter", 12, 9, -1);
  filter_case(RULE RULE "Primary job  terminated normally, but 1 process returned\nx\n" RULE RULE
                        "mpirun detected that one\n\n  Process name: [[3,1],2]\n  Exit code:    "
                        "75\n" RULE RULE "text\n" RULE,
              RULE RULE "text\n" RULE, 2, 0, 75);
  filter_case("p" RULE
              "prterun noticed that process rank 3 with PID 7 on node x exited on\n"
              "signal 11 (Segmentation fault).\n" RULE "prprterun\n",
              "pprprterun\n", 3, 11, -1);
  filter_case(RULE
              "prterun detected that one\n\n   Process name: [prterun-a-b-16899@1,4]\n   "
              "Exit code:    8\n" RULE,
              "", 4, 0, 8);
  filter_case("2 total processes killed (some possibly by mpirun during cleanup)\n2 total x\n",
              "2 total x\n", -1, 0, -1);
  filter_case("\rstep 1mpirun.openmpi: Forwarding signal 10 to job\n\rstep 2 mmpirun: or not\n",
              "\rstep 1\rstep 2 mmpirun: or not\n", -1, 0, -1);
  filter_case("[a:1] [[2,0],0] ORTE_ERROR_LOG: over in file x at line 5\n[a:1] [[2\n[] x [a\n",
              "[a:1] [[2\n[] x [a\n", -1, 0, -1);
  filter_case("[a:1] PMIX ERROR: OVER in file x at line 5\n[a:1] PMIX\n", "[a:1] PMIX\n", -1, 0,
              -1);
  filter_case(RULE
              "[a:1] PMIX ERROR: OVER in file x at line 5\nprterun detected that one\n"
              "Process name: [prterun-a-1@1,2] Exit code:    5\n" RULE "b",
              "b", 2, 0, 5);
  filter_case(RULE "[a:1] PMIX ERROR: OVER in file x at line 5\n", "", -1, 0, -1);
  filter_case(RULE "[a:1] PMIX OVER\n", RULE "[a:1] PMIX OVER\n", -1, 0, -1);
  filter_case(RULE "mpirun notic", RULE "mpirun notic", -1, 0, -1);
  filter_case("--" RULE "mpirun noticed", "--" RULE "mpirun noticed", -1, 0, -1);
}

/* ---- ends ---- */

static void ended(int code, const char *said) {
  if (r.status != TLT_OK) print_error("%s\n", err.text);
  assert_int_equal(r.status, TLT_OK);
  assert_int_equal(r.exit_code, code);
  assert_string_equal(r.err, said);
}

static void test_codes(void **state) {
  (void)state;
  run(3, "exit75", NULL);
  ended(75, "");
  run(2, "exit75", "all");
  ended(75, "");
  run(2, "exit5", NULL);
  ended(5, "");
  run(2, "exit9", NULL);
  assert_int_equal(r.status, TLT_EWORKER);
  /* Open MPI 5 may not say which. */
  if (OMPI_MAJOR_VERSION < 5 || strcmp(err.text, "a worker ended with exit status 9"))
    assert_string_equal(err.text, "worker 0 ended with exit status 9");
  run(3, "abort", NULL);
  ended(7, "tlt: this is over\n");
}

static void killed(int workers) {
  run(workers, "killed", NULL);
  assert_int_equal(r.status, TLT_EWORKER);
  assert_string_equal(err.text, "worker 1 died (signal 9, Killed); the others were stopped");
  quiet_runtime();
  assert_true(r.seconds < 10);
}

static void test_killed(void **state) {
  (void)state;
  killed(2);
  killed(3);
  setenv("TLT_SHARE", "off", 1);
  killed(3);
  unsetenv("TLT_SHARE");
}

static void test_broken(void **state) {
  (void)state;
  run(2, "broken", "all");
  assert_true(r.status == TLT_OK && r.exit_code == 8);
  assert_non_null(strstr(r.err, "tlt: workers: sum: MPI_ERR_TRUNCATE"));
  quiet_runtime();
  assert_true(r.seconds < 10);
}

static void test_stopped(void **state) {
  (void)state;
  run(3, "stopped", NULL);
  ended(8, "tlt: worker 1 has not shown any sign of life for 2 s\n");
  assert_true(r.seconds < 15);
}

/* ---- signals ---- */

/* Send signals to this process once the workers are ready. */
typedef struct sender {
  int signals, number;
} sender;

static void wait_ready(void) {
  char text[256];
  for (int i = 0; i < 300; i++) {
    usleep(100000);
    ssize_t n = caught[1] ? pread(fileno(caught[1]), text, sizeof text - 1, 0) : 0;
    text[n > 0 ? n : 0] = 0;
    if (strstr(text, "ready")) return;
  }
}

static void *send_signals(void *arg) {
  const sender *s = arg;
  wait_ready();
  for (int i = 0; i < s->signals; i++) {
    kill(getpid(), s->number);
    usleep(500000);
  }
  return NULL;
}

static void signalled(const char *name, int number, int signals) {
  sender s = {signals, number};
  pthread_t thread;
  caught[1] = NULL;
  assert_int_equal(pthread_create(&thread, NULL, send_signals, &s), 0);
  run(2, name, NULL);
  pthread_join(thread, NULL);
  ended(75, "ready\n");
}

static void test_signals(void **state) {
  (void)state;
  signalled("obey", SIGINT, 1);
  signalled("obey", SIGTERM, 1);
  signalled("ignore", SIGINT, 2);
  assert_true(r.seconds < 10);
}

/* Processes whose command line holds this word. */
static int processes_with(const char *word) {
  int found = 0;
  DIR *dir = opendir("/proc");
  assert_non_null(dir);
  for (struct dirent *d; (d = readdir(dir));) {
    char path[300], line[4096];
    if (!isdigit((unsigned char)d->d_name[0])) continue;
    snprintf(path, sizeof path, "/proc/%s/cmdline", d->d_name);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
    if (f) fclose(f);
    for (size_t i = 0; i < n; i++)
      if (!line[i]) line[i] = ' ';
    line[n] = 0;
    found += strstr(line, word) != NULL;
  }
  closedir(dir);
  return found;
}

/* SIGKILL to the launcher, at different moments of the start too, leaves nobody behind. */
static void test_orphans(void **state) {
  (void)state;
  static const int after_ms[] = {30, 150, 400, 2000};
  char word[64];
  for (size_t i = 0; i < sizeof after_ms / sizeof *after_ms; i++) {
    snprintf(word, sizeof word, "orphan-%d-%zu", getpid(), i);
    pid_t pid = fork();
    if (pid == 0) {
      char *argv[] = {"worker", "ignore", word, NULL};
      tlt_launch_options o = {.workers = 2, .program = worker, .argv = argv};
      int code, null = open("/dev/null", O_WRONLY);
      dup2(null, 2);
      tlt_launch(&o, &code, NULL);
      _exit(0);
    }
    usleep((useconds_t)after_ms[i] * 1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int k = 0; k < 50 && processes_with(word); k++) usleep(100000);
    assert_int_equal(processes_with(word), 0);
  }
}

static void test_missing(void **state) {
  (void)state;
  char *path = strdup(getenv("PATH"));
  setenv("PATH", "/nonexistent", 1);
  run(2, "exit0", NULL);
  setenv("PATH", path, 1);
  free(path);
  assert_int_equal(r.status, TLT_EIO);
  assert_non_null(strstr(err.text, "openmpi-bin"));
}

static int limit_time(void **state) {
  (void)state;
  alarm(TEST_SECONDS);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: test_cluster WORKER [name filter]\n"), 2;
  worker = argv[1];
  if (argc > 2) cmocka_set_test_filter(argv[2]);
#define TEST(name) cmocka_unit_test_setup(name, limit_time)
  const struct CMUnitTest tests[] = {
      TEST(test_alone),   TEST(test_filter),      TEST(test_missing), TEST(test_output),
      TEST(test_codes),   TEST(test_messages),    TEST(test_large),   TEST(test_unread),
      TEST(test_agree),   TEST(test_collectives), TEST(test_team),    TEST(test_bind),
      TEST(test_killed),  TEST(test_stopped),     TEST(test_signals), TEST(test_orphans),
      TEST(test_waiting), TEST(test_broken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
