#define _GNU_SOURCE
#include "http/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/internal.h"

enum {
  NICENESS = 10,
  SPARE = 32 /* connections that libmicrohttpd may hold while others are being closed */
};

/* ---- connections --------------------------------------------------------------------------------
 */

tlt__connection *tlt__http_connection(struct MHD_Connection *mhd) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? info->socket_context : NULL;
}

void tlt__http_now_doing(tlt__connection *c, tlt__doing what) {
  if (c->doing == TLT__LEAVING) return;
  c->doing = what;
  c->since = tlt_now();
}

static void resume(tlt__stream *stream) {
  if (!stream || !stream->waiting) return;
  stream->waiting = false;
  atomic_fetch_sub(&stream->server->waiting, 1);
  MHD_resume_connection(stream->mhd);
}

/* libmicrohttpd sees the end of the connection and closes it. */
static void hang_up(tlt__connection *c) {
  tlt__http_now_doing(c, TLT__LEAVING);
  shutdown(c->fd, SHUT_RDWR);
  resume(c->stream);
}

static tlt__connection *oldest(tlt_http_server *s, tlt__doing what) {
  tlt__connection *best = NULL;
  for (tlt__connection *c = s->first; c; c = c->after)
    if (c->doing == what && (!best || c->since < best->since)) best = c;
  return best;
}

static void make_room(tlt_http_server *s) {
  tlt__connection *c = oldest(s, TLT__READING);
  if (!c) c = oldest(s, TLT__ANSWERING);
  if (c) hang_up(c);
}

static void begin(tlt_http_server *s, struct MHD_Connection *mhd, void **record) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
  tlt__connection *c = tlt_calloc(1, sizeof *c);
  if (!c || !info) return tlt_free(c);
  *c = (tlt__connection){.server = s, .mhd = mhd, .fd = info->connect_fd, .since = tlt_now()};
  if (s->connections >= TLT_HTTP_CONNECTIONS) make_room(s);
  c->after = s->first;
  if (s->first) s->first->before = c;
  s->first = c;
  s->connections++;
  *record = c;
}

static void end(tlt_http_server *s, tlt__connection *c) {
  if (!c) return;
  if (c->stream) c->stream->connection = NULL;
  if (c->before) c->before->after = c->after;
  else s->first = c->after;
  if (c->after) c->after->before = c->before;
  s->connections--;
  tlt_free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **record,
                          enum MHD_ConnectionNotificationCode code) {
  if (code == MHD_CONNECTION_NOTIFY_STARTED) begin(cls, mhd, record);
  else end(cls, *record);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **seen,
                         enum MHD_RequestTerminationCode code) {
  tlt__connection *c = tlt__http_connection(mhd);
  (void)cls, (void)code;
  *seen = NULL;
  if (!c) return;
  c->requests++;
  tlt__http_now_doing(c, TLT__READING);
}

/* ---- clocks -------------------------------------------------------------------------------------
 */

static bool is_gone(const tlt__connection *c) {
  char byte;
  ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Whoever takes too long for a header goes, and so does the record of whoever has left; waiting
 * streams are asked whether they want to say something after so long a time. */
static void look(tlt_http_server *s) {
  double now = tlt_now();
  if (now - s->looked < TLT_HTTP_LOOK_SECONDS) return;
  s->looked = now;
  for (tlt__connection *c = s->first; c; c = c->after) {
    int patience = c->requests ? TLT_HTTP_IDLE_SECONDS : TLT_HTTP_HEADER_SECONDS;
    bool waiting = c->stream && c->stream->waiting;
    bool reading = c->doing == TLT__READING;
    if (reading && now - c->since > patience) hang_up(c);
    else if ((reading || waiting) && is_gone(c)) hang_up(c);
    else if (waiting) resume(c->stream);
  }
}

static void resume_all(tlt_http_server *s) {
  for (tlt__connection *c = s->first; c; c = c->after) resume(c->stream);
}

/* ---- the thread ---------------------------------------------------------------------------------
 */

/* Milliseconds; -1: until something comes. */
static int patience(tlt_http_server *s) {
  MHD_UNSIGNED_LONG_LONG ms;
  int most = s->connections ? 1000 * TLT_HTTP_LOOK_SECONDS : -1;
  if (MHD_get_timeout(s->daemon, &ms) != MHD_YES) return most;
  return most < 0 || ms < (unsigned)most ? (int)(ms < 1000 ? ms : 1000) : most;
}

static void turn(tlt_http_server *s, int ms) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  struct pollfd fd[2] = {{s->wake, POLLIN, 0}, {info ? info->epoll_fd : -1, POLLIN, 0}};
  eventfd_t count;
  poll(fd, 2, ms);
  if (fd[0].revents && eventfd_read(s->wake, &count) == 0) resume_all(s);
  look(s);
  MHD_run(s->daemon);
}

