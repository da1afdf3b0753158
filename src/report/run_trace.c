#include "report/run_trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/lines.h"
#include "report/trace.h"
#include "report/trace_file.h"

enum { HEAD_BYTES = 64 };

struct tlt_run_trace {
  tlt_lines *lines;
  tlt_run_trace_step *step;
  int n, room;
  /* the account that is being put together */
  tlt_account account;
  bool open;
  double begin;                      /* of the step, seconds of the run */
  double mean, accepted, per_second; /* of the point at work */
};

/* ---- the steps ----------------------------------------------------------------------------------
 */

/* Lines are not terminated in the reader's window. */
static bool head_of(const char *text, size_t n, int64_t *step, char cat[TLT_TRACE_CAT]) {
  char head[HEAD_BYTES + 1];
  size_t copied = n < HEAD_BYTES ? n : HEAD_BYTES;
  memcpy(head, text, copied);
  head[copied] = 0;
  return tlt_trace_line_head(head, step, cat);
}

static tlt_status add_step(tlt_run_trace *t, int64_t step, uint64_t offset, tlt_err *err) {
  if (t->n == t->room) {
    int room = t->room ? 2 * t->room : 256;
    tlt_run_trace_step *grown = tlt_realloc(t->step, (size_t)room * sizeof *grown);
    if (!grown) return tlt_fail_nomem(err, "trace", (size_t)room * sizeof *grown);
    t->step = grown;
    t->room = room;
  }
  t->step[t->n++] = (tlt_run_trace_step){step, offset, 0, tlt_lines_number(t->lines)};
  return TLT_OK;
}

typedef struct scan {
  uint64_t from;    /* offset of the line at hand */
  int64_t step;     /* of the lines before */
  bool has_details; /* the newest step of the list has spans */
  bool ended;       /* the closing line was there */
  long foreign, first_foreign;
} scan;

/* Steps without spans leave the list again when the next one begins. */
static tlt_status scan_line(tlt_run_trace *t, scan *s, const char *text, size_t n, tlt_err *err) {
  char cat[TLT_TRACE_CAT];
  int64_t step = 0;
  if (n == 2 && !memcmp(text, "]}", 2)) {
    s->ended = true;
    return TLT_OK;
  }
  if (!head_of(text, n, &step, cat)) {
    if (tlt_lines_torn(t->lines)) return TLT_OK; /* told as the end that is missing */
    if (s->foreign++ == 0) s->first_foreign = tlt_lines_number(t->lines);
    return TLT_OK;
  }
  tlt_status status = TLT_OK;
  if (step != s->step || t->n == 0) {
    if (t->n && !s->has_details) t->n--;
    if (t->n < TLT_RUN_TRACE_STEPS) status = add_step(t, step, s->from, err);
    s->step = step;
    s->has_details = false;
  }
  if (status != TLT_OK) return status;
  t->step[t->n - 1].bytes = s->from + n + 1 - t->step[t->n - 1].offset;
  s->has_details |= !strcmp(cat, "work");
  return TLT_OK;
}

static tlt_status find_steps(tlt_run_trace *t, tlt_notices *notices, tlt_err *err) {
  scan s = {.step = -1};
  const char *text;
  size_t n;
  tlt_err why = {0};
  tlt_status status;
  for (;;) {
    s.from = tlt_lines_offset(t->lines);
    status = tlt_lines_next(t->lines, &text, &n, &why);
    if (status != TLT_OK || !text) break;
    if (tlt_lines_number(t->lines) <= 2) continue; /* head, name of the process */
    status = scan_line(t, &s, text, n, &why);
    if (status != TLT_OK) break;
  }
  if (t->n && !s.has_details) t->n--;
  if (status == TLT_ENOMEM) return tlt_fail(err, status, "%s", why.text);
  if (status != TLT_OK) tlt_notice(notices, "trace.json: %s; nothing read from there on", why.text);
  if (s.foreign)
    tlt_notice(notices, "trace.json line %ld: no event of ours, %ld such line%s left out",
               s.first_foreign, s.foreign, s.foreign > 1 ? "s" : "");
  if (!s.ended) tlt_notice(notices, "trace.json is cut off: its closing line is missing");
  return TLT_OK;
}

