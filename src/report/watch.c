#include "report/watch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/file.h"
#include "report/metrics.h"
#include "report/page.h"
#include "report/payload.h"
#include "report/prometheus.h"

enum {
  ALIVE_SECONDS = 15, /* between comments */
  PAGE_SHARE = 20,    /* making pages takes at most one part in so many of the time */
  RETRY_MS = 2000     /* before a browser connects again */
};

#define PROGRESS_S 0.2 /* between events about one phase */

/* A page as it was made, shared by the answers that send it. Server's thread. */
typedef struct page {
  int users;
  char *html;
  size_t n;
  uint64_t at; /* place in the feed */
} page;

struct tlt_watch {
  tlt_feed *feed;
  tlt_http_server *server;
  const char *program;
  char run[TLT_PATH_MAX];
  atomic_bool started; /* run is set */
  /* of the run's thread */
  tlt_json_writer line;
  tlt_text accounts; /* of the step that comes to its end */
  int64_t accounts_step;
  tlt_feed_progress told; /* the newest */
  double told_at;
  /* of the server's thread */
  page *page;
  double page_until; /* not made anew before */
};

/* ---- sinks --------------------------------------------------------------------------------------
 */

static tlt_status start(void *context, const char *run, int64_t last_step, void **state,
                        tlt_err *err) {
  tlt_watch *w = context;
  (void)last_step;
  (void)err;
  *state = w;
  if (atomic_load(&w->started)) return TLT_OK;
  snprintf(w->run, sizeof w->run, "%s", run);
  atomic_store(&w->started, true);
  return TLT_OK;
}

static tlt_status put_account(void *state, const tlt_account *a, tlt_err *err) {
  tlt_watch *w = state;
  size_t bytes = tlt_account_bytes(a);
  if (a->step != w->accounts_step) tlt_text_clear(&w->accounts);
  w->accounts_step = a->step;
  if (w->accounts.n + bytes > TLT_FEED_TIMELINE_BYTES / 2) return TLT_OK;
  char *packed = tlt_malloc(bytes);
  if (!packed) return tlt_fail_nomem(err, "watch", bytes);
  tlt_account_pack(a, packed);
  tlt_text_add_n(&w->accounts, (const char *)&bytes, sizeof bytes);
  tlt_text_add_n(&w->accounts, packed, bytes);
  tlt_free(packed);
  return tlt_text_check(&w->accounts, err);
}

static tlt_status put_metrics(void *state, const tlt_metrics *m, tlt_err *err) {
  tlt_watch *w = state;
  tlt_status s = tlt_metrics_line(m, &w->line, err);
  if (s == TLT_OK && w->accounts.n && w->accounts_step == m->step)
    s = tlt_feed_timeline(w->feed, w->accounts.data, w->accounts.n, err);
  tlt_text_clear(&w->accounts);
  if (s == TLT_OK) s = tlt_feed_step(w->feed, w->line.text.data, w->line.text.n, err);
  tlt_http_wake(w->server);
  return s;
}

static tlt_status nothing(void *state, tlt_err *err) {
  (void)state;
  (void)err;
  return TLT_OK;
}

tlt_metrics_sink tlt_watch_metrics(tlt_watch *w) {
  return (tlt_metrics_sink){start, put_metrics, nothing, nothing, w};
}

tlt_trace_sink tlt_watch_trace(tlt_watch *w) {
  return (tlt_trace_sink){start, put_account, nothing, nothing, w};
}

/* A change of step or phase is told at once, the rest when it is time. */
void tlt_watch_progress(tlt_watch *w, const tlt_feed_progress *p) {
  double now = tlt_now();
  bool same = p->phase == w->told.phase && p->step == w->told.step;
  if (same && now - w->told_at < PROGRESS_S) return;
  w->told = *p;
  w->told_at = now;
  tlt_feed_progress_put(w->feed, p);
  tlt_http_wake(w->server);
}

