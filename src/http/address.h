/* Where a server listens, and which names a request may call it by. */
#ifndef TLT_HTTP_ADDRESS_H
#define TLT_HTTP_ADDRESS_H

#include <stdbool.h>

#include "tlt/status.h"

enum { TLT_HTTP_HOST_MAX = 256, TLT_HTTP_URL_MAX = TLT_HTTP_HOST_MAX + 32 };

typedef struct tlt_http_address {
  char host[TLT_HTTP_HOST_MAX]; /* name or number, an IPv6 number without its brackets */
  int port;                     /* 0 .. 65535; 0: any that is free */
  bool loopback;                /* set by tlt_http_listen: only this machine can connect */
} tlt_http_address;

/* "[HOST:]PORT": 8080, localhost:8080, 0.0.0.0:8080, [::1]:8080. Without a host: 127.0.0.1. Nothing
 * is looked up. TLT_EUSAGE: "got ..., expected [HOST:]PORT ...". */
tlt_status tlt_http_address_parse(const char *text, tlt_http_address *out, tlt_err *err);

/* A listening socket there (close-on-exec, nonblocking), a->port and a->loopback set. The first of
 * the host's addresses that can be used is. TLT_EUSAGE: the host has no address here, or the port
 * is taken or not allowed. */
tlt_status tlt_http_listen(tlt_http_address *a, int *fd, tlt_err *err);

/* "http://127.0.0.1:8080/"; this machine's name where all its addresses are listened on. */
void tlt_http_url(const tlt_http_address *a, char out[TLT_HTTP_URL_MAX]);

/* Whether a request may have this Host header. A page of another site can make a browser send
 * requests here under a name of that site (DNS rebinding), never under one of ours: on loopback
 * localhost and loopback numbers; elsewhere the configured host, this machine's name and any
 * number, which cannot be rebound. The port is not looked at, since it may have been forwarded. */
bool tlt_http_host_allowed(const tlt_http_address *a, const char *host);

#endif