tlt_status tlt_run_trace_open(const char *run, tlt_run_trace **out, tlt_notices *notices,
                              tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_err why = {0};
  tlt_status s = TLT_OK;
  *out = NULL;
  tlt_path_join(path, run, "trace.json");
  tlt_run_trace *t = tlt_calloc(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "trace", sizeof *t);
  if (!tlt_path_exists(path)) {
    tlt_notice(notices, "trace.json is missing: there is no timeline");
  } else {
    s = tlt_lines_open(path, &t->lines, &why);
    if (s == TLT_OK) s = find_steps(t, notices, err);
    else if (s != TLT_ENOMEM) tlt_notice(notices, "trace.json: %s; there is no timeline", why.text);
  }
  if (s == TLT_ENOMEM) {
    tlt_run_trace_close(t);
    return why.text[0] ? tlt_fail(err, s, "%s", why.text) : s;
  }
  *out = t;
  return TLT_OK;
}

void tlt_run_trace_close(tlt_run_trace *t) {
  if (!t) return;
  tlt_lines_close(t->lines);
  tlt_free(t->step);
  tlt_free(t);
}

int tlt_run_trace_count(const tlt_run_trace *t) {
  return t->n;
}

const tlt_run_trace_step *tlt_run_trace_at(const tlt_run_trace *t, int i) {
  return &t->step[i];
}

int tlt_run_trace_stride(const tlt_run_trace *t, uint64_t bytes) {
  for (int stride = 1; stride < t->n; stride = stride < 8 ? stride + 1 : stride + stride / 4) {
    uint64_t sum = 0;
    for (int i = t->n - 1; i >= 0; i -= stride) sum += t->step[i].bytes;
    if (sum <= bytes) return stride;
  }
  return t->n > 0 ? t->n : 1;
}

/* ---- one step -----------------------------------------------------------------------------------
 */

static int state_named(const char *name) {
  for (int i = 0; name && i < TLT_WORK_STATES; i++)
    if (!strcmp(name, tlt_work_name((tlt_work)i))) return i;
  return -1;
}

static double seconds_at(const json_t *event, const char *key) {
  double microseconds = json_number_value(json_object_get(event, key));
  return isfinite(microseconds) ? microseconds * 1e-6 : 0;
}

/* The point at work ends where the next one begins, which says how many steps it stands for. */
static void close_point(tlt_account *a, const tlt_run_trace *t, double next) {
  tlt_point *p = &a->point[a->n_points - 1];
  double steps = t->per_second > 0 && next > p->at ? rint(t->per_second * (next - p->at)) : 1;
  if (!(steps >= 1)) steps = 1;
  if (steps > 1e9) steps = 1e9;
  p->steps = (int64_t)steps;
  p->sequences = (int64_t)rint(fmin(t->mean, 1e6) * steps);
  p->tokens = (int64_t)rint(fmin(t->accepted, 1e6) * (double)p->sequences);
}

static void take_counter(tlt_run_trace *t, const json_t *event, const char *name, double at) {
  tlt_account *a = &t->account;
  void *first = json_object_iter(json_object_get(event, "args"));
  double value = json_number_value(json_object_iter_value(first));
  const char *what = name ? strchr(name, ' ') : NULL;
  what = what ? strchr(what + 1, ' ') : NULL; /* behind "worker W" */
  if (!what || !isfinite(value) || value < 0) return;
  if (!strcmp(what, " sequences")) {
    if (a->n_points > 0) close_point(a, t, at);
    if (a->n_points == TLT_POINTS_MAX) return;
    a->point[a->n_points++] = (tlt_point){.at = at};
    t->mean = value;
    t->accepted = t->per_second = 0;
  } else if (!strcmp(what, " accepted length")) {
    t->accepted = value;
  } else if (!strcmp(what, " speed")) {
    t->per_second = value;
  }
}

