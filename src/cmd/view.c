#include "cmd/view.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/terminal.h"
#include "cmd/progress.h"

enum {
  WIDE = 60,
  HIGH = 8, /* columns and rows below which there is one line only */
  BAR = 40  /* columns of a bar at most */
};

/* ---- values -------------------------------------------------------------------------------------
 */

static tlt_status start(void *context, const char *run, int64_t last_step, void **state,
                        tlt_err *err) {
  tlt_view *v = context;
  (void)run, (void)last_step, (void)err;
  *v = (tlt_view){.length = -1, .accept = -1, .idle = -1, .accuracy = -1, .any = true};
  *state = v;
  return TLT_OK;
}

static tlt_status put(void *state, const tlt_metrics *m, tlt_err *err) {
  tlt_view *v = state;
  (void)err;
  v->accept = v->idle = -1;
  for (int i = 0; i < m->n; i++) {
    const tlt_metric *x = &m->item[i];
    if (x->kind != TLT_METRIC_REAL || !isfinite(x->real)) continue;
    if (!strcmp(x->key, "reward/mean")) v->reward[v->rewards++ % TLT_VIEW_TREND] = x->real;
    else if (!strcmp(x->key, "completions/mean_length")) v->length = x->real;
    else if (!strcmp(x->key, "spec/accept_length")) v->accept = x->real;
    else if (!strcmp(x->key, "workers/idle_fraction")) v->idle = x->real;
    else if (!strcmp(x->key, "eval/accuracy")) {
      v->accuracy = x->real;
      v->accuracy_step = m->step;
    }
  }
  return TLT_OK;
}

static tlt_status nothing(void *state, tlt_err *err) {
  (void)state, (void)err;
  return TLT_OK;
}

tlt_metrics_sink tlt_view_metrics(tlt_view *v) {
  return (tlt_metrics_sink){start, put, nothing, nothing, v};
}

/* ---- a line of parts that fit -------------------------------------------------------------------
 */

typedef struct line {
  char *text; /* [TLT_PROGRESS_BYTES] */
  size_t n;
  int left; /* columns */
} line;

static int width_of(const char *s) {
  int n = 0;
  for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
  return n;
}

/* Add a part behind two blanks when all of it fits. */
static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(line *l, const char *format, ...) {
  char part[256];
  va_list args;
  va_start(args, format);
  vsnprintf(part, sizeof part, format, args);
  va_end(args);
  int blanks = l->n ? 2 : 0, columns = width_of(part) + blanks;
  size_t bytes = strlen(part) + (size_t)blanks;
  if (columns > l->left || l->n + bytes >= TLT_PROGRESS_BYTES) return;
  snprintf(l->text + l->n, TLT_PROGRESS_BYTES - l->n, "%*s%s", blanks, "", part);
  l->n += bytes;
  l->left -= columns;
}

/* Without a place among the columns. */
static void colour(line *l, const char *code) {
  size_t n = strlen(code);
  if (!tlt_terminal_color() || l->n + n >= TLT_PROGRESS_BYTES) return;
  memcpy(l->text + l->n, code, n + 1);
  l->n += n;
}

#define BOLD "\033[1m"
#define FAINT "\033[2m"
#define PLAIN "\033[0m"

static void bar(line *l, double share, int columns) {
  const char *done = tlt_terminal_utf8() ? "━" : "=", *rest = tlt_terminal_utf8() ? "─" : "-";
  if (columns > BAR) columns = BAR;
  if (columns < 8 || columns + 2 > l->left) return;
  int full = (int)(share * columns + 0.5);
  l->n += (size_t)snprintf(l->text + l->n, TLT_PROGRESS_BYTES - l->n, "  ");
  for (int i = 0; i < columns; i++) {
    if (i == full) colour(l, FAINT);
    l->n +=
        (size_t)snprintf(l->text + l->n, TLT_PROGRESS_BYTES - l->n, "%s", i < full ? done : rest);
  }
  colour(l, PLAIN);
  l->left -= columns + 2;
}

/* ---- parts --------------------------------------------------------------------------------------
 */

static double share_of(int64_t done, int64_t total) {
  return total > 0 ? fmin(1, (double)done / (double)total) : 0;
}

