/* Evaluation of expressions. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"

tlt_status tlt_jerror(tlt_jrender *r, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return tlt_jinja_fail(r->t, r->node ? r->node->line : 1, r->node ? r->node->column : 1, r->err,
                        "%s", text);
}

void *tlt_jalloc(tlt_jrender *r, size_t bytes, tlt_status *status) {
  if (bytes > TLT_JINJA_MEMORY_MAX - r->memory) {
    *status = tlt_jerror(r, "got more than %d MiB of values", TLT_JINJA_MEMORY_MAX >> 20);
    return NULL;
  }
  void *p = tlt_arena_alloc(&r->arena, bytes ? bytes : 1);
  if (!p) *status = tlt_fail_nomem(r->err, "chat template", bytes);
  r->memory += bytes;
  return p;
}

/* ---- names ---- */

static bool builtin(const char *name, size_t n, tlt_jval *out) {
  static const struct {
    const char *name;
    tlt_jfunction function;
  } all[] = {{"namespace", TLT_JF_NAMESPACE},
             {"range", TLT_JF_RANGE},
             {"dict", TLT_JF_DICT},
             {"raise_exception", TLT_JF_RAISE}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strlen(all[i].name) == n && memcmp(all[i].name, name, n) == 0) {
      *out = (tlt_jval){.kind = TLT_J_FUNCTION, .function = (int)all[i].function};
      return true;
    }
  return false;
}

static tlt_status eval_name(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jstr key = {node->text, NULL, node->n_text};
  for (const tlt_jscope *scope = r->scope; scope; scope = scope->parent) {
    const tlt_jval *found = tlt_jdict_get(&scope->names, key);
    if (!found) continue;
    *out = *found;
    return TLT_OK;
  }
  if (!builtin(node->text, node->n_text, out)) *out = tlt_jundefined(node->text, node->n_text);
  return TLT_OK;
}

/* ---- operators ---- */

static bool whole(tlt_jval v, int64_t *i) {
  if (v.kind == TLT_J_BOOL) *i = v.b;
  else if (v.kind == TLT_J_INT) *i = v.i;
  else return false;
  return true;
}

static bool real(tlt_jval v, double *f) {
  int64_t i;
  if (v.kind == TLT_J_FLOAT) *f = v.f;
  else if (whole(v, &i)) *f = (double)i;
  else return false;
  return true;
}

static tlt_status integer_result(tlt_jrender *r, tlt_jop op, int64_t a, int64_t b, tlt_jval *out) {
  int64_t c = 0;
  bool over = false;
  if ((op == TLT_JO_FLOORDIV || op == TLT_JO_MOD) && b == 0)
    return tlt_jerror(r, "got a division by zero");
  switch (op) {
    case TLT_JO_ADD: over = __builtin_add_overflow(a, b, &c); break;
    case TLT_JO_SUB: over = __builtin_sub_overflow(a, b, &c); break;
    case TLT_JO_MUL: over = __builtin_mul_overflow(a, b, &c); break;
    case TLT_JO_FLOORDIV:
      over = a == INT64_MIN && b == -1;
      if (!over) c = a / b - (a % b != 0 && (a < 0) != (b < 0));
      break;
    default: /* the sign of Python's remainder is the divisor's */
      c = b == -1 ? 0 : a % b;
      if (c != 0 && (c < 0) != (b < 0)) c += b;
      break;
  }
  if (over) return tlt_jerror(r, "got an integer beyond 64 bits");
  *out = tlt_jint(c);
  return TLT_OK;
}

static tlt_status real_result(tlt_jrender *r, tlt_jop op, double a, double b, tlt_jval *out) {
  if (b == 0 && op >= TLT_JO_DIV && op <= TLT_JO_MOD)
    return tlt_jerror(r, "got a division by zero");
  double c = 0;
  switch (op) {
    case TLT_JO_ADD: c = a + b; break;
    case TLT_JO_SUB: c = a - b; break;
    case TLT_JO_MUL: c = a * b; break;
    case TLT_JO_DIV: c = a / b; break;
    case TLT_JO_FLOORDIV: c = floor(a / b); break;
    default: c = a - floor(a / b) * b; break;
  }
  *out = (tlt_jval){.kind = TLT_J_FLOAT, .f = c};
  return TLT_OK;
}

