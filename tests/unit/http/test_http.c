/* src/http: addresses, names of requests, and a server against clients of every kind: good ones,
 * slow ones, silent ones, garbage. After each a good request is answered.
 * Alone: build/tests/unit/http/test_http [NAME] */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/server.h"

/* ---- addresses ----------------------------------------------------------------------------------
 */

static void test_addresses(void **state) {
  (void)state;
  static const struct {
    const char *text, *host;
    int port;
  } good[] = {{"8080", "127.0.0.1", 8080},
              {"0", "127.0.0.1", 0},
              {"localhost:1", "localhost", 1},
              {"0.0.0.0:65535", "0.0.0.0", 65535},
              {"[::1]:80", "::1", 80},
              {"[::]:0", "::", 0},
              {"a-host.example:9", "a-host.example", 9}};
  static const char *const bad[] = {
      "",        ":",       ":80",         "x",      "-1",     "65536",       "80 ",    " 80",
      "1e3",     "host:",   "::1",         "::1:80", "[::1]",  "[::1]80",     "[]:80",  "[x]:80",
      "a b:80",  "h:80:90", "http://h:80", "h:+80",  "h:0x50", "[::1%lo]:80", "u@h:80", "h/:80",
      "000080x", "h\n:80"};
  tlt_http_address a;
  tlt_err err;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(tlt_http_address_parse(good[i].text, &a, &err), TLT_OK);
    assert_string_equal(a.host, good[i].host);
    assert_int_equal(a.port, good[i].port);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (tlt_http_address_parse(bad[i], &a, &err) != TLT_EUSAGE) fail_msg("'%s' passed", bad[i]);
  char longest[TLT_HTTP_HOST_MAX + 8];
  memset(longest, 'h', sizeof longest);
  strcpy(longest + TLT_HTTP_HOST_MAX - 1, ":80");
  assert_int_equal(tlt_http_address_parse(longest, &a, &err), TLT_OK);
  strcpy(longest + TLT_HTTP_HOST_MAX, ":80");
  longest[TLT_HTTP_HOST_MAX - 1] = 'h';
  assert_int_equal(tlt_http_address_parse(longest, &a, &err), TLT_EUSAGE);
}

static void test_names(void **state) {
  (void)state;
  static const struct {
    const char *host;
    bool loopback, open; /* allowed where only this machine connects, and elsewhere */
  } names[] = {{"localhost", 1, 1},
               {"LocalHost:9000", 1, 1},
               {"127.0.0.1", 1, 1},
               {"127.1.2.3:80", 1, 1},
               {"[::1]:8080", 1, 1},
               {"localhost.", 1, 1},
               {"192.168.1.5:80", 0, 1},
               {"[fe80::1]", 0, 1},
               {"run.example:1", 0, 1},
               {"evil.example", 0, 0},
               {"evil.example:80", 0, 0},
               {"localhost.evil.example", 0, 0},
               {"127.0.0.1.evil.example", 0, 0},
               {"", 0, 0},
               {":80", 0, 0},
               {"localhost:x", 0, 0},
               {"localhost:99999", 0, 0},
               {"[::1", 0, 0},
               {"[::1]x", 0, 0},
               {"::1", 0, 0},
               {"local host", 0, 0},
               {"localhost/", 0, 0},
               {"2130706433", 0, 0}};
  const tlt_http_address loopback = {.host = "127.0.0.1", .port = 80, .loopback = true};
  const tlt_http_address open = {.host = "run.example", .port = 80};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (tlt_http_host_allowed(&loopback, names[i].host) != names[i].loopback ||
        tlt_http_host_allowed(&open, names[i].host) != names[i].open)
      fail_msg("'%s'", names[i].host);
  }
}

static void test_urls(void **state) {
  (void)state;
  char url[TLT_HTTP_URL_MAX];
  tlt_http_url(&(tlt_http_address){.host = "127.0.0.1", .port = 80}, url);
  assert_string_equal(url, "http://127.0.0.1:80/");
  tlt_http_url(&(tlt_http_address){.host = "::1", .port = 8080}, url);
  assert_string_equal(url, "http://[::1]:8080/");
}

