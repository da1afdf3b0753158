/* Methods of strings and mappings, and the functions every template has. */
#include <stdio.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"

/* ---- arguments ---- */

static tlt_jval argument(const tlt_jargs *args, size_t i) {
  return i < args->list.n ? args->list.items[i] : (tlt_jval){.kind = TLT_J_NONE};
}

static tlt_status want_count(tlt_jrender *r, const tlt_jargs *args, size_t low, size_t high) {
  if (args->named.n)
    return tlt_jerror(r, "got argument \"%.*s\" by name, expected it by position",
                      (int)args->named.items[0].key.n, args->named.items[0].key.s);
  if (args->list.n < low || args->list.n > high)
    return tlt_jerror(r, "got %zu arguments, expected %zu to %zu", args->list.n, low, high);
  return TLT_OK;
}

static tlt_status want_strings(tlt_jrender *r, const tlt_jargs *args, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (args->list.items[i].kind != TLT_J_STRING)
      return tlt_jerror(r, "got %s, expected a string", tlt_jkind_name(args->list.items[i]));
  return TLT_OK;
}

/* ---- string methods ---- */

typedef struct method_call {
  tlt_jrender *r;
  tlt_jstr self;
  const tlt_jargs *args;
  int variant;
  tlt_jval *out;
} method_call;

/* variant 0: start, 1: end. A list of strings tries each. */
static tlt_status affix(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 1, 1);
  if (status) return status;
  tlt_jval wanted = m->args->list.items[0];
  tlt_jlist one = {&wanted, 1, 1}, *list = wanted.kind == TLT_J_LIST ? wanted.list : &one;
  *m->out = tlt_jbool(false);
  for (size_t i = 0; i < list->n; i++) {
    tlt_jval v = list->items[i];
    if (v.kind != TLT_J_STRING)
      return tlt_jerror(m->r, "got %s, expected a string", tlt_jkind_name(v));
    if (v.str.n > m->self.n) continue;
    size_t from = m->variant ? m->self.n - v.str.n : 0;
    if (tlt_jstr_equal(tlt_jstr_cut(m->self, from, from + v.str.n), v.str)) m->out->b = true;
  }
  return TLT_OK;
}

/* variant: 1 left, 2 right, 3 both. */
static tlt_status strip(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 0, 1);
  tlt_jval set = argument(m->args, 0);
  if (!status && set.kind != TLT_J_NONE) status = want_strings(m->r, m->args, 1);
  if (status) return status;
  *m->out = tlt_jstring(tlt_jstr_strip(m->self, set.kind == TLT_J_STRING ? &set.str : NULL,
                                       m->variant & 1, m->variant & 2));
  return TLT_OK;
}

static tlt_status split(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 0, 2);
  tlt_jval separator = argument(m->args, 0), max = argument(m->args, 1);
  if (!status && separator.kind != TLT_J_NONE) status = want_strings(m->r, m->args, 1);
  if (status) return status;
  if (max.kind != TLT_J_NONE && max.kind != TLT_J_INT)
    return tlt_jerror(m->r, "got %s, expected a number of splits", tlt_jkind_name(max));
  return tlt_jstr_split(m->r, m->self, separator.kind == TLT_J_STRING ? &separator.str : NULL,
                        max.kind == TLT_J_INT ? max.i : -1, m->out);
}

static tlt_status replace(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 2, 3);
  if (!status) status = want_strings(m->r, m->args, 2);
  if (status) return status;
  tlt_jval max = argument(m->args, 2);
  *m->out = (tlt_jval){.kind = TLT_J_STRING};
  return tlt_jstr_replace(m->r, m->self, m->args->list.items[0].str, m->args->list.items[1].str,
                          max.kind == TLT_J_INT ? max.i : -1, &m->out->str);
}

static tlt_status change_case(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 0, 0);
  *m->out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status : tlt_jstr_case(m->r, m->self, (tlt_jcase)m->variant, &m->out->str);
}

