/* What one worker does in the tests of src/cluster; test_cluster starts it several times.
 * Run alone: mpirun -n 3 [--allow-run-as-root --oversubscribe] build/tests/unit/cluster/worker CASE
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster.h"

static tlt_cluster *c;
static tlt_err err;
static int rank, size;

#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      fprintf(stderr, "worker %d: %s:%d: %s: %s\n", rank, __FILE__, __LINE__, #condition, \
              err.text);                                                                  \
      tlt_cluster_abort(c, 70);                                                           \
    }                                                                                     \
  } while (0)
#define OK(call) CHECK((call) == TLT_OK)

/* ---- messages ---- */

enum { ROUNDS = 300, LAST_TAG = 9 };

static uint32_t mix(uint32_t a, uint32_t b, uint32_t d) {
  uint32_t x = a * 2654435761u ^ b * 2246822519u ^ d * 3266489917u;
  return x ^ x >> 15;
}

static size_t message_bytes(int from, int to, int i) {
  uint32_t x = mix((uint32_t)from, (uint32_t)to, (uint32_t)i);
  static const size_t most[] = {1, 64, 5000, 5000, 70000, 70000, 300000};
  return i == ROUNDS / 2 ? 5u << 20 : x / 8 % most[x % 7];
}

static void fill(unsigned char *p, size_t n, int from, int to, int i) {
  uint32_t seed = mix((uint32_t)to, (uint32_t)i, (uint32_t)from);
  for (size_t k = 0; k < n; k++) p[k] = (unsigned char)(seed + k * 7);
}

static void send_round(int i) {
  static unsigned char data[5 << 20];
  for (int k = 0; k < size; k++) {
    int to = (rank + i + k) % size;
    size_t n = message_bytes(rank, to, i);
    fill(data, n, rank, to, i);
    OK(tlt_cluster_send(c, to, i % 7, data, n, &err));
  }
}

static void take(const tlt_mail *m, int seen[]) {
  static unsigned char expected[5 << 20];
  int i = seen[m->from]++;
  CHECK(m->tag == i % 7);
  CHECK(m->bytes == message_bytes(m->from, rank, i));
  fill(expected, m->bytes, m->from, rank, i);
  CHECK(!m->bytes || !memcmp(expected, m->data, m->bytes));
}

/* Everybody sends to everybody (the own rank too) before and while receiving. */
static void test_messages(void) {
  int *seen = tlt_calloc((size_t)size, sizeof *seen), total = 0;
  CHECK(seen);
  for (int i = 0; i < ROUNDS / 3; i++) send_round(i);
  for (int i = ROUNDS / 3; total < ROUNDS * size;) {
    if (i < ROUNDS) send_round(i++);
    tlt_mail m;
    bool got = true;
    while (got) {
      OK(tlt_cluster_receive(c, &m, &got, &err));
      if (got) take(&m, seen), total++;
    }
    if (total < ROUNDS * size) OK(tlt_cluster_wait(c, i < ROUNDS ? 0 : 10, &err));
  }
  for (int r = 0; r < size; r++) CHECK(seen[r] == ROUNDS);
  tlt_free(seen);
}

/* A message as large as tests can afford, in both directions at once, through collectives. */
static void test_large(void) {
  size_t bytes = 100u << 20;
  unsigned char *p = tlt_pages_alloc(bytes);
  CHECK(p);
  memset(p, rank + 1, bytes);
  double start = tlt_now();
  OK(tlt_cluster_send(c, (rank + 1) % size, 3, p, bytes, &err));
  OK(tlt_cluster_barrier(c, &err));
  tlt_mail m;
  bool got = false;
  while (!got) {
    OK(tlt_cluster_wait(c, 60, &err));
    OK(tlt_cluster_receive(c, &m, &got, &err));
  }
  int from = (rank + size - 1) % size;
  CHECK(m.from == from && m.bytes == bytes);
  const unsigned char *q = m.data;
  CHECK(q[0] == from + 1 && q[bytes / 2] == from + 1 && q[bytes - 1] == from + 1);
  OK(tlt_cluster_barrier(c, &err));
  if (rank == 0) printf("100 MB to each neighbour: %.2f s\n", tlt_now() - start);
  tlt_pages_free(p, bytes);
}

/* Whoever leaves without receiving does not keep the others. */
static void test_unread(void) {
  static char data[3 << 20];
  for (int i = 0; i < 20; i++)
    OK(tlt_cluster_send(c, (rank + 1) % size, i, data, (size_t)i * 150000, &err));
}

/* ---- collectives ---- */

