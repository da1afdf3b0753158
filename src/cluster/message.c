/* Messages: buffered sends, and one receive under way at a time, which keeps them in order. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/internal.h"

enum { KEEP_BYTES = 1 << 20 }; /* a receive buffer up to this size is used again */

/* ---- sending ---- */

static tlt_status room_for_send(tlt__outgoing *o, tlt_err *err) {
  if (o->n < o->capacity) return TLT_OK;
  int capacity = o->capacity ? 2 * o->capacity : 16;
  size_t n = (size_t)capacity;
  MPI_Request *request = tlt_realloc(o->request, n * sizeof *request);
  if (request) o->request = request;
  void **data = tlt_realloc(o->data, n * sizeof *data);
  if (data) o->data = data;
  int *done = tlt_realloc(o->done, n * sizeof *done);
  if (done) o->done = done;
  if (!request || !data || !done) return tlt_fail_nomem(err, "messages under way", n * 24);
  o->capacity = capacity;
  return TLT_OK;
}

static tlt_status send_local(tlt_cluster *c, int tag, void *copy, size_t bytes, tlt_err *err) {
  tlt__local *m = tlt_malloc(sizeof *m);
  if (!m) {
    tlt_free(copy);
    return tlt_fail_nomem(err, "message", sizeof *m);
  }
  *m = (tlt__local){NULL, tag, bytes, copy};
  if (c->last_local) c->last_local->next = m;
  else c->first_local = m;
  c->last_local = m;
  return TLT_OK;
}

tlt_status tlt_cluster_send(tlt_cluster *c, int to, int tag, const void *data, size_t bytes,
                            tlt_err *err) {
  if (to < 0 || to >= c->size || tag < 0 || tag > TLT_MESSAGE_TAG_MAX ||
      bytes > TLT_MESSAGE_BYTES_MAX)
    return tlt_fail(err, TLT_EINTERNAL, "message to worker %d of %d, tag %d, %zu bytes", to,
                    c->size, tag, bytes);
  void *copy = NULL;
  if (bytes && !(copy = tlt_malloc(bytes))) return tlt_fail_nomem(err, "message", bytes);
  if (copy) memcpy(copy, data, bytes);
  if (to == c->rank) return send_local(c, tag, copy, bytes, err);
  tlt_status s = room_for_send(&c->out, err);
  MPI_Request request = MPI_REQUEST_NULL;
  if (s == TLT_OK)
    s = tlt__mpi(MPI_Isend(copy, (int)bytes, MPI_BYTE, to, tag, c->messages, &request),
                 "sending a message", err);
  int done = 0;
  if (s == TLT_OK)
    s = tlt__mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "sending a message", err);
  if (s != TLT_OK || done) {
    tlt_free(copy);
    return s;
  }
  c->out.request[c->out.n] = request;
  c->out.data[c->out.n++] = copy;
  return TLT_OK;
}

tlt_status tlt__complete_sends(tlt_cluster *c, tlt_err *err) {
  tlt__outgoing *o = &c->out;
  if (!o->n) return TLT_OK;
  int n_done = 0;
  tlt_status s = tlt__mpi(MPI_Testsome(o->n, o->request, &n_done, o->done, MPI_STATUSES_IGNORE),
                          "sending messages", err);
  if (s != TLT_OK || n_done <= 0) return s;
  for (int i = 0; i < n_done; i++) tlt_free(o->data[o->done[i]]);
  int kept = 0;
  for (int i = 0; i < o->n; i++) {
    if (o->request[i] == MPI_REQUEST_NULL) continue;
    o->request[kept] = o->request[i];
    o->data[kept++] = o->data[i];
  }
  o->n = kept;
  return TLT_OK;
}

/* ---- receiving ---- */

static bool take_local(tlt_cluster *c) {
  tlt__local *m = c->first_local;
  if (!m) return false;
  c->first_local = m->next;
  if (!m->next) c->last_local = NULL;
  tlt_free(c->in.data);
  c->in = (tlt__incoming){.state = TLT__READY,
                          .from = c->rank,
                          .tag = m->tag,
                          .bytes = m->bytes,
                          .capacity = m->bytes,
                          .data = m->data};
  tlt_free(m);
  return true;
}

