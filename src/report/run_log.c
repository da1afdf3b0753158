#include "report/run_log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/json.h"
#include "io/text.h"
#include "io/yaml.h"

/* A run says that it is alive every 30 seconds, and a long gradient may hold that up. */
#define SILENT_S 120.0

/* ---- pairs --------------------------------------------------------------------------------------
 */

enum { PAIRS_MAX = 512, PAIR_TEXT = 400 };

static void add_pair(tlt_run_pairs *p, const char *key, const char *value) {
  if (p->n == PAIRS_MAX) return;
  if (p->n == p->room) {
    int room = p->room ? 2 * p->room : 64;
    tlt_run_pair *grown = tlt_realloc(p->pair, (size_t)room * sizeof *grown);
    if (!grown) return;
    p->pair = grown;
    p->room = room;
  }
  size_t n = strlen(value);
  tlt_run_pair pair = {tlt_strdup(key), tlt_strndup(value, n < PAIR_TEXT ? n : PAIR_TEXT)};
  if (pair.key && pair.value) {
    p->pair[p->n++] = pair;
  } else {
    tlt_free(pair.key);
    tlt_free(pair.value);
  }
}

static void free_pairs(tlt_run_pairs *p) {
  for (int i = 0; i < p->n; i++) {
    tlt_free(p->pair[i].key);
    tlt_free(p->pair[i].value);
  }
  tlt_free(p->pair);
}

static void take_config(void *context, const char *key, const char *value) {
  add_pair(&((tlt_run_log *)context)->config, key, value);
}

static void read_config(tlt_run_log *log) {
  char path[TLT_PATH_MAX];
  tlt_err why = {0};
  tlt_path_join(path, log->path, "config.yaml");
  if (!tlt_path_exists(path))
    tlt_notice(&log->notices, "config.yaml is missing: the configuration is not known");
  else if (tlt_yaml_flat(path, take_config, log, &why) != TLT_OK)
    tlt_notice(&log->notices, "%s; the configuration is left out", why.text);
}

