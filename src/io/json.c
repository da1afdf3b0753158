#include "io/json.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/text.h"

/* ---- Parsing ---- */

/* jansson reports running out of memory as any syntax error: noted here instead. */
static _Thread_local bool out_of_memory;

static void *allocate(size_t bytes) {
  void *p = tlt_malloc(bytes);
  if (!p) out_of_memory = true;
  return p;
}

static void use_our_allocator(void) {
  json_set_alloc_funcs(allocate, tlt_free);
}

static void where(const char *file, long line, char *out, size_t size) {
  if (line > 0) snprintf(out, size, "%s:%ld", file, line);
  else snprintf(out, size, "%s", file);
}

/* jansson recurses once per level: the depth is bounded before it sees the text. */
static bool depth_is_bounded(const char *text, size_t n, size_t *offset) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < n; i++) {
    char c = text[i];
    *offset = i;
    if (quoted) {
      if (c == '\\') i++;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > TLT_JSON_DEPTH_MAX) return false;
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return true;
}

/* Position of the first byte that is not UTF-8; n when all is well. */
static size_t first_bad_byte(const char *text, size_t n) {
  size_t i = 0;
  while (i < n) {
    size_t length = (unsigned char)text[i] < 0x80 ? 1 : tlt_utf8_length(text + i, n - i);
    if (!length) break;
    i += length;
  }
  return i;
}

tlt_status tlt_json_parse(const char *text, size_t n, const char *file, long line, json_t **out,
                          tlt_err *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char place[512];
  size_t offset = 0;
  *out = NULL;
  pthread_once(&once, use_our_allocator);
  where(file, line, place, sizeof place);
  if ((offset = first_bad_byte(text, n)) < n)
    return tlt_fail(err, TLT_EDATA, "%s: offset %zu: got byte 0x%02x, expected UTF-8", place,
                    offset, (unsigned char)text[offset]);
  if (!depth_is_bounded(text, n, &offset))
    return tlt_fail(err, TLT_EDATA, "%s: offset %zu: got nesting over %d levels", place, offset,
                    TLT_JSON_DEPTH_MAX);
  json_error_t problem;
  out_of_memory = false;
  *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
  if (*out) return TLT_OK;
  if (out_of_memory) return tlt_fail_nomem(err, place, n);
  if (line <= 0) snprintf(place, sizeof place, "%s:%d", file, problem.line);
  return tlt_fail(err, TLT_EDATA, "%s: offset %d: %s", place, problem.position, problem.text);
}

tlt_status tlt_json_load(const char *path, size_t cap, json_t **out, tlt_err *err) {
  char *text;
  size_t n;
  *out = NULL;
  tlt_status status = tlt_file_load(path, cap, &text, &n, err);
  if (status == TLT_OK) status = tlt_json_parse(text, n, path, 0, out, err);
  tlt_free(text);
  return status;
}

/* ---- Nodes and errors ---- */

tlt_json_node tlt_json_top(const json_t *value, const char *file, long line) {
  return (tlt_json_node){.value = value, .file = file, .line = line};
}

static void add_path(const tlt_json_node *at, tlt_text *path) {
  if (!at->parent) return;
  add_path(at->parent, path);
  if (!at->name) tlt_text_printf(path, "[%zu]", at->index);
  else tlt_text_printf(path, "%s%s", path->n ? "." : "", at->name);
}

tlt_status tlt_json_fail(const tlt_json_node *at, const char *key, tlt_err *err, const char *format,
                         ...) {
  char place[512], message[512];
  tlt_text path = {0};
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  where(at->file, at->line, place, sizeof place);
  add_path(at, &path);
  if (key) tlt_text_printf(&path, "%s%s", path.n ? "." : "", key);
  tlt_status status = path.n ? tlt_fail(err, TLT_EDATA, "%s: %s: %s", place, path.data, message)
                             : tlt_fail(err, TLT_EDATA, "%s: %s", place, message);
  tlt_text_free(&path);
  return status;
}

static size_t dump_some(const char *from, size_t n, char *to, size_t room) {
  size_t used = 0;
  while (used < n && used < room) {
    size_t length = tlt_utf8_length(from + used, n - used);
    if (!length || used + length > room) break; /* never half a character */
    for (size_t i = 0; i < length; i++, used++) to[used] = from[used];
  }
  return used;
}

