/* One value of a configuration: from a YAML node into a field, and from a field to text. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/yaml_int.h"
#include "io/yaml_value.h"

/* ---- Words for errors ---- */

static void describe(const yaml_node_t *node, char *out, size_t size) {
  if (node->type == YAML_MAPPING_NODE) {
    snprintf(out, size, "a mapping");
  } else if (node->type == YAML_SEQUENCE_NODE) {
    snprintf(out, size, "a list");
  } else if (tlt__yaml_is_null(node)) {
    snprintf(out, size, "null");
  } else {
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    snprintf(out, size, plain ? "%.60s" : "\"%.60s\"", (const char *)node->data.scalar.value);
  }
}

static void add_bounds(const tlt_yaml_row *row, tlt_text *t) {
  if (row->min == 0 && row->max == 0) return;
  if (isinf(row->max)) tlt_text_printf(t, " of at least %.12g", row->min);
  else if (isinf(row->min)) tlt_text_printf(t, " of at most %.12g", row->max);
  else tlt_text_printf(t, " in %.12g .. %.12g", row->min, row->max);
}

void tlt__yaml_expected(const tlt_yaml_row *row, tlt_text *t) {
  switch (row->type) {
    case TLT_YAML_INT:
    case TLT_YAML_INT64: tlt_text_add(t, "integer"), add_bounds(row, t); return;
    case TLT_YAML_DOUBLE: tlt_text_add(t, "number"), add_bounds(row, t); return;
    case TLT_YAML_DOUBLES:
      tlt_text_printf(t, "list of %d numbers", row->items), add_bounds(row, t);
      return;
    case TLT_YAML_CHOICES:
      tlt_text_printf(t, "list of at most %d different of", row->items);
      for (int i = 0; row->choices[i]; i++) tlt_text_printf(t, " %s", row->choices[i]);
      return;
    case TLT_YAML_BOOL: tlt_text_add(t, "true or false"); return;
    case TLT_YAML_STRING: tlt_text_add(t, "string"); return;
    case TLT_YAML_STRING_OR_NULL: tlt_text_add(t, "string or null"); return;
    case TLT_YAML_OPTIONS: tlt_text_add(t, "mapping of scalars without = and , or null"); return;
    case TLT_YAML_ENUM:
      for (int i = 0; row->choices[i]; i++)
        tlt_text_printf(t, "%s%s", i ? " | " : "", row->choices[i]);
      return;
  }
}

/* ---- Scalars ---- */

