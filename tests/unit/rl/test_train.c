/* Whole training runs on a tiny random model: the same bits over threads, kills and resumes; every
 * algorithm; what resume refuses.
 * Alone: build/tests/unit/rl/test_rl_train [test name] */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/json.h"
#include "model/weights.h"
#include "report/metrics.h"
#include "rl/rundir.h"
#include "rl/train.h"

enum { PROBLEMS = 60, STEPS = 12, SETS_MAX = 8 };

static char top[64];

/* ---- a model, problems, a configuration -------------------------------------------------------
 */

/* A tokenizer of 15 characters and one merge: random answers hold digits often enough to be right
 * sometimes. */
static const char tokenizer_json[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"0\":0,\"1\":1,\"a\":2,\"b\":3,\"c\":4,\"d\":5,"
    "\"e\":6,\"f\":7,\"g\":8,\"h\":9,\"i\":10,\"j\":11,\"k\":12,\"l\":13,\"m\":14,\"<e>\":15,"
    "\"aa\":16},"
    " \"merges\": [\"a a\"]},"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
    "false},"
    " \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"added_tokens\": [{\"id\": 15, \"content\": \"<e>\", \"special\": true, \"single_word\": "
    "false,"
    " \"lstrip\": false, \"rstrip\": false, \"normalized\": false}]}";

static void path_of(char out[TLT_PATH_MAX], const char *name) {
  tlt_path_join(out, top, name);
}

static void store(const char *name, const char *text) {
  char path[TLT_PATH_MAX];
  tlt_err err;
  path_of(path, name);
  if (tlt_file_store(path, text, strlen(text), &err) != TLT_OK) fail_msg("%s", err.text);
}

static void make_model(const char *name, uint32_t seed) {
  tlt_config c = {.arch = TLT_ARCH_LLAMA,
                  .hidden = 24,
                  .layers = 2,
                  .heads = 3,
                  .kv_heads = 1,
                  .head_dim = 8,
                  .inter = 40,
                  .vocab = 17,
                  .max_positions = 96,
                  .norm_eps = 1e-5f,
                  .rope_theta = 10000,
                  .tied = true,
                  .bos = -1,
                  .pad = -1,
                  .eos = {15},
                  .n_eos = 1};
  char path[TLT_PATH_MAX];
  tlt_weights *w;
  tlt_err err = {0};
  path_of(path, name);
  assert_int_equal(tlt_weights_create(&c, &w, &err), TLT_OK);
  assert_int_equal(tlt_weights_init(w, seed, &err), TLT_OK);
  if (tlt_dir_make(path, &err) != TLT_OK || tlt_weights_save(w, path, NULL, &err) != TLT_OK)
    fail_msg("%s", err.text);
  tlt_weights_free(w);
  char file[TLT_PATH_MAX];
  snprintf(file, sizeof file, "%s/tokenizer.json", name);
  store(file, tokenizer_json);
  snprintf(file, sizeof file, "%s/tokenizer_config.json", name);
  store(file, "{\"eos_token\": \"<e>\"}");
}

static void make_problems(const char *name, int count) {
  char text[PROBLEMS * 64 * 4];
  size_t n = 0;
  for (int i = 0; i < count; i++)
    n += (size_t)snprintf(text + n, sizeof text - n,
                          "{\"prompt\": \"a%c%c%cb\", \"answer\": \"%d\"}\n", 'a' + i % 5,
                          'c' + i % 7, 'd' + i % 9, i % 2);
  store(name, text);
}

static void make_config(void) {
  char text[4096];
  snprintf(text, sizeof text,
           "model: %s/model\nseed: 5\nsteps: %d\n"
           "data: {file: %s/problems.jsonl, verifier: numeric}\n"
           "eval: {every: 5, count: 10, samples: 2}\n"
           "rollout: {prompts: 4, samples: 4, max_tokens: 14, batch: 5}\n"
           "optimizer: {lr: 0.01}\ngradient: {micro_tokens: 40, activation_mb: 1}\n"
           "checkpoint: {every: 2, keep: 2}\nlog: {rollouts: all}\n",
           top, STEPS, top);
  store("config.yaml", text);
}

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-rl-train-XXXXXX");
  if (!mkdtemp(top)) return -1;
  make_model("model", 1);
  make_model("other", 2);
  make_problems("problems.jsonl", PROBLEMS);
  make_problems("fewer.jsonl", PROBLEMS - 3);
  make_config();
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, NULL) == TLT_OK ? 0 : -1;
}

