/* Values of the template language: truth, comparison, containers, items. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"
#include "tokenizer/text.h"

const char *tlt_jkind_name(tlt_jval v) {
  static const char *const names[] = {
      "an undefined value", "none",   "a boolean", "an integer", "a float", "a string", "a list",
      "a mapping",          "a loop", "a macro",   "a function"};
  return names[v.kind];
}

bool tlt_jtruth(tlt_jval v) {
  switch (v.kind) {
    case TLT_J_UNDEFINED:
    case TLT_J_NONE: return false;
    case TLT_J_BOOL: return v.b;
    case TLT_J_INT: return v.i != 0;
    case TLT_J_FLOAT: return v.f != 0;
    case TLT_J_STRING: return v.str.n > 0;
    case TLT_J_LIST: return v.list->n > 0;
    case TLT_J_DICT: return v.dict->space || v.dict->n > 0;
    default: return true;
  }
}

static bool is_number(tlt_jval v) {
  return v.kind == TLT_J_BOOL || v.kind == TLT_J_INT || v.kind == TLT_J_FLOAT;
}

static double as_float(tlt_jval v) {
  return v.kind == TLT_J_FLOAT ? v.f : v.kind == TLT_J_INT ? (double)v.i : (double)v.b;
}

static int64_t as_int(tlt_jval v) {
  return v.kind == TLT_J_BOOL ? v.b : v.i;
}

/* Values are trees: only namespaces can be changed after they are made, and those are compared by
 * identity. Beyond the nesting cap nothing is equal. */
static bool equal_deep(tlt_jval a, tlt_jval b, int depth);

static bool equal_lists(const tlt_jlist *a, const tlt_jlist *b, int depth) {
  if (a->n != b->n) return false;
  for (size_t i = 0; i < a->n; i++)
    if (!equal_deep(a->items[i], b->items[i], depth)) return false;
  return true;
}

static bool equal_dicts(const tlt_jdict *a, const tlt_jdict *b, int depth) {
  if (a == b || a->space || b->space || a->n != b->n) return a == b;
  for (size_t i = 0; i < a->n; i++) {
    const tlt_jval *other = tlt_jdict_get(b, a->items[i].key);
    if (!other || !equal_deep(a->items[i].value, *other, depth)) return false;
  }
  return true;
}

static bool equal_deep(tlt_jval a, tlt_jval b, int depth) {
  if (is_number(a) && is_number(b)) {
    if (a.kind == TLT_J_FLOAT || b.kind == TLT_J_FLOAT) return as_float(a) == as_float(b);
    return as_int(a) == as_int(b);
  }
  if (a.kind != b.kind || depth > TLT_JINJA_DEPTH_MAX) return false;
  switch (a.kind) {
    case TLT_J_UNDEFINED:
    case TLT_J_NONE: return true;
    case TLT_J_STRING: return tlt_jstr_equal(a.str, b.str);
    case TLT_J_LIST: return equal_lists(a.list, b.list, depth + 1);
    case TLT_J_DICT: return equal_dicts(a.dict, b.dict, depth + 1);
    case TLT_J_FUNCTION: return a.function == b.function;
    default: return a.loop == b.loop;
  }
}

bool tlt_jequal(tlt_jval a, tlt_jval b) {
  return equal_deep(a, b, 0);
}

tlt_status tlt_jless(tlt_jrender *r, tlt_jval a, tlt_jval b, bool or_equal, bool *out) {
  if (is_number(a) && is_number(b)) {
    bool real = a.kind == TLT_J_FLOAT || b.kind == TLT_J_FLOAT;
    bool less = real ? as_float(a) < as_float(b) : as_int(a) < as_int(b);
    *out = less || (or_equal && tlt_jequal(a, b));
    return TLT_OK;
  }
  if (a.kind != TLT_J_STRING || b.kind != TLT_J_STRING)
    return tlt_jerror(r, "got %s compared with %s, expected numbers or strings", tlt_jkind_name(a),
                      tlt_jkind_name(b));
  int order = tlt_jstr_compare(a.str, b.str);
  *out = order < 0 || (or_equal && order == 0);
  return TLT_OK;
}