/* JSON's grammar: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool is_number(const char *s, bool integer) {
  size_t digits;
  s += *s == '-';
  digits = strspn(s, "0123456789");
  if (digits == 0 || (digits > 1 && *s == '0')) return false;
  s += digits;
  if (!integer && *s == '.') {
    if (!(digits = strspn(++s, "0123456789"))) return false;
    s += digits;
  }
  if (!integer && (*s == 'e' || *s == 'E')) {
    s++;
    s += *s == '+' || *s == '-';
    if (!(digits = strspn(s, "0123456789"))) return false;
    s += digits;
  }
  return *s == 0;
}

/* The text of a scalar without NUL inside; NULL otherwise. */
static const char *scalar(const yaml_node_t *node, bool plain_only) {
  if (node->type != YAML_SCALAR_NODE) return NULL;
  const char *s = (const char *)node->data.scalar.value;
  if (plain_only && node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return NULL;
  return strlen(s) == node->data.scalar.length ? s : NULL;
}

static bool within(const tlt_yaml_row *row, double x) {
  return (row->min == 0 && row->max == 0) || (x >= row->min && x <= row->max);
}

static bool read_integer(const tlt_yaml_row *row, const yaml_node_t *node, int64_t *out) {
  const char *s = scalar(node, true);
  if (!s || !is_number(s, true)) return false;
  errno = 0;
  long long x = strtoll(s, NULL, 10);
  *out = x;
  return errno == 0 && within(row, (double)x);
}

static bool read_double(const tlt_yaml_row *row, const yaml_node_t *node, double *out) {
  const char *s = scalar(node, true);
  if (!s || !is_number(s, false)) return false;
  *out = strtod(s, NULL);
  return isfinite(*out) && within(row, *out);
}

static bool read_doubles(const tlt_yaml_row *row, yaml_document_t *doc, const yaml_node_t *node,
                         double *out) {
  double values[TLT_YAML_ITEMS_MAX];
  if (node->type != YAML_SEQUENCE_NODE) return false;
  const yaml_node_item_t *items = node->data.sequence.items.start;
  if (node->data.sequence.items.top - items != row->items) return false;
  for (int i = 0; i < row->items; i++)
    if (!read_double(row, yaml_document_get_node(doc, items[i]), &values[i])) return false;
  memcpy(out, values, (size_t)row->items * sizeof *out);
  return true;
}

static bool read_bool(const yaml_node_t *node, bool *out) {
  const char *s = scalar(node, true);
  if (!s || (strcmp(s, "true") && strcmp(s, "false"))) return false;
  *out = *s == 't';
  return true;
}

static bool read_choice(const tlt_yaml_row *row, const yaml_node_t *node, int *out) {
  const char *s = scalar(node, false);
  for (int i = 0; s && row->choices[i]; i++)
    if (!strcmp(row->choices[i], s)) {
      *out = i;
      return true;
    }
  return false;
}

static bool read_choices(const tlt_yaml_row *row, yaml_document_t *doc, const yaml_node_t *node,
                         int *out) {
  int values[TLT_YAML_ITEMS_MAX];
  if (node->type != YAML_SEQUENCE_NODE) return false;
  const yaml_node_item_t *items = node->data.sequence.items.start;
  int n = (int)(node->data.sequence.items.top - items);
  if (n > row->items) return false;
  for (int i = 0; i < row->items; i++) values[i] = -1;
  for (int i = 0; i < n; i++) {
    if (!read_choice(row, yaml_document_get_node(doc, items[i]), &values[i])) return false;
    for (int j = 0; j < i; j++)
      if (values[j] == values[i]) return false;
  }
  memcpy(out, values, (size_t)row->items * sizeof *out);
  return true;
}

/* ---- Strings: the field's old value is freed ---- */

static tlt_status replace(char **field, const char *s, tlt_err *err) {
  char *copy = s ? tlt_strdup(s) : NULL;
  if (s && !copy) return tlt_fail_nomem(err, "configuration text", strlen(s) + 1);
  tlt_free(*field);
  *field = copy;
  return TLT_OK;
}

static bool read_options(yaml_document_t *doc, const yaml_node_t *node, tlt_text *out) {
  if (node->type != YAML_MAPPING_NODE) return tlt__yaml_is_null(node);
  const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
  for (; pairs < node->data.mapping.pairs.top; pairs++) {
    const char *name = scalar(yaml_document_get_node(doc, pairs->key), false);
    const char *value = scalar(yaml_document_get_node(doc, pairs->value), false);
    if (!name || !value || !*name || !*value || strpbrk(name, "=,") || strpbrk(value, "=,"))
      return false;
    tlt_text_printf(out, "%s%s=%s", out->n ? "," : "", name, value);
  }
  return true;
}

static tlt_status store_options(yaml_document_t *doc, const yaml_node_t *node, char **field,
                                bool *fits, tlt_err *err) {
  tlt_text text = {0};
  *fits = read_options(doc, node, &text);
  tlt_status status = tlt_text_check(&text, err);
  if (status == TLT_OK && *fits) status = replace(field, text.data, err);
  tlt_text_free(&text);
  return status;
}

/* Sets *fits; the status is only ever TLT_ENOMEM. */
static tlt_status store(const tlt_yaml_row *row, yaml_document_t *doc, const yaml_node_t *node,
                        void *field, bool *fits, tlt_err *err) {
  int64_t x = 0;
  const char *s = scalar(node, false);
  bool null = tlt__yaml_is_null(node);
  switch (row->type) {
    case TLT_YAML_INT:
      *fits = read_integer(row, node, &x) && x >= INT_MIN && x <= INT_MAX;
      if (*fits) *(int *)field = (int)x;
      return TLT_OK;
    case TLT_YAML_INT64:
      *fits = read_integer(row, node, &x);
      if (*fits) *(int64_t *)field = x;
      return TLT_OK;
    case TLT_YAML_DOUBLE: *fits = read_double(row, node, field); return TLT_OK;
    case TLT_YAML_DOUBLES: *fits = read_doubles(row, doc, node, field); return TLT_OK;
    case TLT_YAML_CHOICES: *fits = read_choices(row, doc, node, field); return TLT_OK;
    case TLT_YAML_BOOL: *fits = read_bool(node, field); return TLT_OK;
    case TLT_YAML_ENUM: *fits = read_choice(row, node, field); return TLT_OK;
    case TLT_YAML_STRING:
    case TLT_YAML_STRING_OR_NULL:
      *fits = s && (!null || row->type == TLT_YAML_STRING_OR_NULL);
      return *fits ? replace(field, null ? NULL : s, err) : TLT_OK;
    case TLT_YAML_OPTIONS: return store_options(doc, node, field, fits, err);
  }
  return TLT_OK;
}

tlt_status tlt__yaml_store(const tlt_yaml_row *row, yaml_document_t *doc, const yaml_node_t *node,
                           void *field, const char *place, tlt_err *err) {
  bool fits = false;
  tlt_status status = store(row, doc, node, field, &fits, err);
  if (status != TLT_OK || fits) return status;
  char got[128];
  tlt_text expected = {0};
  describe(node, got, sizeof got);
  tlt__yaml_expected(row, &expected);
  status = tlt_fail(err, TLT_EUSAGE, "%s: got %s, expected %s", place, got,
                    expected.data ? expected.data : "another value");
  tlt_text_free(&expected);
  return status;
}

/* ---- Text of a field ---- */

/* Shortest digits that read back to x. */
static void print_double(double x, tlt_text *t) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, x);
    if (strtod(text, NULL) == x) break;
  }
  tlt_text_add(t, text);
}

