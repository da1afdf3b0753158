/* Translation of Oniguruma patterns to PCRE2, and matching. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regex.h"

#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "tokenizer/buffer.h"
#include "tokenizer/text.h"

/* Backtracking steps allowed per match; a split pattern over a megabyte of spaces stays below. */
enum { MATCH_LIMIT = 200000000, JIT_STACK_MIN = 32768, JIT_STACK_MAX = 8 << 20, GROUP_DEPTH = 64 };

struct tlt_regex {
  pcre2_general_context *memory;
  pcre2_code *code;
};

struct tlt_regex_scratch {
  pcre2_match_data *data;
  pcre2_match_context *context;
  pcre2_jit_stack *stack;
};

/* ---- translation ---- */

typedef struct translator {
  const char *s;
  size_t n, i;
  int depth;
  bool atom; /* the last thing can be repeated */
  tlt_bytes out;
  tlt_err *err;
} translator;

static tlt_status refuse(translator *t, const char *what) {
  return tlt_fail(t->err, TLT_EDATA,
                  "pattern offset %zu: got %s, expected one of the supported forms", t->i, what);
}

static tlt_status emit(translator *t, const char *text, size_t n) {
  if (!tlt_bytes_add(&t->out, text, n)) return tlt_fail_nomem(t->err, "pattern", n);
  return TLT_OK;
}

static tlt_status emit_text(translator *t, const char *text) {
  return emit(t, text, strlen(text));
}

static bool at(const translator *t, const char *text) {
  size_t n = strlen(text);
  return t->n - t->i >= n && memcmp(t->s + t->i, text, n) == 0;
}

/* White_Space, \w and their complements, without the brackets. */
#define SPACE_SET                                                                                  \
  "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
  "\\x{3000}"
#define WORD_SET "\\p{L}\\p{M}\\p{Nd}\\p{Pc}"

static const char *const general_categories[] = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
    "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
    "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cn", "Co", "Cs"};

static bool is_category(const char *name, size_t n) {
  for (size_t i = 0; i < sizeof general_categories / sizeof *general_categories; i++)
    if (strlen(general_categories[i]) == n && memcmp(general_categories[i], name, n) == 0)
      return true;
  return false;
}

/* At the letter after "\p" or "\P". */
static tlt_status property(translator *t, bool negated) {
  if (t->i >= t->n || t->s[t->i] != '{') return refuse(t, "a property without braces");
  const char *name = t->s + t->i + 1, *end = memchr(name, '}', t->n - t->i - 1);
  if (!end) return refuse(t, "an unfinished property");
  if (*name == '^') negated = !negated, name++;
  size_t n = (size_t)(end - name);
  if (n == 0 || n > 32) return refuse(t, "a property without a known name");
  for (size_t k = 0; k < n; k++)
    if (!((name[k] | 32) >= 'a' && (name[k] | 32) <= 'z') && name[k] != '_')
      return refuse(t, "a property without a known name");
  tlt_status status = emit_text(t, negated ? "\\P{" : "\\p{");
  if (!status && !is_category(name, n)) status = emit_text(t, "sc:");
  if (!status) status = emit(t, name, n);
  if (!status) status = emit_text(t, "}");
  t->i = (size_t)(end - t->s) + 1;
  return status;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if ((c | 32) >= 'a' && (c | 32) <= 'f') return (c | 32) - 'a' + 10;
  return -1;
}

/* \uHHHH, \xHH and \x{...}: the digits after the letter. */
static tlt_status code_point(translator *t, char letter) {
  size_t first = t->i, digits = letter == 'u' ? 4 : 2;
  bool braces = letter == 'x' && first < t->n && t->s[first] == '{';
  if (braces) first++, digits = 8;
  uint32_t code = 0;
  size_t k = 0;
  for (; k < digits && first + k < t->n; k++) {
    int digit = hex_digit(t->s[first + k]);
    if (digit < 0) break;
    code = code << 4 | (uint32_t)digit;
  }
  bool closed = !braces || (first + k < t->n && t->s[first + k] == '}');
  if (k == 0 || (!braces && k != digits) || !closed || code > 0x10ffff || (code >> 11) == 0x1b)
    return refuse(t, "a malformed code point");
  t->i = first + k + (braces ? 1 : 0);
  char text[16];
  static const char hex[] = "0123456789abcdef";
  size_t m = 0;
  text[m++] = '\\', text[m++] = 'x', text[m++] = '{';
  for (int shift = 20; shift >= 0; shift -= 4) text[m++] = hex[code >> shift & 15];
  text[m++] = '}';
  return emit(t, text, m);
}

