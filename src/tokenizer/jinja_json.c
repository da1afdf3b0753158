/* JSON values into the template language, and the tojson filter (Python's json.dumps). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"
#include "tokenizer/text.h"

static tlt_status copy_string(tlt_jrender *r, const char *text, size_t n, bool tainted,
                              tlt_jstr *out) {
  tlt_jstr borrowed = {text, NULL, n};
  tlt_status status = tlt_jstr_join(r, &borrowed, 1, out);
  if (status || !tainted) return status;
  uint8_t *taint = tlt_jalloc(r, n + 1, &status);
  if (!status) memset(taint, 1, n);
  out->taint = taint;
  return status;
}

/* The JSON reader bounds the depth. Keys of tainted objects are tainted as well. */
tlt_status tlt_jfrom_json(tlt_jrender *r, const json_t *json, bool tainted, tlt_jval *out) {
  tlt_status status = TLT_OK;
  switch (json_typeof(json)) {
    case JSON_NULL: *out = (tlt_jval){.kind = TLT_J_NONE}; return TLT_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = tlt_jbool(json_is_true(json)); return TLT_OK;
    case JSON_INTEGER: *out = tlt_jint(json_integer_value(json)); return TLT_OK;
    case JSON_REAL:
      *out = (tlt_jval){.kind = TLT_J_FLOAT, .f = json_real_value(json)};
      return TLT_OK;
    case JSON_STRING:
      *out = (tlt_jval){.kind = TLT_J_STRING};
      return copy_string(r, json_string_value(json), json_string_length(json), tainted, &out->str);
    case JSON_ARRAY:
      status = tlt_jlist_new(r, out);
      for (size_t i = 0; i < json_array_size(json) && !status; i++) {
        tlt_jval item;
        status = tlt_jfrom_json(r, json_array_get(json, i), tainted, &item);
        if (!status) status = tlt_jlist_add(r, out->list, item);
      }
      return status;
    case JSON_OBJECT: break;
  }
  status = tlt_jdict_new(r, out);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)json, key, value) {
    tlt_jstr name;
    tlt_jval item;
    if (!status) status = copy_string(r, key, strlen(key), tainted, &name);
    if (!status) status = tlt_jfrom_json(r, value, tainted, &item);
    if (!status) status = tlt_jdict_set(r, out->dict, name, item);
  }
  return status;
}

/* ---- tojson ---- */

typedef struct dump {
  tlt_jrender *r;
  tlt_jdump how;
  tlt_bytes text, taint;
  int level;
} dump;

static tlt_status put(dump *d, const char *text, size_t n, uint8_t taint) {
  if (d->text.n + n > TLT_JINJA_OUTPUT_MAX) return tlt_jerror(d->r, "tojson: the text is too long");
  if (!tlt_bytes_add(&d->text, text, n) || !tlt_bytes_reserve(&d->taint, n))
    return tlt_fail_nomem(d->r->err, "chat template", n);
  memset(d->taint.data + d->taint.n, taint, n);
  d->taint.n += n;
  return TLT_OK;
}

static tlt_status put_text(dump *d, const char *text) {
  return put(d, text, strlen(text), 0);
}

static tlt_status put_escape(dump *d, uint32_t code, uint8_t taint) {
  char text[16];
  static const char from[] = "\n\r\t\b\f\"\\", to[] = "nrtbf\"\\";
  const char *known = code && code < 0x80 ? strchr(from, (int)code) : NULL;
  if (known) snprintf(text, sizeof text, "\\%c", to[known - from]);
  else if (code < 0x10000) snprintf(text, sizeof text, "\\u%04x", code);
  else
    snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
             0xdc00 + ((code - 0x10000) & 0x3ff));
  return put(d, text, strlen(text), taint);
}

