/* Tests: x is name(argument). */
#include <string.h>

#include "tokenizer/jinja_internal.h"

typedef enum test_id {
  T_DEFINED,
  T_UNDEFINED,
  T_NONE,
  T_BOOLEAN,
  T_TRUE,
  T_FALSE,
  T_INTEGER,
  T_FLOAT,
  T_NUMBER,
  T_STRING,
  T_MAPPING,
  T_ITERABLE,
  T_SEQUENCE,
  T_CALLABLE,
  T_EVEN,
  T_ODD,
  T_EQUAL,
  T_UNEQUAL,
  T_LESS,
  T_GREATER,
  T_IN,
} test_id;

static const struct {
  const char *name;
  test_id id;
} tests[] = {
    {"defined", T_DEFINED},     {"undefined", T_UNDEFINED},
    {"none", T_NONE},           {"boolean", T_BOOLEAN},
    {"true", T_TRUE},           {"false", T_FALSE},
    {"integer", T_INTEGER},     {"float", T_FLOAT},
    {"number", T_NUMBER},       {"string", T_STRING},
    {"mapping", T_MAPPING},     {"iterable", T_ITERABLE},
    {"sequence", T_SEQUENCE},   {"callable", T_CALLABLE},
    {"even", T_EVEN},           {"odd", T_ODD},
    {"equalto", T_EQUAL},       {"eq", T_EQUAL},
    {"ne", T_UNEQUAL},          {"lt", T_LESS},
    {"lessthan", T_LESS},       {"gt", T_GREATER},
    {"greaterthan", T_GREATER}, {"in", T_IN},
};

static int find_test(const char *name, size_t n) {
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
    if (strlen(tests[i].name) == n && memcmp(tests[i].name, name, n) == 0) return (int)tests[i].id;
  return -1;
}

bool tlt_jtest_known(const char *name, size_t n) {
  return find_test(name, n) >= 0;
}

/* A number for Python is a boolean too; an undefined value iterates, over nothing. */
static bool kind_test(test_id id, tlt_jval v) {
  switch (id) {
    case T_DEFINED: return v.kind != TLT_J_UNDEFINED;
    case T_UNDEFINED: return v.kind == TLT_J_UNDEFINED;
    case T_NONE: return v.kind == TLT_J_NONE;
    case T_BOOLEAN: return v.kind == TLT_J_BOOL;
    case T_TRUE: return v.kind == TLT_J_BOOL && v.b;
    case T_FALSE: return v.kind == TLT_J_BOOL && !v.b;
    case T_INTEGER: return v.kind == TLT_J_INT;
    case T_FLOAT: return v.kind == TLT_J_FLOAT;
    case T_NUMBER: return v.kind == TLT_J_INT || v.kind == TLT_J_FLOAT || v.kind == TLT_J_BOOL;
    case T_STRING: return v.kind == TLT_J_STRING;
    case T_MAPPING: return v.kind == TLT_J_DICT && !v.dict->space;
    case T_ITERABLE:
      return v.kind == TLT_J_STRING || v.kind == TLT_J_LIST || v.kind == TLT_J_LOOP ||
             v.kind == TLT_J_UNDEFINED || (v.kind == TLT_J_DICT && !v.dict->space);
    case T_SEQUENCE:
      return v.kind == TLT_J_STRING || v.kind == TLT_J_LIST || v.kind == TLT_J_UNDEFINED ||
             (v.kind == TLT_J_DICT && !v.dict->space);
    default: return v.kind == TLT_J_FUNCTION || v.kind == TLT_J_MACRO;
  }
}

tlt_status tlt_jtest(tlt_jrender *r, const char *name, size_t n, tlt_jval self,
                     const tlt_jargs *args, bool *out) {
  test_id id = (test_id)find_test(name, n);
  size_t wanted = id >= T_EQUAL ? 1 : 0;
  if (args->list.n != wanted || args->named.n)
    return tlt_jerror(r, "test %.*s: got %zu arguments, expected %zu", (int)n, name, args->list.n,
                      wanted);
  switch (id) {
    case T_EVEN:
    case T_ODD:
      if (self.kind != TLT_J_INT)
        return tlt_jerror(r, "test %.*s: got %s, expected an integer", (int)n, name,
                          tlt_jkind_name(self));
      *out = (self.i % 2 != 0) == (id == T_ODD);
      return TLT_OK;
    case T_EQUAL: *out = tlt_jequal(self, args->list.items[0]); return TLT_OK;
    case T_UNEQUAL: *out = !tlt_jequal(self, args->list.items[0]); return TLT_OK;
    case T_LESS: return tlt_jless(r, self, args->list.items[0], false, out);
    case T_GREATER: return tlt_jless(r, args->list.items[0], self, false, out);
    case T_IN: return tlt_jcontains(r, args->list.items[0], self, out);
    default: *out = kind_test(id, self); return TLT_OK;
  }
}