static tlt_status set_escape(translator *t, const char *set, bool negated, bool in_class) {
  if (in_class) {
    if (negated) return refuse(t, "a negated set inside a class");
    return emit_text(t, set);
  }
  tlt_status status = emit_text(t, negated ? "[^" : "[");
  if (!status) status = emit_text(t, set);
  return status ? status : emit_text(t, "]");
}

/* At the character after a backslash. */
static tlt_status escape(translator *t, bool in_class) {
  if (t->i >= t->n) return refuse(t, "a lone backslash");
  char c = t->s[t->i++];
  switch (c) {
    case 's': return set_escape(t, SPACE_SET, false, in_class);
    case 'S': return set_escape(t, SPACE_SET, true, in_class);
    case 'w': return set_escape(t, WORD_SET, false, in_class);
    case 'W': return set_escape(t, WORD_SET, true, in_class);
    case 'd': return emit_text(t, "\\p{Nd}");
    case 'D': return emit_text(t, "\\P{Nd}");
    case 'p': return property(t, false);
    case 'P': return property(t, true);
    case 'u':
    case 'x': return code_point(t, c);
    case 'v': return emit_text(t, "\\x0b");
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e': return emit(t, (char[]){'\\', c}, 2);
    case 'A':
    case 'z':
      if (in_class) break;
      t->atom = false;
      return emit(t, (char[]){'\\', c}, 2);
    default:
      if ((unsigned char)c < 0x80 && !((c | 32) >= 'a' && (c | 32) <= 'z') &&
          !(c >= '0' && c <= '9'))
        return emit(t, (char[]){'\\', c}, 2);
  }
  t->i--;
  return refuse(t, "an escape outside the supported ones");
}

/* At the character after '['. */
static tlt_status class_body(translator *t) {
  tlt_status status = emit_text(t, "[");
  if (!status && at(t, "^")) {
    t->i++;
    status = emit_text(t, "^");
  }
  if (!status && at(t, "]")) return refuse(t, "an empty class");
  while (!status) {
    if (t->i >= t->n) return refuse(t, "an unfinished class");
    char c = t->s[t->i];
    if (c == '[') return refuse(t, "a class inside a class");
    if (at(t, "&&")) return refuse(t, "a class intersection");
    t->i++;
    if (c == ']') return emit_text(t, "]");
    status = c == '\\' ? escape(t, true) : emit(t, &c, 1);
  }
  return status;
}

static tlt_status group_open(translator *t) {
  static const char *const kept[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
  if (++t->depth > GROUP_DEPTH) return refuse(t, "groups nested too deeply");
  t->atom = false;
  if (!at(t, "(?")) {
    t->i++;
    return emit_text(t, "(?:");
  }
  for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
    if (at(t, kept[k])) {
      t->i += strlen(kept[k]);
      return emit_text(t, kept[k]);
    }
  return refuse(t, "a group of an unsupported kind");
}

/* {n}, {n,} or {n,m}; anything else in braces is refused, as is a '+' after them, which Oniguruma
 * and PCRE2 read differently. */
static tlt_status repeat_count(translator *t) {
  size_t k = t->i + 1, digits = 0;
  for (; k < t->n && t->s[k] >= '0' && t->s[k] <= '9'; k++) digits++;
  if (k < t->n && t->s[k] == ',')
    for (k++; k < t->n && t->s[k] >= '0' && t->s[k] <= '9'; k++) continue;
  if (digits == 0 || k >= t->n || t->s[k] != '}') return refuse(t, "a malformed repeat count");
  if (k + 1 < t->n && t->s[k + 1] == '+') return refuse(t, "a '+' after a repeat count");
  tlt_status status = emit(t, t->s + t->i, k + 1 - t->i);
  t->i = k + 1;
  return status;
}

static tlt_status quantifier(translator *t) {
  if (!t->atom) return refuse(t, "a repeat without anything before it");
  tlt_status status = t->s[t->i] == '{' ? repeat_count(t) : emit(t, t->s + t->i++, 1);
  if (!status && t->i < t->n && (t->s[t->i] == '?' || t->s[t->i] == '+'))
    status = emit(t, t->s + t->i++, 1);
  t->atom = false; /* a repeat of a repeat is refused */
  return status;
}

static tlt_status translate_one(translator *t) {
  char c = t->s[t->i];
  switch (c) {
    case '(': return group_open(t);
    case ')':
      if (t->depth-- == 0) return refuse(t, "a ')' too many");
      t->atom = true;
      break;
    case '|': t->atom = false; break;
    case '*':
    case '+':
    case '?':
    case '{': return quantifier(t);
    case '[': t->i++, t->atom = true; return class_body(t);
    case '\\': t->i++, t->atom = true; return escape(t, false);
    case '^': t->i++, t->atom = false; return emit_text(t, "(?m:^)");
    case '$': t->i++, t->atom = false; return emit_text(t, "(?m:$)");
    default: {
      int size;
      tlt_utf8_get(t->s + t->i, &size);
      t->i += (size_t)size, t->atom = true;
      return emit(t, t->s + t->i - size, (size_t)size);
    }
  }
  t->i++;
  return emit(t, &c, 1);
}

static tlt_status translate(translator *t) {
  if (t->n == 0 || t->n > TLT_REGEX_MAX)
    return tlt_fail(t->err, TLT_EDATA, "pattern of %zu bytes, expected 1 .. %d", t->n,
                    TLT_REGEX_MAX);
  while (t->i < t->n) {
    tlt_status status = translate_one(t);
    if (status) return status;
  }
  return t->depth ? refuse(t, "an unfinished group") : TLT_OK;
}

/* ---- compiling and matching ---- */

static void *pcre_malloc(size_t n, void *unused) {
  (void)unused;
  return tlt_malloc(n ? n : 1);
}

static void pcre_free(void *p, void *unused) {
  (void)unused;
  tlt_free(p);
}

static tlt_status compile_translated(tlt_regex *r, const tlt_bytes *pattern, tlt_err *err) {
  pcre2_compile_context *context = pcre2_compile_context_create(r->memory);
  if (!context) return tlt_fail_nomem(err, "pattern", sizeof(void *));
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE where = 0;
  r->code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->n,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                          &code, &where, context);
  pcre2_compile_context_free(context);
  if (r->code) {
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    return TLT_OK;
  }
  if (code == PCRE2_ERROR_HEAP_FAILED) return tlt_fail_nomem(err, "pattern", pattern->n);
  char text[200] = "";
  pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
  return tlt_fail(err, TLT_EDATA, "pattern: %s (offset %zu after translation)", text,
                  (size_t)where);
}

