#define _GNU_SOURCE
#include "rl/rundir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/json.h"
#include "io/text.h"

void tlt_rundir_default(char out[TLT_PATH_MAX], const char *config) {
  const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config;
  const char *dot = strrchr(name, '.');
  int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
  snprintf(out, TLT_PATH_MAX, "runs/%.*s", n, name);
}

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

/* Files that a run which was killed before it did anything may leave. */
static bool is_trace(const char *name) {
  return !strcmp(name, "lock") || !strcmp(name, "status.json") || ends_with(name, ".tmp");
}

/* *used: config.yaml is there; *foreign: a name that says somebody else lives here, or NULL. */
static tlt_status inspect(const char *path, bool *used, char foreign[256], tlt_err *err) {
  char **names = NULL;
  size_t n = 0;
  *used = false;
  foreign[0] = 0;
  if (!tlt_path_exists(path)) return TLT_OK;
  if (!tlt_path_is_dir(path))
    return tlt_fail(err, TLT_EIO, "%s: got a file, expected a directory for the run", path);
  tlt_status s = tlt_dir_list(path, &names, &n, err);
  if (s != TLT_OK) return s;
  for (size_t i = 0; i < n; i++) {
    if (!strcmp(names[i], "config.yaml")) *used = true;
    if (!is_trace(names[i]) && !foreign[0]) snprintf(foreign, 256, "%s", names[i]);
  }
  if (*used) foreign[0] = 0;
  tlt_dir_list_free(names, n);
  return TLT_OK;
}

static tlt_status probe(const char *path, tlt_err *err) {
  char name[TLT_PATH_MAX];
  tlt_path_join(name, path, "probe.tmp");
  tlt_status s = tlt_file_store(name, "probe\n", 6, err);
  return s == TLT_OK ? tlt_path_remove(name, err) : s;
}

void tlt_rundir_name(tlt_rundir *r, const char *path) {
  *r = (tlt_rundir){0};
  snprintf(r->path, sizeof r->path, "%s", path);
  tlt_path_join(r->checkpoints, path, "checkpoints");
  tlt_path_join(r->rollouts, path, "rollouts");
  tlt_path_join(r->final, path, "final");
  tlt_path_join(r->config, path, "config.yaml");
  tlt_path_join(r->drafter, path, "drafter");
}

tlt_status tlt_rundir_open(tlt_rundir *r, const char *path, tlt_resume resume, tlt_err *err) {
  char foreign[256];
  tlt_rundir_name(r, path);
  tlt_status s = inspect(path, &r->used, foreign, err);
  if (s == TLT_OK && foreign[0])
    s = tlt_fail(err, TLT_EUSAGE,
                 "%s: got a directory with %s in it, expected an empty one or a run", path,
                 foreign);
  r->created = !tlt_path_exists(path);
  if (s == TLT_OK) s = tlt_dir_make(path, err);
  if (s == TLT_OK) s = tlt_lock_acquire(path, &r->lock, err);
  if (s == TLT_OK && r->used && resume == TLT_RESUME_NO)
    s = tlt_fail(err, TLT_EUSAGE,
                 "%s: got a used run directory, expected an unused one (--resume goes on with it)",
                 path);
  if (s == TLT_OK) s = probe(path, err);
  if (s != TLT_OK) tlt_rundir_close(r);
  return s;
}

void tlt_rundir_close(tlt_rundir *r) {
  tlt_lock_release(r->lock);
  r->lock = NULL;
}

void tlt_rundir_discard(tlt_rundir *r) {
  if (!r->path[0] || r->used) return;
  char lock[TLT_PATH_MAX];
  tlt_path_join(lock, r->path, "lock");
  tlt_path_remove(lock, NULL);
  if (r->created) tlt_path_remove(r->path, NULL);
}

void tlt_rundir_rollout_path(const tlt_rundir *r, int64_t step, char out[TLT_PATH_MAX]) {
  char name[64];
  snprintf(name, sizeof name, "step-%lld.jsonl", (long long)step);
  tlt_path_join(out, r->rollouts, name);
}

/* Remove rollout files of steps above last_step. */
static tlt_status cut_rollouts(const tlt_rundir *r, int64_t last_step, tlt_err *err) {
  char **names = NULL, path[TLT_PATH_MAX];
  size_t n = 0;
  tlt_status s = tlt_dir_make(r->rollouts, err);
  if (s == TLT_OK) s = tlt_dir_list(r->rollouts, &names, &n, err);
  if (s != TLT_OK) return s;
  for (size_t i = 0; s == TLT_OK && i < n; i++) {
    long long step = 0;
    if (sscanf(names[i], "step-%lld.jsonl", &step) != 1 || step <= last_step) continue;
    tlt_path_join(path, r->rollouts, names[i]);
    s = tlt_path_remove(path, err);
  }
  tlt_dir_list_free(names, n);
  return s;
}

tlt_status tlt_rundir_begin(const tlt_rundir *r, const char *config, size_t bytes,
                            int64_t last_step, tlt_err *err) {
  tlt_status s = tlt_file_store(r->config, config, bytes, err);
  return s == TLT_OK ? cut_rollouts(r, last_step, err) : s;
}

static tlt_status sync_file(const char *path, tlt_err *err) {
  tlt_file *f = NULL;
  tlt_status s = tlt_file_open(path, TLT_FILE_APPEND, &f, err);
  if (s == TLT_OK) s = tlt_file_sync(f, err);
  tlt_status closed = tlt_file_close(f, s == TLT_OK ? err : NULL);
  return s == TLT_OK ? closed : s;
}

tlt_status tlt_rundir_sync_rollouts(const tlt_rundir *r, int64_t from, int64_t to, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_status s = TLT_OK;
  for (int64_t step = from; s == TLT_OK && step <= to; step++) {
    tlt_rundir_rollout_path(r, step, path);
    if (tlt_path_exists(path)) s = sync_file(path, err);
  }
  return s == TLT_OK ? tlt_dir_sync(r->rollouts, err) : s;
}

tlt_status tlt_rundir_status(const tlt_rundir *r, const tlt_run_status *status, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_json_writer w = {0};
  tlt_path_join(path, r->path, "status.json");
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "state", status->state);
  tlt_json_put_int(&w, "step", status->step);
  tlt_json_put_int(&w, "steps", status->steps);
  tlt_json_put_f64(&w, "heartbeat", tlt_wall());
  tlt_json_put_int(&w, "pid", getpid());
  if (status->exit_code >= 0) tlt_json_put_int(&w, "exit_code", status->exit_code);
  else tlt_json_put_null(&w, "exit_code");
  if (status->reason) tlt_json_put_string(&w, "reason", status->reason);
  else tlt_json_put_null(&w, "reason");
  tlt_json_end(&w, '}');
  tlt_json_newline(&w);
  tlt_status s = tlt_text_check(&w.text, err);
  if (s == TLT_OK) s = tlt_file_store(path, w.text.data, w.text.n, err);
  tlt_text_free(&w.text);
  return s;
}

bool tlt_rundir_finished(const tlt_rundir *r) {
  enum { STATUS_FILE_MAX = 1 << 16 };
  char path[TLT_PATH_MAX];
  json_t *status = NULL;
  tlt_path_join(path, r->path, "status.json");
  if (!tlt_path_exists(path) || tlt_json_load(path, STATUS_FILE_MAX, &status, NULL) != TLT_OK)
    return false;
  const char *state = json_string_value(json_object_get(status, "state"));
  bool finished = state && !strcmp(state, "finished");
  json_decref(status);
  return finished;
}
