/* Reward programs, well-behaved and hostile. The children are small Python scripts written into a
 * scratch directory. Run alone: build/tests/unit/tasks/test_reward [name filter] */
#include "../io/scratch.h"

#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tasks/reward.h"

/* The shared beginning of every script: say(object), requests() after the hello. */
static const char prelude[] =
    "import json, os, signal, sys, time\n"
    "def say(x):\n"
    "    sys.stdout.write(json.dumps(x) + '\\n'); sys.stdout.flush()\n"
    "def hello():\n"
    "    assert json.loads(sys.stdin.readline()) == {'hello': 'tlt', 'version': 1}\n"
    "    say({'hello': 'test', 'version': 1})\n"
    "def requests():\n"
    "    hello()\n"
    "    for line in sys.stdin:\n"
    "        yield json.loads(line)\n"
    "def once(name):\n" /* true for the first caller only, over restarts */
    "    try:\n"
    "        os.close(os.open(os.path.join(os.path.dirname(__file__), name),\n"
    "                         os.O_CREAT | os.O_EXCL)); return True\n"
    "    except FileExistsError:\n"
    "        return False\n";

static tlt_reward_options program(const char *body) {
  static char command[TLT_PATH_MAX + 16];
  static int number;
  char name[32], *text = tlt_malloc(sizeof prelude + strlen(body));
  assert_non_null(text);
  snprintf(name, sizeof name, "reward%d.py", number++);
  sprintf(text, "%s%s", prelude, body);
  snprintf(command, sizeof command, "python3 -S -E '%s'", scratch_text(name, text));
  tlt_free(text);
  return (tlt_reward_options){.command = command, .workers = 2, .timeout_s = 20};
}

static tlt_reward *open_reward(const tlt_reward_options *o) {
  tlt_reward *r = NULL;
  assert_ok(tlt_reward_open(o, &r, &err));
  return r;
}

static tlt_problem problem(void) {
  return (tlt_problem){.id = "p1",
                       .prompt = "1+1\n",
                       .prompt_bytes = 4,
                       .answer = "2",
                       .answer_bytes = 1,
                       .meta = "{\"target\":2}",
                       .numbers = {1, 1},
                       .n_numbers = 2,
                       .target = 2};
}

static void submit(tlt_reward *r, uint64_t id, const char *completion) {
  tlt_problem p = problem();
  assert_ok(tlt_reward_submit(r, id, &p, completion, strlen(completion), &err));
}

/* All results of ids 0 .. n-1, by id. */
static void collect(tlt_reward *r, tlt_reward_result *by_id, size_t n) {
  bool *seen = tlt_calloc(n, 1);
  for (size_t got = 0; got < n;) {
    tlt_reward_result some[3];
    size_t count;
    assert_ok(tlt_reward_poll(r, -1, some, 3, &count, &err));
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
      assert_true(some[i].id < n && !seen[some[i].id]);
      seen[some[i].id] = true;
      by_id[some[i].id] = some[i];
    }
    got += count;
  }
  assert_int_equal(tlt_reward_pending(r), 0);
  tlt_free(seen);
}

/* Poll until the run ends; the text of the error. */
static void ends_with(tlt_reward *r, const char *part, const char *part2) {
  tlt_err err = {0};
  tlt_status status = TLT_OK;
  while (status == TLT_OK) {
    tlt_reward_result some[8];
    size_t count;
    status = tlt_reward_poll(r, -1, some, 8, &count, &err);
    if (status == TLT_OK && !count) fail_msg("the run did not end with '%s'", part);
  }
  assert_int_equal(status, TLT_EREWARD);
  if (!strstr(err.text, part) || !strstr(err.text, part2) || strchr(err.text, '\n'))
    fail_msg("\"%s\" does not hold \"%s\" and \"%s\"", err.text, part, part2);
}

