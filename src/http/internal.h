/* Between server.c (thread, connections, clocks) and call.c (one request). */
#ifndef TLT_HTTP_INTERNAL_H
#define TLT_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "http/server.h"

/* An open stream. Lives as long as libmicrohttpd's response, its connection perhaps shorter. */
typedef struct tlt__stream {
  tlt_http_server *server;
  struct tlt__connection *connection; /* NULL: gone */
  struct MHD_Connection *mhd;
  const tlt_http_source *source;
  void *context;
  bool waiting; /* suspended: had nothing to say */
} tlt__stream;

typedef enum tlt__doing { TLT__READING, TLT__ANSWERING, TLT__STREAMING, TLT__LEAVING } tlt__doing;

typedef struct tlt__connection {
  struct tlt__connection *before, *after;
  tlt_http_server *server;
  struct MHD_Connection *mhd;
  int fd;
  tlt__doing doing;
  double since;       /* of what it is doing */
  int requests;       /* answered */
  const char *target; /* of the request at work, in libmicrohttpd's buffer */
  size_t target_n;
  tlt__stream *stream;
} tlt__connection;

struct tlt_http_server {
  tlt_http_options options;
  struct MHD_Daemon *daemon;
  int listener, wake; /* sockets; wake is an eventfd */
  pthread_t thread;
  atomic_bool stop;
  atomic_int streams, waiting;
  /* of the server's thread */
  tlt__connection *first; /* oldest */
  int connections;
  double looked;
};

/* libmicrohttpd's callbacks for requests; cls is the server. */
void *tlt__http_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result tlt__http_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_n, void **seen);

/* The connection's own record; NULL when there was no memory for it. */
tlt__connection *tlt__http_connection(struct MHD_Connection *mhd);
void tlt__http_now_doing(tlt__connection *c, tlt__doing what);

#endif
