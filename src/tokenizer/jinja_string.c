/* Strings with taint: every piece of a string keeps the flags of its bytes. */
#include <string.h>
#include <utf8proc.h>

#include "tokenizer/jinja_internal.h"
#include "tokenizer/text.h"

bool tlt_jstr_is(tlt_jstr s, const char *text) {
  return strlen(text) == s.n && memcmp(s.s, text, s.n) == 0;
}

bool tlt_jstr_equal(tlt_jstr a, tlt_jstr b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.s, b.s, a.n) == 0);
}

/* Bytewise, which for UTF-8 is the order of code points. */
int tlt_jstr_compare(tlt_jstr a, tlt_jstr b) {
  size_t n = a.n < b.n ? a.n : b.n;
  int order = n ? memcmp(a.s, b.s, n) : 0;
  return order ? order : (a.n > b.n) - (a.n < b.n);
}

tlt_jstr tlt_jstr_cut(tlt_jstr s, size_t from, size_t to) {
  return (tlt_jstr){s.s + from, s.taint ? s.taint + from : NULL, to - from};
}

tlt_status tlt_jstr_join(tlt_jrender *r, const tlt_jstr *parts, size_t n, tlt_jstr *out) {
  size_t total = 0;
  bool tainted = false;
  for (size_t i = 0; i < n; i++) {
    if (parts[i].n > TLT_JINJA_MEMORY_MAX - total) return tlt_jerror(r, "a string is too long");
    total += parts[i].n;
    tainted |= parts[i].taint != NULL;
  }
  tlt_status status = TLT_OK;
  char *text = tlt_jalloc(r, total + 1, &status);
  uint8_t *taint = tainted && !status ? tlt_jalloc(r, total + 1, &status) : NULL;
  if (status) return status;
  *out = (tlt_jstr){text, taint, total};
  for (size_t i = 0; i < n; i++) {
    if (parts[i].n) memcpy(text, parts[i].s, parts[i].n);
    text += parts[i].n;
    if (!taint) continue;
    if (parts[i].taint) memcpy(taint, parts[i].taint, parts[i].n); /* else zero already */
    taint += parts[i].n;
  }
  return TLT_OK;
}

size_t tlt_jstr_find(tlt_jstr s, tlt_jstr part, size_t from) {
  if (from > s.n || part.n > s.n - from) return SIZE_MAX;
  if (part.n == 0) return from;
  size_t last = s.n - part.n;
  while (from <= last) {
    const char *hit = memchr(s.s + from, part.s[0], last - from + 1);
    if (!hit) break;
    from = (size_t)(hit - s.s);
    if (memcmp(hit, part.s, part.n) == 0) return from;
    from++;
  }
  return SIZE_MAX;
}

size_t tlt_jstr_length(tlt_jstr s) {
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.s[i] & 0xc0) != 0x80;
  return n;
}

size_t tlt_jstr_offset(tlt_jstr s, size_t k) {
  size_t i = 0;
  for (; i < s.n && k > 0; k--) {
    int size;
    tlt_utf8_get(s.s + i, &size);
    i += (size_t)size;
  }
  return i;
}

static bool in_set(const tlt_jstr *set, const char *at, int size, uint32_t code) {
  if (!set) return tlt_is_space(code) || (code >= 0x1c && code <= 0x1f);
  return tlt_jstr_find(*set, (tlt_jstr){at, NULL, (size_t)size}, 0) != SIZE_MAX;
}

tlt_jstr tlt_jstr_strip(tlt_jstr s, const tlt_jstr *set, bool left, bool right) {
  size_t from = 0, to = s.n;
  int size;
  while (left && from < to) {
    uint32_t code = tlt_utf8_get(s.s + from, &size);
    if (!in_set(set, s.s + from, size, code)) break;
    from += (size_t)size;
  }
  while (right && to > from) {
    size_t before = tlt_utf8_before(s.s, to);
    uint32_t code = tlt_utf8_get(s.s + before, &size);
    if (!in_set(set, s.s + before, size, code)) break;
    to = before;
  }
  return tlt_jstr_cut(s, from, to);
}