static void verifier_scores_at_once(void **state) {
  (void)state;
  tlt_reward_options o = {.verifier = TLT_VERIFY_COUNTDOWN, .workers = 1, .timeout_s = 1};
  tlt_reward *r = open_reward(&o);
  submit(r, 7, "answer 1+1");
  submit(r, 8, "answer 1*1");
  submit(r, 9, "no");
  tlt_reward_result got[4];
  size_t count;
  assert_ok(tlt_reward_poll(r, 0, got, 4, &count, &err));
  assert_int_equal(count, 3);
  assert_true(got[0].id == 7 && got[0].reward == 1 && got[0].parsed);
  assert_true(got[1].id == 8 && got[1].reward == 0 && got[1].parsed);
  assert_true(got[2].id == 9 && got[2].reward == 0 && !got[2].parsed && !got[2].masked);
  assert_ok(tlt_reward_poll(r, -1, got, 4, &count, &err));
  assert_int_equal(count, 0);
  tlt_reward_close(r);
}

static void answers_come_in_any_order(void **state) {
  (void)state;
  enum { N = 200 };
  tlt_reward_options o = program(
      "held = []\n"
      "for q in requests():\n"
      "    assert q['prompt'] == '1+1\\n' and q['answer'] == '2' and q['meta'] == {'target': 2}\n"
      "    held.append({'id': q['id'], 'reward': len(q['completion']) + q['id'] / 1000})\n"
      "    if len(held) == 4:\n"
      "        for x in reversed(held): say(x)\n"
      "        held = []\n");
  o.workers = 1; /* so that it gets every item and none is left of its fours */
  tlt_reward *r = open_reward(&o);
  for (int i = 0; i < N; i++) submit(r, (uint64_t)i, "\xc3\xa9\xff\n\"");
  tlt_reward_result got[N];
  collect(r, got, N);
  for (int i = 0; i < N; i++) {
    assert_true(got[i].reward == 4 + i / 1000.0); /* the bad byte became one character */
    assert_true(got[i].parsed && !got[i].masked && got[i].seconds >= 0);
  }
  tlt_reward_stats s = tlt_reward_totals(r);
  assert_int_equal(s.items, N);
  assert_int_equal(s.restarts + s.errors + s.timeouts + s.masked, 0);
  assert_true(s.seconds_max > 0 && s.seconds_sum >= s.seconds_max);
  tlt_reward_close(r);
}

static void scoring_overlaps(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    time.sleep(0.3)\n"
      "    say({'id': q['id'], 'reward': 1})\n");
  o.workers = 4;
  tlt_reward *r = open_reward(&o);
  double start = tlt_now();
  for (uint64_t i = 0; i < 4; i++) submit(r, i, "x");
  tlt_reward_result got[4];
  size_t count;
  assert_ok(tlt_reward_poll(r, 0, got, 4, &count, &err));
  assert_int_equal(count, 0);
  assert_true(tlt_now() - start < 0.25); /* neither call waited */
  collect(r, got, 4);
  assert_true(tlt_now() - start < 1.0);
  tlt_reward_close(r);
}

static void long_lines_pass_both_ways(void **state) {
  (void)state;
  enum { BYTES = 900000, N = 12 };
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    say({'id': q['id'], 'reward': len(q['completion']), 'note': q['completion']})\n");
  tlt_reward *r = open_reward(&o);
  char *text = tlt_malloc(BYTES + 1);
  memset(text, 'a', BYTES);
  text[BYTES] = 0;
  for (uint64_t i = 0; i < N; i++) submit(r, i, text);
  tlt_reward_result got[N];
  collect(r, got, N);
  for (int i = 0; i < N; i++) assert_true(got[i].reward == BYTES);
  tlt_free(text);
  tlt_reward_close(r);
}

static void too_long_request_is_an_error(void **state) {
  (void)state;
  tlt_reward_options o = program("for q in requests(): pass\n");
  tlt_reward *r = open_reward(&o);
  char *text = tlt_calloc(1, TLT_REWARD_LINE_MAX + 1);
  memset(text, 'a', TLT_REWARD_LINE_MAX);
  tlt_problem p = problem();
  assert_fails(tlt_reward_submit(r, 3, &p, text, TLT_REWARD_LINE_MAX, &err), TLT_EREWARD, "item 3");
  tlt_free(text);
  tlt_reward_close(r);
}

/* Fails at open. */
static void refused(const char *command, tlt_status status, const char *part) {
  tlt_reward_options o = {.command = command, .workers = 2, .timeout_s = 2};
  tlt_reward *r;
  double start = tlt_now();
  assert_fails(tlt_reward_open(&o, &r, &err), status, part);
  assert_null(r);
  assert_true(tlt_now() - start < 8);
}