/* ---- running ------------------------------------------------------------------------------------
 */

typedef struct outcome {
  tlt_status status;
  tlt_train_summary summary;
  tlt_err err;
} outcome;

/* sets: space-separated "a.b=c" words. */
static outcome train(const char *run, const char *sets, int threads, tlt_resume resume,
                     const tlt_train_hooks *hooks, tlt_stop *stop) {
  char words[512], config[TLT_PATH_MAX], dir[TLT_PATH_MAX];
  const char *set[SETS_MAX];
  outcome o = {0};
  int n = 0;
  snprintf(words, sizeof words, "%s", sets ? sets : "");
  for (char *save, *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
    set[n++] = w;
  path_of(config, "config.yaml");
  path_of(dir, run);
  tlt_train_hooks plain = {.metrics = &tlt_metrics_jsonl};
  tlt_train_options options = {
      .config = config, .run = dir, .sets = set, .n_sets = n, .threads = threads, .resume = resume};
  o.status = tlt_train(&options, hooks ? hooks : &plain, stop, &o.summary, &o.err);
  return o;
}

static outcome train_ok(const char *run, const char *sets, int threads, tlt_resume resume) {
  outcome o = train(run, sets, threads, resume, NULL, NULL);
  if (o.status != TLT_OK) fail_msg("%s: %s", run, o.err.text);
  return o;
}

static char *load(const char *run, const char *name) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_err err;
  snprintf(path, sizeof path, "%s/%s/%s", top, run, name);
  if (tlt_file_load(path, 1 << 24, &text, &n, &err) != TLT_OK) fail_msg("%s", err.text);
  return text;
}

static bool timing(const char *key) {
  static const char *const may_differ[] = {"time/", "spec/", "drafter/", "workers/",
                                           "mem/",  "cost/", "sys/"};
  for (size_t i = 0; i < sizeof may_differ / sizeof *may_differ; i++)
    if (!strncmp(key, may_differ[i], strlen(may_differ[i]))) return true;
  return false;
}

/* metrics.jsonl without what may depend on timing. */
static json_t *metrics_of(const char *run) {
  char path[TLT_PATH_MAX];
  tlt_jsonl *r;
  json_t *all = json_array(), *line;
  tlt_err err;
  snprintf(path, sizeof path, "%s/%s/metrics.jsonl", top, run);
  if (tlt_jsonl_open(path, &r, &err) != TLT_OK) fail_msg("%s", err.text);
  while (tlt_jsonl_next(r, &line, &err) == TLT_OK && line) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(line, next, key, value) if (timing(key)) json_object_del(line, key);
    json_array_append_new(all, line);
  }
  tlt_jsonl_close(r);
  return all;
}

static void assert_same_run(const char *a, const char *b) {
  json_t *x = metrics_of(a), *y = metrics_of(b);
  if (!json_equal(x, y)) {
    for (size_t i = 0; i < json_array_size(x); i++)
      if (!json_equal(json_array_get(x, i), json_array_get(y, i)))
        fail_msg("%s and %s differ in line %zu:\n%s\n%s", a, b, i + 1,
                 json_dumps(json_array_get(x, i), 0), json_dumps(json_array_get(y, i), 0));
    fail_msg("%s and %s differ in length", a, b);
  }
  json_decref(x);
  json_decref(y);
  for (int step = 1; step <= STEPS; step++) {
    char name[64];
    snprintf(name, sizeof name, "rollouts/step-%d.jsonl", step);
    char *left = load(a, name), *right = load(b, name);
    assert_string_equal(left, right);
    tlt_free(left);
    tlt_free(right);
  }
}

