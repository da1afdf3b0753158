#include "events/spans.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

#define SHORTEST_S 0.0002       /* first bound below which spans are folded */
#define SHORTEST_ASIDE_S 0.0002 /* and asides left out */

const char *tlt_work_name(tlt_work state) {
  static const char *const names[] = {
#define NAME(id, name) name,
      TLT_WORK_LIST(NAME)
#undef NAME
  };
  return names[state];
}

const char *tlt_aside_name(tlt_aside_kind kind) {
  static const char *const names[] = {
#define NAME(id, name) name,
      TLT_ASIDE_LIST(NAME)
#undef NAME
  };
  return names[kind];
}

const char *tlt_stage_name(tlt_stage stage) {
  static const char *const names[] = {
#define NAME(id, name) name,
      TLT_STAGE_LIST(NAME)
#undef NAME
  };
  return names[stage];
}

/* ---- spans --------------------------------------------------------------------------------------
 */

static void extend(tlt_span *to, const tlt_span *by) {
  if (to->state == by->state) {
    to->count += by->count;
    if (by->end - by->begin > to->end - to->begin) to->detail = by->detail;
  }
  to->end = by->end;
}

/* One pass: spans shorter than the bound become part of the one before. */
static void fold(tlt_account *a) {
  int n = 0;
  for (int i = 0; i < a->n_spans; i++) {
    const tlt_span s = a->span[i];
    tlt_span *last = n > 0 ? &a->span[n - 1] : NULL;
    bool brief = s.end - s.begin < a->shortest;
    bool same = last && last->state == s.state && (brief || last->detail == s.detail);
    if (last && brief && !same) a->folded += s.end - s.begin;
    if (last && (brief || same)) extend(last, &s);
    else a->span[n++] = s;
  }
  a->n_spans = n;
}

static void make_room(tlt_account *a) {
  fold(a);
  while (a->n_spans > TLT_SPANS_MAX / 2) {
    a->shortest *= 2;
    fold(a);
  }
}

static void close_span(tlt_account *a, double now) {
  if (now < a->since) now = a->since;
  tlt_span s = {.begin = a->since - a->begin,
                .end = now - a->begin,
                .detail = a->detail,
                .state = a->state,
                .count = a->count};
  a->seconds[a->state] += now - a->since;
  a->since = now;
  if (s.end <= s.begin) return;
  if (a->n_spans == TLT_SPANS_MAX) make_room(a);
  a->span[a->n_spans++] = s;
}

static void open_span(tlt_account *a, tlt_work state, int64_t detail) {
  a->state = (int32_t)state;
  a->detail = detail;
  a->count = 1;
}

void tlt_account_begin(tlt_account *a, int64_t step, int worker, tlt_work state) {
  if (!a) return;
  memset(a, 0, offsetof(tlt_account, span));
  a->step = step;
  a->worker = worker;
  a->begin = a->since = tlt_now();
  a->cpu_before = tlt_cpu();
  a->shortest = SHORTEST_S;
  a->shortest_aside = SHORTEST_ASIDE_S;
  a->per_point = 1;
  a->running = 1;
  open_span(a, state, TLT_NO_DETAIL);
}

tlt_work tlt_account_enter_for(tlt_account *a, tlt_work state, int64_t detail) {
  if (!a) return TLT_WORK_OTHER;
  tlt_work before = (tlt_work)a->state;
  if (!a->running) return before;
  if (before == state && a->detail == detail) {
    a->count++;
    return before;
  }
  close_span(a, tlt_now());
  open_span(a, state, detail);
  return before;
}

tlt_work tlt_account_enter(tlt_account *a, tlt_work state) {
  return tlt_account_enter_for(a, state, TLT_NO_DETAIL);
}

int64_t tlt_account_detail(const tlt_account *a) {
  return a ? a->detail : TLT_NO_DETAIL;
}

void tlt_account_unenter(tlt_account *a, tlt_work before) {
  if (!a || !a->running) return;
  if (--a->count == 0) open_span(a, before, TLT_NO_DETAIL);
  else if ((tlt_work)a->state != before) tlt_account_enter(a, before);
}

double tlt_account_finish(tlt_account *a) {
  if (!a) return 0;
  if (a->running) {
    close_span(a, tlt_now());
    a->end = a->since;
    a->cpu = tlt_cpu() - a->cpu_before;
    a->running = 0;
  }
  return a->end - a->begin;
}

/* ---- points -------------------------------------------------------------------------------------
 */

static void halve_points(tlt_account *a) {
  for (int i = 0; i < TLT_POINTS_MAX / 2; i++) {
    const tlt_point x = a->point[2 * i], y = a->point[2 * i + 1];
    a->point[i] =
        (tlt_point){x.at, x.steps + y.steps, x.sequences + y.sequences, x.tokens + y.tokens};
  }
  a->n_points = TLT_POINTS_MAX / 2;
  a->per_point *= 2;
}

void tlt_account_decoded(tlt_account *a, int64_t sequences, int64_t tokens) {
  if (!a || !a->running) return;
  tlt_point *p = a->n_points > 0 ? &a->point[a->n_points - 1] : NULL;
  if (!p || p->steps >= a->per_point || (p->sequences > 0) != (sequences > 0)) {
    if (a->n_points == TLT_POINTS_MAX) halve_points(a);
    p = &a->point[a->n_points++];
    *p = (tlt_point){.at = tlt_now() - a->begin};
  }
  p->steps++;
  p->sequences += sequences;
  p->tokens += tokens;
}

