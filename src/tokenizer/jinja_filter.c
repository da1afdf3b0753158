/* Filters: x | name(arguments). */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"

typedef struct filter_call {
  tlt_jrender *r;
  tlt_jval self;
  const tlt_jargs *args;
  int variant;
  tlt_jval *out;
} filter_call;

/* Argument i, or the one named; none when absent. */
static tlt_jval argument(const filter_call *f, size_t i, const char *name) {
  if (i < f->args->list.n) return f->args->list.items[i];
  const tlt_jval *named = tlt_jdict_get(&f->args->named, (tlt_jstr){name, NULL, strlen(name)});
  return named ? *named : (tlt_jval){.kind = TLT_J_NONE};
}

static tlt_status want_string(filter_call *f, tlt_jval v) {
  if (v.kind == TLT_J_STRING) return TLT_OK;
  return tlt_jerror(f->r, "got %s, expected a string", tlt_jkind_name(v));
}

/* ---- text ---- */

static tlt_status trim(filter_call *f) {
  tlt_jval set = argument(f, 0, "chars");
  tlt_jstr text;
  tlt_status status = tlt_jtext(f->r, f->self, &text);
  if (!status && set.kind != TLT_J_NONE) status = want_string(f, set);
  if (!status)
    *f->out =
        tlt_jstring(tlt_jstr_strip(text, set.kind == TLT_J_NONE ? NULL : &set.str, true, true));
  return status;
}

static tlt_status change_case(filter_call *f) {
  tlt_jstr text;
  tlt_status status = tlt_jtext(f->r, f->self, &text);
  *f->out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status : tlt_jstr_case(f->r, text, (tlt_jcase)f->variant, &f->out->str);
}

static tlt_status to_string(filter_call *f) {
  *f->out = (tlt_jval){.kind = TLT_J_STRING};
  return tlt_jtext(f->r, f->self, &f->out->str);
}

static tlt_status replace(filter_call *f) {
  tlt_jval old = argument(f, 0, "old"), by = argument(f, 1, "new"), max = argument(f, 2, "count");
  tlt_jstr text;
  tlt_status status = tlt_jtext(f->r, f->self, &text);
  if (!status) status = want_string(f, old);
  if (!status) status = want_string(f, by);
  *f->out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status
                : tlt_jstr_replace(f->r, text, old.str, by.str, max.kind == TLT_J_INT ? max.i : -1,
                                   &f->out->str);
}

static tlt_status join(filter_call *f) {
  tlt_jval separator = argument(f, 0, "d");
  const tlt_jlist *list;
  tlt_status status = tlt_jiterate(f->r, f->self, &list);
  if (!status && separator.kind != TLT_J_NONE) status = want_string(f, separator);
  if (status) return status;
  tlt_jstr *parts = tlt_jalloc(f->r, 2 * list->n * sizeof *parts, &status);
  size_t n = 0;
  for (size_t i = 0; i < list->n && !status; i++) {
    if (i > 0 && separator.kind == TLT_J_STRING) parts[n++] = separator.str;
    status = tlt_jtext(f->r, list->items[i], &parts[n++]);
  }
  *f->out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status : tlt_jstr_join(f->r, parts, n, &f->out->str);
}

static tlt_status to_json(filter_call *f) {
  tlt_jdump how = {.indent = -1};
  tlt_jval indent = argument(f, SIZE_MAX, "indent");
  if (f->args->list.n || f->args->named.n > 3)
    return tlt_jerror(f->r, "tojson: got arguments by position, expected them by name");
  for (size_t i = 0; i < f->args->named.n; i++) {
    tlt_jpair named = f->args->named.items[i];
    if (tlt_jstr_is(named.key, "ensure_ascii")) how.ascii = tlt_jtruth(named.value);
    else if (tlt_jstr_is(named.key, "sort_keys")) how.sort = tlt_jtruth(named.value);
    else if (!tlt_jstr_is(named.key, "indent"))
      return tlt_jerror(f->r,
                        "tojson: got argument \"%.*s\", expected indent, ensure_ascii or "
                        "sort_keys",
                        (int)named.key.n, named.key.s);
  }
  if (indent.kind == TLT_J_INT && indent.i >= 0 && indent.i <= 16) how.indent = (int)indent.i;
  else if (indent.kind != TLT_J_NONE)
    return tlt_jerror(f->r, "tojson: got an indent that is not an integer in 0 .. 16");
  *f->out = (tlt_jval){.kind = TLT_J_STRING};
  return tlt_jto_json(f->r, f->self, how, &f->out->str);
}

/* ---- numbers ---- */