static bool is_busy(tlt_http_server *s) {
  return oldest(s, TLT__ANSWERING) || oldest(s, TLT__STREAMING);
}

/* Streams say their last; then everything ends. */
static void finish(tlt_http_server *s) {
  double until = tlt_now() + TLT_HTTP_CLOSE_SECONDS;
  MHD_quiesce_daemon(s->daemon);
  while (is_busy(s) && tlt_now() < until) {
    resume_all(s);
    turn(s, 10);
  }
  for (tlt__connection *c = s->first; c; c = c->after) hang_up(c);
  MHD_run(s->daemon);
  resume_all(s);
  MHD_stop_daemon(s->daemon);
}

static void *serve(void *context) {
  tlt_http_server *s = context;
  setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* of this thread alone, on Linux */
  while (!atomic_load(&s->stop)) turn(s, patience(s));
  finish(s);
  return NULL;
}

/* ---- start and end ------------------------------------------------------------------------------
 */

static void no_log(void *cls, const char *format, va_list args) {
  (void)cls, (void)format, (void)args;
}

/* Paths are compared and queries read as they were sent. */
static size_t no_unescape(void *cls, struct MHD_Connection *mhd, char *text) {
  (void)cls, (void)mhd;
  return strlen(text);
}

static struct MHD_Daemon *start_daemon(tlt_http_server *s) {
  return MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
      tlt__http_request, s, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_LISTEN_SOCKET,
      s->listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)(TLT_HTTP_CONNECTIONS + SPARE),
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)TLT_HTTP_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)TLT_HTTP_IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK,
      tlt__http_target, s, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
      MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
      MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static tlt_status start(tlt_http_server *s, tlt_err *err) {
  sigset_t all, before;
  s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (s->wake < 0) return tlt_fail(err, TLT_EIO, "cannot start a server: %s", strerror(errno));
  s->daemon = start_daemon(s);
  if (!s->daemon) return tlt_fail(err, TLT_EIO, "cannot start a server: libmicrohttpd refuses");
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the main thread's */
  int code = pthread_create(&s->thread, NULL, serve, s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!code) return TLT_OK;
  MHD_stop_daemon(s->daemon);
  return tlt_fail(err, TLT_EIO, "cannot start a server's thread: %s", strerror(code));
}

static void discard(tlt_http_server *s) {
  if (s->wake >= 0) close(s->wake);
  if (s->listener >= 0) close(s->listener);
  tlt_free(s);
}

tlt_status tlt_http_open(const tlt_http_options *options, tlt_http_server **out, tlt_err *err) {
  tlt_http_server *s = tlt_calloc(1, sizeof *s);
  if (!s) return tlt_fail_nomem(err, "server", sizeof *s);
  s->options = *options;
  s->wake = s->listener = -1;
  tlt_status status = tlt_http_listen(&s->options.address, &s->listener, err);
  if (status == TLT_OK) status = start(s, err);
  if (status == TLT_OK) *out = s;
  else discard(s);
  return status;
}

const tlt_http_address *tlt_http_where(const tlt_http_server *s) {
  return &s->options.address;
}

void tlt_http_wake(tlt_http_server *s) {
  if (atomic_load(&s->waiting)) eventfd_write(s->wake, 1);
}

int tlt_http_streams(const tlt_http_server *s) {
  return atomic_load(&s->streams);
}

void tlt_http_close(tlt_http_server *s) {
  if (!s) return;
  atomic_store(&s->stop, true);
  eventfd_write(s->wake, 1);
  pthread_join(s->thread, NULL);
  discard(s);
}
