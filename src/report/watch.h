/* Watching a run while it goes on, over HTTP:
 *
 *   /            the page of src/report/page.h, made from the run directory, that updates itself
 *   /events      server-sent events: step (a line of metrics.jsonl), timeline ({"step", "workers"}
 *                as in the page's data), progress, end; `reload` when what a client missed is no
 *                longer kept. "?after=ID" or Last-Event-ID: what came behind that event; else the
 *                newest of each kind. A comment every 15 seconds when there is nothing to say.
 *   /metrics     Prometheus text (report/prometheus.h)
 *   /health      {"status":"ok"}
 *
 * Anybody who can connect can read: there is no password. The run's thread only appends to a feed
 * (report/watch_feed.h); everything else is done by the server's thread (http/server.h). */
#ifndef TLT_REPORT_WATCH_H
#define TLT_REPORT_WATCH_H

#include "events/metrics.h"
#include "events/spans.h"
#include "http/address.h"
#include "report/watch_feed.h"

typedef struct tlt_watch tlt_watch;

/* Serve there from now on. program: version of this program; borrowed. TLT_EUSAGE: the address
 * cannot be used; TLT_EIO, TLT_ENOMEM. */
tlt_status tlt_watch_open(const tlt_http_address *where, const char *program, tlt_watch **out,
                          tlt_err *err);
/* With the port that was taken. */
const tlt_http_address *tlt_watch_where(const tlt_watch *w);

/* What the run's thread tells it. Both sinks may be dropped at any time; progress may be called
 * before they are started. */
tlt_metrics_sink tlt_watch_metrics(tlt_watch *w);
tlt_trace_sink tlt_watch_trace(tlt_watch *w);
void tlt_watch_progress(tlt_watch *w, const tlt_feed_progress *p);

/* Tell everybody that the run has ended ("done", "stopped", "failed"; reason may be NULL), then
 * end the server, within TLT_HTTP_CLOSE_SECONDS. NULL is harmless. */
void tlt_watch_close(tlt_watch *w, const char *state, const char *reason);

#endif