static tlt_status to_int(filter_call *f) {
  tlt_jval fallback = argument(f, 0, "default");
  *f->out = fallback.kind == TLT_J_NONE ? tlt_jint(0) : fallback;
  char digits[24];
  if (f->self.kind == TLT_J_INT) *f->out = f->self;
  if (f->self.kind == TLT_J_BOOL) *f->out = tlt_jint(f->self.b);
  if (f->self.kind == TLT_J_FLOAT && f->self.f > -9e18 && f->self.f < 9e18)
    *f->out = tlt_jint((int64_t)f->self.f);
  if (f->self.kind == TLT_J_STRING && f->self.str.n > 0 && f->self.str.n < sizeof digits - 1) {
    char *end;
    memcpy(digits, f->self.str.s, f->self.str.n);
    digits[f->self.str.n] = 0;
    int64_t i = strtoll(digits, &end, 10);
    if (*end == 0) *f->out = tlt_jint(i);
  }
  return TLT_OK;
}

static tlt_status absolute(filter_call *f) {
  *f->out = f->self;
  if (f->self.kind == TLT_J_FLOAT) f->out->f = f->self.f < 0 ? -f->self.f : f->self.f;
  else if (f->self.kind == TLT_J_INT && f->self.i > INT64_MIN)
    f->out->i = f->self.i < 0 ? -f->self.i : f->self.i;
  else return tlt_jerror(f->r, "abs: got %s, expected a number", tlt_jkind_name(f->self));
  return TLT_OK;
}

/* ---- containers ---- */

static tlt_status length(filter_call *f) {
  size_t n = 0;
  tlt_status status = tlt_jlength(f->r, f->self, &n);
  *f->out = tlt_jint((int64_t)n);
  return status;
}

/* variant 0: first, 1: last. */
static tlt_status end_item(filter_call *f) {
  const tlt_jlist *list;
  tlt_status status = tlt_jiterate(f->r, f->self, &list);
  if (status) return status;
  *f->out = tlt_jundefined("first or last", 13);
  if (list->n) *f->out = list->items[f->variant ? list->n - 1 : 0];
  return TLT_OK;
}

static tlt_status to_list(filter_call *f) {
  const tlt_jlist *list;
  tlt_status status = tlt_jiterate(f->r, f->self, &list);
  if (!status) status = tlt_jlist_new(f->r, f->out);
  for (size_t i = 0; !status && i < list->n; i++)
    status = tlt_jlist_add(f->r, f->out->list, list->items[f->variant ? list->n - 1 - i : i]);
  return status;
}

/* A string reversed is a string, anything else a list. */
static tlt_status reverse(filter_call *f) {
  if (f->self.kind != TLT_J_STRING) return to_list(f);
  tlt_jval none = {.kind = TLT_J_NONE};
  return tlt_jslice(f->r, f->self, none, none, tlt_jint(-1), f->out);
}

static tlt_status items(filter_call *f) {
  bool known;
  tlt_jargs no_args = {0};
  if (f->self.kind == TLT_J_UNDEFINED) return tlt_jlist_new(f->r, f->out);
  if (f->self.kind != TLT_J_DICT || f->self.dict->space)
    return tlt_jerror(f->r, "items: got %s, expected a mapping", tlt_jkind_name(f->self));
  return tlt_jmethod(f->r, f->self, "items", 5, &no_args, f->out, &known);
}

static tlt_status fallback(filter_call *f) {
  bool if_false = tlt_jtruth(argument(f, 1, "boolean"));
  bool use = f->self.kind == TLT_J_UNDEFINED || (if_false && !tlt_jtruth(f->self));
  tlt_jval value = argument(f, 0, "default_value");
  if (f->args->list.n == 0 && f->args->named.n == 0) value = tlt_jstring(TLT_JSTR(""));
  *f->out = use ? value : f->self;
  return TLT_OK;
}

/* "a.b" and "0" are paths. */
static tlt_status path(tlt_jrender *r, tlt_jval v, tlt_jstr name, tlt_jval *out) {
  tlt_status status = TLT_OK;
  for (size_t from = 0; !status && from <= name.n;) {
    size_t dot = tlt_jstr_find(name, TLT_JSTR("."), from);
    size_t end = dot == SIZE_MAX ? name.n : dot;
    tlt_jval next;
    status = tlt_jattribute(r, v, tlt_jstr_cut(name, from, end), &next);
    v = next;
    from = end + 1;
  }
  *out = v;
  return status;
}