/* ---- tests
 * ---------------------------------------------------------------------------------------- */

static void test_threads(void **state) {
  static const char *const sets[] = {
      "", "algorithm.name=dapo algorithm.overlong=5",
      "algorithm.kl=0.1 algorithm.updates=2 algorithm.minibatches=2"};
  (void)state;
  for (int k = 0; k < 3; k++) {
    char first[32];
    snprintf(first, sizeof first, "threads-%d-1", k);
    outcome want = train_ok(first, sets[k], 1, TLT_RESUME_NO);
    for (int t = 0; t < 3; t++) {
      const int threads[] = {2, 3, 16};
      char run[32];
      snprintf(run, sizeof run, "threads-%d-%d", k, threads[t]);
      outcome got = train_ok(run, sets[k], threads[t], TLT_RESUME_NO);
      assert_string_equal(got.summary.weights_sha256, want.summary.weights_sha256);
      assert_same_run(first, run);
    }
  }
}

/* Gradients flow, rewards vary, the summary is filled. */
static void test_learns_something(void **state) {
  (void)state;
  outcome o = train_ok("plain", NULL, 2, TLT_RESUME_NO);
  json_t *m = metrics_of("plain");
  assert_int_equal(json_array_size(m), STEPS + 1);
  int trained = 0;
  for (size_t i = 1; i < json_array_size(m); i++) {
    const json_t *line = json_array_get(m, i);
    bool any = json_integer_value(json_object_get(line, "groups/trained")) > 0;
    trained += any;
    assert_int_equal(any, json_number_value(json_object_get(line, "grad_norm")) > 0);
    assert_true(json_number_value(json_object_get(line, "lr")) == (double)0.01f);
    if (any) assert_true(json_number_value(json_object_get(line, "update/ratio_mean")) == 1);
  }
  assert_true(trained > STEPS / 2);
  json_decref(m);
  assert_true(o.summary.has_eval);
  assert_int_equal(o.summary.eval_problems, 10);
  assert_int_equal(o.summary.steps_done, STEPS);
  assert_true(o.summary.rollout_tokens > 0 && o.summary.trained_tokens > 0);
  char path[TLT_PATH_MAX];
  tlt_weights *w;
  tlt_err err;
  tlt_pool *pool;
  assert_int_equal(tlt_pool_create(1, &pool, &err), TLT_OK);
  path_of(path, "plain/final");
  assert_int_equal(tlt_weights_load(path, pool, &w, &err), TLT_OK);
  tlt_weights_free(w);
  tlt_pool_free(pool);
}

static void test_algorithms(void **state) {
  static const char *const sets[] = {
      "algorithm.name=grpo algorithm.loss=sequence-mean algorithm.scale=batch",
      "algorithm.name=dr-grpo algorithm.updates=2",
      "algorithm.name=rloo algorithm.minibatches=4",
      "algorithm.name=dapo algorithm.max_gen=3",
      "algorithm.name=gspo algorithm.updates=3 algorithm.minibatches=2",
      "algorithm.kl=0.5 algorithm.kl_estimator=k1",
      "algorithm.kl=0.5 algorithm.kl_estimator=k2 optimizer.schedule=cosine optimizer.warmup=3",
      "rollout.temperature=0.8 rollout.top_p=0.9 rollout.top_k=12 rollout.min_p=0.01",
  };
  char seen[8][65];
  (void)state;
  for (size_t i = 0; i < 8; i++) {
    char run[32], words[256];
    snprintf(run, sizeof run, "algorithm-%zu", i);
    snprintf(words, sizeof words, "steps=4 %s", sets[i]);
    outcome o = train_ok(run, words, 2, TLT_RESUME_NO);
    memcpy(seen[i], o.summary.weights_sha256, 65);
    for (size_t k = 0; k < i; k++) assert_string_not_equal(seen[i], seen[k]);
  }
}

/* ---- kills and resumes
 * ---------------------------------------------------------------------------- */

/* A child that trains; the parent kills it after `seconds` unless it is done. True when it ended by
 * itself. */
