#include "report/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/text.h"
#include "report/trace_file.h"

#define END_MAX 1e14 /* microseconds: three years */

enum { TID_MAX = TLT_TRACE_BESIDE + TLT_TRACE_WORKERS_MAX * TLT_TRACE_EACH };

/* A track beside a worker. */
typedef struct beside {
  int tid;
  int64_t end; /* nanoseconds; -1: not named yet */
} beside;

/* Times are kept in whole nanoseconds, so that ends and beginnings agree after printing. */
typedef struct writer {
  tlt_trace_file *file;
  tlt_text lines; /* of the account at work */
  double from;    /* tlt_now() at the start of this process's part */
  int64_t before; /* nanoseconds of the run before that */
  int64_t last_step;
  int n_tracks;
  double cut;   /* seconds of spans of the account at work that lie before the end of its track */
  int64_t *end; /* [n_tracks] where each track ends, nanoseconds; -1: not named yet */
  beside *beside;
  int n_beside;
} writer;

/* ---- tracks -------------------------------------------------------------------------------------
 */

/* Track 0 is that of the steps, track w + 1 that of worker w. No thread has number 0, which
 * Perfetto takes for another name of the process's first. */
static int thread_of(int track) {
  return track == 0 ? TLT_TRACE_STEPS : track;
}

static int thread_of_worker(const tlt_account *a) {
  return thread_of(a->worker + 1);
}

static tlt_status want_track(writer *w, int track, tlt_err *err) {
  if (track < w->n_tracks) return TLT_OK;
  if (track > TLT_TRACE_WORKERS_MAX)
    return tlt_fail(err, TLT_EINTERNAL, "trace: got worker %d, expected one below %d", track - 1,
                    TLT_TRACE_WORKERS_MAX);
  int64_t *end = tlt_realloc(w->end, (size_t)(track + 1) * sizeof *end);
  if (!end) return tlt_fail_nomem(err, "trace", (size_t)(track + 1) * sizeof *end);
  w->end = end;
  while (w->n_tracks <= track) end[w->n_tracks++] = -1;
  return TLT_OK;
}

/* The track beside a worker with this number, made if it is not there; NULL: no memory. */
static beside *want_beside(writer *w, int tid) {
  for (int i = 0; i < w->n_beside; i++)
    if (w->beside[i].tid == tid) return &w->beside[i];
  beside *grown = tlt_realloc(w->beside, (size_t)(w->n_beside + 1) * sizeof *grown);
  if (!grown) return NULL;
  w->beside = grown;
  grown[w->n_beside] = (beside){tid, -1};
  return &grown[w->n_beside++];
}

static void see(void *context, const json_t *event) {
  writer *w = context;
  const char *name = json_string_value(json_object_get(event, "name"));
  int64_t tid = json_integer_value(json_object_get(event, "tid"));
  double end = json_number_value(json_object_get(event, "ts")) +
               json_number_value(json_object_get(event, "dur"));
  int64_t ns = end < END_MAX ? (int64_t)(end * 1000 + 0.5) : 0; /* damaged: passed over */
  if (ns > w->before) w->before = ns;
  if (!name || strcmp(name, "thread_name") || tid < 1 || tid > TID_MAX) return;
  if (tid >= TLT_TRACE_BESIDE) {
    beside *b = want_beside(w, (int)tid);
    if (b) b->end = 0;
    return;
  }
  int track = tid == TLT_TRACE_STEPS ? 0 : (int)tid;
  if (want_track(w, track, NULL) == TLT_OK) w->end[track] = 0;
}

/* ---- events -------------------------------------------------------------------------------------
 */

static void begin_event(writer *w, int64_t step, const char *cat, char phase, int tid) {
  tlt_text_printf(&w->lines, ",{\"step\":%lld,\"cat\":\"%s\",\"ph\":\"%c\",\"pid\":1,\"tid\":%d",
                  (long long)step, cat, phase, tid);
}