static tlt_status join_lists(tlt_jrender *r, const tlt_jlist *a, const tlt_jlist *b,
                             tlt_jval *out) {
  tlt_status status = tlt_jlist_new(r, out);
  for (size_t i = 0; i < a->n && !status; i++) status = tlt_jlist_add(r, out->list, a->items[i]);
  for (size_t i = 0; i < b->n && !status; i++) status = tlt_jlist_add(r, out->list, b->items[i]);
  return status;
}

static tlt_status repeat(tlt_jrender *r, tlt_jstr s, int64_t times, tlt_jval *out) {
  size_t n = times > 0 && s.n > 0 ? (size_t)times : 0;
  if (n > 1 << 20) return tlt_jerror(r, "got a string repeated %lld times", (long long)times);
  tlt_status status = TLT_OK;
  tlt_jstr *parts = tlt_jalloc(r, n * sizeof *parts, &status);
  for (size_t i = 0; i < n && !status; i++) parts[i] = s;
  *out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status : tlt_jstr_join(r, parts, n, &out->str);
}

static tlt_status operate(tlt_jrender *r, tlt_jop op, tlt_jval a, tlt_jval b, tlt_jval *out) {
  static const char *const signs[] = {"+", "-", "*", "/", "//", "%"};
  int64_t i, k;
  double x, y;
  if (op == TLT_JO_ADD && a.kind == TLT_J_STRING && b.kind == TLT_J_STRING) {
    *out = (tlt_jval){.kind = TLT_J_STRING};
    return tlt_jstr_join(r, (tlt_jstr[]){a.str, b.str}, 2, &out->str);
  }
  if (op == TLT_JO_ADD && a.kind == TLT_J_LIST && b.kind == TLT_J_LIST)
    return join_lists(r, a.list, b.list, out);
  if (op == TLT_JO_MUL && a.kind == TLT_J_STRING && whole(b, &k)) return repeat(r, a.str, k, out);
  if (op != TLT_JO_DIV && whole(a, &i) && whole(b, &k)) return integer_result(r, op, i, k, out);
  if (real(a, &x) && real(b, &y)) return real_result(r, op, x, y, out);
  return tlt_jerror(r, "got %s %s %s, expected numbers or two strings", tlt_jkind_name(a),
                    signs[op], tlt_jkind_name(b));
}

static tlt_status compare(tlt_jrender *r, tlt_jop op, tlt_jval a, tlt_jval b, bool *out) {
  tlt_status status = TLT_OK;
  switch (op) {
    case TLT_JO_EQ: *out = tlt_jequal(a, b); return TLT_OK;
    case TLT_JO_NE: *out = !tlt_jequal(a, b); return TLT_OK;
    case TLT_JO_LT: return tlt_jless(r, a, b, false, out);
    case TLT_JO_LE: return tlt_jless(r, a, b, true, out);
    case TLT_JO_GT: return tlt_jless(r, b, a, false, out);
    case TLT_JO_GE: return tlt_jless(r, b, a, true, out);
    default:
      status = tlt_jcontains(r, b, a, out);
      if (op == TLT_JO_NOT_IN) *out = !*out;
      return status;
  }
}

/* a < b < c holds when every link does; the first that fails ends it. */
static tlt_status eval_compare(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jval left, right;
  bool holds = true;
  tlt_status status = tlt_jeval(r, node->kids[0], &left);
  for (size_t i = 1; i < node->n_kids && !status && holds; i++) {
    status = tlt_jeval(r, node->kids[i]->kids[0], &right);
    r->node = node;
    if (!status) status = compare(r, node->kids[i]->op, left, right, &holds);
    left = right;
  }
  *out = tlt_jbool(holds);
  return status;
}

/* and / or give the value that decided. */
static tlt_status eval_logic(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  bool stop_at = node->kind == TLT_JN_OR;
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < node->n_kids && !status; i++) {
    status = tlt_jeval(r, node->kids[i], out);
    if (!status && tlt_jtruth(*out) == stop_at) break;
  }
  return status;
}

