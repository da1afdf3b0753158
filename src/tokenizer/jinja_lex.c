/* Template text to tokens, with Jinja's white space control: '-' strips on its side, '+' keeps,
 * trim_blocks drops the line end after a block or comment, lstrip_blocks drops blanks before one
 * that starts its line. */
#include <string.h>

#include "tokenizer/jinja_internal.h"
#include "tokenizer/text.h"

typedef struct lexer {
  tlt_jparser *p;
  const char *s;
  size_t n, i;
  size_t counted; /* line and column are known up to here */
  int line, column;
  bool line_start; /* the last tag ended with a line end, or nothing came yet */
} lexer;

static void place(lexer *x, size_t offset, int *line, int *column) {
  if (offset < x->counted) x->counted = 0, x->line = x->column = 1; /* an error about the past */
  for (; x->counted < offset; x->counted++) {
    if (x->s[x->counted] == '\n') x->line++, x->column = 1;
    else x->column++;
  }
  *line = x->line, *column = x->column;
}

static tlt_status add(lexer *x, tlt_jtoken_kind kind, size_t start, const char *text, size_t n) {
  tlt_jparser *p = x->p;
  tlt_jtoken *tokens = tlt_array_grow(p->tokens, &p->cap_tokens, p->n_tokens + 1, sizeof *tokens);
  if (!tokens) return tlt_fail_nomem(p->err, "chat template", p->n_tokens * sizeof *tokens);
  p->tokens = tokens;
  tlt_jtoken *token = &tokens[p->n_tokens++];
  *token = (tlt_jtoken){.kind = kind, .text = text, .n = n};
  place(x, start, &token->line, &token->column);
  return TLT_OK;
}

static tlt_status fail_at(lexer *x, size_t offset, const char *what) {
  int line, column;
  place(x, offset, &line, &column);
  return tlt_jinja_fail(x->p->t, line, column, x->p->err, "%s", what);
}

static bool looking_at(const lexer *x, size_t i, const char *text) {
  size_t n = strlen(text);
  return x->n - i >= n && memcmp(x->s + i, text, n) == 0;
}

/* ---- data ---- */