static void test_collectives(void) {
  OK(tlt_cluster_barrier(c, &err));
  size_t n = 5u << 20;
  float *x = tlt_malloc(n * sizeof *x);
  CHECK(x);
  for (size_t i = 0; i < n; i++) x[i] = (float)(i % 1000) * (float)(rank + 1);
  OK(tlt_cluster_sum_f32(c, x, n, &err));
  float factor = (float)(size * (size + 1) / 2);
  for (size_t i = 0; i < n; i++) CHECK(x[i] == (float)(i % 1000) * factor);
  for (size_t i = 0; i < n; i++) x[i] = (float)(rank == size - 1 ? i % 77 : 0);
  OK(tlt_cluster_bcast(c, size - 1, x, n * sizeof *x, &err));
  for (size_t i = 0; i < n; i++) CHECK(x[i] == (float)(i % 77));
  tlt_free(x);
}

static void test_agree(void) {
  const char *const what[] = {"program", "model"};
  const char *value[] = {"1.0", "abc"};
  OK(tlt_cluster_agree(c, what, value, 2, &err));
  if (rank == 1) value[1] = "xyz";
  CHECK(tlt_cluster_agree(c, what, value, 2, &err) == TLT_EWORKER);
  CHECK(!strcmp(err.text, "workers disagree: model: worker 1 has xyz, worker 0 abc"));
  CHECK(tlt_cluster_agree(c, what, value, rank == 1 ? 1 : 2, &err) == TLT_EWORKER);
  OK(tlt_cluster_agree_status(c, TLT_OK, &err));
  tlt_status mine = rank == 0   ? tlt_fail(&err, TLT_EWORKER, "broken")
                    : rank == 1 ? tlt_fail(&err, TLT_EDATA, "bad file")
                                : TLT_OK;
  CHECK(tlt_cluster_agree_status(c, mine, &err) == TLT_EDATA);
  CHECK(err.status == TLT_EDATA && !strcmp(err.text, "worker 1: bad file"));
  mine = tlt_fail(&err, TLT_EUSAGE, "no");
  CHECK(tlt_cluster_agree_status(c, mine, &err) == TLT_EUSAGE && !strcmp(err.text, "no"));
}

/* ---- the team ---- */

static void test_share(const tlt_team *team, size_t bytes) {
  void *memory;
  OK(team->share(team->context, bytes, &memory, &err));
  unsigned char *p = memory;
  CHECK((uintptr_t)p % 4096 == 0 && p[0] == 0 && p[bytes - 1] == 0);
  OK(team->barrier(team->context, &err));
  size_t part = bytes / (size_t)team->size;
  memset(p + part * (size_t)team->rank, team->rank + 1, part);
  OK(team->barrier(team->context, &err));
  for (int r = 0; r < team->size; r++) {
    CHECK(p[part * (size_t)r] == r + 1);
    CHECK(p[part * (size_t)(r + 1) - 1] == r + 1);
  }
  OK(team->barrier(team->context, &err));
  team->unshare(team->context, p, bytes);
}

/* Every host's memory holds what its processes added; the sum counts every host once. */
static void test_sum_hosts(const tlt_team *team, size_t n) {
  void *memory;
  OK(team->share(team->context, n * sizeof(int64_t), &memory, &err));
  int64_t *x = memory;
  for (size_t i = (size_t)team->rank; i < n; i += (size_t)team->size)
    x[i] = (int64_t)i - 1000 + ((int64_t)1 << 50);
  OK(team->sum_hosts(team->context, x, n, &err));
  int64_t hosts = size / team->size;
  for (size_t i = 0; i < n; i++) CHECK(x[i] == hosts * ((int64_t)i - 1000 + ((int64_t)1 << 50)));
  OK(team->barrier(team->context, &err));
  team->unshare(team->context, x, n * sizeof(int64_t));
}

static void test_team(void) {
  const tlt_team *team = tlt_cluster_team(c);
  CHECK((team == NULL) == (size == 1));
  if (!team) return;
  const char *wish = getenv("TLT_SHARE");
  CHECK(team->size == (wish ? 1 : tlt_cluster_host_size(c)));
  double start = tlt_now();
  for (int i = 0; i < 200; i++) OK(team->barrier(team->context, &err));
  double barrier = (tlt_now() - start) / 200;
  test_share(team, 100);
  test_share(team, 9000001);
  test_sum_hosts(team, 1);
  start = tlt_now();
  test_sum_hosts(team, (5u << 20) + 3);
  if (rank == 0) printf("barrier %.1f us, sum of 42 MB %.3f s\n", 1e6 * barrier, tlt_now() - start);
}

/* ---- waiting, cores ---- */

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Rank 0 keeps the others waiting in the three places where one can wait. */
static void test_waiting(void) {
  const tlt_team *team = tlt_cluster_team(c);
  static const char *const name[] = {"message", "barrier", "team"};
  for (int place = 0; place < 3; place++) {
    if (place == 2 && (!team || team->size == 1)) break;
    OK(tlt_cluster_barrier(c, &err));
    double before = cpu_seconds(), start = tlt_now();
    if (rank == 0) usleep(2000000);
    if (place == 0 && rank == 0)
      for (int r = 1; r < size; r++) OK(tlt_cluster_send(c, r, 1, NULL, 0, &err));
    if (place == 0 && rank > 0) {
      tlt_mail m;
      bool got;
      OK(tlt_cluster_wait(c, 10, &err));
      OK(tlt_cluster_receive(c, &m, &got, &err));
      CHECK(got && m.from == 0);
    }
    if (place == 1) OK(tlt_cluster_barrier(c, &err));
    if (place == 2) OK(team->barrier(team->context, &err));
    double share = (cpu_seconds() - before) / (tlt_now() - start);
    if (rank == 1) printf("waiting at %s costs %.2f %% of a core\n", name[place], 100 * share);
    CHECK(rank == 0 || share < 0.05);
  }
}

