/* One request: what it has to pass, and the replies. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/internal.h"

enum { STREAM_BLOCK = 16 << 10 };

struct tlt_http_call {
  tlt__connection *connection;
  struct MHD_Connection *mhd;
  bool replied;
  enum MHD_Result result; /* MHD_NO: close the connection */
};

/* ---- replies ------------------------------------------------------------------------------------
 */

/* Scripts and styles are those inside the page, which talks to nobody but this server. */
static const char *const always[][2] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: "
     "blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
};

static void add_header(struct MHD_Response *r, const char *more) {
  char name[64];
  const char *colon = more ? strchr(more, ':') : NULL;
  if (!colon || (size_t)(colon - more) >= sizeof name) return;
  snprintf(name, sizeof name, "%.*s", (int)(colon - more), more);
  MHD_add_response_header(r, name, colon + 1 + strspn(colon + 1, " "));
}

/* Takes the response over. */
static void queue(tlt_http_call *call, int code, const char *type, const char *more,
                  struct MHD_Response *r) {
  call->replied = true;
  if (!r) return;
  if (type) MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    MHD_add_response_header(r, always[i][0], always[i][1]);
  add_header(r, more);
  call->result = MHD_queue_response(call->mhd, (unsigned)code, r);
  MHD_destroy_response(r);
}

void tlt_http_reply(tlt_http_call *call, int code, const char *type, const char *more,
                    const char *text, size_t n) {
  queue(call, code, type, more,
        MHD_create_response_from_buffer(n, (void *)text, MHD_RESPMEM_MUST_COPY));
}

void tlt_http_reply_shared(tlt_http_call *call, int code, const char *type, const char *more,
                           const char *text, size_t n, void (*release)(void *context),
                           void *context) {
  struct MHD_Response *r =
      MHD_create_response_from_buffer_with_free_callback_cls(n, (void *)text, release, context);
  if (!r) release(context);
  queue(call, code, type, more, r);
}

static void refuse(tlt_http_call *call, int code, const char *more, const char *why) {
  char text[160];
  int n = snprintf(text, sizeof text, "%d: %s\n", code, why);
  tlt_http_reply(call, code, "text/plain; charset=utf-8", more, text, (size_t)n);
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t room) {
  tlt__stream *stream = cls;
  (void)position;
  bool leaving = !stream->connection || stream->connection->doing == TLT__LEAVING;
  if (leaving) return MHD_CONTENT_READER_END_WITH_ERROR;
  ptrdiff_t n = stream->source->read(stream->context, to, room);
  if (n > 0) return n;
  if (n < 0) return MHD_CONTENT_READER_END_OF_STREAM;
  stream->waiting = true;
  atomic_fetch_add(&stream->server->waiting, 1);
  MHD_suspend_connection(stream->mhd);
  return 0;
}

static void close_stream(void *cls) {
  tlt__stream *stream = cls;
  stream->source->close(stream->context);
  if (stream->connection) stream->connection->stream = NULL;
  atomic_fetch_sub(&stream->server->streams, 1);
  tlt_free(stream);
}

static tlt__stream *open_stream(tlt_http_call *call, const tlt_http_source *source, void *context) {
  tlt_http_server *server = call->connection->server;
  if (atomic_load(&server->streams) >= TLT_HTTP_STREAMS) return NULL;
  tlt__stream *stream = tlt_calloc(1, sizeof *stream);
  if (!stream) return NULL;
  *stream = (tlt__stream){.server = server,
                          .connection = call->connection,
                          .mhd = call->mhd,
                          .source = source,
                          .context = context};
  atomic_fetch_add(&server->streams, 1);
  call->connection->stream = stream;
  return stream;
}

void tlt_http_stream(tlt_http_call *call, const char *type, const tlt_http_source *source,
                     void *context) {
  tlt__stream *stream = open_stream(call, source, context);
  if (!stream) {
    source->close(context);
    refuse(call, 503, "Retry-After: 10", "too many streams are open");
    return;
  }
  struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                             read_stream, stream, close_stream);
  if (r) tlt__http_now_doing(call->connection, TLT__STREAMING);
  else close_stream(stream);
  queue(call, 200, type, NULL, r);
}