static bool train_and_kill(const char *run, const char *sets, double seconds) {
  pid_t child = fork();
  if (child == 0) {
    outcome o = train(run, sets, 2, TLT_RESUME_YES, NULL, NULL);
    if (o.status != TLT_OK) fprintf(stderr, "%s\n", o.err.text);
    _exit(o.status == TLT_OK ? 0 : 1);
  }
  double until = tlt_now() + seconds;
  int status = 0;
  pid_t done;
  while (!(done = waitpid(child, &status, WNOHANG)) && tlt_now() < until) usleep(500);
  if (!done) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
  return WIFEXITED(status);
}

static void test_kill(void **state) {
  unsigned seed = (unsigned)getpid();
  const char *sets = "algorithm.name=dapo";
  (void)state;
  printf("kill seed %u\n", seed);
  train_ok("unkilled", sets, 2, TLT_RESUME_NO);
  for (int round = 0; round < 4; round++) {
    char run[32];
    int kills = 0;
    snprintf(run, sizeof run, "killed-%d", round);
    double most = 0.05;
    while (!train_and_kill(run, sets, most * (double)rand_r(&seed) / RAND_MAX)) {
      kills++;
      most *= 1.15; /* a slow machine gets there as well */
    }
    printf("round %d: %d kills\n", round, kills);
    assert_same_run("unkilled", run);
  }
}

/* ---- the drafter in training ------------------------------------------------------------------
 */

/* Sum of a metric over the lines of a run that have it. */
static double total_of(const char *run, const char *key) {
  char *text = load(run, "metrics.jsonl"), *save;
  double sum = 0;
  for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    json_t *m = json_loads(line, 0, NULL);
    sum += json_number_value(json_object_get(m, key));
    json_decref(m);
  }
  tlt_free(text);
  return sum;
}

/* Nothing that is drafted, trained or published changes a bit. */
static void test_drafter(void **state) {
  static const char *const sets[] = {
      "drafter.train=off",
      "drafter.min_share=1 speculation.policy=fixed:3_2_6",
      "drafter.min_share=1 speculation.draft=eagle drafter.buffer_mb=1 drafter.lr=0.5",
      "drafter.min_share=0.2 speculation.policy=beg-mab",
  };
  (void)state;
  outcome want = train_ok("drafter-none", "speculation.draft=off", 1, TLT_RESUME_NO);
  for (int i = 0; i < 4; i++) {
    char run[32];
    snprintf(run, sizeof run, "drafter-%d", i);
    outcome got = train_ok(run, sets[i], 1 + i % 3, TLT_RESUME_NO);
    assert_string_equal(got.summary.weights_sha256, want.summary.weights_sha256);
    assert_same_run("drafter-none", run);
    assert_int_equal(total_of(run, "drafter/micro_steps") > 0, i > 0);
  }
  assert_true(total_of("drafter-1", "drafter/published") > 0);
  assert_true(total_of("drafter-1", "spec/drafted") > 0);
}

#ifdef TLT_FAULTS
/* One injected failure in a child: it must end with the right code, not a crash, and a resume must
 * give the run that never failed. True when the fault was never reached. */
static bool train_with_fault(const char *run, const char *fault) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) { /* a new process: faults are counted from its start */
    setenv("TLT_FAULT", fault, 1);
    execl("/proc/self/exe", "test_rl_train", "--child", top, run, (char *)NULL);
    _exit(127);
  }
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) fail_msg("%s: signal %d", fault, WTERMSIG(status));
  int code = WEXITSTATUS(status);
  if (code != 0 && code != 4) fail_msg("%s: exit code %d", fault, code);
  return code == 0;
}