static void test_bind(void) {
  int threads = -1;
  OK(tlt_cluster_bind(c, 0, &threads, &err));
  printf("worker %d: %d threads\n", rank, threads);
  CHECK(size == 1 ? threads == 0 : threads >= 1);
  OK(tlt_cluster_bind(c, 2 * size, &threads, &err));
  CHECK(threads == 2);
}

/* ---- ends ---- */

static volatile sig_atomic_t asked;
static void on_signal(int number) {
  asked = number;
}

static void lost(void *context, int who, const char *text) {
  (void)context, (void)who;
  fprintf(stderr, "tlt: %s\n", text);
}

/* Wait for somebody who will not come. */
static void forever(void) {
  OK(tlt_cluster_barrier(c, &err));
  if (rank == 1) return;
  const tlt_team *team = tlt_cluster_team(c);
  if (rank == 0 && team && team->size > 1) team->barrier(team->context, &err);
  else tlt_cluster_wait(c, 60, &err);
}

static void test_killed(void) {
  forever();
  kill(getpid(), SIGKILL);
}

static void test_stopped(void) {
  forever();
  kill(getpid(), SIGSTOP);
}

static void test_abort(void) {
  forever();
  fprintf(stderr, "tlt: this is over\n");
  tlt_cluster_abort(c, 7);
}

/* One sums less than the other: MPI fails for one, who ends; the other would wait for good. */
static int test_broken(void) {
  static float x[10000];
  CHECK(!tlt_cluster_broken());
  tlt_status s = tlt_cluster_sum_f32(c, x, rank == 1 ? 9000 : 10000, &err);
  if (s == TLT_OK) s = tlt_cluster_barrier(c, &err);
  CHECK(s == TLT_EWORKER && tlt_cluster_broken());
  fprintf(stderr, "tlt: %s\n", err.text);
  return 8;
}

static int run_until_asked(bool obey) {
  signal(SIGUSR1, on_signal);
  signal(SIGTERM, on_signal);
  OK(tlt_cluster_barrier(c, &err));
  if (rank == 0) fprintf(stderr, "ready\n");
  double start = tlt_now();
  while ((!asked || !obey) && tlt_now() - start < 60) OK(tlt_cluster_wait(c, 0.05, &err));
  return asked == SIGUSR1 ? 75 : 70;
}

/* Text that must arrive unchanged. */
static void test_output(void) {
  if (rank != 0) return;
  fputs("\rstep 1\rstep 2 ----", stderr);
  usleep(300000);
  fputs(
      "--\n--------------------------------------------------------------------------\n"
      "mine\n--------------------------------------------------------------------------\n\r\xff",
      stderr);
  for (int i = 0; i < 5000; i++) printf("line %d\n", i);
}

static int run_case(const char *name) {
  static const struct {
    const char *name;
    void (*run)(void);
  } cases[] = {{"messages", test_messages},       {"large", test_large}, {"unread", test_unread},
               {"collectives", test_collectives}, {"agree", test_agree}, {"team", test_team},
               {"waiting", test_waiting},         {"bind", test_bind},   {"killed", test_killed},
               {"stopped", test_stopped},         {"abort", test_abort}, {"output", test_output}};
  if (!strcmp(name, "broken")) return test_broken();
  if (!strcmp(name, "obey")) return run_until_asked(true);
  if (!strcmp(name, "ignore")) return run_until_asked(false);
  if (!strncmp(name, "exit", 4)) return atoi(name + 4);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(name, cases[i].name)) continue;
    cases[i].run();
    return 0;
  }
  fprintf(stderr, "%s: no such case\n", name);
  return 2;
}

static void print_log(void *context, tlt_log_level level, const char *text) {
  (void)context;
  if (level == TLT_LOG_WARN) fprintf(stderr, "warning: %s\n", text);
}

#ifdef __SANITIZE_ADDRESS__
/* Open MPI leaves memory of plugins behind that it has unloaded: nothing there can be named. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
  return 1;
}
#endif

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  tlt_log_set_sink(print_log, NULL);
  tlt_cluster_options o = {.watchdog_seconds = 2, .lost = lost};
  OK(tlt_cluster_open(&o, &c, &err));
  rank = tlt_cluster_rank(c);
  size = tlt_cluster_size(c);
  int code = run_case(argv[1]);
  if (rank > 0 && argc == 2) code = 0; /* any further word: all end with it */
  tlt_cluster_close(c);
  return code;
}
