#include "io/lines.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"

enum { FIRST_WINDOW = 1 << 16 };

struct tlt_lines {
  tlt_file *file;
  uint64_t size, window_at; /* of the file; file offset of window[0] */
  char *window;
  size_t room, filled, next; /* next: start of the next line in the window */
  long line;
  bool torn;
};

tlt_status tlt_lines_open(const char *path, tlt_lines **out, tlt_err *err) {
  *out = NULL;
  tlt_lines *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, path, sizeof *r);
  tlt_status status = tlt_file_open(path, TLT_FILE_READ, &r->file, err);
  if (status == TLT_OK) status = tlt_file_size(r->file, &r->size, err);
  if (status == TLT_OK && !(r->window = tlt_malloc(FIRST_WINDOW)))
    status = tlt_fail_nomem(err, path, FIRST_WINDOW);
  r->room = FIRST_WINDOW;
  if (status != TLT_OK) {
    tlt_lines_close(r);
    return status;
  }
  *out = r;
  return TLT_OK;
}

/* More bytes behind those in the window: moves the open line to its start, grows it when full. */
static tlt_status refill(tlt_lines *r, tlt_err *err) {
  r->filled -= r->next;
  memmove(r->window, r->window + r->next, r->filled);
  r->window_at += r->next;
  r->next = 0;
  if (r->filled > TLT_LINE_MAX)
    return tlt_fail(err, TLT_EDATA, "%s:%ld: got a line over %d bytes", tlt_file_path(r->file),
                    r->line, TLT_LINE_MAX);
  if (r->filled == r->room) {
    char *grown = tlt_realloc(r->window, 2 * r->room);
    if (!grown) return tlt_fail_nomem(err, tlt_file_path(r->file), 2 * r->room);
    r->window = grown;
    r->room *= 2;
  }
  uint64_t left = r->size - r->window_at - r->filled;
  size_t n = left < r->room - r->filled ? (size_t)left : r->room - r->filled;
  tlt_status status =
      tlt_file_pread(r->file, r->window + r->filled, n, r->window_at + r->filled, err);
  if (status == TLT_OK) r->filled += n;
  return status;
}

tlt_status tlt_lines_next(tlt_lines *r, const char **text, size_t *n, tlt_err *err) {
  size_t seen = 0; /* bytes of the open line known to hold no newline */
  *text = NULL;
  r->line++;
  for (;;) {
    size_t open = r->filled - r->next;
    const char *start = r->window + r->next;
    const char *end = open > seen ? memchr(start + seen, '\n', open - seen) : NULL;
    bool last = r->window_at + r->filled == r->size;
    if (end || (last && open)) {
      *text = start;
      *n = end ? (size_t)(end - start) : open;
      r->next += *n + (end ? 1 : 0);
      r->torn = !end;
      if (*n <= TLT_LINE_MAX) return TLT_OK;
      *text = NULL;
      return tlt_fail(err, TLT_EDATA, "%s:%ld: got a line of %zu bytes, expected at most %d",
                      tlt_file_path(r->file), r->line, *n, TLT_LINE_MAX);
    }
    if (last) return TLT_OK;
    seen = open;
    tlt_status status = refill(r, err);
    if (status != TLT_OK) return status;
  }
}

bool tlt_lines_torn(const tlt_lines *r) {
  return r->torn;
}
long tlt_lines_number(const tlt_lines *r) {
  return r->line;
}
uint64_t tlt_lines_offset(const tlt_lines *r) {
  return r->window_at + r->next;
}
const char *tlt_lines_file(const tlt_lines *r) {
  return tlt_file_path(r->file);
}

void tlt_lines_seek(tlt_lines *r, uint64_t offset, long number) {
  r->window_at = offset < r->size ? offset : r->size;
  r->filled = r->next = 0;
  r->line = number - 1;
}

void tlt_lines_close(tlt_lines *r) {
  if (!r) return;
  tlt_file_close(r->file, NULL);
  tlt_free(r->window);
  tlt_free(r);
}