/* ---- what a request has to pass -----------------------------------------------------------------
 */

void *tlt__http_target(void *cls, const char *target, struct MHD_Connection *mhd) {
  tlt__connection *c = tlt__http_connection(mhd);
  (void)cls;
  if (!c) return NULL;
  c->target = target;
  c->target_n = strlen(target);
  return NULL;
}

const char *tlt_http_header(const tlt_http_call *call, const char *name) {
  return MHD_lookup_connection_value(call->mhd, MHD_HEADER_KIND, name);
}

const char *tlt_http_query(const tlt_http_call *call, const char *name) {
  return MHD_lookup_connection_value(call->mhd, MHD_GET_ARGUMENT_KIND, name);
}

static bool announces_body(const tlt_http_call *call) {
  const char *length = tlt_http_header(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
  return tlt_http_header(call, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
         (length && length[strspn(length, "0")]);
}

/* A NUL ends the target early: in libmicrohttpd's buffer the version stands behind the whole of it.
 * Where the version is elsewhere, nothing can be said. */
static bool holds_nul(const tlt__connection *c, const char *version) {
  ptrdiff_t apart = version - c->target;
  bool same_buffer = apart > 0 && apart < TLT_HTTP_MEMORY;
  return same_buffer && (size_t)apart != c->target_n + 1;
}

static enum MHD_Result count_host(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
  (void)kind;
  (void)value;
  *(int *)cls += !strcasecmp(name, MHD_HTTP_HEADER_HOST);
  return MHD_YES;
}

/* Refused for what it is, whatever it asks for. */
static bool is_refused(tlt_http_call *call, bool nul) {
  const tlt__connection *c = call->connection;
  int hosts = 0, fields = MHD_get_connection_values(call->mhd, MHD_HEADER_KIND, count_host, &hosts);
  const char *host = tlt_http_header(call, MHD_HTTP_HEADER_HOST);
  if (c->target_n > TLT_HTTP_TARGET_MAX) refuse(call, 414, "Connection: close", "target");
  else if (nul) refuse(call, 400, "Connection: close", "target with a NUL");
  else if (fields > TLT_HTTP_HEADERS_MAX) refuse(call, 431, "Connection: close", "header fields");
  else if (hosts != 1 || !host) refuse(call, 400, "Connection: close", "one Host is expected");
  else if (!tlt_http_host_allowed(&c->server->options.address, host))
    refuse(call, 403, NULL, "this server goes by another name");
  else if (announces_body(call)) refuse(call, 413, "Connection: close", "no body is expected");
  return call->replied;
}

static void answer(tlt_http_call *call, const char *path, const char *method) {
  const tlt_http_options *o = &call->connection->server->options;
  bool known = !strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD);
  for (int i = 0; i < o->n_routes; i++) {
    if (strcmp(o->routes[i].path, path)) continue;
    if (known) o->routes[i].answer(o->context, call);
    else refuse(call, 405, "Allow: GET, HEAD", "only GET and HEAD");
    return;
  }
  refuse(call, 404, NULL, "no such page");
}

enum MHD_Result tlt__http_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_n, void **seen) {
  static char
      once; /* libmicrohttpd shows a request when its header is there and when it is whole */
  tlt__connection *c = tlt__http_connection(mhd);
  tlt_http_call call = {.connection = c, .mhd = mhd, .result = MHD_NO};
  (void)cls, (void)body, (void)body_n;
  if (!c) return MHD_NO;
  if (*seen != &once) {
    *seen = &once;
    tlt__http_now_doing(c, TLT__ANSWERING);
    return is_refused(&call, holds_nul(c, version)) ? call.result : MHD_YES;
  }
  answer(&call, path, method);
  return call.result;
}
