#include "io/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void tlt_text_free(tlt_text *t) {
  tlt_free(t->data);
  *t = (tlt_text){0};
}

void tlt_text_clear(tlt_text *t) {
  t->n = 0;
  t->failed = false;
  if (t->data) t->data[0] = 0;
}

/* Room for n more bytes and the NUL. */
static bool reserve(tlt_text *t, size_t n) {
  enum { SMALLEST = 256 };
  if (t->failed) return false;
  if (n < t->room - t->n) return true;
  size_t room = t->room ? t->room : SMALLEST;
  while (room - t->n <= n && room <= SIZE_MAX / 2) room *= 2;
  char *grown = room - t->n > n ? tlt_realloc(t->data, room) : NULL;
  if (!grown) {
    t->failed = true;
    return false;
  }
  t->data = grown;
  t->room = room;
  return true;
}

void tlt_text_add_n(tlt_text *t, const char *s, size_t n) {
  if (!reserve(t, n)) return;
  if (n) memcpy(t->data + t->n, s, n);
  t->n += n;
  t->data[t->n] = 0;
}

void tlt_text_add(tlt_text *t, const char *s) {
  tlt_text_add_n(t, s, strlen(s));
}

void tlt_text_printf(tlt_text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0 || !reserve(t, (size_t)n)) {
    t->failed = true;
    return;
  }
  va_start(args, format);
  vsnprintf(t->data + t->n, (size_t)n + 1, format, args);
  va_end(args);
  t->n += (size_t)n;
}

tlt_status tlt_text_check(const tlt_text *t, tlt_err *err) {
  return t->failed ? tlt_fail_nomem(err, "text", t->n) : TLT_OK;
}

static void add_number(tlt_text *t, double x, int digits) {
  if (!isfinite(x)) tlt_text_add(t, "null");
  else if (x == 0) tlt_text_add(t, signbit(x) ? "-0.0" : "0");
  else tlt_text_printf(t, "%.*g", digits, x);
}

void tlt_text_f32(tlt_text *t, float x) {
  add_number(t, (double)x, 9);
}
void tlt_text_f64(tlt_text *t, double x) {
  add_number(t, x, 17);
}

size_t tlt_utf8_length(const char *text, size_t n) {
  const unsigned char *s = (const unsigned char *)text;
  if (n == 0) return 0;
  if (s[0] < 0x80) return 1;
  size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4 || length > n) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if (s[0] == 0xe0 && s[1] < 0xa0) return 0; /* overlong */
  if (s[0] == 0xed && s[1] > 0x9f) return 0; /* surrogate */
  if (s[0] == 0xf0 && s[1] < 0x90) return 0; /* overlong */
  if (s[0] == 0xf4 && s[1] > 0x8f) return 0; /* above U+10FFFF */
  return length;
}

static void add_escape(tlt_text *t, unsigned char c) {
  static const char names[] = "\"\"\\\\\nn\tt\rr\bb\ff";
  for (const char *p = names; *p; p += 2)
    if ((unsigned char)*p == c) {
      tlt_text_printf(t, "\\%c", p[1]);
      return;
    }
  tlt_text_printf(t, "\\u%04x", c);
}

void tlt_text_json_string(tlt_text *t, const char *s, size_t n) {
  size_t from = 0, i = 0;
  tlt_text_add(t, "\"");
  while (i < n) {
    unsigned char c = (unsigned char)s[i];
    size_t length = c ? tlt_utf8_length(s + i, n - i) : 0;
    if (length && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
      i += length;
      continue;
    }
    tlt_text_add_n(t, s + from, i - from);
    if (length) add_escape(t, c);
    else tlt_text_add(t, "\xef\xbf\xbd");
    from = ++i;
  }
  tlt_text_add_n(t, s + from, n - from);
  tlt_text_add(t, "\"");
}

static void put_key(tlt_json_writer *w, const char *key) {
  if (w->comma) tlt_text_add(&w->text, ", ");
  w->comma = true;
  if (!key) return;
  tlt_text_json_string(&w->text, key, strlen(key));
  tlt_text_add(&w->text, ": ");
}

void tlt_json_begin(tlt_json_writer *w, const char *key, char bracket) {
  put_key(w, key);
  tlt_text_add_n(&w->text, &bracket, 1);
  w->comma = false;
}

void tlt_json_end(tlt_json_writer *w, char bracket) {
  tlt_text_add_n(&w->text, &bracket, 1);
  w->comma = true;
}

void tlt_json_put_int(tlt_json_writer *w, const char *key, int64_t x) {
  put_key(w, key);
  tlt_text_printf(&w->text, "%lld", (long long)x);
}

void tlt_json_put_f32(tlt_json_writer *w, const char *key, float x) {
  put_key(w, key);
  tlt_text_f32(&w->text, x);
}

void tlt_json_put_f64(tlt_json_writer *w, const char *key, double x) {
  put_key(w, key);
  tlt_text_f64(&w->text, x);
}

void tlt_json_put_bool(tlt_json_writer *w, const char *key, bool x) {
  tlt_json_put_raw(w, key, x ? "true" : "false");
}

void tlt_json_put_null(tlt_json_writer *w, const char *key) {
  tlt_json_put_raw(w, key, "null");
}

void tlt_json_put_string(tlt_json_writer *w, const char *key, const char *s) {
  tlt_json_put_string_n(w, key, s, strlen(s));
}

void tlt_json_put_string_n(tlt_json_writer *w, const char *key, const char *s, size_t n) {
  put_key(w, key);
  tlt_text_json_string(&w->text, s, n);
}

void tlt_json_put_raw(tlt_json_writer *w, const char *key, const char *json) {
  put_key(w, key);
  tlt_text_add(&w->text, json);
}

void tlt_json_newline(tlt_json_writer *w) {
  tlt_text_add(&w->text, "\n");
  w->comma = false;
}
