/* What a run says to those who watch it: server-sent events with ascending ids, kept for a while
 * so that whoever lost the connection gets what came meanwhile.
 *
 * One thread puts, the run's; one thread reads, the server's. Putting copies a few kilobytes under
 * a lock that nobody holds for longer than such a copy. Memory is bounded by the limits below: the
 * oldest events of a kind go first, and of progress only the newest is kept. */
#ifndef TLT_REPORT_WATCH_FEED_H
#define TLT_REPORT_WATCH_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "io/text.h"

enum {
  TLT_FEED_STEP_BYTES = 4 << 20,
  TLT_FEED_TIMELINE_BYTES = 8 << 20,
  TLT_FEED_TIMELINES = 4,
  TLT_FEED_ID_MAX = 48
};

/* Where the run is; text is constant. */
typedef struct tlt_feed_progress {
  const char *phase;
  int64_t step, steps; /* 1-based step at work, of all */
  int64_t done, total; /* of the phase */
  double rate;         /* tokens per second of the phase */
  double left;         /* seconds to the end of the run; below 0: not known */
} tlt_feed_progress;

typedef struct tlt_feed tlt_feed;

tlt_status tlt_feed_open(tlt_feed **out, tlt_err *err);
void tlt_feed_free(tlt_feed *f); /* NULL is harmless */

/* ---- the run's thread ---- */

/* A line of metrics.jsonl without its end. TLT_ENOMEM. */
tlt_status tlt_feed_step(tlt_feed *f, const char *json, size_t n, tlt_err *err);
/* Accounts of all workers in a step, worker 0 first: each is a size_t and as many bytes of
 * tlt_account_pack. What is too large to be kept is left out. TLT_ENOMEM. */
tlt_status tlt_feed_timeline(tlt_feed *f, const char *packed, size_t n, tlt_err *err);
/* Allocates nothing and never waits: dropped when the lock is taken. */
void tlt_feed_progress_put(tlt_feed *f, const tlt_feed_progress *p);
/* The last event. reason may be NULL. */
void tlt_feed_end(tlt_feed *f, const char *state, const char *reason);

/* ---- the server's thread ---- */

typedef enum tlt_feed_found {
  TLT_FEED_NOTHING, /* nothing yet */
  TLT_FEED_EVENT,
  TLT_FEED_MISSED, /* steps behind this place are no longer kept */
  TLT_FEED_OVER    /* the end has been read */
} tlt_feed_found;

/* The first event behind place *at, as a whole frame added to `to`; moves *at to it. MISSED moves
 * *at to now. */
tlt_feed_found tlt_feed_read(tlt_feed *f, uint64_t *at, tlt_text *to);

/* Places: of everything so far, and just before the newest timeline and step. */
uint64_t tlt_feed_now(tlt_feed *f);
uint64_t tlt_feed_recent(tlt_feed *f);

/* Whether every step behind a place is still kept. */
bool tlt_feed_holds(tlt_feed *f, uint64_t at);

/* The id of a place, and back: false when it is none of this run's. */
void tlt_feed_id(const tlt_feed *f, uint64_t at, char id[TLT_FEED_ID_MAX]);
bool tlt_feed_place(tlt_feed *f, const char *id, uint64_t *at);

/* The newest step and progress, for /metrics: copies. step: nothing added when there is none.
 * false: no progress yet. */
bool tlt_feed_newest(tlt_feed *f, tlt_text *step, tlt_feed_progress *progress);

#endif
