#include "report/page.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "report/page_parts.h"

enum { ESCAPE_BYTES = 6 }; /* \u003c */

/* What must not stand raw inside a script element, and the JSON that means the same: "<", which
 * could close it, and the two separators that older browsers end a line at. 0: nothing to escape
 * here. */
static size_t special(const char *s, size_t left, const char **escape) {
  if (s[0] == '<') {
    *escape = "\\u003c";
    return 1;
  }
  if (left < 3 || memcmp(s, "\xe2\x80", 2) != 0) return 0;
  *escape = s[2] == '\xa8' ? "\\u2028" : "\\u2029";
  return s[2] == '\xa8' || s[2] == '\xa9' ? 3 : 0;
}

static size_t escaped_bytes(const char *s, size_t n) {
  const char *escape;
  size_t bytes = 0;
  for (size_t i = 0, k; i < n; i += k ? k : 1)
    bytes += (k = special(s + i, n - i, &escape)) ? ESCAPE_BYTES : 1;
  return bytes;
}

static char *put(char *to, const char *from, size_t n) {
  memcpy(to, from, n);
  return to + n;
}

static char *put_escaped(char *to, const char *s, size_t n) {
  const char *escape;
  for (size_t i = 0; i < n;) {
    size_t k = special(s + i, n - i, &escape);
    if (k) to = put(to, escape, ESCAPE_BYTES);
    else *to++ = s[i];
    i += k ? k : 1;
  }
  return to;
}

tlt_status tlt_page_make(const char *payload, size_t n, tlt_page_kind kind, char **html,
                         size_t *bytes, tlt_err *err) {
  const char *connect = kind == TLT_PAGE_LIVE ? "'self'" : "'none'";
  *bytes = tlt_page_head.bytes + strlen(connect) + tlt_page_middle.bytes +
           escaped_bytes(payload, n) + tlt_page_tail.bytes;
  *html = tlt_malloc(*bytes + 1);
  if (!*html) return tlt_fail(err, TLT_ENOMEM, "no memory for a page of %zu bytes", *bytes);
  char *p = put(*html, tlt_page_head.text, tlt_page_head.bytes);
  p = put(p, connect, strlen(connect));
  p = put(p, tlt_page_middle.text, tlt_page_middle.bytes);
  p = put_escaped(p, payload, n);
  p = put(p, tlt_page_tail.text, tlt_page_tail.bytes);
  *p = '\0';
  return TLT_OK;
}

tlt_status tlt_page_save(const char *path, const char *payload, size_t n, tlt_err *err) {
  char *html;
  size_t bytes;
  tlt_status s = tlt_page_make(payload, n, TLT_PAGE_FILE, &html, &bytes, err);
  if (s == TLT_OK) s = tlt_file_store(path, html, bytes, err);
  tlt_free(html);
  return s;
}
