#include "report/payload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/payload_parts.h"

/* ---- head ---------------------------------------------------------------------------------------
 */

static void put_notices(tlt_json_writer *w, const tlt_notices *n) {
  tlt_json_begin(w, "notices", '[');
  for (int i = 0; i < n->n; i++) tlt_json_put_string(w, NULL, n->text[i]);
  if (n->more > 0) {
    char more[64];
    snprintf(more, sizeof more, "and %lld more of this kind", (long long)n->more);
    tlt_json_put_string(w, NULL, more);
  }
  tlt_json_end(w, ']');
}

void tlt_payload_head(tlt_json_writer *w, const tlt_run_log *log) {
  tlt_json_begin(w, "run", '{');
  tlt_json_put_string(w, "name", log->name);
  tlt_json_put_string(w, "path", log->path);
  tlt_json_put_string(w, "state", log->state);
  tlt_json_put_int(w, "step", log->step);
  tlt_json_put_int(w, "steps", log->steps);
  tlt_json_put_string(w, "reason", log->reason);
  tlt_json_put_string(w, "tlt", log->program);
  tlt_json_put_f64(w, "heartbeat", log->heartbeat);
  put_notices(w, &log->notices);
  tlt_json_end(w, '}');
}

static void put_pairs(tlt_json_writer *w, const char *key, const tlt_run_pairs *p) {
  tlt_json_begin(w, key, '[');
  for (int i = 0; i < p->n; i++) {
    tlt_json_begin(w, NULL, '[');
    tlt_json_put_string(w, NULL, p->pair[i].key);
    tlt_json_put_string(w, NULL, p->pair[i].value);
    tlt_json_end(w, ']');
  }
  tlt_json_end(w, ']');
}

static void put_hashes(tlt_json_writer *w, const tlt_run_log *log) {
  tlt_json_begin(w, "hashes", '[');
  for (int i = 0; i < log->n_hashes; i++) {
    tlt_json_begin(w, NULL, '[');
    tlt_json_put_int(w, NULL, log->hashes[i].step);
    tlt_json_put_string(w, NULL, log->hashes[i].weights);
    tlt_json_put_string(w, NULL, log->hashes[i].rollout);
    tlt_json_end(w, ']');
  }
  tlt_json_end(w, ']');
}

/* ---- columns ------------------------------------------------------------------------------------
 */

/* Seven digits are more than a screen shows. */
static void put_number(tlt_text *t, double x) {
  if (isfinite(x)) tlt_text_printf(t, "%.7g", x);
  else tlt_text_add(t, "null");
}

typedef enum cell_part { MEAN, LEAST, MOST } cell_part;

static double part_of(const tlt_run_cell *c, cell_part part) {
  if (c->n == 0) return NAN;
  return part == MEAN ? c->sum / (double)c->n : part == LEAST ? c->min : c->max;
}

static void put_column(tlt_json_writer *w, const tlt_run_log *log, const tlt_run_column *c,
                       const char *suffix, cell_part part) {
  tlt_text numbers = {0}, key = {0};
  tlt_text_printf(&key, "%s%s", c->key, suffix);
  tlt_text_add(&numbers, "[");
  for (int i = 0; i < log->n_rows; i++) {
    if (i) tlt_text_add(&numbers, ",");
    put_number(&numbers, part_of(&c->cell[i], part));
  }
  tlt_text_add(&numbers, "]");
  if (numbers.failed || key.failed) w->text.failed = true;
  else tlt_json_put_raw(w, key.data, numbers.data);
  tlt_text_free(&numbers);
  tlt_text_free(&key);
}