static void test_faults(void **state) {
  static const char *const kinds[] = {"io:%d:ENOSPC", "io:%d:EIO+", "alloc:%d", "short:%d"};
  (void)state;
  train_ok("faultless", NULL, 2, TLT_RESUME_NO);
  for (int kind = 0; kind < 4; kind++) {
    int runs = 0, n = 1,
        passed = 0; /* a fault in a heartbeat is passed over, so one pass is no end */
    for (; passed < 3 && runs < 80; n += 1 + n / 6, runs++) {
      char run[32], fault[64];
      snprintf(run, sizeof run, "fault-%d-%d", kind, n);
      snprintf(fault, sizeof fault, kinds[kind], n);
      if (train_with_fault(run, fault)) {
        passed++;
      } else {
        passed = 0;
        train_ok(run, NULL, 2, TLT_RESUME_YES);
      }
      assert_same_run("faultless", run);
    }
    printf("%s: %d runs, up to %d\n", kinds[kind], runs, n);
  }
}
#endif

typedef struct stopper {
  tlt_stop flags;
  int64_t at;
  bool save_only;
} stopper;

static void stop_at(void *context, const tlt_train_progress *p) {
  stopper *s = context;
  if (p->phase != TLT_PHASE_ROLLOUT || p->step != s->at) return;
  if (s->save_only) s->flags.save = 1;
  else s->flags.stop = SIGTERM;
}

static void damage(const char *run, const char *name) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_err err;
  snprintf(path, sizeof path, "%s/%s/drafter/%s", top, run, name);
  if (tlt_file_load(path, 1 << 24, &text, &n, &err) != TLT_OK) fail_msg("%s", err.text);
  text[n / 2] ^= 1;
  assert_int_equal(tlt_file_store(path, text, n, &err), TLT_OK);
  tlt_free(text);
}

static int warnings, taken;
static void count_logs(void *context, tlt_log_level level, const char *text) {
  (void)context;
  warnings += level == TLT_LOG_WARN;
  taken += strstr(text, "taken up") != NULL;
}

/* A run goes on with its drafter; with a damaged one it warns and takes the one before, or none. */
static void test_drafter_checkpoint(void **state) {
  const char *sets = "drafter.min_share=1";
  (void)state;
  for (int bad = 0; bad <= 2; bad++) {
    char run[32];
    snprintf(run, sizeof run, "drafter-saved-%d", bad);
    stopper at4 = {.at = 4};
    tlt_train_hooks hooks = {.context = &at4, .metrics = &tlt_metrics_jsonl, .progress = stop_at};
    assert_int_equal(train(run, sets, 2, TLT_RESUME_NO, &hooks, &at4.flags).status, TLT_ESTOPPED);
    if (bad > 0) damage(run, "step-4/training.state");
    if (bad > 1) damage(run, "step-2/model.safetensors"), damage(run, "step-2/training.state");
    warnings = taken = 0;
    tlt_log_set_sink(count_logs, NULL);
    outcome o = train_ok(run, sets, 2, TLT_RESUME_YES);
    tlt_log_set_sink(NULL, NULL);
    assert_int_equal(o.summary.steps_here, STEPS - 4);
    assert_int_equal(warnings, bad);
    assert_int_equal(taken, bad < 2);
    assert_same_run("drafter-none", run);
  }
}

/* Stopped within step 3, resumed twice. */
static void test_stop(void **state) {
  (void)state;
  train_ok("unstopped", NULL, 1, TLT_RESUME_NO);
  for (int64_t at = 3; at <= 9; at += 3) {
    stopper s = {.at = at};
    tlt_train_hooks hooks = {.context = &s, .metrics = &tlt_metrics_jsonl, .progress = stop_at};
    outcome o =
        train("stopped", NULL, 2, at == 3 ? TLT_RESUME_NO : TLT_RESUME_YES, &hooks, &s.flags);
    assert_int_equal(o.status, TLT_ESTOPPED);
    assert_non_null(strstr(o.err.text, "--resume"));
    assert_int_equal(o.summary.steps_done, at);
    char *status = load("stopped", "status.json");
    assert_non_null(strstr(status, "\"state\": \"stopped\""));
    tlt_free(status);
  }
  outcome o =
      train_ok("stopped", "threads=3 log.rollouts=all checkpoint.every=5", -1, TLT_RESUME_YES);
  assert_int_equal(o.summary.steps_here, STEPS - 9);
  assert_same_run("unstopped", "stopped");
  o = train_ok("stopped", NULL, 2, TLT_RESUME_YES);
  assert_true(o.summary.already_complete);
  o = train_ok("stopped", "steps=13", 2, TLT_RESUME_YES);
  assert_int_equal(o.summary.steps_here, 1);
}