tlt_status tlt_jcontains(tlt_jrender *r, tlt_jval container, tlt_jval item, bool *out) {
  *out = false;
  switch (container.kind) {
    case TLT_J_UNDEFINED: return TLT_OK;
    case TLT_J_STRING:
      if (item.kind != TLT_J_STRING)
        return tlt_jerror(r, "got %s in a string, expected a string", tlt_jkind_name(item));
      r->steps += (int64_t)(container.str.n >> 6); /* long searches count as work */
      *out = tlt_jstr_find(container.str, item.str, 0) != SIZE_MAX;
      return TLT_OK;
    case TLT_J_LIST:
      r->steps += (int64_t)container.list->n;
      for (size_t i = 0; i < container.list->n && !*out; i++)
        *out = tlt_jequal(container.list->items[i], item);
      return TLT_OK;
    case TLT_J_DICT:
      *out = item.kind == TLT_J_STRING && tlt_jdict_get(container.dict, item.str);
      return TLT_OK;
    default:
      return tlt_jerror(r, "got \"in\" on %s, expected a container", tlt_jkind_name(container));
  }
}

tlt_status tlt_jlength(tlt_jrender *r, tlt_jval v, size_t *out) {
  switch (v.kind) {
    case TLT_J_UNDEFINED: *out = 0; return TLT_OK;
    case TLT_J_STRING: *out = tlt_jstr_length(v.str); return TLT_OK;
    case TLT_J_LIST: *out = v.list->n; return TLT_OK;
    case TLT_J_DICT: *out = v.dict->n; return TLT_OK;
    case TLT_J_LOOP: *out = v.loop->list->n; return TLT_OK;
    default: return tlt_jerror(r, "got the length of %s, expected a container", tlt_jkind_name(v));
  }
}

static tlt_status number_text(tlt_jrender *r, tlt_jval v, tlt_jstr *out) {
  char buffer[64];
  if (v.kind == TLT_J_INT) {
    snprintf(buffer, sizeof buffer, "%lld", (long long)v.i);
  } else {
    int digits = 15; /* the shortest text that reads back, as Python prints */
    double back = 0;
    do snprintf(buffer, sizeof buffer, "%.*g", digits, v.f);
    while (sscanf(buffer, "%lf", &back) == 1 && back != v.f && ++digits <= 17);
    if (!strpbrk(buffer, ".en")) strcat(buffer, ".0");
  }
  tlt_jstr text = {buffer, NULL, strlen(buffer)};
  return tlt_jstr_join(r, &text, 1, out);
}

tlt_status tlt_jtext(tlt_jrender *r, tlt_jval v, tlt_jstr *out) {
  *out = TLT_JSTR("");
  switch (v.kind) {
    case TLT_J_UNDEFINED: return TLT_OK;
    case TLT_J_NONE: *out = TLT_JSTR("None"); return TLT_OK;
    case TLT_J_BOOL: *out = v.b ? TLT_JSTR("True") : TLT_JSTR("False"); return TLT_OK;
    case TLT_J_INT:
    case TLT_J_FLOAT: return number_text(r, v, out);
    case TLT_J_STRING: *out = v.str; return TLT_OK;
    default:
      return tlt_jerror(r, "got %s as text, expected a string (or tojson)", tlt_jkind_name(v));
  }
}

/* ---- containers ---- */

tlt_status tlt_jlist_new(tlt_jrender *r, tlt_jval *out) {
  tlt_status status = TLT_OK;
  *out = (tlt_jval){.kind = TLT_J_LIST, .list = tlt_jalloc(r, sizeof(tlt_jlist), &status)};
  return status;
}

tlt_status tlt_jlist_add(tlt_jrender *r, tlt_jlist *list, tlt_jval item) {
  if (list->n == list->cap) {
    tlt_status status = TLT_OK;
    size_t cap = list->cap ? 2 * list->cap : 8;
    tlt_jval *items = tlt_jalloc(r, cap * sizeof *items, &status);
    if (status) return status;
    if (list->n) memcpy(items, list->items, list->n * sizeof *items);
    list->items = items;
    list->cap = cap;
  }
  list->items[list->n++] = item;
  return TLT_OK;
}

tlt_status tlt_jdict_new(tlt_jrender *r, tlt_jval *out) {
  tlt_status status = TLT_OK;
  *out = (tlt_jval){.kind = TLT_J_DICT, .dict = tlt_jalloc(r, sizeof(tlt_jdict), &status)};
  return status;
}