static void put_ns(writer *w, const char *key, int64_t ns) {
  tlt_text_printf(&w->lines, ",\"%s\":%lld.%03d", key, (long long)(ns / 1000), (int)(ns % 1000));
}

/* order: of the tracks on the screen. */
static void put_name(writer *w, int64_t step, int tid, const char *name, int order) {
  begin_event(w, step, "name", 'M', tid);
  tlt_text_printf(&w->lines, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}\n", name);
  begin_event(w, step, "name", 'M', tid);
  tlt_text_printf(&w->lines, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":%d}}\n",
                  order);
}

static void put_names(writer *w, int64_t step, int track) {
  char name[40] = "RL steps";
  if (track) snprintf(name, sizeof name, "worker %d", track - 1);
  put_name(w, step, thread_of(track), name, track * TLT_TRACE_EACH);
  w->end[track] = w->before;
}

static void put_beside_names(writer *w, int64_t step, beside *b, int worker, int by) {
  char name[60];
  if (by == TLT_TRACE_WRITER) snprintf(name, sizeof name, "worker %d drafter checkpoints", worker);
  else snprintf(name, sizeof name, "worker %d reward process %d", worker, by);
  put_name(w, step, b->tid, name, (worker + 1) * TLT_TRACE_EACH + 1 + by);
  b->end = w->before;
}

static int64_t moment(const writer *w, const tlt_account *a, double seconds) {
  double since = a->begin - w->from + seconds;
  return w->before + (since > 0 ? (int64_t)(since * 1e9 + 0.5) : 0);
}

/* Where a moment of a track lies: never before what the track already holds, whatever the clocks of
 * other hosts say. */
static int64_t place(const writer *w, int track, const tlt_account *a, double seconds) {
  int64_t ns = moment(w, a, seconds);
  return ns > w->end[track] ? ns : w->end[track];
}

static void put_span(writer *w, const tlt_account *a, const tlt_span *s) {
  int track = a->worker + 1;
  int64_t begin = place(w, track, a, s->begin), end = place(w, track, a, s->end);
  double cut = s->end - s->begin - (double)(end - begin) * 1e-9;
  if (cut > 1e-8) w->cut += cut; /* else by rounding */
  if (end <= begin) return;
  begin_event(w, a->step, "work", 'X', thread_of_worker(a));
  put_ns(w, "ts", begin);
  put_ns(w, "dur", end - begin);
  tlt_text_printf(&w->lines, ",\"name\":\"%s\",\"args\":{", tlt_work_name((tlt_work)s->state));
  if (s->detail != TLT_NO_DETAIL)
    tlt_text_printf(&w->lines, "\"detail\":%lld,", (long long)s->detail);
  tlt_text_printf(&w->lines, "\"count\":%d}}\n", s->count);
  w->end[track] = end;
}

static void put_counter(writer *w, const tlt_account *a, int64_t at, const char *name,
                        const char *key, double value) {
  begin_event(w, a->step, "count", 'C', thread_of_worker(a));
  put_ns(w, "ts", at);
  tlt_text_printf(&w->lines, ",\"name\":\"worker %d %s\",\"args\":{\"%s\":", a->worker, name, key);
  tlt_text_f64(&w->lines, value);
  tlt_text_add(&w->lines, "}}\n");
}

/* next: NULL for the last one of a step. */
static void put_point(writer *w, const tlt_account *a, int64_t from, const tlt_point *p,
                      const tlt_point *next) {
  int64_t at = place(w, a->worker + 1, a, p->at);
  if (at < from) at = from;
  put_counter(w, a, at, "sequences", "sequences", (double)p->sequences / (double)p->steps);
  put_counter(w, a, at, "accepted length", "tokens",
              p->sequences ? (double)p->tokens / (double)p->sequences : 0);
  double seconds = next ? next->at - p->at : 0;
  put_counter(w, a, at, "speed", "steps per second",
              p->sequences && seconds > 0 ? (double)p->steps / seconds : 0);
}