static void refused(const char *run, const char *sets, tlt_resume resume, tlt_status want,
                    const char *word) {
  outcome o = train(run, sets, 1, resume, NULL, NULL);
  if (o.status != want)
    fail_msg("%s: got %s (%s)", sets ? sets : "", tlt_status_text(o.status), o.err.text);
  if (!strstr(o.err.text, word)) fail_msg("%s does not name %s", o.err.text, word);
}

static void test_resume_refusals(void **state) {
  char other[256], fewer[256], path[TLT_PATH_MAX];
  stopper s = {.at = 4};
  tlt_train_hooks hooks = {.context = &s, .metrics = &tlt_metrics_jsonl, .progress = stop_at};
  (void)state;
  assert_int_equal(train("refused", NULL, 2, TLT_RESUME_NO, &hooks, &s.flags).status, TLT_ESTOPPED);
  snprintf(other, sizeof other, "model=%s/other", top);
  snprintf(fewer, sizeof fewer, "data.file=%s/fewer.jsonl", top);
  refused("refused", NULL, TLT_RESUME_NO, TLT_EUSAGE, "--resume");
  refused("refused", "optimizer.lr=0.02", TLT_RESUME_YES, TLT_ECHECKPOINT, "optimizer.lr");
  refused("refused", "optimizer.lr=0.02 rollout.prompts=8", TLT_RESUME_CHANGED, TLT_ECHECKPOINT,
          "2 keys");
  refused("refused", "steps=11", TLT_RESUME_YES, TLT_ECHECKPOINT, "steps");
  refused("refused", other, TLT_RESUME_YES, TLT_ECHECKPOINT, "model weights");
  refused("refused", fewer, TLT_RESUME_YES, TLT_ECHECKPOINT, "training problems");

  /* a damaged checkpoint */
  tlt_file *f;
  tlt_err err;
  snprintf(path, sizeof path, "%s/refused/checkpoints/step-4/moment1", top);
  assert_int_equal(tlt_file_open(path, TLT_FILE_APPEND, &f, &err), TLT_OK);
  assert_int_equal(tlt_file_truncate(f, 100, &err), TLT_OK);
  assert_int_equal(tlt_file_close(f, &err), TLT_OK);
  refused("refused", NULL, TLT_RESUME_YES, TLT_ECHECKPOINT, "moment1");
  train_ok("refused", NULL, 2, TLT_RESUME_LAST_GOOD);
  train_ok("straight", NULL, 2, TLT_RESUME_NO);
  assert_same_run("straight", "refused");

  train("changed", "steps=4", 2, TLT_RESUME_NO, NULL, NULL);
  train_ok("changed", fewer, 2, TLT_RESUME_CHANGED);
}

static void test_bad_starts(void **state) {
  char path[TLT_PATH_MAX], set[256];
  (void)state;
  refused("bad", "model=/nowhere", TLT_RESUME_NO, TLT_EDATA, "/nowhere");
  snprintf(set, sizeof set, "data.file=%s/absent.jsonl", top);
  refused("bad", set, TLT_RESUME_NO, TLT_EDATA, "absent.jsonl");
  refused("bad", "reward.command=/nowhere/reward", TLT_RESUME_NO, TLT_EREWARD, "/nowhere/reward");
  refused("bad", "eval.count=60", TLT_RESUME_NO, TLT_EDATA, "eval.count");
  refused("bad", "numerics=quantum", TLT_RESUME_NO, TLT_EUSAGE, "quantum");
  path_of(path, "bad");
  assert_false(tlt_path_exists(path)); /* nothing was begun */
}

/* A rate that drives the weights to infinity ends with NaN: exit 7, weights and checkpoint as
 * before. */
