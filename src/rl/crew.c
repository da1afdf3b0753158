#include "rl/crew.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define END_WAIT_S 0.05 /* between looks at messages while others end a phase */

tlt_status tlt_crew_open(tlt_crew *c, tlt_cluster *cluster, tlt_err *err) {
  *c = (tlt_crew){.cluster = cluster, .size = cluster ? tlt_cluster_size(cluster) : 1};
  c->worker = tlt_calloc((size_t)c->size, sizeof *c->worker);
  c->account = tlt_calloc((size_t)c->size, sizeof *c->account);
  c->clock = tlt_calloc((size_t)c->size, sizeof *c->clock);
  if (!c->worker || !c->account || !c->clock)
    return tlt_fail_nomem(err, "workers", (size_t)c->size * sizeof *c->account);
  for (int w = 0; w < c->size; w++) c->worker[w].task = -1;
  return TLT_OK;
}

void tlt_crew_close(tlt_crew *c) {
  tlt_free(c->worker);
  tlt_free(c->account);
  tlt_free(c->clock);
  *c = (tlt_crew){0};
}

tlt_status tlt_crew_tell(tlt_crew *c, tlt_tag tag, const void *data, size_t n, tlt_err *err) {
  tlt_status s = TLT_OK;
  for (int w = 1; s == TLT_OK && w < c->size; w++)
    s = tlt_cluster_send(c->cluster, w, (int)tag, data, n, err);
  return s;
}

/* ---- messages from workers --------------------------------------------------------------------
 */

tlt_status tlt_crew_read(const tlt_mail *m, void *to, size_t n, tlt_err *err) {
  if (m->bytes != n)
    return tlt_fail(err, TLT_EINTERNAL, "message %d: got %zu bytes, expected %zu", m->tag, m->bytes,
                    n);
  if (n) memcpy(to, m->data, n);
  return TLT_OK;
}

/* Whatever it says, it is a failure. */
static tlt_status failed(const tlt_mail *m, tlt_err *err) {
  tlt_msg_failed f = {.status = TLT_EWORKER};
  if (m->bytes == sizeof f) memcpy(&f, m->data, sizeof f);
  f.text[sizeof f.text - 1] = 0;
  bool known = f.status > TLT_OK && f.status <= TLT_ESTOPPED;
  return tlt_fail(err, known ? (tlt_status)f.status : TLT_EWORKER, "%.900s", f.text);
}

static tlt_status take_group(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  if (!c->group) return tlt_fail(err, TLT_EINTERNAL, "got a group outside a rollout");
  return c->group(c->context, m->from, m->data, m->bytes, err);
}

static tlt_status take_result(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  tlt_crew_worker *w = &c->worker[m->from];
  int task = w->task;
  w->task = -1;
  w->free = true;
  if (task < 0 || !c->update) return tlt_fail(err, TLT_EINTERNAL, "got a result of no task");
  return tlt_update_receive(c->update, task, m->data, m->bytes, err);
}

/* What the worker's clock says of an account becomes what the leader's says. */
static void shift(tlt_crew *c, tlt_account *a, double now) {
  tlt_clock_gap *gap = &c->clock[a->worker];
  tlt_clock_gap_learn(gap, c->asked, now, tlt_now());
  a->begin -= tlt_clock_ahead(gap);
  a->end -= tlt_clock_ahead(gap);
}

static tlt_status take_report(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  tlt_msg_report *r = &c->worker[m->from].report;
  tlt_account *a = &c->account[m->from];
  if (m->bytes < sizeof *r) return tlt_fail(err, TLT_EINTERNAL, "report: got %zu bytes", m->bytes);
  memcpy(r, m->data, sizeof *r);
  const unsigned char *account = (const unsigned char *)m->data + sizeof *r;
  tlt_status s = tlt_account_unpack(a, account, m->bytes - sizeof *r, err);
  if (s == TLT_OK && a->worker != m->from)
    s = tlt_fail(err, TLT_EINTERNAL, "account: got that of worker %d", a->worker);
  if (s == TLT_OK && !isfinite(r->now))
    s = tlt_fail(err, TLT_EINTERNAL, "report: got the time %g", r->now);
  if (s == TLT_OK) shift(c, a, r->now);
  c->worker[m->from].ended = s == TLT_OK;
  return s;
}

static tlt_status take_ended(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  tlt_crew_worker *w = &c->worker[m->from];
  tlt_status s = tlt_crew_read(m, &w->sums, sizeof w->sums, err);
  w->ended = s == TLT_OK;
  w->free = w->task < 0;
  return s;
}