static tlt_status put_string(dump *d, tlt_jstr s) {
  tlt_status status = put_text(d, "\"");
  for (size_t i = 0; i < s.n && !status;) {
    int size;
    uint32_t code = tlt_utf8_get(s.s + i, &size);
    uint8_t taint = s.taint ? s.taint[i] : 0;
    bool plain = code >= 0x20 && code != '"' && code != '\\' && (code < 0x7f || !d->how.ascii);
    status = plain ? put(d, s.s + i, (size_t)size, taint) : put_escape(d, code, taint);
    i += (size_t)size;
  }
  return status ? status : put_text(d, "\"");
}

static tlt_status line(dump *d) {
  if (d->how.indent < 0) return TLT_OK;
  tlt_status status = put_text(d, "\n");
  for (int i = 0; i < d->how.indent * d->level && !status; i++) status = put_text(d, " ");
  return status;
}

static tlt_status separator(dump *d, bool first) {
  tlt_status status = first ? TLT_OK : put_text(d, d->how.indent < 0 ? ", " : ",");
  return status ? status : line(d);
}

static tlt_status put_value(dump *d, tlt_jval v);

static int compare_pairs(const void *a, const void *b) {
  return tlt_jstr_compare(((const tlt_jpair *)a)->key, ((const tlt_jpair *)b)->key);
}

static tlt_status put_dict(dump *d, const tlt_jdict *dict) {
  tlt_status status = TLT_OK;
  if (dict->n == 0) return put_text(d, "{}");
  const tlt_jpair *items = dict->items;
  if (d->how.sort) {
    tlt_jpair *sorted = tlt_jalloc(d->r, dict->n * sizeof *sorted, &status);
    if (status) return status;
    memcpy(sorted, dict->items, dict->n * sizeof *sorted);
    qsort(sorted, dict->n, sizeof *sorted, compare_pairs);
    items = sorted;
  }
  status = put_text(d, "{");
  d->level++;
  for (size_t i = 0; i < dict->n && !status; i++) {
    status = separator(d, i == 0);
    if (!status) status = put_string(d, items[i].key);
    if (!status) status = put_text(d, ": ");
    if (!status) status = put_value(d, items[i].value);
  }
  d->level--;
  if (!status) status = line(d);
  return status ? status : put_text(d, "}");
}

static tlt_status put_list(dump *d, const tlt_jlist *list) {
  if (list->n == 0) return put_text(d, "[]");
  tlt_status status = put_text(d, "[");
  d->level++;
  for (size_t i = 0; i < list->n && !status; i++) {
    status = separator(d, i == 0);
    if (!status) status = put_value(d, list->items[i]);
  }
  d->level--;
  if (!status) status = line(d);
  return status ? status : put_text(d, "]");
}

static tlt_status put_value(dump *d, tlt_jval v) {
  tlt_jstr text;
  if (d->level > TLT_JINJA_DEPTH_MAX)
    return tlt_jerror(d->r, "tojson: the value is nested too deeply");
  switch (v.kind) {
    case TLT_J_NONE: return put_text(d, "null");
    case TLT_J_BOOL: return put_text(d, v.b ? "true" : "false");
    case TLT_J_STRING: return put_string(d, v.str);
    case TLT_J_LIST: return put_list(d, v.list);
    case TLT_J_DICT:
      if (!v.dict->space) return put_dict(d, v.dict);
      break;
    case TLT_J_INT:
    case TLT_J_FLOAT: {
      tlt_status status = tlt_jtext(d->r, v, &text);
      return status ? status : put(d, text.s, text.n, 0);
    }
    default: break;
  }
  return tlt_jerror(d->r, "tojson: got %s, expected a JSON value", tlt_jkind_name(v));
}

tlt_status tlt_jto_json(tlt_jrender *r, tlt_jval v, tlt_jdump how, tlt_jstr *out) {
  dump d = {.r = r, .how = how};
  tlt_status status = put_value(&d, v);
  tlt_jstr all = {d.text.data, (const uint8_t *)d.taint.data, d.text.n};
  if (!status) status = tlt_jstr_join(r, &all, 1, out);
  tlt_bytes_free(&d.text);
  tlt_bytes_free(&d.taint);
  return status;
}
