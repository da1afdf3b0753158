/* One reward process: buffers both ways, its last words, its deadlines. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tasks/reward_internal.h"

/* Generous, since a reward may load a model of its own; they stop a leak, not an attacker. */
static const uint64_t LIMIT_CPU_SECONDS = 1000000, LIMIT_ADDRESS_BYTES = UINT64_C(64) << 30,
                      LIMIT_OPEN_FILES = 1024, LIMIT_FILE_BYTES = UINT64_C(1) << 30;
static const double GRACE_S = 2.0;

static const char *const keep_env[] = {"PATH", "HOME", "LANG",    "LC_*",         "TMPDIR",
                                       "TZ",   "USER", "PYTHON*", "TLT_REWARD_*", NULL};

tlt_status tlt__child_start(tlt__child *c, char *const *argv, double timeout_s, tlt_err *err) {
  const tlt_proc_options options = {
      .argv = (const char *const *)argv,
      .keep_env = keep_env,
      .cpu_seconds = LIMIT_CPU_SECONDS,
      .address_bytes = LIMIT_ADDRESS_BYTES,
      .open_files = LIMIT_OPEN_FILES,
      .file_bytes = LIMIT_FILE_BYTES,
  };
  tlt_status status = tlt_proc_start(&options, &c->proc, err);
  if (status != TLT_OK) return status;
  c->state = TLT__CHILD_GREETING;
  c->deadline = tlt_now() + timeout_s;
  c->n_items = 0;
  c->n_words = 0;
  c->written = c->used = 0;
  c->timed_out = false;
  tlt_text_clear(&c->in);
  tlt_text_clear(&c->out);
  tlt_text_add(&c->out, tlt__hello_line);
  return tlt_text_check(&c->out, err);
}

tlt_status tlt__child_give(tlt__child *c, tlt__item *item, double timeout_s, tlt_err *err) {
  tlt_text_add_n(&c->out, item->line, item->n);
  tlt_status status = tlt_text_check(&c->out, err);
  if (status != TLT_OK) return status;
  c->items[c->n_items++] = item;
  item->handed = tlt_now();
  item->deadline = item->handed + timeout_s * c->n_items;
  return TLT_OK;
}

tlt__item *tlt__child_take(tlt__child *c, int i) {
  tlt__item *item = c->items[i];
  c->n_items--;
  for (; i < c->n_items; i++) c->items[i] = c->items[i + 1];
  return item;
}

void tlt__child_tighten(tlt__child *c, double timeout_s) {
  double end = tlt_now();
  for (int i = 0; i < c->n_items; i++) {
    end += timeout_s;
    if (end < c->items[i]->deadline) c->items[i]->deadline = end;
  }
}

void tlt__child_stop(tlt__child *c, const char *format, ...) {
  if (c->state == TLT__CHILD_STOPPING) return;
  va_list args;
  va_start(args, format);
  vsnprintf(c->why, sizeof c->why, format, args);
  va_end(args);
  c->state = TLT__CHILD_STOPPING;
  c->deadline = tlt_now() + GRACE_S;
  tlt_proc_close_in(&c->proc);
  tlt_proc_signal(&c->proc, SIGTERM);
}

static void write_out(tlt__child *c) {
  while (c->state != TLT__CHILD_STOPPING && c->written < c->out.n) {
    ptrdiff_t n = tlt_proc_write(&c->proc, c->out.data + c->written, c->out.n - c->written);
    if (n == 0) break;
    if (n < 0) {
      tlt__child_stop(c, "it no longer reads its stdin");
      return;
    }
    c->written += (size_t)n;
  }
  if (c->written == c->out.n) {
    tlt_text_clear(&c->out);
    c->written = 0;
  }
}

/* Keeps the last bytes. */
static void add_words(tlt__child *c, const char *s, size_t n) {
  if (n >= sizeof c->words) {
    memcpy(c->words, s + n - sizeof c->words, sizeof c->words);
    c->n_words = sizeof c->words;
    return;
  }
  size_t over = c->n_words + n > sizeof c->words ? c->n_words + n - sizeof c->words : 0;
  memmove(c->words, c->words + over, c->n_words - over);
  memcpy(c->words + c->n_words - over, s, n);
  c->n_words += n - over;
}

/* At most 256 KiB at a time, so that a child that floods its stderr cannot hold the caller. */
static void read_words(tlt__child *c) {
  enum { READS = 64, CHUNK = 4096 };
  char chunk[CHUNK];
  for (int i = 0; i < READS; i++) {
    ptrdiff_t n = tlt_proc_read(c->proc.err, chunk, sizeof chunk);
    if (n <= 0) return;
    add_words(c, chunk, (size_t)n);
  }
}

void tlt__child_pump(tlt__child *c) {
  if (c->state == TLT__CHILD_OFF) return;
  write_out(c);
  read_words(c);
}

/* The line given by the last call goes; the next one, without its newline, if it is there. */
static bool whole_line(tlt__child *c, const char **line, size_t *n) {
  if (c->used) {
    c->in.n -= c->used;
    memmove(c->in.data, c->in.data + c->used, c->in.n);
    c->used = 0;
  }
  const char *end = c->in.n ? memchr(c->in.data, '\n', c->in.n) : NULL;
  if (!end) return false;
  *line = c->in.data;
  *n = (size_t)(end - c->in.data);
  c->used = *n + 1;
  return true;
}

bool tlt__child_line(tlt__child *c, const char **line, size_t *n) {
  enum { CHUNK = 16384 };
  char chunk[CHUNK];
  while (c->state == TLT__CHILD_GREETING || c->state == TLT__CHILD_READY) {
    if (whole_line(c, line, n)) return true;
    ptrdiff_t got = tlt_proc_read(c->proc.out, chunk, sizeof chunk);
    if (got == 0) return false;
    if (got < 0) {
      tlt__child_stop(c, c->in.n ? "it ended within a line" : "it ended");
      return false;
    }
    tlt_text_add_n(&c->in, chunk, (size_t)got);
    if (c->in.failed) tlt__child_stop(c, "out of memory for its answers");
    else if (c->in.n > TLT_REWARD_LINE_MAX && !memchr(c->in.data, '\n', c->in.n))
      tlt__child_stop(c, "it wrote a line over %d bytes", (int)TLT_REWARD_LINE_MAX);
  }
  return false;
}

static void stop_if_late(tlt__child *c, double now) {
  if (c->state == TLT__CHILD_GREETING && now > c->deadline) {
    c->timed_out = true;
    tlt__child_stop(c, "no hello within the time limit");
  }
  for (int i = 0; c->state == TLT__CHILD_READY && i < c->n_items; i++) {
    if (now <= c->items[i]->deadline) continue;
    c->timed_out = true;
    tlt__child_stop(c, "no answer within the time limit");
  }
}

bool tlt__child_check(tlt__child *c) {
  char how[TLT_PROC_HOW_MAX];
  double now = tlt_now();
  stop_if_late(c, now);
  if (c->state != TLT__CHILD_STOPPING) return false;
  if (now > c->deadline) tlt_proc_signal(&c->proc, SIGKILL);
  if (!tlt_proc_ended(&c->proc, false, how)) return false;
  read_words(c);
  tlt_proc_close(&c->proc);
  size_t n = strlen(c->why);
  snprintf(c->why + n, sizeof c->why - n, " (%s)", how);
  return true;
}

void tlt__child_clear(tlt__child *c) {
  tlt_proc_close(&c->proc);
  tlt_text_free(&c->in);
  tlt_text_free(&c->out);
}