static void put_totals(writer *w, const tlt_account *a) {
  begin_event(w, a->step, "step", 'i', thread_of_worker(a));
  w->end[a->worker + 1] = place(w, a->worker + 1, a, a->end - a->begin);
  put_ns(w, "ts", w->end[a->worker + 1]);
  tlt_text_add(&w->lines, ",\"s\":\"t\",\"name\":\"totals\",\"args\":{");
  for (int i = 0; i < TLT_WORK_STATES; i++) {
    tlt_text_printf(&w->lines, "\"%s\":", tlt_work_name((tlt_work)i));
    tlt_text_f64(&w->lines, a->seconds[i]);
    tlt_text_add(&w->lines, ",");
  }
  if (a->asides_lost) tlt_text_printf(&w->lines, "\"left_out\":%lld,", (long long)a->asides_lost);
  tlt_text_add(&w->lines, "\"folded\":");
  tlt_text_f64(&w->lines, a->folded + w->cut);
  tlt_text_add(&w->lines, "}}\n");
}

/* ---- groups, reward processes, checkpoints in the background ---------------------------------
 */

static void put_group(writer *w, const tlt_account *a, const tlt_aside *x) {
  int64_t at[2] = {moment(w, a, x->begin), moment(w, a, x->end)};
  for (int i = 0; i < 2; i++) {
    begin_event(w, a->step, "group", i ? 'e' : 'b', thread_of_worker(a));
    put_ns(w, "ts", at[i]);
    tlt_text_printf(&w->lines, ",\"id\":%lld,\"name\":\"group\",\"args\":{", (long long)x->detail);
    if (i == 0)
      tlt_text_printf(&w->lines, "\"worker\":%d,\"detail\":%lld", a->worker, (long long)x->detail);
    tlt_text_add(&w->lines, "}}\n");
  }
}

static tlt_status put_beside(writer *w, const tlt_account *a, const tlt_aside *x, tlt_err *err) {
  int by = x->kind == TLT_ASIDE_WRITING ? TLT_TRACE_WRITER : x->by % TLT_TRACE_WRITER;
  int tid = TLT_TRACE_BESIDE + a->worker * TLT_TRACE_EACH + by;
  beside *b = want_beside(w, tid);
  if (!b) return tlt_fail_nomem(err, "trace", sizeof *b);
  if (b->end < 0) put_beside_names(w, a->step, b, a->worker, by);
  int64_t begin = moment(w, a, x->begin), end = moment(w, a, x->end);
  if (begin < b->end) begin = b->end;
  if (end <= begin) return TLT_OK;
  begin_event(w, a->step, "beside", 'X', tid);
  put_ns(w, "ts", begin);
  put_ns(w, "dur", end - begin);
  tlt_text_printf(&w->lines, ",\"name\":\"%s\",\"args\":{\"detail\":%lld}}\n",
                  tlt_aside_name((tlt_aside_kind)x->kind), (long long)x->detail);
  b->end = end;
  return TLT_OK;
}

static tlt_status put_asides(writer *w, const tlt_account *a, tlt_err *err) {
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < a->n_asides; i++)
    if (a->aside[i].kind == TLT_ASIDE_GROUP) put_group(w, a, &a->aside[i]);
    else s = put_beside(w, a, &a->aside[i], err);
  return s;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

/* Each from its mark to the next one, the last to the end of the step. */
static void put_stages(writer *w, const tlt_account *a, int64_t begin, int64_t end) {
  for (int i = 0; i < a->n_stages; i++) {
    int64_t from = moment(w, a, a->stage[i].at), to = end;
    if (i + 1 < a->n_stages) to = moment(w, a, a->stage[i + 1].at);
    if (from < begin) from = begin;
    if (to > end) to = end;
    if (to <= from) continue;
    begin_event(w, a->step, "stage", 'X', TLT_TRACE_STEPS);
    put_ns(w, "ts", from);
    put_ns(w, "dur", to - from);
    tlt_text_printf(&w->lines, ",\"name\":\"%s\",\"args\":{}}\n",
                    tlt_stage_name((tlt_stage)a->stage[i].stage));
  }
}