/* The rewards between their least and greatest. */
static void trend(const tlt_view *v, char out[4 * TLT_VIEW_TREND + 1]) {
  static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char *const signs[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
  const char *const *levels = tlt_terminal_utf8() ? blocks : signs;
  int n = v->rewards < TLT_VIEW_TREND ? (int)v->rewards : TLT_VIEW_TREND;
  double least = INFINITY, most = -INFINITY;
  for (int i = 0; i < n; i++) {
    least = fmin(least, v->reward[i]);
    most = fmax(most, v->reward[i]);
  }
  size_t at = 0;
  out[0] = 0;
  for (int64_t i = v->rewards - n; i < v->rewards; i++) {
    double x = most > least ? (v->reward[i % TLT_VIEW_TREND] - least) / (most - least) : 0.5;
    at += (size_t)snprintf(out + at, 4 * TLT_VIEW_TREND + 1 - at, "%s", levels[(int)(x * 7 + 0.5)]);
  }
}

static void put_values(line *l, const tlt_view *v) {
  char curve[4 * TLT_VIEW_TREND + 1];
  if (!v->any) return;
  trend(v, curve);
  if (v->rewards) {
    double reward = v->reward[(v->rewards - 1) % TLT_VIEW_TREND];
    int before = l->left;
    if (v->rewards > 1) add(l, "reward %.3f %s", reward, curve);
    if (l->left == before) add(l, "reward %.3f", reward);
  }
  if (v->length >= 0) add(l, "length %.0f", v->length);
  if (v->accept >= 0) add(l, "accept %.2f", v->accept);
  if (v->idle >= 0) add(l, "idle %.0f %%", 100 * v->idle);
  if (v->accuracy >= 0)
    add(l, "held-back %.1f %% (step %lld)", 100 * v->accuracy, (long long)v->accuracy_step);
}

/* What a phase counts. */
static const struct {
  const char *name, *unit;
} phases[] = {{"loading", ""},       {"rollout", " answers"},
              {"update", " groups"}, {"evaluation", " answers"},
              {"saving", ""},        {"done", ""}};

static void put_phase(line *l, const tlt_train_progress *p, bool unit) {
  const char *name = phases[p->phase].name;
  if (p->total > 0)
    add(l, "%s %lld/%lld%s", name, (long long)p->done, (long long)p->total,
        unit ? phases[p->phase].unit : "");
  else add(l, "%s", name);
}

static void put_rate(line *l, const tlt_train_progress *p) {
  if (p->rate > 0) add(l, "%.0f tokens/s", p->rate);
}

static void put_left(line *l, const tlt_train_progress *p, bool stopping) {
  char left[32];
  if (stopping) add(l, "stopping after this step");
  else if (p->left >= 0) add(l, "%s left", tlt_progress_time(p->left, left));
}

/* ---- the view -----------------------------------------------------------------------------------
 */

static void show_narrow(const tlt_train_progress *p, bool stopping, int columns) {
  char text[1][TLT_PROGRESS_BYTES] = {""};
  line l = {text[0], 0, columns};
  add(&l, "step %lld/%lld", (long long)p->step, (long long)p->steps);
  put_phase(&l, p, false);
  put_left(&l, p, stopping);
  put_rate(&l, p);
  tlt_progress_lines((const char(*)[TLT_PROGRESS_BYTES])text, 1);
}

void tlt_view_show(const tlt_view *v, const tlt_train_progress *p, bool stopping) {
  char text[3][TLT_PROGRESS_BYTES] = {"", "", ""};
  int columns, rows;
  if (!tlt_progress_due()) return;
  tlt_terminal_size(&columns, &rows);
  if (columns < WIDE || rows < HIGH) return show_narrow(p, stopping, columns - 1);
  line head = {text[0], 0, columns - 1}, phase = {text[1], 0, columns - 1},
       values = {text[2], 0, columns - 1};
  int width = (columns - WIDE) / 2 + 16;
  colour(&head, BOLD);
  snprintf(text[0] + head.n, TLT_PROGRESS_BYTES - head.n, "step %lld/%lld", (long long)p->step,
           (long long)p->steps);
  head.left -= width_of(text[0] + head.n);
  head.n = strlen(text[0]);
  colour(&head, PLAIN);
  bar(&head, share_of(p->step > 0 ? p->step - 1 : 0, p->steps), width);
  put_left(&head, p, stopping);
  put_phase(&phase, p, true);
  if (p->total > 0) bar(&phase, share_of(p->done, p->total), width);
  put_rate(&phase, p);
  put_values(&values, v);
  tlt_progress_lines((const char(*)[TLT_PROGRESS_BYTES])text, values.n ? 3 : 2);
}

void tlt_view_step(const tlt_view *v, const tlt_train_progress *p) {
  char text[TLT_PROGRESS_BYTES] = "", left[32];
  int columns = TLT_PROGRESS_BYTES, rows;
  if (tlt_terminal()) tlt_terminal_size(&columns, &rows);
  line l = {text, 0, columns};
  add(&l, "step %3lld/%lld", (long long)p->step, (long long)p->steps);
  add(&l, "reward %.3f", p->reward_mean);
  add(&l, "length %.0f", p->mean_length);
  add(&l, "cut %.1f %%", 100 * p->clipped_ratio);
  if (p->has_loss) add(&l, "loss %+.4f", p->loss);
  else add(&l, "no gradient");
  add(&l, "grad %.3f", p->grad_norm);
  add(&l, "%.1f s", p->seconds);
  if (p->eval_accuracy >= 0) add(&l, "held-back %.1f %%", 100 * p->eval_accuracy);
  add(&l, "%s left", p->left >= 0 ? tlt_progress_time(p->left, left) : "?");
  if (v->any && v->accept >= 0) add(&l, "accept %.2f", v->accept);
  if (v->any && v->idle >= 0) add(&l, "idle %.0f %%", 100 * v->idle);
  tlt_progress_print(text);
}
