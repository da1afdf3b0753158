#define _GNU_SOURCE
#include "http/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, PORT_DIGITS = 5 };

/* ---- text ---------------------------------------------------------------------------------------
 */

static bool parse_port(const char *text, int *port) {
  size_t n = strspn(text, "0123456789");
  if (!n || text[n] || n > PORT_DIGITS) return false;
  *port = atoi(text);
  return *port <= 65535;
}

/* The host in front of a port's colon: an IPv6 number only in brackets. */
static bool parse_host(const char *text, size_t n, char host[TLT_HTTP_HOST_MAX]) {
  bool brackets = n > 2 && text[0] == '[' && text[n - 1] == ']';
  if (brackets) {
    text++;
    n -= 2;
  }
  if (!n || n >= TLT_HTTP_HOST_MAX || (!brackets && memchr(text, ':', n))) return false;
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)text[i] <= ' ' || strchr("[]/@?#%\"<>\\\x7f", text[i])) return false;
  memcpy(host, text, n);
  host[n] = 0;
  struct in6_addr number;
  return !brackets || inet_pton(AF_INET6, host, &number) == 1;
}

tlt_status tlt_http_address_parse(const char *text, tlt_http_address *out, tlt_err *err) {
  const char *colon = strrchr(text, ':');
  *out = (tlt_http_address){.host = "127.0.0.1"};
  bool good = parse_port(colon ? colon + 1 : text, &out->port) &&
              (!colon || parse_host(text, (size_t)(colon - text), out->host));
  if (good) return TLT_OK;
  return tlt_fail(err, TLT_EUSAGE, "got '%.100s', expected [HOST:]PORT such as 8080 or [::1]:8080",
                  text);
}

void tlt_http_url(const tlt_http_address *a, char out[TLT_HTTP_URL_MAX]) {
  char own[TLT_HTTP_HOST_MAX];
  const char *host = a->host;
  bool any = !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
  if (any && gethostname(own, sizeof own) == 0) host = own;
  snprintf(out, TLT_HTTP_URL_MAX, strchr(host, ':') ? "http://[%s]:%d/" : "http://%s:%d/", host,
           a->port);
}

/* ---- listening ----------------------------------------------------------------------------------
 */

static bool is_loopback(const struct sockaddr *a) {
  if (a->sa_family == AF_INET) {
    const struct sockaddr_in *four = (const void *)a;
    return ntohl(four->sin_addr.s_addr) >> 24 == 127;
  }
  const struct sockaddr_in6 *six = (const void *)a;
  return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static int port_of(const struct sockaddr *a) {
  const struct sockaddr_in *four = (const void *)a;
  const struct sockaddr_in6 *six = (const void *)a;
  return ntohs(a->sa_family == AF_INET6 ? six->sin6_port : four->sin_port);
}

/* The socket, -1 with errno. */
static int listen_at(const struct addrinfo *at, tlt_http_address *a) {
  struct sockaddr_storage bound;
  socklen_t size = sizeof bound;
  int on = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* a port of a run that just ended */
  if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
      getsockname(fd, (struct sockaddr *)&bound, &size) == 0) {
    a->port = port_of((struct sockaddr *)&bound);
    a->loopback = is_loopback((struct sockaddr *)&bound);
    return fd;
  }
  int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

tlt_status tlt_http_listen(tlt_http_address *a, int *fd, tlt_err *err) {
  char port[PORT_DIGITS + 1];
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  struct addrinfo *found = NULL;
  snprintf(port, sizeof port, "%hu", (unsigned short)a->port);
  int code = getaddrinfo(a->host, port, &hints, &found);
  if (code)
    return tlt_fail(err, TLT_EUSAGE, "cannot listen on %s: %s", a->host, gai_strerror(code));
  *fd = -1;
  int reason = EADDRNOTAVAIL;
  for (const struct addrinfo *at = found; at && *fd < 0; at = at->ai_next) {
    *fd = listen_at(at, a);
    if (*fd < 0) reason = errno;
  }
  freeaddrinfo(found);
  if (*fd >= 0) return TLT_OK;
  return tlt_fail(err, TLT_EUSAGE, "cannot listen on %s port %d: %s", a->host, a->port,
                  strerror(reason));
}

/* ---- names of requests --------------------------------------------------------------------------
 */

/* The host of "host", "host:80", "[::1]:80"; false when it has no such form. */
static bool split_host(const char *text, char host[TLT_HTTP_HOST_MAX]) {
  const char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, ":");
  int port;
  if (!end) return false;
  if (*end == ']') end++;
  if (*end && (*end != ':' || (end[1] && !parse_port(end + 1, &port)))) return false;
  return parse_host(text, (size_t)(end - text), host);
}

bool tlt_http_host_allowed(const tlt_http_address *a, const char *text) {
  char host[TLT_HTTP_HOST_MAX], own[TLT_HTTP_HOST_MAX];
  struct sockaddr_in four = {.sin_family = AF_INET};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  if (!split_host(text, host)) return false;
  size_t n = strlen(host);
  if (n > 1 && host[n - 1] == '.') host[n - 1] = 0; /* a full name may end in a dot */
  bool is_four = inet_pton(AF_INET, host, &four.sin_addr) == 1;
  bool is_six = inet_pton(AF_INET6, host, &six.sin6_addr) == 1;
  if (is_four || is_six)
    return !a->loopback ||
           is_loopback(is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six);
  if (!strcasecmp(host, "localhost") || !strcasecmp(host, a->host)) return true;
  return !a->loopback && gethostname(own, sizeof own) == 0 && !strcasecmp(host, own);
}