/* variant 0: find (position in characters, -1), 1: count. */
static tlt_status find(method_call *m) {
  tlt_status status = want_count(m->r, m->args, 1, 1);
  if (!status) status = want_strings(m->r, m->args, 1);
  if (status) return status;
  tlt_jstr part = m->args->list.items[0].str;
  size_t hit = tlt_jstr_find(m->self, part, 0);
  int64_t count = 0;
  if (m->variant && part.n == 0) count = (int64_t)tlt_jstr_length(m->self) + 1;
  else if (m->variant)
    for (; hit != SIZE_MAX; hit = tlt_jstr_find(m->self, part, hit + part.n)) count++;
  else count = hit == SIZE_MAX ? -1 : (int64_t)tlt_jstr_length(tlt_jstr_cut(m->self, 0, hit));
  *m->out = tlt_jint(count);
  return TLT_OK;
}

/* variant 0: prefix, 1: suffix. */
static tlt_status remove_affix(method_call *m) {
  tlt_jval has;
  method_call test = *m;
  test.out = &has;
  tlt_status status = want_count(m->r, m->args, 1, 1);
  if (!status) status = want_strings(m->r, m->args, 1);
  if (!status) status = affix(&test);
  if (status) return status;
  size_t n = has.b ? m->args->list.items[0].str.n : 0;
  *m->out = tlt_jstring(m->variant ? tlt_jstr_cut(m->self, 0, m->self.n - n)
                                   : tlt_jstr_cut(m->self, n, m->self.n));
  return TLT_OK;
}

static tlt_status join(method_call *m) {
  tlt_jargs args = {0};
  tlt_jval separator = tlt_jstring(m->self);
  tlt_status status = want_count(m->r, m->args, 1, 1);
  if (!status) status = tlt_jlist_add(m->r, &args.list, separator);
  return status ? status : tlt_jfilter(m->r, "join", 4, m->args->list.items[0], &args, m->out);
}

static const struct {
  const char *name;
  tlt_status (*run)(method_call *m);
  int variant;
} string_methods[] = {
    {"startswith", affix, 0},
    {"endswith", affix, 1},
    {"lstrip", strip, 1},
    {"rstrip", strip, 2},
    {"strip", strip, 3},
    {"split", split, 0},
    {"replace", replace, 0},
    {"upper", change_case, TLT_JCASE_UPPER},
    {"lower", change_case, TLT_JCASE_LOWER},
    {"capitalize", change_case, TLT_JCASE_CAPITAL},
    {"title", change_case, TLT_JCASE_TITLE},
    {"find", find, 0},
    {"count", find, 1},
    {"removeprefix", remove_affix, 0},
    {"removesuffix", remove_affix, 1},
    {"join", join, 0},
};

/* ---- mapping methods ---- */

static tlt_status dict_list(tlt_jrender *r, const tlt_jdict *dict, bool keys, bool values,
                            tlt_jval *out) {
  tlt_status status = tlt_jlist_new(r, out);
  for (size_t i = 0; i < dict->n && !status; i++) {
    tlt_jval key = tlt_jstring(dict->items[i].key), item = keys ? key : dict->items[i].value;
    if (keys && values) {
      status = tlt_jlist_new(r, &item);
      if (!status) status = tlt_jlist_add(r, item.list, key);
      if (!status) status = tlt_jlist_add(r, item.list, dict->items[i].value);
    }
    if (!status) status = tlt_jlist_add(r, out->list, item);
  }
  return status;
}

static tlt_status dict_get(tlt_jrender *r, const tlt_jdict *dict, const tlt_jargs *args,
                           tlt_jval *out) {
  tlt_status status = want_count(r, args, 1, 2);
  if (status) return status;
  const tlt_jval *found = NULL;
  if (args->list.items[0].kind == TLT_J_STRING)
    found = tlt_jdict_get(dict, args->list.items[0].str);
  *out = found ? *found : argument(args, 1);
  return TLT_OK;
}