static void take_span(tlt_account *a, const json_t *event, const char *name, double at) {
  int state = state_named(name);
  if (state < 0 || a->n_spans == TLT_SPANS_MAX) return;
  const json_t *args = json_object_get(event, "args"), *detail = json_object_get(args, "detail");
  a->span[a->n_spans++] =
      (tlt_span){.begin = at,
                 .end = at + seconds_at(event, "dur"),
                 .detail = json_is_integer(detail) ? json_integer_value(detail) : TLT_NO_DETAIL,
                 .state = state,
                 .count = (int32_t)json_integer_value(json_object_get(args, "count"))};
}

static void take_totals(tlt_account *a, const json_t *event, double at) {
  const json_t *args = json_object_get(event, "args");
  for (int i = 0; i < TLT_WORK_STATES; i++)
    a->seconds[i] = json_number_value(json_object_get(args, tlt_work_name((tlt_work)i)));
  a->folded = json_number_value(json_object_get(args, "folded"));
  a->end = a->begin + at;
}

static void flush(tlt_run_trace *t, tlt_run_trace_sink sink, void *context) {
  tlt_account *a = &t->account;
  if (!t->open) return;
  if (a->n_points > 0) close_point(a, t, 0);
  if (a->end <= a->begin && a->n_spans) a->end = a->begin + a->span[a->n_spans - 1].end;
  sink(context, a);
  t->open = false;
}

static void open_account(tlt_run_trace *t, int64_t step, int worker) {
  tlt_account *a = &t->account;
  a->step = step;
  a->worker = worker;
  a->begin = a->end = t->begin;
  a->folded = 0;
  memset(a->seconds, 0, sizeof a->seconds);
  a->n_spans = a->n_points = 0;
  t->open = true;
}

static void take_event(tlt_run_trace *t, const json_t *event, tlt_run_trace_sink sink,
                       void *context) {
  const char *phase = json_string_value(json_object_get(event, "ph"));
  const char *name = json_string_value(json_object_get(event, "name"));
  int64_t tid = json_integer_value(json_object_get(event, "tid"));
  int64_t step = json_integer_value(json_object_get(event, "step"));
  if (!phase || !strcmp(phase, "M")) return;
  const char *cat = json_string_value(json_object_get(event, "cat"));
  if (cat && !strcmp(cat, "step") && !strcmp(phase, "X")) t->begin = seconds_at(event, "ts");
  if (tid < 1 || tid > TLT_TRACE_WORKERS_MAX) return;
  int worker = (int)tid - 1;
  if (t->open && t->account.worker != worker) flush(t, sink, context);
  if (!t->open) open_account(t, step, worker);
  double at = seconds_at(event, "ts") - t->begin;
  if (!strcmp(phase, "C")) take_counter(t, event, name, at);
  if (!strcmp(phase, "X")) take_span(&t->account, event, name, at);
  if (strcmp(phase, "i") || !name || strcmp(name, "totals")) return;
  take_totals(&t->account, event, at);
  flush(t, sink, context);
}

tlt_status tlt_run_trace_read(tlt_run_trace *t, int i, tlt_run_trace_sink sink, void *context,
                              tlt_notices *notices, tlt_err *err) {
  const tlt_run_trace_step *step = &t->step[i];
  tlt_err why = {0};
  const char *text;
  size_t n;
  tlt_status s = TLT_OK;
  t->open = false;
  t->begin = 0;
  tlt_lines_seek(t->lines, step->offset, step->line);
  while (tlt_lines_offset(t->lines) < step->offset + step->bytes) {
    json_t *event = NULL;
    s = tlt_lines_next(t->lines, &text, &n, &why);
    if (s != TLT_OK || !text) break;
    if (n < 2 || text[0] != ',') continue;
    if (tlt_json_parse(text + 1, n - 1, "", 0, &event, NULL) == TLT_OK)
      take_event(t, event, sink, context);
    else tlt_notice(notices, "trace.json line %ld: damaged, left out", tlt_lines_number(t->lines));
    json_decref(event);
  }
  flush(t, sink, context);
  if (s == TLT_ENOMEM) return tlt_fail(err, s, "%s", why.text);
  if (s != TLT_OK) tlt_notice(notices, "trace.json: %s", why.text);
  return TLT_OK;
}