/* The test given by argument `first` and its own arguments; without one, truth. */
static tlt_status apply_test(filter_call *f, size_t first, tlt_jval v, bool *holds) {
  *holds = tlt_jtruth(v);
  if (f->args->list.n <= first) return TLT_OK;
  tlt_jval name = f->args->list.items[first];
  tlt_status status = want_string(f, name);
  if (status) return status;
  tlt_jstr test = name.str;
  if (tlt_jstr_is(test, "==")) test = TLT_JSTR("eq");
  if (tlt_jstr_is(test, "!=")) test = TLT_JSTR("ne");
  if (!tlt_jtest_known(test.s, test.n))
    return tlt_jerror(f->r, "got test \"%.*s\", expected a test of the supported subset",
                      test.n > 40 ? 40 : (int)test.n, test.s);
  tlt_jargs args = {.list = {f->args->list.items + first + 1, f->args->list.n - first - 1, 0}};
  return tlt_jtest(f->r, test.s, test.n, v, &args, holds);
}

/* variant bit 0: reject, bit 1: by attribute. */
static tlt_status choose(filter_call *f) {
  const tlt_jlist *list;
  bool by_attribute = f->variant & 2, reject = f->variant & 1;
  tlt_status status = tlt_jiterate(f->r, f->self, &list);
  if (!status) status = tlt_jlist_new(f->r, f->out);
  tlt_jval name = argument(f, 0, "");
  if (!status && by_attribute) status = want_string(f, name);
  for (size_t i = 0; !status && i < list->n; i++) {
    tlt_jval v = list->items[i];
    bool holds = false;
    if (by_attribute) status = path(f->r, v, name.str, &v);
    if (!status) status = apply_test(f, by_attribute ? 1 : 0, v, &holds);
    if (!status && holds != reject) status = tlt_jlist_add(f->r, f->out->list, list->items[i]);
  }
  return status;
}

/* map(attribute="name") or map("filter"). */
static tlt_status map(filter_call *f) {
  const tlt_jlist *list;
  tlt_jval attribute = argument(f, SIZE_MAX, "attribute"), name = argument(f, 0, "");
  bool by_attribute = attribute.kind == TLT_J_STRING;
  tlt_jargs rest = {0};
  tlt_status status = tlt_jiterate(f->r, f->self, &list);
  if (!status) status = tlt_jlist_new(f->r, f->out);
  if (!status && !by_attribute) {
    status = want_string(f, name);
    if (!status && !tlt_jfilter_known(name.str.s, name.str.n))
      return tlt_jerror(f->r, "map: got a filter outside the supported subset");
    if (!status)
      rest = (tlt_jargs){{f->args->list.items + 1, f->args->list.n - 1, 0}, f->args->named};
  }
  for (size_t i = 0; !status && i < list->n; i++) {
    tlt_jval v;
    status = by_attribute ? path(f->r, list->items[i], attribute.str, &v)
                          : tlt_jfilter(f->r, name.str.s, name.str.n, list->items[i], &rest, &v);
    if (!status) status = tlt_jlist_add(f->r, f->out->list, v);
  }
  return status;
}

static tlt_status same(filter_call *f) {
  *f->out = f->self;
  return TLT_OK;
}

static const struct {
  const char *name;
  tlt_status (*run)(filter_call *f);
  int variant;
} filters[] = {
    {"trim", trim, 0},
    {"tojson", to_json, 0},
    {"length", length, 0},
    {"count", length, 0},
    {"default", fallback, 0},
    {"d", fallback, 0},
    {"string", to_string, 0},
    {"safe", same, 0},
    {"upper", change_case, TLT_JCASE_UPPER},
    {"lower", change_case, TLT_JCASE_LOWER},
    {"capitalize", change_case, TLT_JCASE_CAPITAL},
    {"title", change_case, TLT_JCASE_TITLE},
    {"replace", replace, 0},
    {"join", join, 0},
    {"int", to_int, 0},
    {"abs", absolute, 0},
    {"first", end_item, 0},
    {"last", end_item, 1},
    {"list", to_list, 0},
    {"reverse", reverse, 1},
    {"items", items, 0},
    {"select", choose, 0},
    {"reject", choose, 1},
    {"selectattr", choose, 2},
    {"rejectattr", choose, 3},
    {"map", map, 0},
};

static int find_filter(const char *name, size_t n) {
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
    if (strlen(filters[i].name) == n && memcmp(filters[i].name, name, n) == 0) return (int)i;
  return -1;
}

bool tlt_jfilter_known(const char *name, size_t n) {
  return find_filter(name, n) >= 0;
}

/* Filters may call filters (map), which the evaluation depth bounds. */
tlt_status tlt_jfilter(tlt_jrender *r, const char *name, size_t n, tlt_jval self,
                       const tlt_jargs *args, tlt_jval *out) {
  int i = find_filter(name, n);
  if (r->depth >= TLT_JINJA_EVAL_MAX) return tlt_jerror(r, "got filters nested too deeply");
  filter_call call = {r, self, args, filters[i].variant, out};
  r->depth++;
  tlt_status status = filters[i].run(&call);
  r->depth--;
  return status;
}