tlt_jval *tlt_jdict_get(const tlt_jdict *dict, tlt_jstr key) {
  for (size_t i = 0; i < dict->n; i++)
    if (tlt_jstr_equal(dict->items[i].key, key)) return &dict->items[i].value;
  return NULL;
}

tlt_status tlt_jdict_set(tlt_jrender *r, tlt_jdict *dict, tlt_jstr key, tlt_jval value) {
  tlt_jval *known = tlt_jdict_get(dict, key);
  if (known) {
    *known = value;
    return TLT_OK;
  }
  if (dict->n == dict->cap) {
    tlt_status status = TLT_OK;
    size_t cap = dict->cap ? 2 * dict->cap : 8;
    tlt_jpair *items = tlt_jalloc(r, cap * sizeof *items, &status);
    if (status) return status;
    if (dict->n) memcpy(items, dict->items, dict->n * sizeof *items);
    dict->items = items;
    dict->cap = cap;
  }
  dict->items[dict->n++] = (tlt_jpair){key, value};
  return TLT_OK;
}

static tlt_status characters(tlt_jrender *r, tlt_jstr s, tlt_jlist *list) {
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < s.n && !status;) {
    int size;
    tlt_utf8_get(s.s + i, &size);
    status = tlt_jlist_add(r, list, tlt_jstring(tlt_jstr_cut(s, i, i + (size_t)size)));
    i += (size_t)size;
  }
  return status;
}

tlt_status tlt_jiterate(tlt_jrender *r, tlt_jval v, const tlt_jlist **out) {
  if (v.kind == TLT_J_LIST) {
    *out = v.list;
    return TLT_OK;
  }
  tlt_jval fresh;
  tlt_status status = tlt_jlist_new(r, &fresh);
  *out = fresh.list;
  if (status || v.kind == TLT_J_UNDEFINED) return status;
  if (v.kind == TLT_J_STRING) return characters(r, v.str, fresh.list);
  if (v.kind != TLT_J_DICT || v.dict->space)
    return tlt_jerror(r, "got a loop over %s, expected a list, mapping or string",
                      tlt_jkind_name(v));
  for (size_t i = 0; i < v.dict->n && !status; i++)
    status = tlt_jlist_add(r, fresh.list, tlt_jstring(v.dict->items[i].key));
  return status;
}

/* ---- attributes and items ---- */

static tlt_jval loop_neighbour(const tlt_jloop *loop, bool next) {
  if (next ? loop->index0 + 1 < loop->list->n : loop->index0 > 0)
    return loop->list->items[next ? loop->index0 + 1 : loop->index0 - 1];
  return tlt_jundefined(next ? "loop.nextitem" : "loop.previtem", 13);
}

static bool loop_attribute(const tlt_jloop *loop, tlt_jstr name, tlt_jval *out) {
  int64_t i = (int64_t)loop->index0, n = (int64_t)loop->list->n;
  if (tlt_jstr_is(name, "index")) *out = tlt_jint(i + 1);
  else if (tlt_jstr_is(name, "index0")) *out = tlt_jint(i);
  else if (tlt_jstr_is(name, "revindex")) *out = tlt_jint(n - i);
  else if (tlt_jstr_is(name, "revindex0")) *out = tlt_jint(n - i - 1);
  else if (tlt_jstr_is(name, "first")) *out = tlt_jbool(i == 0);
  else if (tlt_jstr_is(name, "last")) *out = tlt_jbool(i == n - 1);
  else if (tlt_jstr_is(name, "length")) *out = tlt_jint(n);
  else if (tlt_jstr_is(name, "previtem")) *out = loop_neighbour(loop, false);
  else if (tlt_jstr_is(name, "nextitem")) *out = loop_neighbour(loop, true);
  else return false;
  return true;
}

tlt_status tlt_jattribute(tlt_jrender *r, tlt_jval v, tlt_jstr name, tlt_jval *out) {
  int shown = name.n > 40 ? 40 : (int)name.n;
  if (v.kind == TLT_J_UNDEFINED)
    return tlt_jerror(r, "got attribute \"%.*s\" of \"%.*s\", which is undefined", shown, name.s,
                      v.str.n > 40 ? 40 : (int)v.str.n, v.str.s ? v.str.s : "");
  if (v.kind == TLT_J_LOOP && !loop_attribute(v.loop, name, out))
    return tlt_jerror(r, "got loop.%.*s, expected a supported loop attribute", shown, name.s);
  if (v.kind == TLT_J_LOOP) return TLT_OK;
  const tlt_jval *found = v.kind == TLT_J_DICT ? tlt_jdict_get(v.dict, name) : NULL;
  *out = found ? *found : tlt_jundefined(name.s, name.n);
  return TLT_OK;
}

