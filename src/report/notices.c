#include "report/notices.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/lines.h"
#include "io/text.h"

void tlt_notice(tlt_notices *n, const char *format, ...) {
  char text[TLT_NOTICE_TEXT];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (int i = 0; i < n->n; i++)
    if (!strcmp(n->text[i], text)) return;
  char *copy = n->n < TLT_NOTICES_MAX ? tlt_strdup(text) : NULL;
  if (copy) n->text[n->n++] = copy;
  else n->more++;
}

void tlt_notices_free(tlt_notices *n) {
  for (int i = 0; i < n->n; i++) tlt_free(n->text[i]);
  *n = (tlt_notices){0};
}

/* ---- mending ------------------------------------------------------------------------------------
 */

/* A \u escape at text[0..n) that jansson refuses: NUL, or half of a surrogate pair. Its length in
 * *used; a good pair is no such thing. */
static bool bad_escape(const char *text, size_t n, size_t *used) {
  unsigned first = 0, second = 0;
  char digits[5] = {0};
  *used = 2;
  if (n < 6 || text[1] != 'u') return false;
  memcpy(digits, text + 2, 4);
  if (sscanf(digits, "%4x", &first) != 1) return false;
  *used = 6;
  if (first == 0) return true;
  if (first < 0xd800 || first > 0xdfff) return false;
  if (first >= 0xdc00 || n < 12 || text[6] != '\\' || text[7] != 'u') return true;
  memcpy(digits, text + 8, 4);
  if (sscanf(digits, "%4x", &second) != 1 || second < 0xdc00 || second > 0xdfff) return true;
  *used = 12;
  return false;
}

/* The text with everything replaced by U+FFFD that a JSON text cannot hold: bytes that are no
 * UTF-8, raw control characters, and escapes for NUL and half surrogates. */
static void mend(const char *text, size_t n, tlt_text *out) {
  for (size_t i = 0; i < n;) {
    unsigned char c = (unsigned char)text[i];
    size_t used = tlt_utf8_length(text + i, n - i);
    bool bad = used == 0 || (c < 0x20 && c != '\t');
    if (used == 0) used = 1;
    if (c == '\\') bad = bad_escape(text + i, n - i, &used);
    if (used > n - i) used = n - i;
    if (bad) tlt_text_add(out, "\xef\xbf\xbd");
    else tlt_text_add_n(out, text + i, used);
    i += used;
  }
}

static json_t *parse(const char *text, size_t n, bool *mended, tlt_err *err) {
  json_t *value = NULL;
  tlt_text better = {0};
  *mended = false;
  if (tlt_json_parse(text, n, "", 0, &value, err) == TLT_OK) return value;
  mend(text, n, &better);
  if (better.data && !better.failed && (better.n != n || memcmp(better.data, text, n)))
    *mended = tlt_json_parse(better.data, better.n, "", 0, &value, NULL) == TLT_OK;
  tlt_text_free(&better);
  return value;
}

/* ---- files --------------------------------------------------------------------------------------
 */

/* What err says without the place that stands before it. */
static const char *reason(const tlt_err *err) {
  const char *offset = strstr(err->text, "offset ");
  return offset ? offset : err->text;
}

struct tlt_run_lines {
  tlt_lines *lines; /* NULL: nothing more to read */
  char name[256];
  tlt_run_want want;
  void *context;
  tlt_notices *notices;
};

/* What failed stops the reading of this file only, unless memory has run out. */
static tlt_status give_up(tlt_run_lines *r, tlt_status s, const tlt_err *why, tlt_err *err) {
  tlt_lines_close(r->lines);
  r->lines = NULL;
  if (s == TLT_ENOMEM) return tlt_fail(err, s, "%s", why->text);
  tlt_notice(r->notices, "%s: %s; nothing read from there on", r->name, why->text);
  return TLT_OK;
}

tlt_status tlt_run_lines_open(const char *dir, const char *name, tlt_run_want want, void *context,
                              tlt_notices *notices, tlt_run_lines **out, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_err why = {0};
  *out = NULL;
  tlt_run_lines *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, name, sizeof *r);
  *r = (tlt_run_lines){.want = want, .context = context, .notices = notices};
  snprintf(r->name, sizeof r->name, "%s", name);
  tlt_path_join(path, dir, name);
  tlt_status s = tlt_path_exists(path) ? tlt_lines_open(path, &r->lines, &why) : TLT_OK;
  if (s != TLT_OK) s = give_up(r, s, &why, err);
  if (s == TLT_OK) *out = r;
  else tlt_run_lines_close(r);
  return s;
}

/* *out NULL: the line is left out, which is told. */
static tlt_status parse_line(tlt_run_lines *r, const char *text, size_t n, json_t **out,
                             tlt_err *err) {
  tlt_err why = {0};
  bool mended;
  long line = tlt_lines_number(r->lines);
  json_t *value = parse(text, n, &mended, &why);
  if (!value && why.status == TLT_ENOMEM) return tlt_fail(err, why.status, "%s", why.text);
  if (mended)
    tlt_notice(r->notices, "%s line %ld: %s; shown as U+FFFD", r->name, line, reason(&why));
  else if (!value && tlt_lines_torn(r->lines))
    tlt_notice(r->notices, "%s line %ld: ends in mid-line, left out", r->name, line);
  else if (!value) tlt_notice(r->notices, "%s line %ld: %s; left out", r->name, line, reason(&why));
  *out = value;
  if (!value || json_is_object(value)) return TLT_OK;
  char got[64];
  tlt_json_describe(value, got);
  tlt_notice(r->notices, "%s line %ld: got %s, expected an object; left out", r->name, line, got);
  json_decref(value);
  *out = NULL;
  return TLT_OK;
}

static bool blank(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
  return true;
}

tlt_status tlt_run_lines_next(tlt_run_lines *r, json_t **out, tlt_err *err) {
  tlt_err why = {0};
  const char *text;
  size_t n;
  *out = NULL;
  while (r->lines && !*out) {
    tlt_status s = tlt_lines_next(r->lines, &text, &n, &why);
    if (s != TLT_OK) return give_up(r, s, &why, err);
    if (!text) return TLT_OK;
    if (blank(text, n) || (r->want && !r->want(r->context, text, n))) continue;
    s = parse_line(r, text, n, out, err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

long tlt_run_lines_number(const tlt_run_lines *r) {
  return r->lines ? tlt_lines_number(r->lines) : 0;
}

void tlt_run_lines_close(tlt_run_lines *r) {
  if (!r) return;
  tlt_lines_close(r->lines);
  tlt_free(r);
}

void tlt_run_load(const char *dir, const char *name, json_t **out, tlt_notices *notices) {
  enum { SMALL_FILE_MAX = 1 << 20 };
  char path[TLT_PATH_MAX], *text = NULL;
  size_t n;
  tlt_err why = {0};
  bool mended;
  *out = NULL;
  tlt_path_join(path, dir, name);
  if (!tlt_path_exists(path)) return;
  if (tlt_file_load(path, SMALL_FILE_MAX, &text, &n, &why) == TLT_OK)
    *out = parse(text, n, &mended, &why);
  if (!*out) tlt_notice(notices, "%s: %s; left out", name, reason(&why));
  tlt_free(text);
  if (json_is_object(*out) || !*out) return;
  tlt_notice(notices, "%s: got no object; left out", name);
  json_decref(*out);
  *out = NULL;
}