/* Whether n bytes may stand unquoted: a word, or (numbers) a word that may look like a number. */
static bool is_plain(const char *s, size_t n, bool numbers) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
  static const char digits[] = "0123456789";
  if (n == 0 || (n == 4 && !memcmp(s, "null", 4))) return false;
  bool negative = numbers && n > 1 && *s == '-';
  if (!strchr(letters, *s) && !(numbers && strchr(digits, s[negative]))) return false;
  for (size_t i = 1; i < n; i++)
    if (!s[i] || (!strchr(letters, s[i]) && !strchr(digits, s[i]) && !strchr(".-+", s[i])))
      return false;
  return true;
}

/* Code point of a valid sequence of `length` bytes. */
static uint32_t code_point(const char *s, size_t length) {
  static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t c = (unsigned char)s[0] & lead[length];
  for (size_t i = 1; i < length; i++) c = c << 6 | ((unsigned char)s[i] & 0x3f);
  return c;
}

/* Plain where that reads back as the same string, else double-quoted; everything that YAML takes
 * for a control character or a line break is escaped. */
static void print_string(const char *s, size_t n, bool numbers, tlt_text *t) {
  if (is_plain(s, n, numbers)) {
    tlt_text_add_n(t, s, n);
    return;
  }
  tlt_text_add(t, "\"");
  for (size_t i = 0; i < n;) {
    size_t length = tlt_utf8_length(s + i, n - i);
    uint32_t c = length ? code_point(s + i, length) : 0xfffd;
    bool raw = (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') || (c >= 0xa0 && c < 0x2028) ||
               (c > 0x2029 && c < 0xfeff && length) || c >= 0x10000;
    if (raw) tlt_text_add_n(t, s + i, length);
    else tlt_text_printf(t, "\\U%08" PRIX32, c);
    i += length ? length : 1;
  }
  tlt_text_add(t, "\"");
}

static void print_options(const char *s, tlt_text *t) {
  tlt_text_add(t, "{");
  while (*s) {
    size_t name = strcspn(s, "=");
    print_string(s, name, true, t);
    s += name + (s[name] == '=');
    size_t value = strcspn(s, ",");
    tlt_text_add(t, ": ");
    print_string(s, value, true, t);
    s += value;
    if (*s) s++, tlt_text_add(t, ", ");
  }
  tlt_text_add(t, "}");
}

static void print_doubles(const double *x, int n, tlt_text *t) {
  tlt_text_add(t, "[");
  for (int i = 0; i < n; i++) {
    if (i) tlt_text_add(t, ", ");
    print_double(x[i], t);
  }
  tlt_text_add(t, "]");
}

static void print_choices(const tlt_yaml_row *row, const int *x, tlt_text *t) {
  tlt_text_add(t, "[");
  for (int i = 0; i < row->items && x[i] >= 0; i++) {
    const char *s = row->choices[x[i]];
    if (i) tlt_text_add(t, ", ");
    print_string(s, strlen(s), false, t);
  }
  tlt_text_add(t, "]");
}

void tlt__yaml_print(const tlt_yaml_row *row, const void *field, tlt_text *t) {
  const char *s;
  switch (row->type) {
    case TLT_YAML_INT: tlt_text_printf(t, "%d", *(const int *)field); return;
    case TLT_YAML_INT64: tlt_text_printf(t, "%" PRId64, *(const int64_t *)field); return;
    case TLT_YAML_DOUBLE: print_double(*(const double *)field, t); return;
    case TLT_YAML_DOUBLES: print_doubles(field, row->items, t); return;
    case TLT_YAML_CHOICES: print_choices(row, field, t); return;
    case TLT_YAML_BOOL: tlt_text_add(t, *(const bool *)field ? "true" : "false"); return;
    case TLT_YAML_ENUM:
      s = row->choices[*(const int *)field];
      print_string(s, strlen(s), false, t);
      return;
    case TLT_YAML_STRING:
    case TLT_YAML_STRING_OR_NULL:
    case TLT_YAML_OPTIONS:
      s = *(char *const *)field;
      if (!s) tlt_text_add(t, "null");
      else if (row->type == TLT_YAML_OPTIONS) print_options(s, t);
      else print_string(s, strlen(s), false, t);
      return;
  }
}
