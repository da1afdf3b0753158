#include "report/watch_feed.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "events/spans.h"
#include "report/payload.h"

typedef struct item {
  struct item *next;
  uint64_t id;
  size_t n;
  char data[];
} item;

/* Oldest first. */
typedef struct queue {
  item *first, *last;
  size_t bytes;
  int n;
  uint64_t dropped; /* id of the newest that is no longer kept */
} queue;

struct tlt_feed {
  char run[24]; /* part of every id: another process has another */
  pthread_mutex_t lock;
  /* under the lock */
  uint64_t id; /* of the newest event */
  queue steps, timelines;
  tlt_feed_progress progress;
  uint64_t progress_id, end_id; /* 0: none */
  char *end;                    /* JSON */
  /* of the server's thread: the newest timeline as text */
  uint64_t drawn_id;
  tlt_json_writer drawn;
  tlt_account account;
};

tlt_status tlt_feed_open(tlt_feed **out, tlt_err *err) {
  tlt_feed *f = tlt_calloc(1, sizeof *f);
  if (!f) return tlt_fail_nomem(err, "watch", sizeof *f);
  snprintf(f->run, sizeof f->run, "%llx", (unsigned long long)(tlt_wall() * 1000));
  pthread_mutex_init(&f->lock, NULL);
  *out = f;
  return TLT_OK;
}

/* ---- putting ------------------------------------------------------------------------------------
 */

static void drop_first(queue *q) {
  item *gone = q->first;
  q->first = gone->next;
  if (!q->first) q->last = NULL;
  q->bytes -= gone->n;
  q->n--;
  q->dropped = gone->id;
  tlt_free(gone);
}

static tlt_status put(tlt_feed *f, queue *q, size_t bytes, int count, const char *data, size_t n,
                      tlt_err *err) {
  item *x = tlt_malloc(sizeof *x + n);
  if (!x) return tlt_fail_nomem(err, "watch", sizeof *x + n);
  *x = (item){.n = n};
  memcpy(x->data, data, n);
  pthread_mutex_lock(&f->lock);
  x->id = ++f->id;
  if (q->last) q->last->next = x;
  else q->first = x;
  q->last = x;
  q->bytes += n;
  q->n++;
  while (q->bytes > bytes || q->n > count) drop_first(q);
  pthread_mutex_unlock(&f->lock);
  return TLT_OK;
}

tlt_status tlt_feed_step(tlt_feed *f, const char *json, size_t n, tlt_err *err) {
  return put(f, &f->steps, TLT_FEED_STEP_BYTES, INT32_MAX, json, n, err);
}

tlt_status tlt_feed_timeline(tlt_feed *f, const char *packed, size_t n, tlt_err *err) {
  if (n > TLT_FEED_TIMELINE_BYTES) return TLT_OK;
  return put(f, &f->timelines, TLT_FEED_TIMELINE_BYTES, TLT_FEED_TIMELINES, packed, n, err);
}

void tlt_feed_progress_put(tlt_feed *f, const tlt_feed_progress *p) {
  if (pthread_mutex_trylock(&f->lock)) return;
  f->progress = *p;
  f->progress_id = ++f->id;
  pthread_mutex_unlock(&f->lock);
}

void tlt_feed_end(tlt_feed *f, const char *state, const char *reason) {
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string(&w, "state", state);
  if (reason) tlt_json_put_string(&w, "reason", reason);
  else tlt_json_put_null(&w, "reason");
  tlt_json_end(&w, '}');
  pthread_mutex_lock(&f->lock);
  if (!f->end_id && !w.text.failed) {
    f->end = w.text.data;
    f->end_id = ++f->id;
    w.text = (tlt_text){0};
  }
  pthread_mutex_unlock(&f->lock);
  tlt_text_free(&w.text);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static const item *first_behind(const queue *q, uint64_t at) {
  const item *x = q->first;
  while (x && x->id <= at) x = x->next;
  return x;
}

static void begin_frame(const tlt_feed *f, uint64_t id, const char *event, tlt_text *to) {
  tlt_text_printf(to, "id: %s.%llu\nevent: %s\ndata: ", f->run, (unsigned long long)id, event);
}

static void put_progress(tlt_text *to, const tlt_feed_progress *p) {
  tlt_text_printf(to,
                  "{\"phase\":\"%s\",\"step\":%lld,\"steps\":%lld,\"done\":%lld,\"total\":%lld,"
                  "\"rate\":%.1f",
                  p->phase, (long long)p->step, (long long)p->steps, (long long)p->done,
                  (long long)p->total, p->rate);
  if (p->left >= 0) tlt_text_printf(to, ",\"left\":%.1f", p->left);
  tlt_text_add(to, "}");
}

/* What comes next, by the lock's holder. A timeline is only copied: it becomes text outside. */
typedef struct candidate {
  uint64_t id;
  const char *event;
  const item *item; /* NULL: progress or end */
} candidate;

static candidate earliest(const tlt_feed *f, uint64_t at) {
  const item *step = first_behind(&f->steps, at), *timeline = first_behind(&f->timelines, at);
  const candidate all[] = {{step ? step->id : 0, "step", step},
                           {timeline ? timeline->id : 0, "timeline", timeline},
                           {f->progress_id, "progress", NULL},
                           {f->end_id, "end", NULL}};
  candidate best = {0};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i].id > at && (!best.id || all[i].id < best.id)) best = all[i];
  return best;
}