static tlt_status dict_method(tlt_jrender *r, const tlt_jdict *dict, tlt_jstr name,
                              const tlt_jargs *args, tlt_jval *out, bool *known) {
  bool keys = tlt_jstr_is(name, "keys"), values = tlt_jstr_is(name, "values");
  bool items = tlt_jstr_is(name, "items");
  *known = true;
  if (tlt_jstr_is(name, "get")) return dict_get(r, dict, args, out);
  *known = keys || values || items;
  if (!*known) return TLT_OK;
  tlt_status status = want_count(r, args, 0, 0);
  return status ? status : dict_list(r, dict, keys || items, values || items, out);
}

tlt_status tlt_jmethod(tlt_jrender *r, tlt_jval self, const char *name, size_t n,
                       const tlt_jargs *args, tlt_jval *out, bool *known) {
  tlt_jstr key = {name, NULL, n};
  *known = false;
  if (self.kind == TLT_J_DICT && !self.dict->space)
    return dict_method(r, self.dict, key, args, out, known);
  if (self.kind != TLT_J_STRING) return TLT_OK;
  for (size_t i = 0; i < sizeof string_methods / sizeof *string_methods; i++) {
    if (!tlt_jstr_is(key, string_methods[i].name)) continue;
    method_call call = {r, self.str, args, string_methods[i].variant, out};
    *known = true;
    return string_methods[i].run(&call);
  }
  return tlt_jerror(r, "got string method \"%.*s\", which is outside the supported subset",
                    n > 40 ? 40 : (int)n, name);
}

/* ---- functions ---- */

static tlt_status make_dict(tlt_jrender *r, const tlt_jargs *args, bool space, tlt_jval *out) {
  tlt_status status = tlt_jdict_new(r, out);
  if (status) return status;
  out->dict->space = space;
  if (args->list.n > 1 || (args->list.n == 1 && args->list.items[0].kind != TLT_J_DICT))
    return tlt_jerror(r, "got positional arguments, expected names or one mapping");
  const tlt_jdict *sources[2] = {args->list.n ? args->list.items[0].dict : NULL, &args->named};
  for (int k = 0; k < 2; k++)
    for (size_t i = 0; sources[k] && i < sources[k]->n && !status; i++)
      status = tlt_jdict_set(r, out->dict, sources[k]->items[i].key, sources[k]->items[i].value);
  return status;
}

static tlt_status range(tlt_jrender *r, const tlt_jargs *args, tlt_jval *out) {
  enum { LONGEST = 100000 };
  tlt_status status = want_count(r, args, 1, 3);
  int64_t part[3] = {0, 0, 1};
  for (size_t i = 0; i < args->list.n && !status; i++) {
    if (args->list.items[i].kind != TLT_J_INT)
      return tlt_jerror(r, "got %s, expected an integer", tlt_jkind_name(args->list.items[i]));
    part[args->list.n == 1 ? 1 : i] = args->list.items[i].i;
  }
  if (!status) status = tlt_jlist_new(r, out);
  if (!status && part[2] == 0) return tlt_jerror(r, "got a range step of 0");
  for (int64_t i = part[0]; !status && (part[2] > 0 ? i < part[1] : i > part[1]);) {
    if (out->list->n == LONGEST) return tlt_jerror(r, "got a range of more than %d", LONGEST);
    status = tlt_jlist_add(r, out->list, tlt_jint(i));
    if (__builtin_add_overflow(i, part[2], &i)) break;
  }
  return status;
}

static tlt_status raise_exception(tlt_jrender *r, const tlt_jargs *args) {
  tlt_jstr text;
  tlt_status status = want_count(r, args, 1, 1);
  if (!status) status = tlt_jtext(r, args->list.items[0], &text);
  if (status) return status;
  return tlt_jerror(r, "the template refuses the conversation: %.*s",
                    text.n > 300 ? 300 : (int)text.n, text.s);
}

tlt_status tlt_jfunction_call(tlt_jrender *r, tlt_jfunction f, const tlt_jargs *args,
                              tlt_jval *out) {
  switch (f) {
    case TLT_JF_NAMESPACE: return make_dict(r, args, true, out);
    case TLT_JF_DICT: return make_dict(r, args, false, out);
    case TLT_JF_RANGE: return range(r, args, out);
    case TLT_JF_RAISE: return raise_exception(r, args);
  }
  return tlt_jerror(r, "internal: unknown function");
}
