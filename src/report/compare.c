#include "report/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "events/spans.h"
#include "report/payload.h"
#include "report/plain.h"

/* ---- rows ---------------------------------------------------------------------------------------
 */

static tlt_compare_row *add_row(tlt_compare_row **list, int *n, int *room, const char *name) {
  if (*n == *room) {
    int grown = *room ? 2 * *room : 32;
    tlt_compare_row *rows = tlt_realloc(*list, (size_t)grown * sizeof *rows);
    if (!rows) return NULL;
    *list = rows;
    *room = grown;
  }
  tlt_compare_row *row = &(*list)[(*n)++];
  memset(row, 0, sizeof *row);
  tlt_plain_text(name, row->name, sizeof row->name);
  return row;
}

static tlt_compare_row *figure(tlt_comparison *c, const char *name) {
  return add_row(&c->row, &c->n_rows, &c->room, name);
}

/* How a number is shown: scale, decimals and unit; the difference also as a ratio. */
typedef struct look {
  double scale;
  int decimals;
  const char *unit;
  bool ratio;
} look;

static const look plain_look = {1, 3, "", false}, share_look = {100, 1, " %", false},
                  count_look = {1, 0, "", true}, length_look = {1, 1, "", true},
                  seconds_look = {1, 1, " s", true}, sum_look = {1, 3, "", true};

static void show_difference(const look *l, double value, double first, char out[TLT_COMPARE_TEXT]) {
  double change = l->scale * (value - first);
  const char *unit = strcmp(l->unit, " %") ? l->unit : " points";
  if (isnan(value) || isnan(first)) return;
  if (value == first) {
    snprintf(out, TLT_COMPARE_TEXT, "=");
    return;
  }
  int used = snprintf(out, TLT_COMPARE_TEXT, "%+.*f%s", l->decimals, change, unit);
  if (l->ratio && first > 0 && value >= 0 && used > 0 && used < TLT_COMPARE_TEXT)
    snprintf(out + used, (size_t)(TLT_COMPARE_TEXT - used), " (%+.1f %%)",
             100 * (value / first - 1));
}

static void put_numbers(tlt_comparison *c, tlt_compare_row *row, const double *value,
                        const look *l) {
  for (int i = 0; row && i < c->n; i++) {
    if (isnan(value[i])) snprintf(row->text[i], TLT_COMPARE_TEXT, "-");
    else
      snprintf(row->text[i], TLT_COMPARE_TEXT, "%.*f%s", l->decimals, l->scale * value[i], l->unit);
    if (i > 0) show_difference(l, value[i], value[0], row->difference[i]);
  }
}

/* Rows that no run has anything for are left out, and amounts that are zero everywhere. */
static void add_numbers(tlt_comparison *c, const char *name, const double *value, const look *l) {
  bool known = false;
  for (int i = 0; i < c->n; i++) known |= !isnan(value[i]) && (value[i] != 0 || !l->ratio);
  if (known) put_numbers(c, figure(c, name), value, l);
}

/* ---- figures of one run -------------------------------------------------------------------------
 */

typedef double (*measure)(const tlt_run_log *log, const char *key);

static double newest(const tlt_run_log *log, const char *key) {
  const tlt_run_column *column = tlt_run_find(log, key);
  return column && column->n ? column->last : NAN;
}

static double mean(const tlt_run_log *log, const char *key) {
  const tlt_run_column *column = tlt_run_find(log, key);
  return column && column->n ? column->sum / (double)column->n : NAN;
}

static double tokens_per_second(const tlt_run_log *log, const char *key) {
  (void)key;
  return tlt_run_total(log, "completions/tokens") / tlt_run_total(log, "time/rollout");
}

static double idle_share(const tlt_run_log *log, const char *key) {
  (void)key;
  return (tlt_run_total(log, "workers/idle") + tlt_run_total(log, "workers/reward") +
          tlt_run_total(log, "workers/waiting")) /
         tlt_run_total(log, "workers/seconds");
}

static void add_measured(tlt_comparison *c, const char *name, measure of, const char *key,
                         const look *l) {
  double value[TLT_COMPARE_RUNS];
  for (int i = 0; i < c->n; i++) value[i] = of(c->run[i], key);
  add_numbers(c, name, value, l);
}

static void add_states(tlt_comparison *c) {
  tlt_compare_row *state = figure(c, "state"), *steps = figure(c, "steps done");
  if (steps) state = steps - 1; /* the list may have moved */
  for (int i = 0; state && steps && i < c->n; i++) {
    snprintf(state->text[i], TLT_COMPARE_TEXT, "%s", c->run[i]->state);
    if (c->run[i]->steps > 0)
      snprintf(steps->text[i], TLT_COMPARE_TEXT, "%lld of %lld", (long long)c->run[i]->step,
               (long long)c->run[i]->steps);
    else snprintf(steps->text[i], TLT_COMPARE_TEXT, "%lld", (long long)c->run[i]->step);
  }
}

/* Accuracy with its interval. */
static void add_accuracy(tlt_comparison *c) {
  int before = c->n_rows;
  add_measured(c, "held-back accuracy, last", newest, "eval/accuracy", &share_look);
  for (int i = 0; c->n_rows > before && i < c->n; i++) {
    char *text = c->row[before].text[i];
    double low = newest(c->run[i], "eval/accuracy_low"),
           high = newest(c->run[i], "eval/accuracy_high");
    size_t used = strlen(text);
    if (!isnan(low) && !isnan(high) && strcmp(text, "-"))
      snprintf(text + used, TLT_COMPARE_TEXT - used, " (%.1f to %.1f)", 100 * low, 100 * high);
  }
}

