#include "report/tensorboard.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"
#include "report/event_file.h"
#include "report/tensorboard_values.h"
#include "tensorboard.pb-c.h"

enum { VALUES_MAX = TLT_METRICS_MAX + 2 }; /* the lengths and the answers besides */

typedef struct writer {
  tlt_event_file *file;
  char run[TLT_PATH_MAX];
  tlt_tb_histogram lengths;
  Tlt__Summary__Value value[VALUES_MAX];
  Tlt__Summary__Value *list[VALUES_MAX]; /* to value */
} writer;

static tlt_status add(writer *w, Tlt__Event *e, tlt_err *err) {
  e->wall_time = tlt_wall();
  size_t bytes = tlt__event__get_packed_size(e);
  uint8_t *room = tlt_event_file_room(w->file, bytes);
  if (!room) return tlt_fail_nomem(err, "TensorBoard event", bytes);
  tlt__event__pack(e, room);
  return tlt_event_file_add(w->file, err);
}

/* What every file begins with. */
static tlt_status add_head(writer *w, int64_t first_step, tlt_err *err) {
  Tlt__Event version = TLT__EVENT__INIT, begin = TLT__EVENT__INIT;
  Tlt__Session session = TLT__SESSION__INIT;
  version.what_case = TLT__EVENT__WHAT_FILE_VERSION;
  version.file_version = "brain.Event:2";
  session.status = TLT__SESSION__STATUS__START;
  begin.step = first_step;
  begin.what_case = TLT__EVENT__WHAT_SESSION;
  begin.session = &session;
  tlt_status s = add(w, &version, err);
  return s == TLT_OK ? add(w, &begin, err) : s;
}

static tlt_status close_writer(void *state, tlt_err *err) {
  writer *w = state;
  if (!w) return TLT_OK;
  tlt_status s = tlt_event_file_close(w->file, err);
  tlt_free(w);
  return s;
}

static tlt_status start(void *context, const char *run, int64_t last_step, void **state,
                        tlt_err *err) {
  (void)context;
  char dir[TLT_PATH_MAX];
  tlt_path_join(dir, run, "tensorboard");
  writer *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "TensorBoard writer", sizeof *w);
  snprintf(w->run, sizeof w->run, "%s", run);
  for (int i = 0; i < VALUES_MAX; i++) w->list[i] = &w->value[i];
  tlt_status s = last_step < 0 ? tlt_path_remove(dir, err) : TLT_OK;
  if (s == TLT_OK) s = tlt_event_file_open(dir, &w->file, err);
  if (s == TLT_OK) s = add_head(w, last_step + 1, err);
  if (s == TLT_OK) *state = w;
  else close_writer(w, NULL);
  return s;
}

static size_t fill_scalars(writer *w, const tlt_metrics *m) {
  size_t n = 0;
  for (int i = 0; i < m->n; i++) {
    const tlt_metric *x = &m->item[i];
    double number = x->kind == TLT_METRIC_COUNT ? (double)x->count : x->real;
    if (x->kind == TLT_METRIC_TEXT || !isfinite(number)) continue;
    Tlt__Summary__Value *v = &w->value[n++];
    tlt__summary__value__init(v);
    v->tag = (char *)x->key; /* read only, until this returns */
    v->value_case = TLT__SUMMARY__VALUE__VALUE_NUMBER;
    v->number = (float)number;
  }
  return n;
}

static tlt_status put(void *state, const tlt_metrics *m, tlt_err *err) {
  writer *w = state;
  Tlt__Event event = TLT__EVENT__INIT;
  Tlt__Summary summary = TLT__SUMMARY__INIT;
  tlt_tb_text answers = {0};
  size_t n = fill_scalars(w, m);
  n += tlt_tb_lengths(m, &w->lengths, &w->value[n]);
  n += tlt_tb_answers(w->run, m->step, &answers, &w->value[n]);
  summary.n_value = n;
  summary.value = w->list;
  event.step = m->step;
  event.what_case = TLT__EVENT__WHAT_SUMMARY;
  event.summary = &summary;
  tlt_status s = add(w, &event, err);
  tlt_text_free(&answers.text);
  return s;
}

static tlt_status sync_writer(void *state, tlt_err *err) {
  writer *w = state;
  return tlt_event_file_sync(w->file, err);
}

const tlt_metrics_sink tlt_metrics_tensorboard = {start, put, sync_writer, close_writer, NULL};