/* A JSON value as a person reads it; objects in a list keep their JSON. */
static void describe(const json_t *value, tlt_text *out) {
  if (json_is_string(value)) {
    tlt_text_add_n(out, json_string_value(value), json_string_length(value));
  } else if (json_is_array(value)) {
    for (size_t i = 0; i < json_array_size(value); i++) {
      if (i) tlt_text_add(out, ", ");
      describe(json_array_get(value, i), out);
    }
  } else if (json_is_integer(value)) {
    tlt_text_printf(out, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    tlt_text_printf(out, "%.6g", json_real_value(value));
  } else if (json_is_object(value)) {
    const char *key;
    json_t *part;
    bool comma = false;
    json_object_foreach((json_t *)value, key, part) {
      tlt_text_printf(out, "%s%s ", comma ? ", " : "", key);
      describe(part, out);
      comma = true;
    }
  } else {
    tlt_text_add(out, json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "not known");
  }
}

static void read_machine(tlt_run_log *log) {
  json_t *machine, *value;
  const char *key;
  tlt_run_load(log->path, "machine.json", &machine, &log->notices);
  json_object_foreach(machine, key, value) {
    tlt_text text = {0};
    describe(value, &text);
    if (!text.failed) add_pair(&log->machine, key, text.data ? text.data : "");
    tlt_text_free(&text);
  }
  const char *program = json_string_value(json_object_get(machine, "tlt"));
  if (program) snprintf(log->program, sizeof log->program, "%s", program);
  json_decref(machine);
}

/* ---- status -------------------------------------------------------------------------------------
 */

static const char *state_of(const char *word) {
  static const char *const words[][2] = {
      {"running", "running"}, {"finished", "done"}, {"stopped", "stopped"}, {"failed", "failed"}};
  for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
    if (!strcmp(word, words[i][0])) return words[i][1];
  return "unknown";
}

static void judge_silence(tlt_run_log *log) {
  double silent = tlt_wall() - log->heartbeat;
  if (strcmp(log->state, "running") || log->heartbeat <= 0 || silent < SILENT_S) return;
  log->state = "unknown";
  snprintf(log->reason, sizeof log->reason,
           "status.json says running, but gave no sign of life for %.0f s: probably killed",
           silent);
  tlt_notice(&log->notices, "%s", log->reason);
}

static void read_status(tlt_run_log *log) {
  json_t *status;
  char path[TLT_PATH_MAX];
  tlt_run_load(log->path, "status.json", &status, &log->notices);
  tlt_path_join(path, log->path, "status.json");
  log->state = "unknown";
  if (!status) {
    if (!tlt_path_exists(path))
      tlt_notice(&log->notices, "status.json is missing: whether the run has ended is not known");
    return;
  }
  log->state = state_of(json_string_value(json_object_get(status, "state")));
  log->step = json_integer_value(json_object_get(status, "step"));
  log->steps = json_integer_value(json_object_get(status, "steps"));
  log->heartbeat = json_number_value(json_object_get(status, "heartbeat"));
  const char *reason = json_string_value(json_object_get(status, "reason"));
  if (reason) snprintf(log->reason, sizeof log->reason, "%s", reason);
  json_decref(status);
  judge_silence(log);
}

/* ---- metrics ------------------------------------------------------------------------------------
 */

static void add_cell(tlt_run_cell *to, const tlt_run_cell *c) {
  if (c->n == 0) return;
  if (to->n == 0 || c->min < to->min) to->min = c->min;
  if (to->n == 0 || c->max > to->max) to->max = c->max;
  to->sum += c->sum;
  to->n += c->n;
}

void tlt_run_log_halve(tlt_run_log *log) {
  int half = (log->n_rows + 1) / 2;
  for (int k = 0; k < log->n_columns; k++) {
    tlt_run_cell *cell = log->column[k].cell;
    for (int i = 0; i < half; i++) {
      tlt_run_cell both = cell[2 * i];
      if (2 * i + 1 < log->n_rows) add_cell(&both, &cell[2 * i + 1]);
      cell[i] = both;
    }
    memset(cell + half, 0, (size_t)(TLT_RUN_ROWS - half) * sizeof *cell);
  }
  for (int i = 0; i < half; i++) {
    int last = 2 * i + 1 < log->n_rows ? 2 * i + 1 : 2 * i;
    log->row_first[i] = log->row_first[2 * i];
    log->row_last[i] = log->row_last[last];
  }
  log->n_rows = half;
  log->per_row *= 2;
}

static int row_for(tlt_run_log *log, int64_t step) {
  if (log->n_rows == TLT_RUN_ROWS && log->lines == log->per_row * TLT_RUN_ROWS)
    tlt_run_log_halve(log);
  int row = (int)(log->lines / log->per_row);
  if (row == log->n_rows) log->row_first[log->n_rows++] = step;
  log->row_last[row] = step;
  log->lines++;
  return row;
}

/* *out NULL: too many keys, which is told. */
static tlt_status new_column(tlt_run_log *log, const char *key, tlt_run_column **out,
                             tlt_err *err) {
  *out = NULL;
  if (log->n_columns == TLT_RUN_COLUMNS) {
    tlt_notice(&log->notices, "metrics.jsonl: more than %d keys, the others are left out",
               TLT_RUN_COLUMNS);
    return TLT_OK;
  }
  tlt_run_column c = {.key = tlt_strdup(key), .follows = -1};
  c.cell = tlt_calloc(TLT_RUN_ROWS, sizeof *c.cell);
  if (!c.key || !c.cell) {
    tlt_free(c.key);
    tlt_free(c.cell);
    return tlt_fail_nomem(err, "metrics", TLT_RUN_ROWS * sizeof *c.cell);
  }
  log->column[log->n_columns] = c;
  *out = &log->column[log->n_columns++];
  return TLT_OK;
}

/* Lines of a run mostly have the same keys in the same order. *before: the column of the key before
 * this one, -1: none. */
static tlt_status column_for(tlt_run_log *log, const char *key, int *before, tlt_run_column **out,
                             tlt_err *err) {
  int next = *before < 0 ? 0 : log->column[*before].follows, found = -1;
  if (next >= 0 && next < log->n_columns && !strcmp(log->column[next].key, key)) found = next;
  for (int i = 0; found < 0 && i < log->n_columns; i++)
    if (!strcmp(log->column[i].key, key)) found = i;
  *out = found >= 0 ? &log->column[found] : NULL;
  tlt_status s = *out ? TLT_OK : new_column(log, key, out, err);
  if (!*out) return s;
  found = (int)(*out - log->column);
  if (*before >= 0) log->column[*before].follows = found;
  *before = found;
  return TLT_OK;
}

static void put_value(tlt_run_column *c, int row, int64_t step, double value) {
  const tlt_run_cell one = {value, value, value, 1};
  add_cell(&c->cell[row], &one);
  if (c->n == 0) c->first = value, c->first_step = step;
  c->last = value;
  c->last_step = step;
  c->recent[c->n++ % TLT_RUN_RECENT] = value;
  c->sum += value;
}

static void copy_hash(char to[65], const json_t *value) {
  snprintf(to, 65, "%s", json_is_string(value) ? json_string_value(value) : "");
}

static void keep_hashes(tlt_run_log *log, const json_t *object, int64_t step) {
  tlt_run_hashes h = {.step = step};
  copy_hash(h.weights, json_object_get(object, "weights/sha256"));
  copy_hash(h.rollout, json_object_get(object, "rollout/sha256"));
  if (!h.weights[0] && !h.rollout[0]) return;
  if (log->n_hashes == TLT_RUN_HASHES)
    memmove(log->hashes, log->hashes + 1, (TLT_RUN_HASHES - 1) * sizeof *log->hashes);
  else log->n_hashes++;
  log->hashes[log->n_hashes - 1] = h;
}

static tlt_status take_values(tlt_run_log *log, const json_t *object, int64_t step, tlt_err *err) {
  int row = row_for(log, step), before = -1;
  const char *key;
  json_t *value;
  keep_hashes(log, object, step);
  json_object_foreach((json_t *)object, key, value) {
    tlt_run_column *c;
    double number = json_number_value(value);
    if (!json_is_number(value) || !strcmp(key, "step") || !isfinite(number)) continue;
    tlt_status s = column_for(log, key, &before, &c, err);
    if (s != TLT_OK) return s;
    if (c) put_value(c, row, step, number);
  }
  return TLT_OK;
}

int64_t tlt_run_line_step(const json_t *object, int64_t before, long line, tlt_notices *notices) {
  const json_t *value = json_object_get(object, "step");
  int64_t step = json_integer_value(value);
  if (!json_is_integer(value) || step < 0) {
    tlt_notice(notices, "metrics.jsonl line %ld: has no \"step\", left out", line);
    return -1;
  }
  if (step > before) return step;
  tlt_notice(notices, "metrics.jsonl line %ld: step %lld after step %lld, left out", line,
             (long long)step, (long long)before);
  return -1;
}

static tlt_status take_lines(tlt_run_log *log, tlt_run_lines *lines, tlt_err *err) {
  int64_t before = -1;
  for (;;) {
    json_t *object;
    tlt_status s = tlt_run_lines_next(lines, &object, err);
    if (s != TLT_OK || !object) return s;
    int64_t step = tlt_run_line_step(object, before, tlt_run_lines_number(lines), &log->notices);
    if (step >= 0) s = take_values(log, object, before = step, err);
    json_decref(object);
    if (s != TLT_OK) return s;
  }
}

static tlt_status read_metrics(tlt_run_log *log, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_run_lines *lines = NULL;
  log->per_row = 1;
  tlt_path_join(path, log->path, "metrics.jsonl");
  if (!tlt_path_exists(path)) tlt_notice(&log->notices, "metrics.jsonl is missing");
  tlt_status s =
      tlt_run_lines_open(log->path, "metrics.jsonl", NULL, NULL, &log->notices, &lines, err);
  if (s == TLT_OK) s = take_lines(log, lines, err);
  tlt_run_lines_close(lines);
  if (s == TLT_OK && log->lines == 0)
    tlt_notice(&log->notices, "metrics.jsonl holds no step: nothing has been measured yet");
  if (log->n_rows && log->row_last[log->n_rows - 1] > log->step)
    log->step = log->row_last[log->n_rows - 1];
  return s;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static void name_of(const char *path, char name[256]) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t from = end;
  while (from > 0 && path[from - 1] != '/') from--;
  snprintf(name, 256, "%.*s", (int)(end - from), path + from);
}

/* A run has metrics.jsonl, or at least what is written before the first step ends. */
static tlt_status must_be_run(const char *path, tlt_err *err) {
  static const char *const names[] = {"metrics.jsonl", "config.yaml", "status.json"};
  char part[TLT_PATH_MAX], missing[64] = "";
  bool has[3];
  if (!tlt_path_exists(path))
    return tlt_fail(err, TLT_EDATA, "%s: does not exist, expected a run directory", path);
  if (!tlt_path_is_dir(path))
    return tlt_fail(err, TLT_EDATA, "%s: got a file, expected a run directory", path);
  for (int i = 0; i < 3; i++) {
    tlt_path_join(part, path, names[i]);
    has[i] = tlt_path_exists(part);
    size_t used = strlen(missing);
    if (!has[i])
      snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", names[i]);
  }
  if (has[0] || (has[1] && has[2])) return TLT_OK;
  return tlt_fail(err, TLT_EDATA,
                  "%s: got no run directory (missing: %s), expected one of tlt train", path,
                  missing);
}

tlt_status tlt_run_log_open(const char *path, tlt_run_log **out, tlt_err *err) {
  *out = NULL;
  tlt_status s = must_be_run(path, err);
  if (s != TLT_OK) return s;
  tlt_run_log *log = tlt_calloc(1, sizeof *log);
  if (!log) return tlt_fail_nomem(err, path, sizeof *log);
  snprintf(log->path, sizeof log->path, "%s", path);
  name_of(path, log->name);
  read_status(log);
  read_config(log);
  read_machine(log);
  s = read_metrics(log, err);
  if (s == TLT_OK) *out = log;
  else tlt_run_log_free(log);
  return s;
}

void tlt_run_log_free(tlt_run_log *log) {
  if (!log) return;
  for (int i = 0; i < log->n_columns; i++) {
    tlt_free(log->column[i].key);
    tlt_free(log->column[i].cell);
  }
  free_pairs(&log->config);
  free_pairs(&log->machine);
  tlt_notices_free(&log->notices);
  tlt_free(log);
}

/* ---- looking ------------------------------------------------------------------------------------
 */

const tlt_run_column *tlt_run_find(const tlt_run_log *log, const char *key) {
  for (int i = 0; i < log->n_columns; i++)
    if (!strcmp(log->column[i].key, key)) return &log->column[i];
  return NULL;
}

const char *tlt_run_config(const tlt_run_log *log, const char *key) {
  for (int i = 0; i < log->config.n; i++)
    if (!strcmp(log->config.pair[i].key, key)) return log->config.pair[i].value;
  return "";
}

double tlt_run_value(const tlt_run_column *c, int row) {
  return c && c->cell[row].n ? c->cell[row].sum / (double)c->cell[row].n : NAN;
}

double tlt_run_recent(const tlt_run_log *log, const char *key) {
  const tlt_run_column *c = tlt_run_find(log, key);
  if (!c || c->n == 0) return NAN;
  int n = c->n < TLT_RUN_RECENT ? (int)c->n : TLT_RUN_RECENT;
  double sum = 0;
  for (int i = 0; i < n; i++) sum += c->recent[i];
  return sum / n;
}

double tlt_run_total(const tlt_run_log *log, const char *key) {
  const tlt_run_column *c = tlt_run_find(log, key);
  return c && c->n ? c->sum : NAN;
}

bool tlt_run_is_timed(const char *key) {
  static const char *const prefixes[] = {"time/", "sys/",     "mem/",    "spec/",
                                         "cost/", "drafter/", "workers/"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (!strncmp(key, prefixes[i], strlen(prefixes[i]))) return true;
  return false;
}