static void test_numeric_failure(void **state) {
  char path[TLT_PATH_MAX];
  (void)state;
  outcome o = train("numeric",
                    "optimizer.lr=1 optimizer.weight_decay=10 optimizer.clip_norm=0 steps=400 "
                    "eval.every=0 log.rollouts=none",
                    2, TLT_RESUME_NO, NULL, NULL);
  if (o.status == TLT_OK) skip(); /* weight decay kept it finite */
  assert_int_equal(o.status, TLT_ENUMERIC);
  char *status = load("numeric", "status.json");
  assert_non_null(strstr(status, "\"exit_code\": 7"));
  tlt_free(status);
  path_of(path, "numeric/final");
  assert_false(tlt_path_exists(path));
}

/* ---- a user's reward program
 * ------------------------------------------------------------------------ */

/* Reward by the completion's length; ids that are a multiple of `bad` fail. */
static void make_reward(const char *name, int bad) {
  char text[1024], path[TLT_PATH_MAX];
  snprintf(text, sizeof text,
           "#!/usr/bin/env python3\nimport json, sys\n"
           "for line in sys.stdin:\n"
           "    m = json.loads(line)\n"
           "    if 'hello' in m: out = {'hello': 'test', 'version': 1}\n"
           "    elif m['id'] %% %d == %d: out = {'id': m['id'], 'error': 'no idea'}\n"
           "    else: out = {'id': m['id'], 'reward': len(m['completion']) %% 3 / 2}\n"
           "    print(json.dumps(out), flush=True)\n",
           bad, bad - 1);
  store(name, text);
  path_of(path, name);
  assert_int_equal(chmod(path, 0755), 0);
}

static void test_reward_program(void **state) {
  char sets[TLT_PATH_MAX + 128], path[TLT_PATH_MAX];
  (void)state;
  make_reward("reward", 1 << 30);
  make_reward("failing", 41);
  path_of(path, "reward");
  snprintf(sets, sizeof sets, "steps=6 reward.command=%s", path);
  outcome a = train_ok("program-1", sets, 1, TLT_RESUME_NO);
  outcome b = train_ok("program-2", sets, 3, TLT_RESUME_NO);
  assert_string_equal(a.summary.weights_sha256, b.summary.weights_sha256);
  assert_true(a.summary.reward_first > 0);

  path_of(path, "failing");
  snprintf(sets, sizeof sets, "steps=6 eval.every=0 reward.command=%s", path);
  refused("program-3", sets, TLT_RESUME_NO, TLT_EREWARD, "no idea");
  snprintf(sets, sizeof sets,
           "steps=6 eval.every=0 reward.command=%s reward.on_error=mask "
           "reward.mask_share=0.5",
           path);
  train_ok("program-4", sets, 2, TLT_RESUME_NO);
  json_t *m = metrics_of("program-4");
  int64_t masked = 0;
  for (size_t i = 0; i < json_array_size(m); i++)
    masked += json_integer_value(json_object_get(json_array_get(m, i), "groups/masked"));
  assert_int_equal(masked, 2); /* ids 40 and 81 of 96 */
  json_decref(m);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learns_something),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_algorithms),
      cmocka_unit_test(test_kill),
      cmocka_unit_test(test_drafter),
      cmocka_unit_test(test_drafter_checkpoint),
      cmocka_unit_test(test_stop),
      cmocka_unit_test(test_resume_refusals),
      cmocka_unit_test(test_bad_starts),
      cmocka_unit_test(test_numeric_failure),
      cmocka_unit_test(test_reward_program),
#ifdef TLT_FAULTS
      cmocka_unit_test(test_faults),
#endif
  };
  if (argc == 4) { /* --child DIR RUN */
    snprintf(top, sizeof top, "%s", argv[2]);
    outcome o = train(argv[3], NULL, 2, TLT_RESUME_YES, NULL, NULL);
    if (o.status != TLT_OK) fprintf(stderr, "%s\n", o.err.text);
    return tlt_status_exit_code(o.status);
  }
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, setup, teardown);
}
