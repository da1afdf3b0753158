#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "io/file.h"
#include "io/text.h"
#include "made_run.h"
#include "report/trace.h"

static tlt_account account;

/* Without waiting for the disk, as tests make many. */
void made_file(const char *dir, const char *name, const char *text, size_t n) {
  char path[TLT_PATH_MAX], parent[TLT_PATH_MAX];
  tlt_err err = {0};
  tlt_file *f = NULL;
  tlt_path_join(path, dir, name);
  tlt_path_parent(parent, path);
  tlt_status s = tlt_dir_make(parent, &err);
  if (s == TLT_OK) s = tlt_file_open(path, TLT_FILE_TRUNCATE, &f, &err);
  if (s == TLT_OK) s = tlt_file_write(f, text, n, &err);
  if (s == TLT_OK) s = tlt_file_close(f, &err);
  if (s != TLT_OK) fail_msg("%s", err.text);
}

static void store(const char *dir, const char *name, tlt_json_writer *w) {
  assert_false(w->text.failed);
  made_file(dir, name, w->text.data, w->text.n);
  tlt_text_free(&w->text);
}

static void put_line(tlt_json_writer *w, int64_t step, int64_t change) {
  bool changed = change >= 0 && step >= change;
  double reward = 0.1 * (double)step;
  char hash[65];
  snprintf(hash, sizeof hash, "%064llx", (unsigned long long)(step + (changed ? 100 : 0)));
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", step);
  tlt_json_put_f64(w, "reward/mean", changed ? nextafter(reward, 9) : reward);
  tlt_json_put_f64(w, "entropy", step % 2 ? 0.5 : NAN);
  tlt_json_put_int(w, "completions/count", 8);
  tlt_json_put_int(w, "completions/tokens", 100);
  tlt_json_put_int(w, "completions/length_le/8", 3);
  tlt_json_put_int(w, "completions/length_le/16", 7);
  if (step % 2 == 0) tlt_json_put_f64(w, "eval/accuracy", 0.25);
  tlt_json_put_string(w, "rollout/sha256", hash);
  tlt_json_put_string(w, "weights/sha256", hash);
  tlt_json_put_f64(w, "spec/accept_length", 1.5);
  tlt_json_put_f64(w, "time/step", 2);
  tlt_json_put_int(w, "workers/count", MADE_WORKERS);
  tlt_json_put_f64(w, "workers/seconds", 4);
  tlt_json_put_f64(w, "workers/decoding", 3);
  tlt_json_put_f64(w, "workers/gradient", 1);
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

static void put_answer(tlt_json_writer *w, int64_t step, int sample, int64_t change) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", step);
  tlt_json_put_int(w, "rollout", step);
  tlt_json_put_int(w, "sample", sample);
  tlt_json_put_string(w, "prompt", "3 7 25 = 46\n");
  tlt_json_put_int(w, "tokens", 4);
  tlt_json_put_string(w, "finish", "stop");
  tlt_json_put_f64(w, "reward", 0.5);
  bool changed = step == change && sample == 1;
  tlt_json_put_string(w, "text", changed ? "abXd" : "abcd");
  tlt_json_begin(w, "ids", '[');
  for (int i = 0; i < 4; i++) tlt_json_put_int(w, NULL, changed && i == 2 ? 99 : 10 + i);
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

static void put_sources(tlt_json_writer *w, int64_t step, int sample) {
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", step);
  tlt_json_put_int(w, "rollout", step);
  tlt_json_put_int(w, "sample", sample);
  tlt_json_put_string(w, "sources", ".sse");
  tlt_json_put_raw(w, "bytes", "[1, 1, 1, 1]");
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

/* from: tlt_now() at the start of the trace. */
static void make_account(int64_t step, int worker, double from) {
  double begin = from + 2 * (double)step;
  account = (tlt_account){.step = step, .worker = worker, .begin = begin, .end = begin + 2};
  account.seconds[TLT_WORK_DECODING] = 1.5;
  account.seconds[TLT_WORK_GRADIENT] = 0.5;
  account.span[account.n_spans++] = (tlt_span){0, 1.5, TLT_NO_DETAIL, TLT_WORK_DECODING, 1};
  account.span[account.n_spans++] = (tlt_span){1.5, 2, step, TLT_WORK_GRADIENT, 1};
  for (int i = 0; i < 10; i++)
    account.point[account.n_points++] = (tlt_point){0.15 * i, 10, 40, i < 5 ? 40 : 60};
  account.point[account.n_points++] = (tlt_point){1.5, 1, 0, 0};
}

static void make_trace(const char *dir) {
  tlt_err err = {0};
  void *trace = NULL;
  double from = tlt_now() + 0.1;
  if (tlt_trace_json.start(NULL, dir, -1, &trace, &err) != TLT_OK) fail_msg("%s", err.text);
  for (int64_t step = 0; step <= MADE_STEPS; step++)
    for (int w = 0; w < MADE_WORKERS; w++) {
      make_account(step, w, from);
      if (tlt_trace_json.put(trace, &account, &err) != TLT_OK) fail_msg("%s", err.text);
    }
  if (tlt_trace_json.close(trace, &err) != TLT_OK) fail_msg("%s", err.text);
}

void made_run(const char *dir, int64_t change) {
  static const char config[] =
      "model: models/x\nseed: 1\nrollout:\n  prompts: 4  # per step\n"
      "optimizer:\n  betas: [0.9, 0.95]\n";
  static const char status[] =
      "{\"state\": \"finished\", \"step\": 6, \"steps\": 6, "
      "\"heartbeat\": 1000.5, \"exit_code\": 0, \"reason\": null}\n";
  static const char machine[] =
      "{\"tlt\": \"0.0.9 (old)\", \"cores\": 2, \"flags\": [\"a\", \"b\"]}\n";
  tlt_json_writer lines = {0}, sources = {0};
  made_file(dir, "config.yaml", config, strlen(config));
  made_file(dir, "status.json", status, strlen(status));
  made_file(dir, "machine.json", machine, strlen(machine));
  for (int64_t step = 0; step <= MADE_STEPS; step++) put_line(&lines, step, change);
  store(dir, "metrics.jsonl", &lines);
  for (int64_t step = 1; step <= MADE_STEPS; step++) {
    tlt_json_writer answers = {0};
    char name[64];
    snprintf(name, sizeof name, "rollouts/step-%lld.jsonl", (long long)step);
    for (int sample = 0; sample < 8; sample++) {
      put_answer(&answers, step, sample, change);
      put_sources(&sources, step, sample);
    }
    store(dir, name, &answers);
  }
  store(dir, "spec.jsonl", &sources);
  make_trace(dir);
}