/* Keys whose extremes stay visible in a thinned run. */
static bool is_headline(const char *key) {
  static const char *const keys[] = {
      "reward/mean", "completions/mean_length", "entropy", "kl", "grad_norm", "time/step",
      "loss",        "spec/accept_length"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (!strcmp(key, keys[i])) return true;
  return false;
}

static void put_all_columns(tlt_json_writer *w, const tlt_run_log *log) {
  tlt_json_begin(w, "columns", '{');
  tlt_json_begin(w, "step", '[');
  for (int i = 0; i < log->n_rows; i++) tlt_json_put_int(w, NULL, log->row_last[i]);
  tlt_json_end(w, ']');
  for (int k = 0; k < log->n_columns; k++) {
    const tlt_run_column *c = &log->column[k];
    put_column(w, log, c, "", MEAN);
    if (log->per_row == 1 || !is_headline(c->key)) continue;
    put_column(w, log, c, "|min", LEAST);
    put_column(w, log, c, "|max", MOST);
  }
  tlt_json_end(w, '}');
}

void tlt_payload_columns(tlt_json_writer *w, tlt_run_log *log, size_t bytes) {
  const size_t before = w->text.n;
  const bool comma = w->comma;
  for (;;) {
    put_all_columns(w, log);
    if (w->text.failed || w->text.n - before <= bytes || log->n_rows < 2) break;
    w->text.n = before; /* too much: again with half the rows */
    w->comma = comma;
    tlt_run_log_halve(log);
  }
  tlt_json_put_int(w, "thinned", log->per_row);
}

/* ---- phases -------------------------------------------------------------------------------------
 */

static double sum_rows(const tlt_run_column *c, int from, int to) {
  double sum = 0;
  for (int i = from; c && i < to; i++) sum += c->cell[i].sum;
  return sum;
}

typedef struct phase {
  const char *name, *key;
} phase;

/* What runs without workers/ keys tell. */
static const phase phases_of_time[] = {{"rollout", "time/rollout"},
                                       {"update", "time/update"},
                                       {"eval", "time/eval"}};

static int list_phases(const tlt_run_log *log, phase list[TLT_WORK_STATES],
                       char keys[TLT_WORK_STATES][32]) {
  if (!tlt_run_find(log, "workers/decoding")) {
    memcpy(list, phases_of_time, sizeof phases_of_time);
    return sizeof phases_of_time / sizeof *phases_of_time;
  }
  for (int i = 0; i < TLT_WORK_STATES; i++) {
    snprintf(keys[i], 32, "workers/%s", tlt_work_name((tlt_work)i));
    list[i] = (phase){tlt_work_name((tlt_work)i), keys[i]};
  }
  return TLT_WORK_STATES;
}

static void put_phase_rows(tlt_json_writer *w, const tlt_run_log *log, int from) {
  phase list[TLT_WORK_STATES];
  char keys[TLT_WORK_STATES][32];
  int n = list_phases(log, list, keys);
  double seconds[TLT_WORK_STATES], total = 0;
  for (int i = 0; i < n; i++)
    total += seconds[i] = sum_rows(tlt_run_find(log, list[i].key), from, log->n_rows);
  tlt_json_begin(w, "steps", '[');
  tlt_json_put_int(w, NULL, log->row_first[from]);
  tlt_json_put_int(w, NULL, log->row_last[log->n_rows - 1]);
  tlt_json_end(w, ']');
  tlt_json_begin(w, "rows", '[');
  for (int i = 0; i < n; i++) {
    if (seconds[i] <= 0) continue;
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_string(w, "name", list[i].name);
    tlt_json_put_f64(w, "seconds", seconds[i]);
    tlt_json_put_f64(w, "share", seconds[i] / total);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
}

static void put_phases(tlt_json_writer *w, const tlt_run_log *log) {
  if (log->n_rows == 0) return;
  int tenth = log->n_rows / 10;
  tlt_json_begin(w, "phases", '{');
  put_phase_rows(w, log, 0);
  tlt_json_begin(w, "last", '{');
  put_phase_rows(w, log, log->n_rows - (tenth > 0 ? tenth : 1));
  tlt_json_end(w, '}');
  tlt_json_end(w, '}');
}

/* ---- lengths ------------------------------------------------------------------------------------
 */

#define LENGTH_KEY "completions/length_le/"

enum { EDGES_MAX = 64 };

typedef struct edge {
  int64_t tokens;
  const tlt_run_column *column;
} edge;

static int by_tokens(const void *a, const void *b) {
  const edge *x = a, *y = b;
  return (x->tokens > y->tokens) - (x->tokens < y->tokens);
}

static int find_edges(const tlt_run_log *log, edge edges[EDGES_MAX]) {
  int n = 0;
  for (int k = 0; k < log->n_columns && n < EDGES_MAX; k++) {
    const char *key = log->column[k].key;
    if (!strncmp(key, LENGTH_KEY, strlen(LENGTH_KEY)))
      edges[n++] = (edge){strtoll(key + strlen(LENGTH_KEY), NULL, 10), &log->column[k]};
  }
  if (n) qsort(edges, (size_t)n, sizeof *edges, by_tokens);
  return n;
}

/* Answers between edges in one row; where rows hold several steps, the mean per step. */
static void put_counts(tlt_json_writer *w, const tlt_run_log *log, const char *key,
                       const edge *edges, int n, int row) {
  double below = 0, all = tlt_run_value(tlt_run_find(log, "completions/count"), row);
  tlt_json_begin(w, key, '[');
  for (int i = 0; i <= n; i++) {
    double upto = i < n ? tlt_run_value(edges[i].column, row) : all;
    if (isnan(upto)) upto = below;
    tlt_json_put_f64(w, NULL, fmax(0, upto - below));
    below = upto;
  }
  tlt_json_end(w, ']');
}

static void put_lengths(tlt_json_writer *w, const tlt_run_log *log) {
  edge edges[EDGES_MAX];
  int n = find_edges(log, edges), first = 0;
  if (n == 0 || log->n_rows == 0) return;
  while (first < log->n_rows - 1 && edges[0].column->cell[first].n == 0) first++;
  tlt_json_begin(w, "lengths", '{');
  tlt_json_begin(w, "edges", '[');
  for (int i = 0; i < n; i++) tlt_json_put_int(w, NULL, edges[i].tokens);
  tlt_json_end(w, ']');
  put_counts(w, log, "first", edges, n, first);
  put_counts(w, log, "middle", edges, n, (first + log->n_rows - 1) / 2);
  put_counts(w, log, "last", edges, n, log->n_rows - 1);
  tlt_json_end(w, '}');
}

/* ---- saved --------------------------------------------------------------------------------------
 */

static void put_saved(tlt_json_writer *w, tlt_saved *saved, const tlt_run_log *log) {
  tlt_saved_row row[TLT_SAVED_ROWS];
  tlt_saved_estimate(saved, log, row);
  tlt_json_begin(w, "saved", '[');
  for (int i = 0; i < TLT_SAVED_ROWS; i++) {
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_string(w, "what", row[i].what);
    tlt_json_put_f64(w, "seconds", row[i].seconds);
    tlt_json_put_f64(w, "share", row[i].share);
    tlt_json_put_string(w, "method", row[i].method);
    tlt_json_end(w, '}');
  }
  tlt_json_end(w, ']');
}

/* ---- all ----------------------------------------------------------------------------------------
 */

static void judge_version(tlt_run_log *log, const char *program) {
  if (log->program[0] && program[0] && strcmp(log->program, program))
    tlt_notice(&log->notices, "written by tlt %s, read by tlt %s", log->program, program);
}

/* Everything behind the head, which has to know the notices of all of it. */
static tlt_status put_body(tlt_run_log *log, tlt_json_writer *w, tlt_err *err) {
  tlt_saved saved = {0};
  tlt_json_writer timeline = {0};
  tlt_status s = tlt_payload_timeline(log, &timeline, &saved, err);
  put_pairs(w, "config", &log->config);
  put_pairs(w, "machine", &log->machine);
  put_hashes(w, log);
  put_phases(w, log);
  put_saved(w, &saved, log);
  put_lengths(w, log);
  if (s == TLT_OK) s = tlt_payload_samples(log, w, err);
  tlt_payload_columns(w, log, TLT_PAYLOAD_COLUMNS);
  if (s == TLT_OK) s = tlt_text_check(&timeline.text, err);
  if (s == TLT_OK) tlt_json_put_raw(w, "timeline", timeline.text.data);
  tlt_text_free(&timeline.text);
  tlt_saved_free(&saved);
  return s;
}

tlt_status tlt_payload_run(tlt_run_log *log, const char *program, const char *after,
                           tlt_json_writer *w, tlt_err *err) {
  tlt_json_writer body = {0};
  judge_version(log, program);
  tlt_status s = put_body(log, &body, err);
  if (s == TLT_OK) s = tlt_text_check(&body.text, err);
  if (s == TLT_OK) {
    tlt_json_begin(w, NULL, '{');
    tlt_json_put_int(w, "format", 1);
    tlt_json_put_bool(w, "live", after != NULL);
    if (after) tlt_json_put_string(w, "after", after);
    tlt_payload_head(w, log);
    tlt_text_add(&w->text, ", ");
    tlt_text_add_n(&w->text, body.text.data, body.text.n);
    tlt_json_end(w, '}');
    s = tlt_text_check(&w->text, err);
  }
  tlt_text_free(&body.text);
  return s;
}