static tlt_status eval_concat(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_status status = TLT_OK;
  tlt_jstr *parts = tlt_jalloc(r, node->n_kids * sizeof *parts, &status);
  for (size_t i = 0; i < node->n_kids && !status; i++) {
    tlt_jval v;
    status = tlt_jeval(r, node->kids[i], &v);
    if (!status) status = tlt_jtext(r, v, &parts[i]);
  }
  *out = (tlt_jval){.kind = TLT_J_STRING};
  return status ? status : tlt_jstr_join(r, parts, node->n_kids, &out->str);
}

static tlt_status eval_sign(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jval v;
  tlt_status status = tlt_jeval(r, node->kids[0], &v);
  if (status) return status;
  tlt_jval sign = tlt_jint(node->kind == TLT_JN_NEGATE ? -1 : 1);
  if (v.kind == TLT_J_STRING) v.kind = TLT_J_NONE; /* '-' * text means nothing */
  return operate(r, TLT_JO_MUL, v, sign, out);
}

/* ---- containers ---- */

static tlt_status eval_list(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_status status = tlt_jlist_new(r, out);
  for (size_t i = 0; i < node->n_kids && !status; i++) {
    tlt_jval item;
    status = tlt_jeval(r, node->kids[i], &item);
    if (!status) status = tlt_jlist_add(r, out->list, item);
  }
  return status;
}

static tlt_status eval_dict(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_status status = tlt_jdict_new(r, out);
  for (size_t i = 0; i + 1 < node->n_kids && !status; i += 2) {
    tlt_jval key, value;
    status = tlt_jeval(r, node->kids[i], &key);
    if (!status && key.kind != TLT_J_STRING)
      return tlt_jerror(r, "got %s as a key, expected a string", tlt_jkind_name(key));
    if (!status) status = tlt_jeval(r, node->kids[i + 1], &value);
    if (!status) status = tlt_jdict_set(r, out->dict, key.str, value);
  }
  return status;
}

static tlt_status eval_item(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jval parts[4] = {
      {.kind = TLT_J_NONE}, {.kind = TLT_J_NONE}, {.kind = TLT_J_NONE}, {.kind = TLT_J_NONE}};
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < node->n_kids && !status; i++)
    if (node->kids[i]) status = tlt_jeval(r, node->kids[i], &parts[i]);
  r->node = node;
  if (status) return status;
  if (node->kind == TLT_JN_ITEM) return tlt_jitem(r, parts[0], parts[1], out);
  return tlt_jslice(r, parts[0], parts[1], parts[2], parts[3], out);
}

/* ---- calls ---- */

tlt_status tlt_jeval_args(tlt_jrender *r, const tlt_jnode *call, tlt_jargs *args) {
  *args = (tlt_jargs){0};
  tlt_status status = TLT_OK;
  for (size_t i = 1; i < call->n_kids && !status; i++) {
    const tlt_jnode *kid = call->kids[i];
    tlt_jval v;
    bool named = kid->kind == TLT_JN_KEYWORD;
    status = tlt_jeval(r, named ? kid->kids[0] : kid, &v);
    if (status) break;
    if (named) status = tlt_jdict_set(r, &args->named, (tlt_jstr){kid->text, NULL, kid->n_text}, v);
    else status = tlt_jlist_add(r, &args->list, v);
  }
  r->node = call;
  return status;
}