/* ---- events -------------------------------------------------------------------------------------
 */

typedef struct stream {
  tlt_watch *watch;
  uint64_t at;
  tlt_text frame; /* being sent */
  size_t sent;
  double spoke;
} stream;

/* The next event, or a comment when it is time for one. */
static tlt_feed_found next_frame(stream *s) {
  char id[TLT_FEED_ID_MAX];
  tlt_text_clear(&s->frame);
  s->sent = 0;
  tlt_feed_found found = tlt_feed_read(s->watch->feed, &s->at, &s->frame);
  if (found == TLT_FEED_MISSED) {
    tlt_feed_id(s->watch->feed, s->at, id);
    tlt_text_printf(&s->frame, "id: %s\nevent: reload\ndata: {}\n\n", id);
  } else if (found == TLT_FEED_NOTHING && tlt_now() - s->spoke >= ALIVE_SECONDS) {
    tlt_text_add(&s->frame, ": still here\n\n");
  }
  return found;
}

static ptrdiff_t read_stream(void *context, char *to, size_t room) {
  stream *s = context;
  if (s->sent == s->frame.n) {
    tlt_feed_found found = next_frame(s);
    if (found == TLT_FEED_OVER || s->frame.failed) return TLT_HTTP_END;
    s->spoke = s->frame.n ? tlt_now() : s->spoke;
  }
  size_t n = s->frame.n - s->sent < room ? s->frame.n - s->sent : room;
  if (n) memcpy(to, s->frame.data + s->sent, n);
  s->sent += n;
  return (ptrdiff_t)n;
}

static void close_stream(void *context) {
  stream *s = context;
  tlt_text_free(&s->frame);
  tlt_free(s);
}

static const tlt_http_source source = {read_stream, close_stream};

static void fail(tlt_http_call *call, const tlt_err *err) {
  tlt_http_reply(call, 500, "text/plain; charset=utf-8", NULL, err->text, strlen(err->text));
}

/* A browser that comes back says what it had; a page says from which event on it knows nothing. */
static void answer_events(void *context, tlt_http_call *call) {
  tlt_watch *w = context;
  const char *id = tlt_http_header(call, "Last-Event-ID");
  if (!id) id = tlt_http_query(call, "after");
  stream *s = tlt_calloc(1, sizeof *s);
  tlt_err err;
  if (!s) {
    tlt_fail_nomem(&err, "stream", sizeof *s);
    return fail(call, &err);
  }
  *s = (stream){.watch = w, .spoke = tlt_now()};
  tlt_text_printf(&s->frame, "retry: %d\n\n", RETRY_MS);
  if (!id) {
    s->at = tlt_feed_recent(w->feed);
  } else if (!tlt_feed_place(w->feed, id, &s->at)) {
    s->at = tlt_feed_now(w->feed); /* of another process: whatever it showed is not this run */
    tlt_text_add(&s->frame, "event: reload\ndata: {}\n\n");
  }
  tlt_http_stream(call, "text/event-stream; charset=utf-8", &source, s);
}

/* ---- the page -----------------------------------------------------------------------------------
 */

static void let_go(void *context) {
  page *p = context;
  if (!p || --p->users) return;
  tlt_free(p->html);
  tlt_free(p);
}

static tlt_status make_page(tlt_watch *w, page *p, tlt_err *err) {
  tlt_run_log *log = NULL;
  tlt_json_writer json = {0};
  char id[TLT_FEED_ID_MAX];
  p->at = tlt_feed_now(w->feed); /* first: the files hold at least what was told so far */
  tlt_feed_id(w->feed, p->at, id);
  tlt_status s = tlt_run_log_open(w->run, &log, err);
  if (s == TLT_OK) s = tlt_payload_run(log, w->program, id, &json, err);
  if (s == TLT_OK)
    s = tlt_page_make(json.text.data, json.text.n, TLT_PAGE_LIVE, &p->html, &p->n, err);
  tlt_text_free(&json.text);
  tlt_run_log_free(log);
  return s;
}