void tlt_json_describe(const json_t *value, char out[64]) {
  if (!value) {
    strcpy(out, "nothing");
  } else if (json_is_object(value)) {
    strcpy(out, "an object");
  } else if (json_is_array(value)) {
    snprintf(out, 64, "an array of %zu", json_array_size(value));
  } else if (json_is_string(value)) {
    size_t n = json_string_length(value), shown;
    out[0] = '"';
    shown = dump_some(json_string_value(value), n, out + 1, 40);
    strcpy(out + 1 + shown, shown < n ? "...\"" : "\"");
  } else if (json_is_integer(value)) {
    snprintf(out, 64, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    snprintf(out, 64, "%.17g", json_real_value(value));
    if (!strpbrk(out, ".e")) strcat(out, ".0");
  } else {
    strcpy(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
  }
}

static tlt_status fail_kind(const tlt_json_node *at, const char *key, const json_t *value,
                            const char *expected, tlt_err *err) {
  char got[64];
  if (!value) return tlt_json_fail(at, key, err, "missing, expected %s", expected);
  tlt_json_describe(value, got);
  return tlt_json_fail(at, key, err, "got %s, expected %s", got, expected);
}

bool tlt_json_has(const tlt_json_node *at, const char *key) {
  const json_t *value = json_object_get(at->value, key);
  return value && !json_is_null(value);
}

/* ---- Members ---- */

tlt_status tlt_json_int(const tlt_json_node *at, const char *key, int64_t min, int64_t max,
                        int64_t *out, tlt_err *err) {
  char expected[96];
  const json_t *value = json_object_get(at->value, key);
  int64_t x = json_integer_value(value);
  if (json_is_integer(value) && x >= min && x <= max) {
    *out = x;
    return TLT_OK;
  }
  if (min == INT64_MIN && max == INT64_MAX) snprintf(expected, sizeof expected, "integer");
  else if (max >= INT64_MAX)
    snprintf(expected, sizeof expected, "integer of at least %lld", (long long)min);
  else
    snprintf(expected, sizeof expected, "integer in %lld .. %lld", (long long)min, (long long)max);
  return fail_kind(at, key, value, expected, err);
}

tlt_status tlt_json_double(const tlt_json_node *at, const char *key, double min, double max,
                           double *out, tlt_err *err) {
  char expected[96];
  const json_t *value = json_object_get(at->value, key);
  double x = json_number_value(value);
  if (json_is_number(value) && isfinite(x) && x >= min && x <= max) {
    *out = x;
    return TLT_OK;
  }
  if (min <= -DBL_MAX && max >= DBL_MAX) snprintf(expected, sizeof expected, "number");
  else snprintf(expected, sizeof expected, "number in %g .. %g", min, max);
  return fail_kind(at, key, value, expected, err);
}

tlt_status tlt_json_bool(const tlt_json_node *at, const char *key, bool *out, tlt_err *err) {
  const json_t *value = json_object_get(at->value, key);
  if (!json_is_boolean(value)) return fail_kind(at, key, value, "true or false", err);
  *out = json_is_true(value);
  return TLT_OK;
}

tlt_status tlt_json_string(const tlt_json_node *at, const char *key, const char **out,
                           tlt_err *err) {
  const json_t *value = json_object_get(at->value, key);
  if (!json_is_string(value)) return fail_kind(at, key, value, "string", err);
  *out = json_string_value(value);
  return TLT_OK;
}

static tlt_json_node member(const tlt_json_node *at, const char *key) {
  return (tlt_json_node){.value = json_object_get(at->value, key),
                         .file = at->file,
                         .line = at->line,
                         .parent = at,
                         .name = key};
}

tlt_status tlt_json_object(const tlt_json_node *at, const char *key, tlt_json_node *out,
                           tlt_err *err) {
  *out = member(at, key);
  return json_is_object(out->value) ? TLT_OK : fail_kind(at, key, out->value, "object", err);
}

tlt_status tlt_json_array(const tlt_json_node *at, const char *key, tlt_json_node *out,
                          tlt_err *err) {
  *out = member(at, key);
  return json_is_array(out->value) ? TLT_OK : fail_kind(at, key, out->value, "array", err);
}

tlt_json_node tlt_json_element(const tlt_json_node *array, size_t i) {
  return (tlt_json_node){.value = json_array_get(array->value, i),
                         .file = array->file,
                         .line = array->line,
                         .parent = array,
                         .index = i};
}

tlt_status tlt_json_int_or(const tlt_json_node *at, const char *key, int64_t min, int64_t max,
                           int64_t fallback, int64_t *out, tlt_err *err) {
  *out = fallback;
  return tlt_json_has(at, key) ? tlt_json_int(at, key, min, max, out, err) : TLT_OK;
}

tlt_status tlt_json_double_or(const tlt_json_node *at, const char *key, double min, double max,
                              double fallback, double *out, tlt_err *err) {
  *out = fallback;
  return tlt_json_has(at, key) ? tlt_json_double(at, key, min, max, out, err) : TLT_OK;
}

tlt_status tlt_json_bool_or(const tlt_json_node *at, const char *key, bool fallback, bool *out,
                            tlt_err *err) {
  *out = fallback;
  return tlt_json_has(at, key) ? tlt_json_bool(at, key, out, err) : TLT_OK;
}

tlt_status tlt_json_string_or(const tlt_json_node *at, const char *key, const char *fallback,
                              const char **out, tlt_err *err) {
  *out = fallback;
  return tlt_json_has(at, key) ? tlt_json_string(at, key, out, err) : TLT_OK;
}
