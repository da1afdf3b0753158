/* Spans and curves of the steps that fit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/payload_parts.h"
#include "report/run_trace.h"

/* Ten microseconds are finer than a screen shows. */
static void put_seconds(tlt_text *t, double seconds) {
  tlt_text_printf(t, "%.10g", isfinite(seconds) ? rint(seconds * 1e5) / 1e5 : 0.0);
}

static void put_span(tlt_text *t, const tlt_span *s, double shift) {
  tlt_text_add(t, "[");
  put_seconds(t, s->begin + shift);
  tlt_text_add(t, ",");
  put_seconds(t, s->end + shift);
  tlt_text_printf(t, ",\"%s\",", tlt_work_name((tlt_work)s->state));
  if (s->detail == TLT_NO_DETAIL) tlt_text_add(t, "null]");
  else tlt_text_printf(t, "%lld]", (long long)s->detail);
}

static void put_point(tlt_text *t, const tlt_point *p, double shift) {
  double steps = p->steps > 0 ? (double)p->steps : 1;
  double sequences = (double)p->sequences;
  tlt_text_add(t, "[");
  put_seconds(t, p->at + shift);
  tlt_text_printf(t, ",%.4g,%.4g]", sequences / steps,
                  sequences > 0 ? (double)p->tokens / sequences : 0.0);
}

void tlt_payload_worker(tlt_json_writer *w, const tlt_account *a, double begin) {
  tlt_text text = {0};
  double shift = a->begin - begin;
  tlt_text_printf(&text, "{\"worker\":%d,\"seconds\":", a->worker);
  put_seconds(&text, a->end - begin);
  tlt_text_add(&text, ",\"spans\":[");
  for (int i = 0; i < a->n_spans; i++) {
    if (i) tlt_text_add(&text, ",");
    put_span(&text, &a->span[i], shift);
  }
  tlt_text_add(&text, "],\"points\":[");
  for (int i = 0; i < a->n_points; i++) {
    if (i) tlt_text_add(&text, ",");
    put_point(&text, &a->point[i], shift);
  }
  tlt_text_add(&text, "]}");
  if (text.failed) w->text.failed = true;
  else tlt_json_put_raw(w, NULL, text.data);
  tlt_text_free(&text);
}

typedef struct gathering {
  tlt_json_writer *w;
  tlt_saved *saved;
} gathering;

static void take_account(void *context, const tlt_account *a) {
  gathering *g = context;
  tlt_saved_add(g->saved, a);
  if (g->w->text.n < TLT_PAYLOAD_TIMELINE) tlt_payload_worker(g->w, a, a->begin);
}

/* From the newest step back, so that what does not fit is the oldest. Returns at which step of the
 * trace the shown ones begin. */
static tlt_status put_data(tlt_run_trace *t, int stride, gathering *g, tlt_run_log *log, int *first,
                           tlt_err *err) {
  tlt_json_writer *w = g->w;
  tlt_status s = TLT_OK;
  tlt_json_begin(w, "data", '{');
  for (int i = tlt_run_trace_count(t) - 1; s == TLT_OK && i >= 0; i -= stride) {
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)tlt_run_trace_at(t, i)->step);
    bool fits = w->text.n < TLT_PAYLOAD_TIMELINE;
    if (fits) {
      tlt_json_begin(w, key, '[');
      *first = i;
    }
    s = tlt_run_trace_read(t, i, take_account, g, &log->notices, err);
    if (fits) tlt_json_end(w, ']');
  }
  tlt_json_end(w, '}');
  return s;
}

static void put_steps(const tlt_run_trace *t, int first, int stride, tlt_run_log *log,
                      tlt_json_writer *w) {
  int n = tlt_run_trace_count(t);
  tlt_json_begin(w, "steps", '[');
  for (int i = first; i < n; i += stride) tlt_json_put_int(w, NULL, tlt_run_trace_at(t, i)->step);
  tlt_json_end(w, ']');
  if (stride > 1 || first >= stride)
    tlt_notice(&log->notices, "the timeline shows %d of %d steps that trace.json details",
               (n - first + stride - 1) / stride, n);
}

tlt_status tlt_payload_timeline(tlt_run_log *log, tlt_json_writer *w, tlt_saved *saved,
                                tlt_err *err) {
  tlt_run_trace *t = NULL;
  gathering g = {w, saved};
  tlt_status s = tlt_run_trace_open(log->path, &t, &log->notices, err);
  if (s != TLT_OK) return s;
  int stride = tlt_run_trace_stride(t, TLT_PAYLOAD_TRACE), first = tlt_run_trace_count(t);
  tlt_json_begin(w, NULL, '{');
  s = put_data(t, stride, &g, log, &first, err);
  put_steps(t, first, stride, log, w);
  tlt_json_end(w, '}');
  tlt_run_trace_close(t);
  return s;
}