static tlt_status take_by_tag(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  tlt_crew_worker *w = &c->worker[m->from];
  switch ((tlt_tag)m->tag) {
    case TLT_TAG_WANT: w->wants = true; return TLT_OK;
    case TLT_TAG_FREE: w->free = w->task < 0; return TLT_OK;
    case TLT_TAG_GROUP: return take_group(c, m, err);
    case TLT_TAG_RESULT: return take_result(c, m, err);
    case TLT_TAG_PROGRESS: return tlt_crew_read(m, &w->sums.done, sizeof w->sums.done, err);
    case TLT_TAG_ENDED: return take_ended(c, m, err);
    case TLT_TAG_ACCOUNT: return take_report(c, m, err);
    case TLT_TAG_FAILED: return failed(m, err);
    default: return tlt_fail(err, TLT_EINTERNAL, "got message %d", m->tag);
  }
}

static tlt_status take(tlt_crew *c, const tlt_mail *m, tlt_err *err) {
  if (m->from < 1 || m->from >= c->size)
    return tlt_fail(err, TLT_EINTERNAL, "got a message of worker %d, expected one of 1 .. %d",
                    m->from, c->size - 1);
  tlt_status s = take_by_tag(c, m, err);
  if (s != TLT_OK) tlt_fail_prefix(err, "worker %d", m->from);
  return s;
}

static tlt_status give_task(tlt_crew *c, int to, tlt_err *err) {
  int task = tlt_update_take(c->update);
  void *bytes = NULL;
  size_t n = 0;
  c->worker[to].task = task;
  c->worker[to].free = false;
  tlt_status s = tlt_update_pack(c->update, task, &bytes, &n, err);
  if (s == TLT_OK) s = tlt_cluster_send(c->cluster, to, TLT_TAG_TASK, bytes, n, err);
  tlt_free(bytes);
  return s;
}

tlt_status tlt_crew_serve(tlt_crew *c, tlt_err *err) {
  tlt_status s = TLT_OK;
  tlt_mail m;
  for (bool got = c->size > 1; s == TLT_OK && got;) {
    s = tlt_cluster_receive(c->cluster, &m, &got, err);
    if (s == TLT_OK && got) s = take(c, &m, err);
  }
  for (int w = 1; s == TLT_OK && w < c->size && c->update && c->update->waiting; w++)
    if (c->worker[w].free) s = give_task(c, w, err);
  return s;
}

tlt_status tlt_crew_wait(tlt_crew *c, double seconds, tlt_err *err) {
  return c->size > 1 ? tlt_cluster_wait(c->cluster, seconds, err) : TLT_OK;
}

/* ---- phases -----------------------------------------------------------------------------------
 */

tlt_status tlt_crew_begin(tlt_crew *c, const tlt_msg_rollout *what, tlt_err *err) {
  for (int w = 0; w < c->size; w++) c->worker[w] = (tlt_crew_worker){.task = -1};
  return tlt_crew_tell(c, TLT_TAG_ROLLOUT, what, sizeof *what, err);
}

/* All answer what they were asked. */
static tlt_status ask(tlt_crew *c, tlt_tag tag, const void *data, size_t n, tlt_err *err) {
  int missing = c->size - 1;
  for (int w = 1; w < c->size; w++) c->worker[w].ended = false;
  tlt_status s = tlt_crew_tell(c, tag, data, n, err);
  while (s == TLT_OK && missing) {
    s = tlt_crew_serve(c, err);
    missing = 0;
    for (int w = 1; w < c->size; w++) missing += !c->worker[w].ended;
    if (s == TLT_OK && missing) s = tlt_crew_wait(c, END_WAIT_S, err);
  }
  return s;
}

tlt_status tlt_crew_end(tlt_crew *c, tlt_tag tag, tlt_err *err) {
  return ask(c, tag, NULL, 0, err);
}

tlt_status tlt_crew_report(tlt_crew *c, const tlt_account *account, const tlt_msg_report *own,
                           tlt_err *err) {
  c->account[0] = *account;
  c->worker[0].report = *own;
  c->asked = tlt_now();
  tlt_status s = ask(c, TLT_TAG_REPORT, NULL, 0, err);
  for (int w = 1; w < c->size; w++) c->account[w].step = account->step;
  return s;
}

tlt_msg_progress tlt_crew_progress(const tlt_crew *c) {
  tlt_msg_progress sum = {0};
  for (int w = 1; w < c->size; w++) {
    sum.answers += c->worker[w].sums.done.answers;
    sum.tokens += c->worker[w].sums.done.tokens;
    sum.prompt_tokens += c->worker[w].sums.done.prompt_tokens;
  }
  return sum;
}

tlt_status tlt_crew_step(tlt_crew *c, tlt_trainer *t, float scale, const tlt_adamw *how,
                         tlt_step_result *result, tlt_err *err) {
  tlt_msg_step m = {scale, *how};
  tlt_status s = tlt_crew_tell(c, TLT_TAG_STEP, &m, sizeof m, err);
  return s == TLT_OK ? tlt_trainer_step(t, scale, how, result, err) : s;
}

void tlt_crew_stop(tlt_crew *c) {
  tlt_crew_tell(c, TLT_TAG_STOP, NULL, 0, NULL);
}
