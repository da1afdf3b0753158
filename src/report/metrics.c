#include "report/metrics.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"

enum { METRICS_FILE_MAX = 1 << 30 };

typedef struct writer {
  tlt_file *file;
  tlt_json_writer line;
} writer;

/* Length of the part of text[0..n) to keep. */
static tlt_status kept_bytes(const char *path, const char *text, size_t n, int64_t last_step,
                             size_t *keep, tlt_err *err) {
  long line = 1;
  for (size_t at = 0; at < n; line++) {
    const char *end = memchr(text + at, '\n', n - at);
    if (!end) break; /* torn by a kill */
    json_t *object = NULL;
    tlt_json_parse(text + at, (size_t)(end - text) - at, path, line, &object, NULL);
    const json_t *step = json_object_get(object, "step"); /* NULL object gives NULL */
    bool good = json_is_integer(step), later = good && json_integer_value(step) > last_step;
    if (object) json_decref(object);
    if (!good)
      return tlt_fail(err, TLT_ECHECKPOINT,
                      "%s:%ld: got no JSON object with \"step\", expected a line of metrics", path,
                      line);
    if (later) break;
    at = (size_t)(end - text) + 1;
    *keep = at;
  }
  return TLT_OK;
}

static tlt_status cut(const char *path, int64_t last_step, tlt_err *err) {
  if (!tlt_path_exists(path)) return TLT_OK;
  char *text = NULL;
  size_t n = 0, keep = 0;
  tlt_file *f = NULL;
  tlt_status s = tlt_file_load(path, METRICS_FILE_MAX, &text, &n, err);
  if (s == TLT_OK) s = kept_bytes(path, text, n, last_step, &keep, err);
  if (s == TLT_OK && keep < n) {
    s = tlt_file_open(path, TLT_FILE_APPEND, &f, err);
    if (s == TLT_OK) s = tlt_file_truncate(f, keep, err);
    tlt_status closed = f ? tlt_file_close(f, s == TLT_OK ? err : NULL) : TLT_OK;
    if (s == TLT_OK) s = closed;
  }
  tlt_free(text);
  return s;
}

static tlt_status start_writer(void *context, const char *run, int64_t last_step, void **state,
                               tlt_err *err) {
  (void)context;
  char path[TLT_PATH_MAX];
  tlt_path_join(path, run, "metrics.jsonl");
  writer *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "metrics writer", sizeof *w);
  tlt_status s = cut(path, last_step, err);
  if (s == TLT_OK) s = tlt_file_open(path, TLT_FILE_APPEND, &w->file, err);
  if (s == TLT_OK) *state = w;
  else tlt_free(w);
  return s;
}

tlt_status tlt_metrics_line(const tlt_metrics *m, tlt_json_writer *line, tlt_err *err) {
  if (m->overflow)
    return tlt_fail(err, TLT_EINTERNAL, "metrics: more than %d values in a step", TLT_METRICS_MAX);
  tlt_text_clear(&line->text);
  line->comma = false;
  tlt_json_begin(line, NULL, '{');
  tlt_json_put_int(line, "step", m->step);
  for (int i = 0; i < m->n; i++) {
    const tlt_metric *x = &m->item[i];
    if (x->kind == TLT_METRIC_REAL) tlt_json_put_f64(line, x->key, x->real);
    if (x->kind == TLT_METRIC_COUNT) tlt_json_put_int(line, x->key, x->count);
    if (x->kind == TLT_METRIC_TEXT) tlt_json_put_string(line, x->key, x->text);
  }
  tlt_json_end(line, '}');
  return tlt_text_check(&line->text, err);
}

static tlt_status put(void *state, const tlt_metrics *m, tlt_err *err) {
  writer *w = state;
  tlt_status s = tlt_metrics_line(m, &w->line, err);
  if (s == TLT_OK) tlt_json_newline(&w->line);
  if (s == TLT_OK) s = tlt_text_check(&w->line.text, err);
  return s == TLT_OK ? tlt_file_write(w->file, w->line.text.data, w->line.text.n, err) : s;
}

static tlt_status sync_writer(void *state, tlt_err *err) {
  writer *w = state;
  return tlt_file_sync(w->file, err);
}

static tlt_status close_writer(void *state, tlt_err *err) {
  writer *w = state;
  if (!w) return TLT_OK;
  tlt_status s = tlt_file_close(w->file, err);
  tlt_text_free(&w->line.text);
  tlt_free(w);
  return s;
}

const tlt_metrics_sink tlt_metrics_jsonl = {start_writer, put, sync_writer, close_writer, NULL};