static void bad_programs_are_refused_at_open(void **state) {
  (void)state;
  refused("no-such-program-anywhere", TLT_EREWARD, "not found in PATH");
  refused("/no/such/program", TLT_EREWARD, "/no/such/program");
  refused(scratch_text("plain.txt", "hi"), TLT_EREWARD, "not executable");
  refused("/", TLT_EREWARD, "not executable");
  refused("", TLT_EUSAGE, "empty");
  refused("   ", TLT_EUSAGE, "empty");
  refused("python3 'x", TLT_EUSAGE, "open quote");
  refused("python3 /no/such/script.py", TLT_EREWARD, "script.py"); /* from its stderr */
  refused("cat", TLT_EREWARD, "hello");                            /* echoes */
}

static void bad_hellos_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *body, *part;
    double timeout_s; /* short only where the limit is what is tested */
  } rows[] = {
      {"say({'hello': 'x', 'version': 2})\ntime.sleep(9)\n", "version", 20},
      {"print('loading', flush=True)\ntime.sleep(9)\n", "hello", 20},
      {"time.sleep(60)\n", "time limit", 0.5},
      {"signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n", "signal 9", 1.5},
      {"sys.exit('my last words')\n", "my last words", 20},
      {"sys.stderr.write('a\\x1b[31m\\nb'); sys.exit(3)\n", "a?[31m|b", 20},
      {"sys.exit(3)\n", "exit status 3", 20},
      {"os.close(1); time.sleep(60)\n", "ended", 20},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tlt_reward_options o = program(rows[i].body);
    o.timeout_s = rows[i].timeout_s;
    tlt_reward *r;
    assert_fails(tlt_reward_open(&o, &r, &err), TLT_EREWARD, rows[i].part);
  }
}

static void bad_options_are_refused(void **state) {
  (void)state;
  tlt_reward *r;
  tlt_reward_options o = {.workers = 0, .timeout_s = 1};
  assert_fails(tlt_reward_open(&o, &r, &err), TLT_EUSAGE, "reward.workers");
  o = (tlt_reward_options){.workers = 1, .timeout_s = 0};
  assert_fails(tlt_reward_open(&o, &r, &err), TLT_EUSAGE, "reward.timeout_s");
}

/* Every way to misbehave on one item; the run ends and names item, problem and reason. */
static void bad_answers_end_the_run(void **state) {
  (void)state;
  static const struct {
    const char *on_item, *part;
  } rows[] = {
      {"sys.exit(7)", "exit status 7"},
      {"os.kill(os.getpid(), 11)", "signal 11"},
      {"print('debug', flush=True)", "reward child"},
      {"say({'id': 99, 'reward': 1})", "id 99"},
      {"say({'id': 5})", "reward: missing"},
      {"say({'reward': 1})", "id: missing"},
      {"say({'id': 5, 'reward': '1'})", "reward"},
      {"say({'id': 5, 'reward': float('nan')})", "reward child"},
      {"say({'id': 5, 'reward': 1e308})", "1e"},
      {"say({'id': 5, 'reward': 1000001})", "1000001"},
      {"say([5, 1])", "object"},
      {"sys.stdout.buffer.write(b'{\"id\": 5, \"reward\": 1, \"x\": \"\\xff\"}\\n'); "
       "sys.stdout.flush()",
       "reward child"},
      {"sys.stdout.write('{\"id\": 5,'); sys.stdout.flush(); sys.exit(0)", "within a line"},
      {"sys.stdout.write('x' * (1 << 24)); sys.stdout.flush(); time.sleep(60)", "line over"},
      {"while True: sys.stdout.write('{}')", "line over"},
      {"say({'id': 5, 'error': 'cannot judge this'})", "cannot judge this"},
      {"os.close(0); time.sleep(60)", "time limit"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char body[1024];
    snprintf(body, sizeof body,
             "for q in requests():\n"
             "    sys.stderr.write('about to fail\\n'); sys.stderr.flush()\n"
             "    if q['id'] == 5:\n        %s\n    say({'id': q['id'], 'reward': 1})\n",
             rows[i].on_item);
    tlt_reward_options o = program(body);
    if (strstr(rows[i].part, "time limit")) o.timeout_s = 1.5;
    tlt_reward *r = open_reward(&o);
    submit(r, 5, "x");
    ends_with(r, rows[i].part, "item 5 (problem p1)");
    tlt_problem p = problem();
    assert_fails(tlt_reward_submit(r, 6, &p, "", 0, &err), TLT_EREWARD, "item 5");
    tlt_reward_close(r);
  }
}

static void stderr_tail_is_shown(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    sys.stderr.write('x' * 100000 + '\\nTraceback: the reason\\n'); sys.exit(1)\n");
  tlt_reward *r = open_reward(&o);
  submit(r, 1, "x");
  ends_with(r, "Traceback: the reason", "item 1");
  tlt_reward_close(r);
}

static void crash_is_retried_once(void **state) {
  (void)state;
  enum { N = 40 };
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    if q['id'] % 10 == 3 and once('crash%d' % q['id']): os.abort()\n"
      "    say({'id': q['id'], 'reward': q['id']})\n");
  tlt_reward *r = open_reward(&o);
  for (uint64_t i = 0; i < N; i++) submit(r, i, "x");
  tlt_reward_result got[N];
  collect(r, got, N);
  for (int i = 0; i < N; i++) assert_true(got[i].reward == i);
  assert_int_equal(tlt_reward_totals(r).restarts, 4);
  tlt_reward_close(r);
}