/* ---- a server -----------------------------------------------------------------------------------
 */

enum { BIG = 8 << 20 };
static tlt_http_server *server;
static int port;
static atomic_int opened, closed, tick, released;
static atomic_bool over;

static void release(void *data) {
  atomic_fetch_add(&released, 1);
  tlt_free(data);
}

static void answer_hello(void *context, tlt_http_call *call) {
  (void)context;
  const char *name = tlt_http_query(call, "name");
  tlt_http_reply(call, 200, "text/plain", NULL, name ? name : "hello", name ? strlen(name) : 5);
}

static void answer_big(void *context, tlt_http_call *call) {
  (void)context;
  char *text = tlt_calloc(1, BIG);
  tlt_http_reply_shared(call, 200, "text/plain", NULL, text, BIG, release, text);
}

/* "tick N\n" whenever the number has changed. */
static ptrdiff_t read_ticks(void *context, char *to, size_t room) {
  int *told = context;
  if (atomic_load(&over)) return TLT_HTTP_END;
  if (*told == atomic_load(&tick)) return 0;
  *told = atomic_load(&tick);
  return snprintf(to, room, "tick %d\n", *told);
}

static void close_ticks(void *context) {
  atomic_fetch_add(&closed, 1);
  tlt_free(context);
}

static ptrdiff_t read_flood(void *context, char *to, size_t room) {
  memset(to, 'x', room);
  return context ? (ptrdiff_t)room : 0;
}

static const tlt_http_source ticks = {read_ticks, close_ticks}, flood = {read_flood, close_ticks};

static void answer_ticks(void *context, tlt_http_call *call) {
  (void)context;
  atomic_fetch_add(&opened, 1);
  tlt_http_stream(call, "text/event-stream", &ticks, tlt_calloc(1, sizeof(int)));
}

static void answer_flood(void *context, tlt_http_call *call) {
  (void)context;
  atomic_fetch_add(&opened, 1);
  tlt_http_stream(call, "text/plain", &flood, tlt_calloc(1, sizeof(int)));
}

static const tlt_http_route routes[] = {
    {"/", answer_hello}, {"/big", answer_big}, {"/ticks", answer_ticks}, {"/flood", answer_flood}};

static void start_server(void) {
  tlt_http_options o = {.routes = routes, .n_routes = sizeof routes / sizeof *routes};
  tlt_err err;
  assert_int_equal(tlt_http_address_parse("0", &o.address, &err), TLT_OK);
  if (tlt_http_open(&o, &server, &err) != TLT_OK) fail_msg("%s", err.text);
  port = tlt_http_where(server)->port;
  assert_true(port > 0 && tlt_http_where(server)->loopback);
}

static int setup(void **state) {
  (void)state;
  start_server();
  return 0;
}

static int teardown(void **state) {
  (void)state;
  tlt_http_close(server);
  return 0;
}

/* ---- a client -----------------------------------------------------------------------------------
 */

static int connected(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static void say(int fd, const char *text, size_t n) {
  while (n) {
    ssize_t done = send(fd, text, n, MSG_NOSIGNAL);
    if (done <= 0) return; /* the server has heard enough */
    text += done;
    n -= (size_t)done;
  }
}

/* Whether text is a whole answer, by its Content-Length. */
static bool is_whole(const char *text, size_t n) {
  const char *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
  return body && length && length < body &&
         n - (size_t)(body + 4 - text) >= strtoul(length + 16, NULL, 10);
}

/* What comes until the end, or until `until` has come (NULL: a whole answer), within some seconds.
 */
static char *hear(int fd, const char *until, double seconds) {
  size_t n = 0, room = 1 << 20;
  char *text = tlt_calloc(1, room);
  double end = tlt_now() + seconds;
  while (n + 1 < room && !(until ? strstr(text, until) != NULL : is_whole(text, n))) {
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, 50) == 0 && tlt_now() > end) break;
    if (!p.revents) continue;
    ssize_t got = recv(fd, text + n, room - 1 - n, 0);
    if (got <= 0) break;
    n += (size_t)got;
  }
  return text;
}