tlt_status tlt_regex_compile(const char *pattern, size_t n, tlt_regex **out, tlt_err *err) {
  *out = NULL;
  translator t = {.s = pattern, .n = n, .err = err};
  tlt_regex *r = NULL;
  tlt_status status = translate(&t);
  if (status) goto done;
  r = tlt_calloc(1, sizeof *r);
  if (r) r->memory = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
  if (!r || !r->memory) {
    status = tlt_fail_nomem(err, "pattern", sizeof *r);
    goto done;
  }
  status = compile_translated(r, &t.out, err);
done:
  tlt_bytes_free(&t.out);
  if (status) tlt_regex_free(r);
  else *out = r;
  return status;
}

void tlt_regex_free(tlt_regex *r) {
  if (!r) return;
  pcre2_code_free(r->code);
  pcre2_general_context_free(r->memory);
  tlt_free(r);
}

tlt_status tlt_regex_scratch_create(const tlt_regex *r, tlt_regex_scratch **out, tlt_err *err) {
  *out = NULL;
  tlt_regex_scratch *s = tlt_calloc(1, sizeof *s);
  if (!s) return tlt_fail_nomem(err, "pattern scratch", sizeof *s);
  s->data = pcre2_match_data_create(1, r->memory);
  s->context = pcre2_match_context_create(r->memory);
  s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, r->memory);
  if (!s->data || !s->context) {
    tlt_regex_scratch_free(s);
    return tlt_fail_nomem(err, "pattern scratch", sizeof *s);
  }
  pcre2_set_match_limit(s->context, MATCH_LIMIT);
  if (s->stack) pcre2_jit_stack_assign(s->context, NULL, s->stack);
  *out = s;
  return TLT_OK;
}

void tlt_regex_scratch_free(tlt_regex_scratch *s) {
  if (!s) return;
  pcre2_jit_stack_free(s->stack);
  pcre2_match_context_free(s->context);
  pcre2_match_data_free(s->data);
  tlt_free(s);
}

tlt_status tlt_regex_find(const tlt_regex *r, tlt_regex_scratch *s, const char *text, size_t n,
                          size_t from, bool *found, size_t *start, size_t *end, tlt_err *err) {
  int rc = pcre2_match(r->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->data, s->context);
  *found = rc >= 0;
  if (rc >= 0) {
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->data);
    *start = range[0], *end = range[1];
    return TLT_OK;
  }
  if (rc == PCRE2_ERROR_NOMATCH) return TLT_OK;
  if (rc == PCRE2_ERROR_NOMEMORY) return tlt_fail_nomem(err, "pattern match", n);
  return tlt_fail(err, TLT_EDATA, "split pattern exceeded its match limit (code %d) in %zu bytes",
                  rc, n - from);
}
