/* JSONL reader; see json.h. Lines are found in a window of the file that is refilled by pread and
 * grows up to one line of TLT_JSONL_LINE_MAX bytes. */
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"

enum { FIRST_WINDOW = 1 << 16 };

struct tlt_jsonl {
  tlt_file *file;
  uint64_t size, window_at; /* of the file; file offset of window[0] */
  char *window;
  size_t room, filled, next; /* next: start of the next line in the window */
  long line;
};

tlt_status tlt_jsonl_open(const char *path, tlt_jsonl **out, tlt_err *err) {
  *out = NULL;
  tlt_jsonl *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, path, sizeof *r);
  tlt_status status = tlt_file_open(path, TLT_FILE_READ, &r->file, err);
  if (status == TLT_OK) status = tlt_file_size(r->file, &r->size, err);
  if (status == TLT_OK && !(r->window = tlt_malloc(FIRST_WINDOW)))
    status = tlt_fail_nomem(err, path, FIRST_WINDOW);
  r->room = FIRST_WINDOW;
  if (status != TLT_OK) {
    tlt_jsonl_close(r);
    return status;
  }
  *out = r;
  return TLT_OK;
}

/* More bytes behind those in the window: moves the open line to its start, grows it when full. */
static tlt_status refill(tlt_jsonl *r, tlt_err *err) {
  r->filled -= r->next;
  memmove(r->window, r->window + r->next, r->filled);
  r->window_at += r->next;
  r->next = 0;
  if (r->filled > TLT_JSONL_LINE_MAX)
    return tlt_fail(err, TLT_EDATA, "%s:%ld: got a line over %d bytes", tlt_file_path(r->file),
                    r->line, TLT_JSONL_LINE_MAX);
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

/* The next line without its newline; *text NULL at the end of the file. */
static tlt_status next_line(tlt_jsonl *r, const char **text, size_t *n, tlt_err *err) {
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
      if (*n <= TLT_JSONL_LINE_MAX) return TLT_OK;
      return tlt_fail(err, TLT_EDATA, "%s:%ld: got a line of %zu bytes, expected at most %d",
                      tlt_file_path(r->file), r->line, *n, TLT_JSONL_LINE_MAX);
    }
    if (last) return TLT_OK;
    seen = open;
    tlt_status status = refill(r, err);
    if (status != TLT_OK) return status;
  }
}

static bool blank(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strchr(" \t\r", text[i]) || !text[i]) return false;
  return true;
}

tlt_status tlt_jsonl_next(tlt_jsonl *r, json_t **out, tlt_err *err) {
  const char *text;
  size_t n = 0;
  *out = NULL;
  do {
    tlt_status status = next_line(r, &text, &n, err);
    if (status != TLT_OK || !text) return status;
  } while (blank(text, n));
  tlt_status status = tlt_json_parse(text, n, tlt_file_path(r->file), r->line, out, err);
  if (status != TLT_OK || json_is_object(*out)) return status;
  char got[64];
  tlt_json_describe(*out, got);
  json_decref(*out);
  *out = NULL;
  return tlt_fail(err, TLT_EDATA, "%s:%ld: got %s, expected an object", tlt_file_path(r->file),
                  r->line, got);
}

long tlt_jsonl_line(const tlt_jsonl *r) {
  return r->line;
}
uint64_t tlt_jsonl_offset(const tlt_jsonl *r) {
  return r->window_at + r->next;
}
const char *tlt_jsonl_file(const tlt_jsonl *r) {
  return tlt_file_path(r->file);
}

void tlt_jsonl_close(tlt_jsonl *r) {
  if (!r) return;
  tlt_file_close(r->file, NULL);
  tlt_free(r->window);
  tlt_free(r);
}