/* x.name(...): a method of x when it has one, else what the attribute holds is called. */
static tlt_status eval_call(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  const tlt_jnode *callee = node->kids[0];
  tlt_jval f = {.kind = TLT_J_UNDEFINED}, self;
  tlt_jargs args;
  tlt_status status;
  if (callee->kind == TLT_JN_ATTR) {
    bool known = false;
    status = tlt_jeval(r, callee->kids[0], &self);
    if (!status) status = tlt_jeval_args(r, node, &args);
    r->node = callee;
    if (!status) status = tlt_jmethod(r, self, callee->text, callee->n_text, &args, out, &known);
    if (status || known) return status;
    status = tlt_jattribute(r, self, (tlt_jstr){callee->text, NULL, callee->n_text}, &f);
  } else {
    status = tlt_jeval(r, callee, &f);
    if (!status) status = tlt_jeval_args(r, node, &args);
  }
  if (status) return status;
  r->node = node;
  if (f.kind == TLT_J_FUNCTION) return tlt_jfunction_call(r, (tlt_jfunction)f.function, &args, out);
  if (f.kind == TLT_J_MACRO) return tlt_jcall_macro(r, f.macro, &args, out);
  return tlt_jerror(r, "got a call of \"%.*s\", which is %s", (int)callee->n_text,
                    callee->text ? callee->text : "", tlt_jkind_name(f));
}

static tlt_status eval_filter(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jval self;
  tlt_jargs args;
  tlt_status status = tlt_jeval(r, node->kids[0], &self);
  if (!status) status = tlt_jeval_args(r, node, &args);
  if (status) return status;
  if (node->kind == TLT_JN_FILTER)
    return tlt_jfilter(r, node->text, node->n_text, self, &args, out);
  bool holds = false;
  status = tlt_jtest(r, node->text, node->n_text, self, &args, &holds);
  *out = tlt_jbool(holds);
  return status;
}

/* ---- all ---- */

static tlt_status eval_kind(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  tlt_jval a, b;
  tlt_status status = TLT_OK;
  switch (node->kind) {
    case TLT_JN_LITERAL: *out = node->value; return TLT_OK;
    case TLT_JN_NAME: return eval_name(r, node, out);
    case TLT_JN_LIST: return eval_list(r, node, out);
    case TLT_JN_DICT: return eval_dict(r, node, out);
    case TLT_JN_ATTR:
      status = tlt_jeval(r, node->kids[0], &a);
      r->node = node;
      return status ? status
                    : tlt_jattribute(r, a, (tlt_jstr){node->text, NULL, node->n_text}, out);
    case TLT_JN_ITEM:
    case TLT_JN_SLICE: return eval_item(r, node, out);
    case TLT_JN_CALL: return eval_call(r, node, out);
    case TLT_JN_FILTER:
    case TLT_JN_TEST: return eval_filter(r, node, out);
    case TLT_JN_NOT:
      status = tlt_jeval(r, node->kids[0], &a);
      if (!status) *out = tlt_jbool(!tlt_jtruth(a));
      return status;
    case TLT_JN_NEGATE:
    case TLT_JN_PLUS: return eval_sign(r, node, out);
    case TLT_JN_AND:
    case TLT_JN_OR: return eval_logic(r, node, out);
    case TLT_JN_CONCAT: return eval_concat(r, node, out);
    case TLT_JN_COMPARE: return eval_compare(r, node, out);
    case TLT_JN_BINARY:
      status = tlt_jeval(r, node->kids[0], &a);
      if (!status) status = tlt_jeval(r, node->kids[1], &b);
      r->node = node;
      return status ? status : operate(r, node->op, a, b, out);
    case TLT_JN_TERNARY:
      status = tlt_jeval(r, node->kids[0], &a);
      if (status) return status;
      if (tlt_jtruth(a)) return tlt_jeval(r, node->kids[1], out);
      *out = tlt_jundefined("else", 4);
      return node->kids[2] ? tlt_jeval(r, node->kids[2], out) : TLT_OK;
    default: return tlt_jerror(r, "internal: not an expression");
  }
}

tlt_status tlt_jeval(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out) {
  r->node = node;
  *out = (tlt_jval){.kind = TLT_J_NONE};
  if (++r->steps > TLT_JINJA_STEPS_MAX)
    return tlt_jerror(r, "got more than %d steps", TLT_JINJA_STEPS_MAX);
  if (r->depth >= TLT_JINJA_EVAL_MAX)
    return tlt_jerror(r, "got more than %d nested evaluations", TLT_JINJA_EVAL_MAX);
  r->depth++;
  tlt_status status = eval_kind(r, node, out);
  r->depth--;
  return status;
}