static bool blank(uint32_t c) {
  return tlt_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

static size_t strip_end(const char *s, size_t from, size_t to) {
  int size;
  while (to > from) {
    size_t before = tlt_utf8_before(s, to);
    if (!blank(tlt_utf8_get(s + before, &size))) break;
    to = before;
  }
  return to;
}

static size_t skip_blanks(const lexer *x, size_t i) {
  int size;
  while (i < x->n && blank(tlt_utf8_get(x->s + i, &size))) i += (size_t)size;
  return i;
}

/* End of the data s[from..to) that stands before a tag with sign '-', '+' or none. */
static size_t data_end(const lexer *x, size_t from, size_t to, char sign, bool variable) {
  if (sign == '-') return strip_end(x->s, from, to);
  if (sign == '+' || variable) return to;
  size_t line = to;
  while (line > from && x->s[line - 1] != '\n') line--;
  if (line == from && !x->line_start) return to;
  return strip_end(x->s, line, to) == line ? line : to;
}

static size_t find_tag(const lexer *x, size_t i) {
  for (; i + 1 < x->n; i++)
    if (x->s[i] == '{' && (x->s[i + 1] == '{' || x->s[i + 1] == '%' || x->s[i + 1] == '#'))
      return i;
  return x->n;
}

/* Behind the end mark of a block or comment at i ("%}" or "#}", perhaps after a sign); 0 when
 * there is none. */
static size_t tag_end(const lexer *x, size_t i, const char *mark) {
  if (looking_at(x, i, mark)) return i + 2 + (i + 2 < x->n && x->s[i + 2] == '\n');
  if (x->s[i] == '+' && looking_at(x, i + 1, mark)) return i + 3;
  if (x->s[i] == '-' && looking_at(x, i + 1, mark)) return skip_blanks(x, i + 3);
  return 0;
}

static void finish_tag(lexer *x, size_t end) {
  x->i = end;
  x->line_start = x->s[end - 1] == '\n';
}

static tlt_status comment(lexer *x, size_t start) {
  for (size_t i = x->i; i < x->n; i++) {
    size_t end = tag_end(x, i, "#}");
    if (!end) continue;
    finish_tag(x, end);
    return TLT_OK;
  }
  return fail_at(x, start, "got an unfinished comment");
}

/* If a block at i (behind its sign) is `word`: behind its end mark, else 0. */
static size_t bare_block(const lexer *x, size_t i, const char *word, bool trim) {
  i = skip_blanks(x, i);
  if (!looking_at(x, i, word)) return 0;
  i = skip_blanks(x, i + strlen(word));
  if (i >= x->n) return 0;
  if (!trim && looking_at(x, i, "%}")) return i + 2;
  return tag_end(x, i, "%}");
}

static tlt_status raw(lexer *x, size_t start) {
  size_t from = x->i;
  for (size_t i = from; (i = find_tag(x, i)) < x->n; i++) {
    if (x->s[i + 1] != '%' || i + 2 >= x->n) continue;
    char sign = x->s[i + 2];
    size_t end = bare_block(x, i + 2 + (sign == '-' || sign == '+'), "endraw", true);
    if (!end) continue;
    size_t to = data_end(x, from, i, sign, false);
    tlt_status status = add(x, TLT_JT_DATA, from, x->s + from, to - from);
    finish_tag(x, end);
    return status;
  }
  return fail_at(x, start, "got an unfinished raw block");
}

/* ---- inside tags ---- */

static bool name_start(char c) {
  return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
}
static bool digit(char c) {
  return c >= '0' && c <= '9';
}

static tlt_status number(lexer *x) {
  size_t start = x->i, i = start;
  bool real = false;
  while (i < x->n && (digit(x->s[i]) || x->s[i] == '_')) i++;
  if (i + 1 < x->n && x->s[i] == '.' && digit(x->s[i + 1])) {
    real = true;
    for (i++; i < x->n && digit(x->s[i]);) i++;
  }
  size_t e = i < x->n && (x->s[i] | 32) == 'e' ? i + 1 : 0;
  if (e && e < x->n && (x->s[e] == '+' || x->s[e] == '-')) e++;
  if (e && e < x->n && digit(x->s[e])) {
    real = true;
    for (i = e; i < x->n && digit(x->s[i]);) i++;
  }
  if (i < x->n && name_start(x->s[i])) return fail_at(x, i, "got a letter inside a number");
  x->i = i;
  return add(x, real ? TLT_JT_FLOAT : TLT_JT_INT, start, x->s + start, i - start);
}

static int hex_value(const char *s, size_t n, uint32_t *code) {
  *code = 0;
  for (size_t i = 0; i < n; i++) {
    char c = s[i];
    if (digit(c)) *code = *code << 4 | (uint32_t)(c - '0');
    else if ((c | 32) >= 'a' && (c | 32) <= 'f')
      *code = *code << 4 | (uint32_t)((c | 32) - 'a' + 10);
    else return -1;
  }
  return 0;
}

/* One escape at s[i] (the character after the backslash) into out; bytes consumed, 0: malformed. */
static size_t unescape(const char *s, size_t n, char out[4], int *size) {
  static const char from[] = "nrtbfav\\'\"", to[] = "\n\r\t\b\f\a\v\\'\"";
  const char *plain = strchr(from, s[0]);
  *size = 1;
  if (plain && s[0]) {
    out[0] = to[plain - from];
    return 1;
  }
  size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
  uint32_t code;
  if (digits == 0) { /* unknown escapes keep their backslash */
    out[0] = '\\';
    return s[0] >= '0' && s[0] <= '7' ? 0 : SIZE_MAX;
  }
  if (n < digits + 1 || hex_value(s + 1, digits, &code) || code > 0x10ffff || code >> 11 == 0x1b)
    return 0;
  *size = tlt_utf8_put(code, out);
  return digits + 1;
}

static tlt_status string(lexer *x) {
  size_t start = x->i, i = start + 1, n = 0;
  char quote = x->s[start];
  size_t end = i;
  while (end < x->n && x->s[end] != quote) end += x->s[end] == '\\' ? 2 : 1;
  if (end >= x->n) return fail_at(x, start, "got an unfinished string");
  char *text = tlt_arena_alloc(&x->p->t->arena, end - i + 4);
  if (!text) return tlt_fail_nomem(x->p->err, "chat template", end - i);
  while (i < end) {
    if (x->s[i] != '\\') {
      text[n++] = x->s[i++];
      continue;
    }
    int size;
    size_t used = unescape(x->s + i + 1, end - i - 1, text + n, &size);
    if (used == 0) return fail_at(x, i, "got a malformed escape in a string");
    n += (size_t)size;
    i += used == SIZE_MAX ? 1 : 1 + used;
  }
  x->i = end + 1;
  return add(x, TLT_JT_STRING, start, text, n);
}

static tlt_status operator(lexer *x, int *balance) {
  static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
  size_t start = x->i, n = 1;
  for (size_t k = 0; k < sizeof two / sizeof *two; k++)
    if (looking_at(x, start, two[k])) n = 2;
  char c = x->s[start];
  if (n == 1 && !memchr("+-/*%~[](){}<>=.:|,;", c, 20))
    return fail_at(x, start, "got a character that no expression has");
  if (n == 1 && strchr("([{", c)) ++*balance;
  if (n == 1 && strchr(")]}", c) && --*balance < 0)
    return fail_at(x, start, "got an unbalanced bracket");
  x->i += n;
  return add(x, TLT_JT_OP, start, x->s + start, n);
}

static tlt_status inside(lexer *x, bool variable) {
  tlt_jtoken_kind end_kind = variable ? TLT_JT_VAR_END : TLT_JT_BLOCK_END;
  size_t begin = x->i;
  int balance = 0;
  for (;;) {
    x->i = skip_blanks(x, x->i);
    if (x->i >= x->n) return fail_at(x, begin, "got an unfinished tag");
    size_t end = 0;
    if (balance == 0 && !variable) end = tag_end(x, x->i, "%}");
    if (balance == 0 && variable && looking_at(x, x->i, "}}")) end = x->i + 2;
    if (balance == 0 && variable && looking_at(x, x->i, "-}}")) end = skip_blanks(x, x->i + 3);
    if (end) {
      tlt_status status = add(x, end_kind, x->i, x->s + x->i, 2);
      finish_tag(x, end);
      return status;
    }
    char c = x->s[x->i];
    size_t start = x->i;
    tlt_status status;
    if (name_start(c)) {
      while (x->i < x->n && (name_start(x->s[x->i]) || digit(x->s[x->i]))) x->i++;
      status = add(x, TLT_JT_NAME, start, x->s + start, x->i - start);
    } else if (digit(c)) status = number(x);
    else if (c == '"' || c == '\'') status = string(x);
    else status = operator(x, &balance);
    if (status) return status;
  }
}

static tlt_status tag(lexer *x, size_t at) {
  char kind = x->s[at + 1], sign = at + 2 < x->n ? x->s[at + 2] : 0;
  bool signed_tag = sign == '-' || sign == '+';
  size_t to = data_end(x, x->i, at, sign, kind == '{');
  tlt_status status = to > x->i ? add(x, TLT_JT_DATA, x->i, x->s + x->i, to - x->i) : TLT_OK;
  if (status) return status;
  x->i = at + 2 + signed_tag;
  if (kind == '#') return comment(x, at);
  size_t after_raw = kind == '%' ? bare_block(x, x->i, "raw", false) : 0;
  if (after_raw) {
    x->i = after_raw;
    return raw(x, at);
  }
  status = add(x, kind == '{' ? TLT_JT_VAR_BEGIN : TLT_JT_BLOCK_BEGIN, at, x->s + at, 2);
  return status ? status : inside(x, kind == '{');
}

tlt_status tlt_jinja_lex(tlt_jparser *p) {
  lexer x = {.p = p, .s = p->source, .n = p->n_source, .line = 1, .column = 1, .line_start = true};
  tlt_status status = TLT_OK;
  while (!status && x.i < x.n) {
    size_t at = find_tag(&x, x.i);
    if (at == x.n) {
      status = add(&x, TLT_JT_DATA, x.i, x.s + x.i, x.n - x.i);
      x.i = x.n;
    } else {
      status = tag(&x, at);
    }
  }
  return status ? status : add(&x, TLT_JT_END, x.n, "the end", 7);
}