/* A hanging item that ignores SIGTERM and has a child of its own costs its time limit twice, and
 * nothing else; every other item is scored. */
static void hang_is_masked(void **state) {
  (void)state;
  enum { N = 30 };
  tlt_reward_options o = program(
      "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
      "for q in requests():\n"
      "    if q['id'] == 4:\n"
      "        pid = os.fork()\n"
      "        if pid: open(os.path.dirname(__file__) + '/grandchild', 'a').write('%d\\n' % pid)\n"
      "        time.sleep(300)\n"
      "    say({'id': q['id'], 'reward': 1})\n");
  o.on_error = TLT_REWARD_MASK;
  o.mask_share = 0.5;
  o.timeout_s = 2; /* the hello shares it, and Python needs a moment on a busy machine */
  tlt_reward *r = open_reward(&o);
  for (uint64_t i = 0; i < N; i++) submit(r, i, "x");
  tlt_reward_result got[N];
  collect(r, got, N);
  for (int i = 0; i < N; i++) {
    assert_int_equal(got[i].masked, i == 4);
    assert_true(got[i].reward == (i != 4));
  }
  tlt_reward_stats s = tlt_reward_totals(r);
  assert_int_equal(s.masked, 1);
  assert_int_equal(s.errors, 1);
  assert_true(s.timeouts >= 2);
  tlt_reward_close(r);
  char *pids;
  size_t n;
  assert_ok(tlt_file_load(scratch("grandchild"), 1000, &pids, &n, &err));
  for (char *at = pids; *at;) {
    int pid = (int)strtol(at, &at, 10);
    at += *at == '\n';
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    char *stat = NULL;
    /* Gone, or a zombie that whoever adopted it has not yet collected. */
    FILE *f = fopen(path, "r");
    char line[256] = "";
    if (f && !fgets(line, sizeof line, f)) line[0] = 0;
    if (f) fclose(f);
    stat = strrchr(line, ')');
    assert_true(!stat || stat[2] == 'Z' || stat[2] == 'X');
  }
  tlt_free(pids);
}

static void too_many_masked_end_the_run(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    say({'id': q['id'], 'error': 'no'} if q['id'] % 20 == 0 else\n"
      "        {'id': q['id'], 'reward': 1})\n");
  o.on_error = TLT_REWARD_MASK;
  tlt_reward *r = open_reward(&o);
  for (uint64_t i = 0; i < 400; i++) submit(r, i, "x");
  ends_with(r, "without a score", "0.01");
  tlt_reward_close(r);
}