static void put_step(writer *w, const tlt_account *a) {
  int64_t begin = place(w, 0, a, 0), end = place(w, 0, a, a->end - a->begin);
  if (w->end[0] < 0) put_names(w, a->step, 0);
  begin_event(w, a->step, "step", 'X', TLT_TRACE_STEPS);
  put_ns(w, "ts", begin);
  put_ns(w, "dur", end - begin);
  tlt_text_printf(&w->lines, ",\"name\":\"step %lld\",\"args\":{}}\n", (long long)a->step);
  if (tlt_trace_file_details(w->file, a->step)) put_stages(w, a, begin, end);
  w->end[0] = end;
}

/* ---- the sink -----------------------------------------------------------------------------------
 */

static tlt_status put(void *state, const tlt_account *a, tlt_err *err) {
  writer *w = state;
  if (a->step < w->last_step)
    return tlt_fail(err, TLT_EINTERNAL, "trace: got step %lld after %lld", (long long)a->step,
                    (long long)w->last_step);
  tlt_status s = want_track(w, a->worker + 1, err);
  if (s != TLT_OK) return s;
  w->last_step = a->step;
  tlt_text_clear(&w->lines);
  if (a->worker == 0) put_step(w, a);
  if (w->end[a->worker + 1] < 0) put_names(w, a->step, a->worker + 1);
  w->cut = 0;
  if (tlt_trace_file_details(w->file, a->step)) {
    int64_t from = w->end[a->worker + 1];
    for (int i = 0; i < a->n_points; i++)
      put_point(w, a, from, &a->point[i], i + 1 < a->n_points ? &a->point[i + 1] : NULL);
    for (int i = 0; i < a->n_spans; i++) put_span(w, a, &a->span[i]);
    s = put_asides(w, a, err);
  }
  put_totals(w, a);
  if (s == TLT_OK) s = tlt_text_check(&w->lines, err);
  return s == TLT_OK ? tlt_trace_file_add(w->file, w->lines.data, w->lines.n, err) : s;
}

static tlt_status sync_writer(void *state, tlt_err *err) {
  writer *w = state;
  return tlt_trace_file_sync(w->file, err);
}

static tlt_status close_writer(void *state, tlt_err *err) {
  writer *w = state;
  if (!w) return TLT_OK;
  tlt_status s = tlt_trace_file_close(w->file, err);
  tlt_text_free(&w->lines);
  tlt_free(w->end);
  tlt_free(w->beside);
  tlt_free(w);
  return s;
}

tlt_status tlt_trace_start(const char *run, int64_t last_step, uint64_t limit, void **state,
                           tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, run, "trace.json");
  writer *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "trace writer", sizeof *w);
  w->from = tlt_now();
  w->last_step = last_step;
  tlt_status s = want_track(w, 0, err);
  if (s == TLT_OK) s = tlt_trace_file_open(path, last_step, limit, see, w, &w->file, err);
  for (int i = 0; s == TLT_OK && i < w->n_tracks; i++)
    if (w->end[i] == 0) w->end[i] = w->before;
  for (int i = 0; s == TLT_OK && i < w->n_beside; i++)
    if (w->beside[i].end == 0) w->beside[i].end = w->before;
  if (s == TLT_OK) *state = w;
  else close_writer(w, NULL);
  return s;
}

static tlt_status start(void *context, const char *run, int64_t last_step, void **state,
                        tlt_err *err) {
  (void)context;
  return tlt_trace_start(run, last_step, TLT_TRACE_BYTES, state, err);
}

const tlt_trace_sink tlt_trace_json = {start, put, sync_writer, close_writer, NULL};