/* A page that is somewhat old is as good: it asks for the events behind it. */
static tlt_status want_page(tlt_watch *w, tlt_err *err) {
  double from = tlt_now();
  bool fresh = w->page && from < w->page_until && tlt_feed_holds(w->feed, w->page->at);
  if (fresh) return TLT_OK;
  page *p = tlt_calloc(1, sizeof *p);
  if (!p) return tlt_fail_nomem(err, "page", sizeof *p);
  p->users = 1;
  tlt_status s = make_page(w, p, err);
  if (s != TLT_OK) return let_go(p), s;
  let_go(w->page);
  w->page = p;
  w->page_until = tlt_now() + PAGE_SHARE * (tlt_now() - from);
  return TLT_OK;
}

static const char loading[] =
    "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"1\">"
    "<meta name=\"viewport\" content=\"width=device-width\"><title>tlt</title>"
    "<p>The run is being loaded.</p>\n";

static void answer_page(void *context, tlt_http_call *call) {
  tlt_watch *w = context;
  tlt_err err;
  static const char type[] = "text/html; charset=utf-8";
  if (!atomic_load(&w->started))
    return tlt_http_reply(call, 200, type, NULL, loading, sizeof loading - 1);
  if (want_page(w, &err) != TLT_OK) return fail(call, &err);
  w->page->users++;
  tlt_http_reply_shared(call, 200, type, NULL, w->page->html, w->page->n, let_go, w->page);
}

/* ---- for programs -------------------------------------------------------------------------------
 */

static void answer_metrics(void *context, tlt_http_call *call) {
  tlt_watch *w = context;
  tlt_text step = {0}, text = {0};
  tlt_feed_progress progress;
  tlt_err err;
  bool any = tlt_feed_newest(w->feed, &step, &progress);
  tlt_prometheus p = {.run = atomic_load(&w->started) ? w->run : "",
                      .program = w->program,
                      .step = step.data,
                      .n = step.n,
                      .progress = any ? &progress : NULL};
  if (tlt_prometheus_write(&p, &text, &err) == TLT_OK)
    tlt_http_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, text.data, text.n);
  else fail(call, &err);
  tlt_text_free(&step);
  tlt_text_free(&text);
}

static void answer_health(void *context, tlt_http_call *call) {
  static const char text[] = "{\"status\":\"ok\"}\n";
  (void)context;
  tlt_http_reply(call, 200, "application/json", NULL, text, sizeof text - 1);
}

static const tlt_http_route routes[] = {{"/", answer_page},
                                        {"/events", answer_events},
                                        {"/metrics", answer_metrics},
                                        {"/health", answer_health}};

/* ---- start and end ------------------------------------------------------------------------------
 */

static void discard(tlt_watch *w) {
  tlt_feed_free(w->feed);
  let_go(w->page);
  tlt_text_free(&w->line.text);
  tlt_text_free(&w->accounts);
  tlt_free(w);
}

tlt_status tlt_watch_open(const tlt_http_address *where, const char *program, tlt_watch **out,
                          tlt_err *err) {
  tlt_watch *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "watch", sizeof *w);
  w->program = program;
  tlt_http_options o = {.address = *where,
                        .routes = routes,
                        .n_routes = sizeof routes / sizeof *routes,
                        .context = w};
  tlt_status s = tlt_feed_open(&w->feed, err);
  if (s == TLT_OK) s = tlt_http_open(&o, &w->server, err);
  if (s == TLT_OK) *out = w;
  else discard(w);
  return s;
}

const tlt_http_address *tlt_watch_where(const tlt_watch *w) {
  return tlt_http_where(w->server);
}

void tlt_watch_close(tlt_watch *w, const char *state, const char *reason) {
  if (!w) return;
  tlt_feed_end(w->feed, state, reason);
  tlt_http_close(w->server);
  discard(w);
}
