/* A small HTTP/1.1 server in a thread of its own, over libmicrohttpd: fixed paths, GET and HEAD,
 * whole answers and streams. It is a guest in a process that computes: the thread runs at a lower
 * priority, sleeps without connections, and nothing a client does makes another thread wait.
 *
 * What every request has to pass before a route sees it: limits below, method (405 with Allow),
 * path (404), no body (413), one Host header (400) that names this server (403, see address.h), no
 * NUL (400). Paths are compared as they were sent: nothing is decoded. Every answer forbids
 * sniffing, framing, referrers, caching and use by other origins.
 *
 * Connections beyond TLT_HTTP_CONNECTIONS push out the oldest that has no request at work, then the
 * oldest that is no stream, so that clients who connect and stay silent or send slowly do not keep
 * others away. */
#ifndef TLT_HTTP_SERVER_H
#define TLT_HTTP_SERVER_H

#include <stddef.h>

#include "http/address.h"
#include "tlt/status.h"

enum {
  TLT_HTTP_CONNECTIONS = 96,
  TLT_HTTP_STREAMS = 48,
  TLT_HTTP_TARGET_MAX = 8 << 10, /* bytes of path and query */
  TLT_HTTP_HEADERS_MAX = 64,     /* fields */
  TLT_HTTP_MEMORY = 48 << 10,    /* bytes per connection: header and what is being sent */
  TLT_HTTP_HEADER_SECONDS = 10,  /* from connecting to a whole header */
  TLT_HTTP_IDLE_SECONDS = 30,    /* between requests, and for a client that takes no data */
  TLT_HTTP_CLOSE_SECONDS = 2,    /* for streams to say their last, at the end */
  TLT_HTTP_LOOK_SECONDS = 1      /* between looks at waiting streams and at clocks */
};

typedef struct tlt_http_server tlt_http_server;
typedef struct tlt_http_call tlt_http_call; /* a request that waits for its answer */

/* answer: called on the server's thread, one request at a time; gives exactly one of the replies
 * below before it returns. */
typedef struct tlt_http_route {
  const char *path;
  void (*answer)(void *context, tlt_http_call *call);
} tlt_http_route;

typedef struct tlt_http_options {
  tlt_http_address address;
  const tlt_http_route *routes; /* borrowed while the server runs */
  int n_routes;
  void *context; /* of the routes */
} tlt_http_options;

/* Listen and serve. TLT_EUSAGE: the address cannot be used; TLT_EIO, TLT_ENOMEM. */
tlt_status tlt_http_open(const tlt_http_options *options, tlt_http_server **out, tlt_err *err);

/* With the port that was taken. */
const tlt_http_address *tlt_http_where(const tlt_http_server *s);

/* Streams may have something to say: all are asked soon. Any thread; takes about a microsecond, and
 * none of the system's time while nobody listens. */
void tlt_http_wake(tlt_http_server *s);

/* Streams now open. Any thread. */
int tlt_http_streams(const tlt_http_server *s);

/* No new connections; what is open gets TLT_HTTP_CLOSE_SECONDS to end. NULL is harmless. */
void tlt_http_close(tlt_http_server *s);

/* ---- inside a route ---- */

const char *tlt_http_header(const tlt_http_call *call, const char *name); /* NULL: absent */
const char *tlt_http_query(const tlt_http_call *call, const char *name);  /* as sent, not decoded */

/* A whole answer; text is copied. more: a further header "Name: value", or NULL. */
void tlt_http_reply(tlt_http_call *call, int code, const char *type, const char *more,
                    const char *text, size_t n);

/* The same without a copy: text stays as it is until release(context), called once in any case on
 * the server's thread. */
void tlt_http_reply_shared(tlt_http_call *call, int code, const char *type, const char *more,
                           const char *text, size_t n, void (*release)(void *context),
                           void *context);

/* An answer of unknown length. read: on the server's thread, put at most room bytes; 0: nothing at
 * present, ask again after a wake or TLT_HTTP_LOOK_SECONDS; TLT_HTTP_END: it is over. A client that
 * takes nothing is not asked about: what it misses is for the source to bound. close: once, when
 * the stream or its connection has ended. With TLT_HTTP_STREAMS open the client gets 503, and close
 * is called at once. */
enum { TLT_HTTP_END = -1 };
typedef struct tlt_http_source {
  ptrdiff_t (*read)(void *context, char *to, size_t room);
  void (*close)(void *context);
} tlt_http_source;
void tlt_http_stream(tlt_http_call *call, const char *type, const tlt_http_source *source,
                     void *context);

#endif