static tlt_status match(tlt_cluster *c, tlt_err *err) {
  MPI_Status info;
  int there = 0, bytes = 0;
  tlt_status s =
      tlt__mpi(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, c->messages, &there, &c->in.message, &info),
               "looking for messages", err);
  if (s != TLT_OK || !there) return s;
  MPI_Get_count(&info, MPI_BYTE, &bytes);
  c->in.from = info.MPI_SOURCE;
  c->in.tag = info.MPI_TAG;
  c->in.bytes = (size_t)bytes;
  c->in.state = TLT__MATCHED;
  return TLT_OK;
}

static tlt_status begin_receive(tlt_cluster *c, tlt_err *err) {
  tlt__incoming *in = &c->in;
  if (in->capacity < in->bytes || in->capacity > KEEP_BYTES) {
    tlt_free(in->data);
    in->capacity = 0;
    in->data = in->bytes ? tlt_malloc(in->bytes) : NULL;
    if (in->bytes && !in->data) return tlt_fail_nomem(err, "message", in->bytes);
    in->capacity = in->bytes;
  }
  tlt_status s =
      tlt__mpi(MPI_Imrecv(in->data, (int)in->bytes, MPI_BYTE, &in->message, &in->request),
               "receiving a message", err);
  if (s == TLT_OK) in->state = TLT__UNDER_WAY;
  return s;
}

/* Let everything move on as far as it can without waiting. */
static tlt_status progress(tlt_cluster *c, tlt_err *err) {
  tlt__incoming *in = &c->in;
  tlt_status s = TLT_OK;
  if (c->mpi && c->size > 1) s = tlt__complete_sends(c, err);
  if (s == TLT_OK && in->state == TLT__NOTHING && take_local(c)) return TLT_OK;
  if (!c->mpi || c->size == 1 || s != TLT_OK) return s;
  if (in->state == TLT__NOTHING) s = match(c, err);
  if (s == TLT_OK && in->state == TLT__MATCHED) s = begin_receive(c, err);
  if (s == TLT_OK && in->state == TLT__UNDER_WAY) {
    int done = 0;
    s = tlt__mpi(MPI_Test(&in->request, &done, MPI_STATUS_IGNORE), "receiving a message", err);
    if (s == TLT_OK && done) in->state = TLT__READY;
  }
  return s;
}

tlt_status tlt_cluster_receive(tlt_cluster *c, tlt_mail *out, bool *got, tlt_err *err) {
  *got = false;
  tlt_status s = c->in.state == TLT__READY ? TLT_OK : progress(c, err);
  if (s != TLT_OK || c->in.state != TLT__READY) return s;
  *out = (tlt_mail){c->in.from, c->in.tag, c->in.bytes ? c->in.data : NULL, c->in.bytes};
  c->in.state = TLT__NOTHING;
  *got = true;
  return TLT_OK;
}

tlt_status tlt_cluster_wait(tlt_cluster *c, double seconds, tlt_err *err) {
  double start = tlt_now();
  for (;;) {
    tlt_status s = progress(c, err);
    if (s != TLT_OK || c->in.state == TLT__READY || tlt_now() - start >= seconds) return s;
    tlt__pause(start, NULL, 0);
  }
}

/* ---- end ---- */

void tlt__messages_close(tlt_cluster *c) {
  tlt_mail m;
  double start = tlt_now();
  bool got = true;
  while (c->mpi && (got || c->out.n) && tlt_now() - start < 1) {
    if (tlt_cluster_receive(c, &m, &got, NULL) != TLT_OK) break;
    if (!got) tlt__pause(start, NULL, 0);
  }
  while (take_local(c)) {
  }
  if (c->in.state != TLT__UNDER_WAY) tlt_free(c->in.data);
  /* What is still under way belongs to MPI: its memory stays. */
  tlt_free(c->out.request);
  tlt_free(c->out.data);
  tlt_free(c->out.done);
}