static tlt_status split_blanks(tlt_jrender *r, tlt_jstr s, int64_t max, tlt_jlist *list) {
  tlt_status status = TLT_OK;
  for (s = tlt_jstr_strip(s, NULL, true, false); s.n > 0 && !status;) {
    size_t end = 0;
    int size;
    while (end < s.n && !in_set(NULL, s.s + end, 1, tlt_utf8_get(s.s + end, &size)))
      end += (size_t)size;
    if (max >= 0 && (int64_t)list->n == max) end = tlt_jstr_strip(s, NULL, false, true).n;
    status = tlt_jlist_add(r, list, tlt_jstring(tlt_jstr_cut(s, 0, end)));
    s = tlt_jstr_strip(tlt_jstr_cut(s, end, s.n), NULL, true, false);
  }
  return status;
}

tlt_status tlt_jstr_split(tlt_jrender *r, tlt_jstr s, const tlt_jstr *separator, int64_t max,
                          tlt_jval *out) {
  tlt_status status = tlt_jlist_new(r, out);
  if (status || !separator) return status ? status : split_blanks(r, s, max, out->list);
  if (separator->n == 0) return tlt_jerror(r, "split: got an empty separator");
  size_t from = 0, hit;
  while (!status && (max < 0 || (int64_t)out->list->n < max) &&
         (hit = tlt_jstr_find(s, *separator, from)) != SIZE_MAX) {
    status = tlt_jlist_add(r, out->list, tlt_jstring(tlt_jstr_cut(s, from, hit)));
    from = hit + separator->n;
  }
  return status ? status : tlt_jlist_add(r, out->list, tlt_jstring(tlt_jstr_cut(s, from, s.n)));
}

/* With an empty `old`, `by` goes before every character and to the end. */
tlt_status tlt_jstr_replace(tlt_jrender *r, tlt_jstr s, tlt_jstr old, tlt_jstr by, int64_t max,
                            tlt_jstr *out) {
  tlt_jval parts;
  tlt_status status = tlt_jlist_new(r, &parts);
  size_t from = 0, next = 0;
  for (int64_t done = 0; !status && (max < 0 || done < max); done++) {
    size_t hit = tlt_jstr_find(s, old, next);
    if (hit == SIZE_MAX) break;
    status = tlt_jlist_add(r, parts.list, tlt_jstring(tlt_jstr_cut(s, from, hit)));
    if (!status) status = tlt_jlist_add(r, parts.list, tlt_jstring(by));
    from = hit + old.n;
    next = old.n ? from : from + tlt_jstr_offset(tlt_jstr_cut(s, from, s.n), 1);
    if (old.n == 0 && hit == s.n) break;
  }
  if (!status) status = tlt_jlist_add(r, parts.list, tlt_jstring(tlt_jstr_cut(s, from, s.n)));
  if (status) return status;
  tlt_jstr *strings = tlt_jalloc(r, parts.list->n * sizeof *strings, &status);
  for (size_t i = 0; i < parts.list->n && !status; i++) strings[i] = parts.list->items[i].str;
  return status ? status : tlt_jstr_join(r, strings, parts.list->n, out);
}

/* Simple case mapping, one code point to one; U+00DF stays. A mapping may change the byte length
 * by at most a factor of 3 (U+0250 family), so 4 bytes per code point suffice. */
tlt_status tlt_jstr_case(tlt_jrender *r, tlt_jstr s, tlt_jcase how, tlt_jstr *out) {
  tlt_status status = TLT_OK;
  size_t room = tlt_jstr_length(s) * 4 + 1, n = 0;
  char *text = tlt_jalloc(r, room, &status);
  uint8_t *taint = s.taint && !status ? tlt_jalloc(r, room, &status) : NULL;
  if (status) return status;
  bool start = true;
  for (size_t i = 0; i < s.n;) {
    int size;
    utf8proc_int32_t code = (utf8proc_int32_t)tlt_utf8_get(s.s + i, &size);
    bool upper = how == TLT_JCASE_UPPER || (start && how != TLT_JCASE_LOWER);
    int written =
        tlt_utf8_put((uint32_t)(upper ? utf8proc_toupper(code) : utf8proc_tolower(code)), text + n);
    if (taint) memset(taint + n, s.taint[i], (size_t)written);
    n += (size_t)written;
    i += (size_t)size;
    start = how == TLT_JCASE_TITLE && !tlt_is_word((uint32_t)code);
  }
  *out = (tlt_jstr){text, taint, n};
  return TLT_OK;
}