static void endless_restarts_end_the_run(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "hello()\n"
      "sys.exit(9)\n");
  o.on_error = TLT_REWARD_MASK;
  o.mask_share = 1;
  o.workers = 1;
  tlt_reward *r = open_reward(&o);
  for (uint64_t i = 0; i < 50; i++) submit(r, i, "x");
  ends_with(r, "again and again", "exit status 9");
  assert_int_equal(tlt_reward_totals(r).restarts, TLT_REWARD_RESTARTS);
  tlt_reward_close(r);
}

static void children_are_set_apart(void **state) {
  (void)state;
  setenv("TLT_REWARD_TEST", "seen", 1);
  setenv("SECRET_TOKEN", "hidden", 1);
  signal(SIGPIPE, SIG_IGN);
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    text = open('/proc/self/status').read()\n"
      "    bad = []\n"
      "    if os.getpgid(0) != os.getpid(): bad.append('group')\n"
      "    if 'NoNewPrivs:\\t1' not in text: bad.append('privs')\n"
      "    if 'SECRET_TOKEN' in os.environ: bad.append('env')\n"
      "    if os.environ.get('TLT_REWARD_TEST') != 'seen': bad.append('kept env')\n"
      "    if 'PATH' not in os.environ: bad.append('path')\n"
      "    fds = [f for f in os.listdir('/proc/self/fd') if int(f) > 2]\n"
      "    if len(fds) > 1: bad.append('fds %s' % fds)\n" /* listdir's own */
      "    say({'id': q['id'], 'error': str(bad)} if bad else {'id': q['id'], 'reward': 1})\n");
  int leak = dup(1); /* a descriptor that is not close-on-exec */
  tlt_reward *r = open_reward(&o);
  submit(r, 0, "x");
  tlt_reward_result got;
  collect(r, &got, 1);
  assert_true(got.reward == 1);
  tlt_reward_close(r);
  close(leak);
  signal(SIGPIPE, SIG_DFL);
  unsetenv("SECRET_TOKEN");
}

/* Writing to a dead child raises no SIGPIPE, which would end this test. */
static void dead_reader_is_no_sigpipe(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "hello()\n"
      "os.close(0)\n"
      "time.sleep(0.5)\n");
  o.workers = 1;
  tlt_reward *r = open_reward(&o);
  tlt_reward_result got;
  size_t count;
  assert_ok(tlt_reward_poll(r, 0.2, &got, 1, &count, &err));
  submit(r, 0, "x");
  ends_with(r, "item 0", "p1");
  tlt_reward_close(r);
}

static void close_ends_busy_children(void **state) {
  (void)state;
  tlt_reward_options o = program(
      "for q in requests():\n"
      "    open(os.path.dirname(__file__) + '/busy', 'a').write('%d\\n' % os.getpid())\n"
      "    time.sleep(300)\n");
  tlt_reward *r = open_reward(&o);
  submit(r, 0, "x");
  tlt_reward_result got;
  size_t count;
  for (int i = 0; i < 100 && !tlt_path_exists(scratch("busy")); i++)
    assert_ok(tlt_reward_poll(r, 0.1, &got, 1, &count, &err));
  double start = tlt_now();
  tlt_reward_close(r);
  assert_true(tlt_now() - start < 1.5);
  char *pid;
  size_t n;
  assert_ok(tlt_file_load(scratch("busy"), 100, &pid, &n, &err));
  assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), 0), -1);
  tlt_free(pid);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(verifier_scores_at_once),
      cmocka_unit_test(answers_come_in_any_order),
      cmocka_unit_test(scoring_overlaps),
      cmocka_unit_test(long_lines_pass_both_ways),
      cmocka_unit_test(too_long_request_is_an_error),
      cmocka_unit_test(bad_programs_are_refused_at_open),
      cmocka_unit_test(bad_hellos_are_refused),
      cmocka_unit_test(bad_options_are_refused),
      cmocka_unit_test(bad_answers_end_the_run),
      cmocka_unit_test(stderr_tail_is_shown),
      cmocka_unit_test(crash_is_retried_once),
      cmocka_unit_test(hang_is_masked),
      cmocka_unit_test(too_many_masked_end_the_run),
      cmocka_unit_test(endless_restarts_end_the_run),
      cmocka_unit_test(children_are_set_apart),
      cmocka_unit_test(dead_reader_is_no_sigpipe),
      cmocka_unit_test(close_ends_busy_children),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