/* ---- asides and stages -------------------------------------------------------------------------
 */

/* One pass: asides shorter than the bound are left out. */
static void leave_out_asides(tlt_account *a) {
  int n = 0;
  for (int i = 0; i < a->n_asides; i++)
    if (a->aside[i].end - a->aside[i].begin >= a->shortest_aside) a->aside[n++] = a->aside[i];
  a->asides_lost += a->n_asides - n;
  a->n_asides = n;
}

static void make_room_for_asides(tlt_account *a) {
  leave_out_asides(a);
  while (a->n_asides > TLT_ASIDES_MAX / 2) {
    a->shortest_aside *= 2;
    leave_out_asides(a);
  }
}

void tlt_account_aside(tlt_account *a, tlt_aside_kind kind, int by, int64_t detail, double from,
                       double to) {
  if (!a || !a->running || !(to >= from)) return;
  if (a->n_asides == TLT_ASIDES_MAX) make_room_for_asides(a);
  a->aside[a->n_asides++] = (tlt_aside){from - a->begin, to - a->begin, detail, (int32_t)kind, by};
}

void tlt_account_stage(tlt_account *a, tlt_stage stage) {
  if (!a || !a->running || a->n_stages == TLT_STAGES_MAX) return;
  if (a->n_stages && a->stage[a->n_stages - 1].stage == (int32_t)stage) return;
  a->stage[a->n_stages++] = (tlt_stage_mark){tlt_now() - a->begin, (int32_t)stage, 0};
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

enum { HEAD_BYTES = offsetof(tlt_account, span) };

/* Bytes of the three lists. */
typedef struct lists {
  size_t spans, points, asides;
} lists;

static lists lists_of(const tlt_account *a) {
  return (lists){(size_t)a->n_spans * sizeof *a->span, (size_t)a->n_points * sizeof *a->point,
                 (size_t)a->n_asides * sizeof *a->aside};
}

size_t tlt_account_bytes(const tlt_account *a) {
  lists l = lists_of(a);
  return HEAD_BYTES + l.spans + l.points + l.asides;
}

size_t tlt_account_pack(const tlt_account *a, void *to) {
  lists l = lists_of(a);
  char *at = to;
  memcpy(at, a, HEAD_BYTES);
  at += HEAD_BYTES;
  memcpy(at, a->span, l.spans);
  memcpy(at + l.spans, a->point, l.points);
  memcpy(at + l.spans + l.points, a->aside, l.asides);
  return tlt_account_bytes(a);
}

static bool sound_spans(const tlt_account *a) {
  double at = 0;
  for (int i = 0; i < a->n_spans; i++) {
    const tlt_span *s = &a->span[i];
    if (s->state < 0 || s->state >= TLT_WORK_STATES) return false;
    if (!(s->begin >= at && s->end >= s->begin && isfinite(s->end))) return false;
    at = s->end;
  }
  return true;
}

static bool sound_asides(const tlt_account *a) {
  double at = 0;
  for (int i = 0; i < a->n_asides; i++) {
    const tlt_aside *x = &a->aside[i];
    if (x->kind < 0 || x->kind >= TLT_ASIDE_KINDS || x->by < 0) return false;
    if (!(isfinite(x->begin) && isfinite(x->end) && x->end >= x->begin)) return false;
  }
  for (int i = 0; i < a->n_stages; i++) {
    const tlt_stage_mark *x = &a->stage[i];
    if (x->stage < 0 || x->stage >= TLT_STAGES || !(x->at >= at && isfinite(x->at))) return false;
    at = x->at;
  }
  return true;
}

static bool sound(const tlt_account *a) {
  for (int i = 0; i < TLT_WORK_STATES; i++)
    if (!isfinite(a->seconds[i])) return false;
  for (int i = 0; i < a->n_points; i++)
    if (a->point[i].steps < 1 || !isfinite(a->point[i].at)) return false;
  return sound_spans(a) && sound_asides(a) && isfinite(a->begin) && isfinite(a->end) &&
         isfinite(a->folded) && a->end >= a->begin && a->worker >= 0 && !a->running;
}

static bool within(int n, int most) {
  return n >= 0 && n <= most;
}

tlt_status tlt_account_unpack(tlt_account *a, const void *from, size_t bytes, tlt_err *err) {
  const char *at = from;
  bool whole = bytes >= HEAD_BYTES;
  if (whole) {
    memcpy(a, at, HEAD_BYTES);
    whole = within(a->n_spans, TLT_SPANS_MAX) && within(a->n_points, TLT_POINTS_MAX) &&
            within(a->n_asides, TLT_ASIDES_MAX) && within(a->n_stages, TLT_STAGES_MAX) &&
            tlt_account_bytes(a) == bytes;
  }
  if (!whole)
    return tlt_fail(err, TLT_EDATA, "account: got %zu bytes, expected a whole one", bytes);
  lists l = lists_of(a);
  at += HEAD_BYTES;
  memcpy(a->span, at, l.spans);
  memcpy(a->point, at + l.spans, l.points);
  memcpy(a->aside, at + l.spans + l.points, l.asides);
  if (sound(a)) return TLT_OK;
  return tlt_fail(err, TLT_EDATA, "account: got times or states that no worker can have");
}