tlt_status tlt_jitem(tlt_jrender *r, tlt_jval v, tlt_jval key, tlt_jval *out) {
  if (key.kind == TLT_J_STRING) return tlt_jattribute(r, v, key.str, out);
  if (v.kind == TLT_J_UNDEFINED) return tlt_jattribute(r, v, TLT_JSTR("[]"), out);
  *out = tlt_jundefined("item", 4);
  if ((key.kind != TLT_J_INT && key.kind != TLT_J_BOOL) ||
      (v.kind != TLT_J_LIST && v.kind != TLT_J_STRING))
    return TLT_OK;
  size_t length;
  tlt_status status = tlt_jlength(r, v, &length);
  int64_t i = as_int(key), n = (int64_t)length;
  if (i < 0) i += n;
  if (status || i < 0 || i >= n) return status;
  if (v.kind == TLT_J_LIST) {
    *out = v.list->items[i];
    return TLT_OK;
  }
  size_t from = tlt_jstr_offset(v.str, (size_t)i);
  size_t size = tlt_jstr_offset(tlt_jstr_cut(v.str, from, v.str.n), 1);
  *out = tlt_jstring(tlt_jstr_cut(v.str, from, from + size));
  return TLT_OK;
}

/* Python's rule for one end of a slice: negative counts from the end, then clamped. */
static tlt_status slice_end(tlt_jrender *r, tlt_jval v, int64_t n, int64_t low, int64_t high,
                            int64_t absent, int64_t *out) {
  *out = absent;
  if (v.kind == TLT_J_NONE) return TLT_OK;
  if (v.kind != TLT_J_INT && v.kind != TLT_J_BOOL)
    return tlt_jerror(r, "got %s in a slice, expected an integer", tlt_jkind_name(v));
  int64_t i = as_int(v);
  if (i < 0) i = i < -n ? low : i + n;
  *out = i < low ? low : i > high ? high : i;
  return TLT_OK;
}

static tlt_status slice_step(tlt_jrender *r, tlt_jval v, int64_t n, int64_t *out) {
  *out = 1;
  if (v.kind == TLT_J_NONE) return TLT_OK;
  if (v.kind != TLT_J_INT || v.i == 0)
    return tlt_jerror(r, "got a slice step that is %s, expected an integer other than 0",
                      v.kind == TLT_J_INT ? "0" : tlt_jkind_name(v));
  *out = v.i < -n - 1 ? -n - 1 : v.i > n + 1 ? n + 1 : v.i;
  return TLT_OK;
}

tlt_status tlt_jslice(tlt_jrender *r, tlt_jval v, tlt_jval from, tlt_jval to, tlt_jval step,
                      tlt_jval *out) {
  if (v.kind != TLT_J_LIST && v.kind != TLT_J_STRING)
    return tlt_jerror(r, "got a slice of %s, expected a list or string", tlt_jkind_name(v));
  const tlt_jlist *list;
  tlt_status status = tlt_jiterate(r, v, &list);
  if (status) return status;
  int64_t n = (int64_t)list->n, stride, first, end;
  status = slice_step(r, step, n, &stride);
  int64_t low = stride < 0 ? -1 : 0, high = stride < 0 ? n - 1 : n;
  if (!status) status = slice_end(r, from, n, low, high, stride < 0 ? high : low, &first);
  if (!status) status = slice_end(r, to, n, low, high, stride < 0 ? low : high, &end);
  tlt_jval items;
  if (!status) status = tlt_jlist_new(r, &items);
  for (int64_t i = first; !status && (stride < 0 ? i > end : i < end); i += stride)
    status = tlt_jlist_add(r, items.list, list->items[i]);
  if (status || v.kind == TLT_J_LIST) {
    *out = items;
    return status;
  }
  tlt_jstr *parts = tlt_jalloc(r, items.list->n * sizeof *parts + 1, &status), joined;
  for (size_t i = 0; i < items.list->n && !status; i++) parts[i] = items.list->items[i].str;
  if (!status) status = tlt_jstr_join(r, parts, items.list->n, &joined);
  if (!status) *out = tlt_jstring(joined);
  return status;
}
