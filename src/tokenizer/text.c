#include "tokenizer/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

/* ---- UTF-8 ---- */

static int sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* The second byte decides overlong forms, surrogates and the upper limit. */
static bool second_byte_fits(unsigned char lead, unsigned char second) {
  if (lead == 0xe0) return second >= 0xa0;
  if (lead == 0xed) return second < 0xa0;
  if (lead == 0xf0) return second >= 0x90;
  return lead != 0xf4 || second < 0x90;
}

size_t tlt_utf8_check(const char *s, size_t n) {
  const unsigned char *p = (const unsigned char *)s;
  for (size_t i = 0; i < n;) {
    int size = sequence_length(p[i]);
    if (size == 0 || n - i < (size_t)size) return i;
    for (int k = 1; k < size; k++)
      if ((p[i + k] & 0xc0) != 0x80) return i;
    if (size > 1 && !second_byte_fits(p[i], p[i + 1])) return i;
    i += size;
  }
  return n;
}

uint32_t tlt_utf8_get(const char *s, int *size) {
  const unsigned char *p = (const unsigned char *)s;
  *size = sequence_length(p[0]);
  switch (*size) {
    case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3: return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
      return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default: *size = 1; return p[0];
  }
}

size_t tlt_utf8_before(const char *s, size_t n) {
  do n--;
  while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80);
  return n;
}

int tlt_utf8_put(uint32_t code, char out[4]) {
  return (int)utf8proc_encode_char((utf8proc_int32_t)code, (utf8proc_uint8_t *)out);
}

/* ---- the byte alphabet ---- */

static bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

/* The other bytes in ascending order: 0x00-0x20, 0x7f-0xa0, 0xad. */
uint32_t tlt_byte_char(uint8_t byte) {
  if (stands_for_itself(byte)) return byte;
  if (byte <= 0x20) return 0x100u + byte;
  return byte == 0xad ? 0x143u : 0x121u + (byte - 0x7fu);
}

int tlt_char_byte(uint32_t code) {
  if (code < 0x100) return stands_for_itself(code) ? (int)code : -1;
  if (code <= 0x120) return (int)code - 0x100;
  if (code <= 0x142) return (int)code - 0x121 + 0x7f;
  return code == 0x143 ? 0xad : -1;
}

/* ---- classes ---- */

bool tlt_is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool tlt_is_numeric(uint32_t c) {
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool tlt_is_word(uint32_t c) {
  if (c == 0x200c || c == 0x200d) return true;
  if (c >= 0x24b6 && c <= 0x24e9) return true; /* circled letters: alphabetic symbols */
  if ((c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
      (c >= 0x1f170 && c <= 0x1f189))
    return true;
  switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
  }
}

/* ---- NFC ---- */

/* utf8proc sorts runs of combining marks by insertion, which a hostile text makes quadratic, so
 * decomposition and ordering are done here and only the composition is left to it. */
typedef struct mark {
  uint32_t class, position; /* canonical combining class; place in the run, which keeps it stable */
  int32_t code;
} mark;

static int compare_marks(const void *a, const void *b) {
  const mark *x = a, *y = b;
  if (x->class != y->class) return x->class < y->class ? -1 : 1;
  return x->position < y->position ? -1 : x->position > y->position;
}

/* Combining marks that Unicode has gained since version 9, whose tables the reference tokenizer
 * still uses: it does not reorder them, and neither may we, or ids would differ. */
static const struct {
  int32_t first, last;
} newer_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};

static uint32_t combining_class(int32_t code) {
  uint32_t class = (uint32_t)utf8proc_get_property(code)->combining_class;
  if (class == 0 || code < newer_marks[0].first) return class;
  for (size_t i = 0; i < sizeof newer_marks / sizeof *newer_marks; i++)
    if (code >= newer_marks[i].first && code <= newer_marks[i].last) return 0;
  return class;
}

static bool order_run(int32_t *codes, size_t n) {
  mark small[32], *marks = n <= 32 ? small : tlt_malloc(n * sizeof *marks);
  if (!marks) return false;
  for (size_t i = 0; i < n; i++)
    marks[i] = (mark){combining_class(codes[i]), (uint32_t)i, codes[i]};
  qsort(marks, n, sizeof *marks, compare_marks);
  for (size_t i = 0; i < n; i++) codes[i] = marks[i].code;
  if (marks != small) tlt_free(marks);
  return true;
}

static bool order_marks(int32_t *codes, size_t n) {
  for (size_t i = 0; i < n;) {
    if (combining_class(codes[i]) == 0) {
      i++;
      continue;
    }
    size_t first = i;
    while (i < n && combining_class(codes[i]) != 0) i++;
    if (i - first > 1 && !order_run(codes + first, i - first)) return false;
  }
  return true;
}

static bool decompose(const char *s, size_t n, tlt_ids *codes) {
  enum { LONGEST = 8 }; /* canonical decompositions have at most 4 code points */
  for (size_t i = 0; i < n;) {
    int size, boundary = 0;
    uint32_t code = tlt_utf8_get(s + i, &size);
    if (!tlt_ids_reserve(codes, LONGEST)) return false;
    utf8proc_ssize_t got =
        utf8proc_decompose_char((utf8proc_int32_t)code, codes->data + codes->n, LONGEST,
                                UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    if (got < 0 || got > LONGEST) return false;
    codes->n += (size_t)got;
    i += (size_t)size;
  }
  return true;
}

bool tlt_nfc(const char *s, size_t n, tlt_bytes *out) {
  size_t ascii = 0;
  while (ascii < n && (unsigned char)s[ascii] < 0x80) ascii++;
  if (ascii == n) return tlt_bytes_add(out, s, n);
  tlt_ids codes = {0};
  bool ok = decompose(s, n, &codes) && order_marks(codes.data, codes.n);
  if (ok) {
    utf8proc_ssize_t left = utf8proc_normalize_utf32(codes.data, (utf8proc_ssize_t)codes.n,
                                                     UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    ok = left >= 0 && tlt_bytes_reserve(out, (size_t)left * 4);
    for (utf8proc_ssize_t i = 0; ok && i < left; i++)
      out->n += (size_t)tlt_utf8_put((uint32_t)codes.data[i], out->data + out->n);
  }
  tlt_ids_free(&codes);
  return ok;
}
