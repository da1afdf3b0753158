/* JSONL reader; see json.h. */
#include <string.h>

#include "base/mem.h"
#include "io/json.h"
#include "io/lines.h"

_Static_assert((int)TLT_JSONL_LINE_MAX == (int)TLT_LINE_MAX, "one bound for lines");

struct tlt_jsonl {
  tlt_lines *lines;
};

tlt_status tlt_jsonl_open(const char *path, tlt_jsonl **out, tlt_err *err) {
  *out = NULL;
  tlt_jsonl *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, path, sizeof *r);
  tlt_status status = tlt_lines_open(path, &r->lines, err);
  if (status == TLT_OK) *out = r;
  else tlt_free(r);
  return status;
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
    tlt_status status = tlt_lines_next(r->lines, &text, &n, err);
    if (status != TLT_OK || !text) return status;
  } while (blank(text, n));
  const char *file = tlt_jsonl_file(r);
  long line = tlt_jsonl_line(r);
  tlt_status status = tlt_json_parse(text, n, file, line, out, err);
  if (status != TLT_OK || json_is_object(*out)) return status;
  char got[64];
  tlt_json_describe(*out, got);
  json_decref(*out);
  *out = NULL;
  return tlt_fail(err, TLT_EDATA, "%s:%ld: got %s, expected an object", file, line, got);
}

long tlt_jsonl_line(const tlt_jsonl *r) {
  return tlt_lines_number(r->lines);
}
uint64_t tlt_jsonl_offset(const tlt_jsonl *r) {
  return tlt_lines_offset(r->lines);
}
const char *tlt_jsonl_file(const tlt_jsonl *r) {
  return tlt_lines_file(r->lines);
}

void tlt_jsonl_close(tlt_jsonl *r) {
  if (!r) return;
  tlt_lines_close(r->lines);
  tlt_free(r);
}