static void copy(const tlt_feed *f, const candidate *c, tlt_text *to) {
  begin_frame(f, c->id, c->event, to);
  if (c->item) tlt_text_add_n(to, c->item->data, c->item->n);
  else if (c->id == f->progress_id) put_progress(to, &f->progress);
  else tlt_text_add(to, f->end);
  tlt_text_add(to, "\n\n");
}

/* {"step":N,"workers":[...]} */
static void draw_accounts(tlt_feed *f, const char *packed, size_t n) {
  tlt_json_writer *w = &f->drawn;
  double begin = 0;
  for (size_t at = 0, bytes; at + sizeof bytes <= n; at += bytes) {
    memcpy(&bytes, packed + at, sizeof bytes);
    at += sizeof bytes;
    if (bytes > n - at || tlt_account_unpack(&f->account, packed + at, bytes, NULL) != TLT_OK)
      break;
    if (f->account.worker == 0) {
      begin = f->account.begin;
      tlt_json_begin(w, NULL, '{');
      tlt_json_put_int(w, "step", f->account.step);
      tlt_json_begin(w, "workers", '[');
    }
    tlt_payload_worker(w, &f->account, begin);
  }
  tlt_json_end(w, ']');
  tlt_json_end(w, '}');
}

static void draw(tlt_feed *f, uint64_t id, const char *packed, size_t n) {
  tlt_text_clear(&f->drawn.text);
  f->drawn.comma = false;
  begin_frame(f, id, "timeline", &f->drawn.text);
  draw_accounts(f, packed, n);
  tlt_text_add(&f->drawn.text, "\n\n");
  f->drawn_id = f->drawn.text.failed ? 0 : id;
}

tlt_feed_found tlt_feed_read(tlt_feed *f, uint64_t *at, tlt_text *to) {
  tlt_text packed = {0};
  tlt_feed_found found = TLT_FEED_EVENT;
  pthread_mutex_lock(&f->lock);
  candidate next = earliest(f, *at);
  if (*at < f->steps.dropped) {
    found = TLT_FEED_MISSED;
    next.id = f->id;
  } else if (!next.id) {
    found = f->end_id ? TLT_FEED_OVER : TLT_FEED_NOTHING;
    next.id = *at;
  } else if (next.item && next.event[0] == 't') {
    if (f->drawn_id != next.id) tlt_text_add_n(&packed, next.item->data, next.item->n);
  } else {
    copy(f, &next, to);
  }
  pthread_mutex_unlock(&f->lock);
  bool timeline = found == TLT_FEED_EVENT && next.event[0] == 't';
  if (packed.n) draw(f, next.id, packed.data, packed.n);
  if (timeline && f->drawn_id == next.id) tlt_text_add_n(to, f->drawn.text.data, f->drawn.text.n);
  tlt_text_free(&packed);
  *at = next.id;
  return found;
}

uint64_t tlt_feed_now(tlt_feed *f) {
  pthread_mutex_lock(&f->lock);
  uint64_t id = f->id;
  pthread_mutex_unlock(&f->lock);
  return id;
}

uint64_t tlt_feed_recent(tlt_feed *f) {
  pthread_mutex_lock(&f->lock);
  const item *step = f->steps.last, *timeline = f->timelines.last;
  uint64_t id = step ? step->id : f->id + 1;
  if (timeline && timeline->id < id && timeline->id > f->steps.dropped) id = timeline->id;
  pthread_mutex_unlock(&f->lock);
  return id - 1;
}

bool tlt_feed_holds(tlt_feed *f, uint64_t at) {
  pthread_mutex_lock(&f->lock);
  bool holds = at >= f->steps.dropped;
  pthread_mutex_unlock(&f->lock);
  return holds;
}

void tlt_feed_id(const tlt_feed *f, uint64_t at, char id[TLT_FEED_ID_MAX]) {
  snprintf(id, TLT_FEED_ID_MAX, "%s.%llu", f->run, (unsigned long long)at);
}

bool tlt_feed_place(tlt_feed *f, const char *id, uint64_t *at) {
  size_t n = strlen(f->run), digits;
  if (strncmp(id, f->run, n) != 0 || id[n] != '.') return false;
  digits = strspn(id + n + 1, "0123456789");
  unsigned long long number = 0;
  if (!digits || digits > 18 || id[n + 1 + digits]) return false;
  sscanf(id + n + 1, "%llu", &number);
  *at = number;
  return number <= tlt_feed_now(f);
}

bool tlt_feed_newest(tlt_feed *f, tlt_text *step, tlt_feed_progress *progress) {
  pthread_mutex_lock(&f->lock);
  bool any = f->progress_id > 0;
  if (f->steps.last) tlt_text_add_n(step, f->steps.last->data, f->steps.last->n);
  *progress = f->progress;
  pthread_mutex_unlock(&f->lock);
  return any;
}

void tlt_feed_free(tlt_feed *f) {
  if (!f) return;
  while (f->steps.first) drop_first(&f->steps);
  while (f->timelines.first) drop_first(&f->timelines);
  pthread_mutex_destroy(&f->lock);
  tlt_text_free(&f->drawn.text);
  tlt_free(f->end);
  tlt_free(f);
}