/* Status of a whole exchange over a connection of its own; 0: closed without a word. */
static int status_of(const char *request, size_t n, char **text) {
  int fd = connected();
  say(fd, request, n);
  char *got = hear(fd, NULL, 2);
  int status = strncmp(got, "HTTP/1.", 7) ? 0 : atoi(got + 9);
  if (text) *text = got;
  else tlt_free(got);
  close(fd);
  return status;
}

static int ask(const char *request) {
  return status_of(request, strlen(request), NULL);
}

/* The server still answers, and soon. */
static void good(void) {
  char *text;
  static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  double from = tlt_now();
  assert_int_equal(status_of(request, sizeof request - 1, &text), 200);
  assert_non_null(strstr(text, "\r\n\r\nhello"));
  tlt_free(text);
  assert_true(tlt_now() - from < 3); /* far below the patience for the others */
}

static void wait_for(atomic_int *what, int value, double seconds) {
  for (double end = tlt_now() + seconds; atomic_load(what) != value;) {
    if (tlt_now() > end) fail_msg("got %d, expected %d", atomic_load(what), value);
    usleep(2000);
  }
}

/* ---- requests -----------------------------------------------------------------------------------
 */

static void test_answers(void **state) {
  (void)state;
  static const struct {
    int status;
    const char *request;
  } cases[] = {
      {200, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {200, "GET /?name=x HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"},
      {200, "HEAD / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n"},
      {404, "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {404, "GET /../ HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {404, "GET /%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {404, "POST /none HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {405, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"},
      {405, "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {405, "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {405, "get / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"},
      {413, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {403, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n\r\n"},
      {400, "GET / HTTP/1.0\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"},
      {404, "GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int status = ask(cases[i].request);
    if (status != cases[i].status)
      fail_msg("got %d, expected %d: %s", status, cases[i].status, cases[i].request);
    good();
  }
  /* Lines that end without a carriage return: libmicrohttpd takes them before 1.0, and no more. */
  int bare = ask("GET / HTTP/1.1\nHost: localhost\n\n");
  assert_int_equal(bare, MHD_VERSION < 0x01000000 ? 200 : 400);
  good();
}

static void test_headers_of_answers(void **state) {
  (void)state;
  static const char *const want[] = {
      "X-Content-Type-Options: nosniff", "X-Frame-Options: DENY", "Cache-Control: no-store",
      "Content-Security-Policy: default-src 'none'", "Cross-Origin-Resource-Policy: same-origin"};
  static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\n\r\n";
  char *text;
  assert_int_equal(status_of(request, sizeof request - 1, &text), 200);
  for (size_t i = 0; i < sizeof want / sizeof *want; i++)
    if (!strstr(text, want[i])) fail_msg("%s: missing in\n%s", want[i], text);
  assert_null(strcasestr(text, "Access-Control"));
  tlt_free(text);
  static const char post[] = "PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  assert_int_equal(status_of(post, sizeof post - 1, &text), 405);
  assert_non_null(strstr(text, "Allow: GET, HEAD"));
  tlt_free(text);
  static const char head[] = "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  assert_int_equal(status_of(head, sizeof head - 1, &text), 200);
  assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n"); /* no body */
  tlt_free(text);
}

/* Requests that are not even that: refused or closed, never answered with what a route says. */
static void test_no_requests(void **state) {
  (void)state;
  static const char *const texts[] = {
      "\r\n\r\n\r\n",
      "GET\r\n\r\n",
      "GET /\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
      "GET / HTTP/1.1 extra\r\nHost: localhost\r\n\r\n",
      "GET / HTTP/1.1\r\nno colon\r\nHost: localhost\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5x\r\n\r\n"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    int status = ask(texts[i]);
    if (status == 200) fail_msg("answered: %s", texts[i]);
    good();
  }
  static const char nul[] = "GET /\0none HTTP/1.1\r\nHost: localhost\r\n\r\n";
  assert_int_not_equal(status_of(nul, sizeof nul - 1, NULL), 200);
  good();
}

/* Headers that are too long in one way or another. */
static void test_limits(void **state) {
  (void)state;
  enum { ROOM = 1 << 20 };
  char *text = tlt_calloc(1, ROOM);
  for (int way = 0; way < 3; way++) {
    size_t sizes[] = {9 << 10, 60 << 10, 900 << 10};
    for (int k = 0; k < 3; k++) {
      int n = snprintf(text, ROOM, "GET /%s", way == 0 ? "" : " HTTP/1.1\r\nHost: localhost\r\n");
      if (way == 1) n += snprintf(text + n, ROOM - (size_t)n, "X: ");
      while ((size_t)n < sizes[k])
        n += way == 2 ? snprintf(text + n, ROOM - (size_t)n, "A%d: b\r\n", n)
                      : snprintf(text + n, ROOM - (size_t)n, "aaaaaaaaaaaaaaaa");
      n += snprintf(text + n, ROOM - (size_t)n,
                    way == 0   ? " HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    : way == 1 ? "\r\n\r\n"
                               : "\r\n");
      int status = status_of(text, (size_t)n, NULL);
      bool fits = way == 1 && k == 0;
      if ((status == 200) != fits) fail_msg("way %d, %zu bytes: %d", way, sizes[k], status);
      good();
    }
  }
  tlt_free(text);
}

static void test_one_connection_many_requests(void **state) {
  (void)state;
  char *text;
  int fd = connected();
  for (int i = 0; i < 50; i++) {
    static const char request[] = "GET /?name=x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    say(fd, request, sizeof request - 1);
    text = hear(fd, "\r\n\r\nx", 5);
    assert_int_equal(atoi(text + 9), 200);
    tlt_free(text);
  }
  close(fd);
  static const char two[] =
      "GET /?name=first HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "GET /?name=second HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  fd = connected();
  say(fd, two, sizeof two - 1);
  text = hear(fd, "second", 5);
  assert_true(strstr(text, "first") && strstr(text, "first") < strstr(text, "second"));
  tlt_free(text);
  close(fd);
}

/* Bytes of every kind in pieces of every size. */
static void test_garbage(void **state) {
  (void)state;
  static const char seed[] = "GET /big?name=%41 HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n";
  uint32_t x = 12345;
  for (int round = 0; round < 300; round++) {
    char text[400];
    size_t n = 0, at = 0;
    while (n + sizeof seed < sizeof text) {
      memcpy(text + n, seed, sizeof seed - 1);
      n += sizeof seed - 1;
    }
    for (int i = 0; i < 1 + round % 20; i++) {
      x = x * 1664525u + 1013904223u;
      text[x % n] = (char)(x >> 20);
    }
    int fd = connected();
    while (at < n) {
      x = x * 1664525u + 1013904223u;
      size_t piece = 1 + (x >> 16) % 60;
      if (piece > n - at) piece = n - at;
      say(fd, text + at, piece);
      at += piece;
    }
    close(fd);
  }
  good();
}

/* ---- clients that are in the way ----------------------------------------------------------------
 */

static void test_silent_clients(void **state) {
  (void)state;
  enum { MANY = 300 };
  int fd[MANY];
  for (int i = 0; i < MANY; i++) {
    fd[i] = connected();
    if (i % 2) say(fd[i], "GET / HTTP/1.1\r\nX: ", 19);
    if (i % 50 == 0) good();
  }
  good();
  for (int i = 0; i < MANY; i++) close(fd[i]);
  good();
}

static void test_clients_that_do_not_read(void **state) {
  (void)state;
  static const char request[] = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
  int fd[30], before = atomic_load(&released);
  for (int i = 0; i < 30; i++) {
    fd[i] = connected();
    say(fd[i], request, sizeof request - 1);
  }
  good();
  for (int i = 0; i < 30; i++) close(fd[i]);
  wait_for(&released, before + 30, 5);
  good();
}

/* Sent so slowly that the header takes longer than its time. */
static void test_dripping_client(void **state) {
  (void)state;
  int fd = connected();
  double from = tlt_now();
  say(fd, "GET / HTTP/1.1\r\n", 16);
  char byte;
  while (tlt_now() - from < 20) {
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    say(fd, "a", 1);
    usleep(200000);
  }
  assert_true(tlt_now() - from > TLT_HTTP_HEADER_SECONDS - 1);
  assert_true(tlt_now() - from < TLT_HTTP_HEADER_SECONDS + 5);
  close(fd);
  good();
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static int listen_to(const char *path) {
  char request[100];
  int fd = connected();
  int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  say(fd, request, (size_t)n);
  return fd;
}

static void test_streams(void **state) {
  (void)state;
  atomic_store(&opened, 0);
  atomic_store(&closed, 0);
  int fd = listen_to("/ticks");
  wait_for(&opened, 1, 5);
  for (int i = 1; i < 20; i++) {
    char want[20];
    snprintf(want, sizeof want, "tick %d\n", atomic_fetch_add(&tick, 1) + 1);
    tlt_http_wake(server);
    char *text = hear(fd, want, 5);
    assert_non_null(strstr(text, want));
    tlt_free(text);
  }
  assert_int_equal(tlt_http_streams(server), 1);
  close(fd); /* noticed although there is nothing to say */
  wait_for(&closed, 1, 5);
  assert_int_equal(tlt_http_streams(server), 0);
  assert_int_equal(ask("HEAD /ticks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
                   200);
  wait_for(&closed, 2, 5);
  good();
}

static void test_too_many_streams(void **state) {
  (void)state;
  enum { MANY = TLT_HTTP_STREAMS };
  int fd[MANY];
  atomic_store(&opened, 0);
  atomic_store(&closed, 0);
  for (int i = 0; i < MANY; i++) fd[i] = listen_to(i % 2 ? "/ticks" : "/flood");
  wait_for(&opened, MANY, 5);
  assert_int_equal(ask("GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n"), 503);
  wait_for(&closed, 1, 5);
  good();
  test_silent_clients(state); /* push out each other, never a stream */
  assert_int_equal(tlt_http_streams(server), MANY);
  for (int i = 0; i < MANY; i++) close(fd[i]);
  wait_for(&closed, MANY + 1, 10);
  good();
}

/* Streams end when the server does: those that have something to say at once, the others after a
 * while. */
static void test_end(void **state) {
  (void)state;
  atomic_store(&opened, 0);
  int fd[3] = {listen_to("/ticks"), listen_to("/ticks"), listen_to("/flood")};
  wait_for(&opened, 3, 5);
  atomic_store(&closed, 0);
  atomic_store(&over, true);
  double from = tlt_now();
  tlt_http_close(server);
  assert_true(tlt_now() - from < TLT_HTTP_CLOSE_SECONDS + 1);
  assert_int_equal(atomic_load(&closed), 3);
  for (int i = 0; i < 2; i++) {
    char *text = hear(fd[i], "\r\n0\r\n", 5);
    assert_non_null(strstr(text, "\r\n0\r\n")); /* the last chunk */
    tlt_free(text);
  }
  for (int i = 0; i < 3; i++) close(fd[i]);
  int first = port;
  atomic_store(&over, false);
  start_server();
  tlt_http_options o = {.routes = routes, .n_routes = 1};
  snprintf(o.address.host, sizeof o.address.host, "127.0.0.1");
  o.address.port = port;
  tlt_http_server *second;
  tlt_err err;
  assert_int_equal(tlt_http_open(&o, &second, &err), TLT_EUSAGE); /* taken */
  o.address.port = first;
  if (first != port) assert_int_equal(tlt_http_open(&o, &second, &err), TLT_OK);
  if (first != port) tlt_http_close(second);
  snprintf(o.address.host, sizeof o.address.host, "192.0.2.1"); /* nobody's */
  assert_int_equal(tlt_http_open(&o, &second, &err), TLT_EUSAGE);
  snprintf(o.address.host, sizeof o.address.host, "no-such-host.invalid");
  assert_int_equal(tlt_http_open(&o, &second, &err), TLT_EUSAGE);
  good();
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_addresses),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_urls),
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_headers_of_answers),
      cmocka_unit_test(test_no_requests),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_one_connection_many_requests),
      cmocka_unit_test(test_garbage),
      cmocka_unit_test(test_silent_clients),
      cmocka_unit_test(test_clients_that_do_not_read),
      cmocka_unit_test(test_dripping_client),
      cmocka_unit_test(test_streams),
      cmocka_unit_test(test_too_many_streams),
      cmocka_unit_test(test_end),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, setup, teardown);
}
