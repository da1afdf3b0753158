#include "report/tee.h"

#include <assert.h>

#include "base/log.h"

typedef enum call { START, PUT, SYNC, CLOSE } call;

/* What the parts are called with, by call. */
typedef struct arguments {
  const char *run;
  int64_t last_step;
  const tlt_metrics *metrics;
  const tlt_account *account;
} arguments;

void tlt_tee_add(tlt_tee *tee, const tlt_tee_part *part) {
  assert(tee->n < TLT_TEE_MAX && !part->metrics != !part->trace);
  tee->part[tee->n++] = *part;
}

static tlt_status call_metrics(tlt_tee_part *p, call what, const arguments *a, tlt_err *err) {
  const tlt_metrics_sink *s = p->metrics;
  switch (what) {
    case START: return s->start(s->context, a->run, a->last_step, &p->state, err);
    case PUT: return s->put(p->state, a->metrics, err);
    case SYNC: return s->sync(p->state, err);
    default: return s->close(p->state, err);
  }
}

static tlt_status call_trace(tlt_tee_part *p, call what, const arguments *a, tlt_err *err) {
  const tlt_trace_sink *s = p->trace;
  switch (what) {
    case START: return s->start(s->context, a->run, a->last_step, &p->state, err);
    case PUT: return s->put(p->state, a->account, err);
    case SYNC: return s->sync(p->state, err);
    default: return s->close(p->state, err);
  }
}

static tlt_status call_part(tlt_tee_part *p, call what, const arguments *a, tlt_err *err) {
  return p->metrics ? call_metrics(p, what, a, err) : call_trace(p, what, a, err);
}

/* A part that fails is over; whether that matters to the run is for the caller. */
static tlt_status run_part(tlt_tee_part *p, call what, const arguments *a, tlt_err *err) {
  if (what != START && !p->running) return TLT_OK;
  tlt_err own = {0};
  tlt_status s = call_part(p, what, a, &own);
  p->running = s == TLT_OK && what != CLOSE;
  if (s == TLT_OK) return s;
  if (what == PUT || what == SYNC) call_part(p, CLOSE, a, NULL);
  if (p->needed && err) *err = own;
  if (p->needed) return s;
  tlt_log_write(TLT_LOG_WARN, "%s: %s; going on without it", p->name, own.text);
  return TLT_OK;
}

/* The first failure of a needed part ends the round, unless all are to be closed. */
static tlt_status each(tlt_tee *t, bool metrics, call what, const arguments *a, tlt_err *err) {
  tlt_status s = TLT_OK;
  for (int i = 0; i < t->n && (s == TLT_OK || what == CLOSE); i++) {
    if (metrics != !!t->part[i].metrics) continue;
    tlt_status part = run_part(&t->part[i], what, a, s == TLT_OK ? err : NULL);
    if (s == TLT_OK) s = part;
  }
  return s;
}

/* ---- metrics ------------------------------------------------------------------------------------
 */

static tlt_status start_metrics(void *tee, const char *run, int64_t last_step, void **state,
                                tlt_err *err) {
  *state = tee;
  return each(tee, true, START, &(arguments){.run = run, .last_step = last_step}, err);
}

static tlt_status put_metrics(void *tee, const tlt_metrics *m, tlt_err *err) {
  return each(tee, true, PUT, &(arguments){.metrics = m}, err);
}

static tlt_status sync_metrics(void *tee, tlt_err *err) {
  return each(tee, true, SYNC, NULL, err);
}

static tlt_status close_metrics(void *tee, tlt_err *err) {
  return tee ? each(tee, true, CLOSE, NULL, err) : TLT_OK;
}

tlt_metrics_sink tlt_tee_metrics(tlt_tee *tee) {
  return (tlt_metrics_sink){start_metrics, put_metrics, sync_metrics, close_metrics, tee};
}

/* ---- trace --------------------------------------------------------------------------------------
 */

static tlt_status start_trace(void *tee, const char *run, int64_t last_step, void **state,
                              tlt_err *err) {
  *state = tee;
  return each(tee, false, START, &(arguments){.run = run, .last_step = last_step}, err);
}

static tlt_status put_account(void *tee, const tlt_account *account, tlt_err *err) {
  return each(tee, false, PUT, &(arguments){.account = account}, err);
}

static tlt_status sync_trace(void *tee, tlt_err *err) {
  return each(tee, false, SYNC, NULL, err);
}

static tlt_status close_trace(void *tee, tlt_err *err) {
  return tee ? each(tee, false, CLOSE, NULL, err) : TLT_OK;
}

tlt_trace_sink tlt_tee_trace(tlt_tee *tee) {
  return (tlt_trace_sink){start_trace, put_account, sync_trace, close_trace, tee};
}