static void add_worker_states(tlt_comparison *c) {
  for (int k = 0; k < TLT_WORK_STATES; k++) {
    char key[64], name[TLT_COMPARE_TEXT];
    snprintf(key, sizeof key, "workers/%s", tlt_work_name((tlt_work)k));
    snprintf(name, sizeof name, "%s, all workers", tlt_work_name((tlt_work)k));
    add_measured(c, name, tlt_run_total, key, &seconds_look);
  }
}

/* Rates are averaged, amounts added up. */
static void add_costs(tlt_comparison *c) {
  for (int r = 0; r < c->n; r++)
    for (int k = 0; k < c->run[r]->n_columns; k++) {
      const char *key = c->run[r]->column[k].key;
      bool seen = false;
      for (int before = 0; before < r; before++) seen |= tlt_run_find(c->run[before], key) != NULL;
      if (seen || strncmp(key, "cost/", 5)) continue;
      bool rate = strstr(key, "_per_") != NULL || strstr(key, "watts") != NULL;
      char name[TLT_COMPARE_TEXT];
      snprintf(name, sizeof name, "%.40s, %s", key, rate ? "mean" : "total");
      add_measured(c, name, rate ? mean : tlt_run_total, key, &sum_look);
    }
}

static void add_figures(tlt_comparison *c) {
  add_states(c);
  add_measured(c, "reward, last 10 steps", tlt_run_recent, "reward/mean", &plain_look);
  add_accuracy(c);
  add_measured(c, "answer tokens, last 10 steps", tlt_run_recent, "completions/mean_length",
               &length_look);
  add_measured(c, "loss, last 10 steps", tlt_run_recent, "loss", &plain_look);
  add_measured(c, "entropy, last 10 steps", tlt_run_recent, "entropy", &plain_look);
  add_measured(c, "tokens generated", tlt_run_total, "completions/tokens", &count_look);
  add_measured(c, "tokens trained", tlt_run_total, "update/tokens", &count_look);
  add_measured(c, "workers", newest, "workers/count", &count_look);
  add_measured(c, "time of all steps", tlt_run_total, "time/step", &seconds_look);
  add_measured(c, "time of rollouts", tlt_run_total, "time/rollout", &seconds_look);
  add_measured(c, "time of updates", tlt_run_total, "time/update", &seconds_look);
  add_measured(c, "time of evaluations", tlt_run_total, "time/eval", &seconds_look);
  add_worker_states(c);
  add_measured(c, "generated tokens per second", tokens_per_second, NULL, &count_look);
  add_measured(c, "acceptance length, mean", mean, "spec/accept_length", &plain_look);
  add_measured(c, "idle share", idle_share, NULL, &share_look);
  add_costs(c);
}

/* ---- configuration ------------------------------------------------------------------------------
 */

static bool has_key(const tlt_comparison *c, int runs, const char *key) {
  for (int i = 0; i < runs; i++)
    if (tlt_run_config(c->run[i], key)[0]) return true;
  return false;
}

static void add_config(tlt_comparison *c) {
  for (int r = 0; r < c->n; r++)
    for (int k = 0; k < c->run[r]->config.n; k++) {
      const char *key = c->run[r]->config.pair[k].key, *first = tlt_run_config(c->run[0], key);
      bool differs = false;
      for (int i = 1; i < c->n; i++) differs |= strcmp(tlt_run_config(c->run[i], key), first) != 0;
      if (!differs || has_key(c, r, key)) continue;
      tlt_compare_row *row = add_row(&c->config, &c->n_config, &c->config_room, key);
      for (int i = 0; row && i < c->n; i++) {
        const char *value = tlt_run_config(c->run[i], key);
        tlt_plain_text(value[0] ? value : "-", row->text[i], TLT_COMPARE_TEXT);
      }
    }
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static void name_runs(tlt_comparison *c) {
  for (int i = 0; i < c->n; i++) {
    int same = 0;
    for (int k = 0; k < c->n; k++) same += !strcmp(c->run[k]->name, c->run[i]->name);
    char name[TLT_COMPARE_TEXT - 8];
    tlt_plain_text(c->run[i]->name, name, sizeof name);
    if (same > 1) snprintf(c->name[i], TLT_COMPARE_TEXT, "%s (%d)", name, i + 1);
    else snprintf(c->name[i], TLT_COMPARE_TEXT, "%s", name);
  }
}

tlt_status tlt_comparison_open(tlt_comparison *c, const char *const *paths, int n, tlt_err *err) {
  *c = (tlt_comparison){0};
  if (n < 2 || n > TLT_COMPARE_RUNS)
    return tlt_fail(err, TLT_EUSAGE, "got %d run director%s, expected 2 to %d", n,
                    n == 1 ? "y" : "ies", TLT_COMPARE_RUNS);
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < n; i++) {
    s = tlt_run_log_open(paths[i], &c->run[i], err);
    c->n += s == TLT_OK;
  }
  for (int i = 1; s == TLT_OK && i < n; i++)
    s = tlt_identity_find(c->run[0], c->run[i], &c->identity[i], err);
  if (s != TLT_OK) return s;
  name_runs(c);
  add_figures(c);
  add_config(c);
  return TLT_OK;
}

void tlt_comparison_free(tlt_comparison *c) {
  for (int i = 0; i < c->n; i++) tlt_run_log_free(c->run[i]);
  tlt_free(c->row);
  tlt_free(c->config);
  *c = (tlt_comparison){0};
}
