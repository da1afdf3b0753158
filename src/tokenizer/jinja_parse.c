/* Expressions of the template language, by precedence:
 *   ternary < or < and < not < comparison < + - < ~ < * / // % < unary < filters, tests, postfix */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"

/* ---- token helpers ---- */

const tlt_jtoken *tlt_jpeek(const tlt_jparser *p) {
  return &p->tokens[p->at];
}

bool tlt_jis(const tlt_jparser *p, tlt_jtoken_kind kind, const char *text) {
  const tlt_jtoken *token = tlt_jpeek(p);
  if (token->kind != kind) return false;
  return !text || (strlen(text) == token->n && memcmp(text, token->text, token->n) == 0);
}

bool tlt_jtake(tlt_jparser *p, tlt_jtoken_kind kind, const char *text) {
  if (!tlt_jis(p, kind, text)) return false;
  p->at++;
  return true;
}

tlt_status tlt_jsyntax(const tlt_jparser *p, const char *expected) {
  const tlt_jtoken *token = tlt_jpeek(p);
  int shown = token->n > 32 ? 32 : (int)token->n;
  return tlt_jinja_fail(p->t, token->line, token->column, p->err, "got \"%.*s\", expected %s",
                        shown, token->text, expected);
}

tlt_status tlt_jexpect(tlt_jparser *p, tlt_jtoken_kind kind, const char *text) {
  if (tlt_jtake(p, kind, text)) return TLT_OK;
  return tlt_jsyntax(p, text ? text : kind == TLT_JT_NAME ? "a name" : "the end of the tag");
}

tlt_status tlt_jenter(tlt_jparser *p) {
  if (++p->depth <= TLT_JINJA_DEPTH_MAX) return TLT_OK;
  return tlt_jsyntax(p, "less nesting");
}

tlt_status tlt_jnode_new(tlt_jparser *p, tlt_jnode_kind kind, tlt_jnode **out) {
  const tlt_jtoken *token = tlt_jpeek(p);
  tlt_jnode *node = tlt_arena_alloc(&p->t->arena, sizeof *node);
  *out = node;
  if (!node) return tlt_fail_nomem(p->err, "chat template", sizeof *node);
  *node = (tlt_jnode){.kind = kind, .line = token->line, .column = token->column};
  return TLT_OK;
}

tlt_status tlt_jnode_add(tlt_jparser *p, tlt_jnode *parent, tlt_jnode *kid) {
  if (parent->n_kids == parent->cap_kids) {
    size_t cap = parent->cap_kids ? 2 * parent->cap_kids : 4;
    tlt_jnode **kids = tlt_arena_alloc(&p->t->arena, cap * sizeof(tlt_jnode *));
    if (!kids) return tlt_fail_nomem(p->err, "chat template", cap * sizeof(tlt_jnode *));
    if (parent->n_kids) memcpy(kids, parent->kids, parent->n_kids * sizeof(tlt_jnode *));
    parent->kids = kids;
    parent->cap_kids = cap;
  }
  parent->kids[parent->n_kids++] = kid;
  return TLT_OK;
}

void tlt_jnode_text(tlt_jnode *node, const tlt_jtoken *token) {
  node->text = token->text;
  node->n_text = token->n;
}

/* New node of a kind whose first kid is already parsed; it stands where the kid stands. */
static tlt_status wrap(tlt_jparser *p, tlt_jnode_kind kind, tlt_jnode *kid, tlt_jnode **out) {
  tlt_jnode *node;
  tlt_status status = tlt_jnode_new(p, kind, &node);
  if (!status && kid) node->line = kid->line, node->column = kid->column;
  if (!status) status = tlt_jnode_add(p, node, kid);
  *out = node;
  return status;
}

/* Parse an expression and add it to parent. */
static tlt_status add_expression(tlt_jparser *p, tlt_jnode *parent) {
  tlt_jnode *kid;
  tlt_status status = tlt_jparse_expression(p, &kid);
  return status ? status : tlt_jnode_add(p, parent, kid);
}

/* ---- primaries ---- */

static tlt_status literal(tlt_jparser *p, tlt_jval value, tlt_jnode **out) {
  tlt_status status = tlt_jnode_new(p, TLT_JN_LITERAL, out);
  if (!status) (*out)->value = value;
  return status;
}

static tlt_status name(tlt_jparser *p, tlt_jnode **out) {
  static const struct {
    const char *text;
    tlt_jval value;
  } constants[] = {
      {"true", {.kind = TLT_J_BOOL, .b = true}},
      {"True", {.kind = TLT_J_BOOL, .b = true}},
      {"false", {.kind = TLT_J_BOOL, .b = false}},
      {"False", {.kind = TLT_J_BOOL, .b = false}},
      {"none", {.kind = TLT_J_NONE}},
      {"None", {.kind = TLT_J_NONE}},
  };
  tlt_status status;
  for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
    if (tlt_jis(p, TLT_JT_NAME, constants[i].text)) {
      status = literal(p, constants[i].value, out);
      p->at++;
      return status;
    }
  status = tlt_jnode_new(p, TLT_JN_NAME, out);
  if (!status) tlt_jnode_text(*out, tlt_jpeek(p));
  p->at++;
  return status;
}

/* Neighbouring strings are one. */
static tlt_status string(tlt_jparser *p, tlt_jnode **out) {
  tlt_status status = literal(p, (tlt_jval){.kind = TLT_J_STRING}, out);
  if (status) return status;
  size_t n = 0, first = p->at;
  while (tlt_jis(p, TLT_JT_STRING, NULL)) n += tlt_jpeek(p)->n, p->at++;
  char *text = tlt_arena_alloc(&p->t->arena, n + 1);
  if (!text) return tlt_fail_nomem(p->err, "chat template", n);
  (*out)->value.str = (tlt_jstr){text, NULL, n};
  for (size_t i = first; i < p->at; i++) {
    memcpy(text, p->tokens[i].text, p->tokens[i].n);
    text += p->tokens[i].n;
  }
  return TLT_OK;
}

static tlt_status number(tlt_jparser *p, tlt_jnode **out) {
  const tlt_jtoken *token = tlt_jpeek(p);
  char digits[64];
  size_t n = 0;
  for (size_t i = 0; i < token->n; i++) {
    if (token->text[i] == '_') continue;
    if (n + 1 == sizeof digits) return tlt_jsyntax(p, "a shorter number");
    digits[n++] = token->text[i];
  }
  digits[n] = 0;
  errno = 0;
  tlt_jval value = {.kind = TLT_J_INT};
  if (token->kind == TLT_JT_INT) value.i = strtoll(digits, NULL, 10);
  else value.kind = TLT_J_FLOAT, value.f = strtod(digits, NULL);
  if (errno) return tlt_jsyntax(p, "a number in range");
  tlt_status status = literal(p, value, out);
  p->at++;
  return status;
}

/* Elements up to the closing bracket, a comma at the end allowed. */
static tlt_status elements(tlt_jparser *p, tlt_jnode *node, const char *close, bool dict) {
  tlt_status status = TLT_OK;
  while (!status && !tlt_jtake(p, TLT_JT_OP, close)) {
    if (node->n_kids && (status = tlt_jexpect(p, TLT_JT_OP, ","))) break;
    if (node->n_kids && tlt_jtake(p, TLT_JT_OP, close)) break;
    status = add_expression(p, node);
    if (!status && dict) status = tlt_jexpect(p, TLT_JT_OP, ":");
    if (!status && dict) status = add_expression(p, node);
  }
  return status;
}

/* ( expression ) or a tuple, which is a list here. */
static tlt_status parenthesis(tlt_jparser *p, tlt_jnode **out) {
  tlt_jnode *first;
  p->at++;
  if (tlt_jtake(p, TLT_JT_OP, ")")) return tlt_jnode_new(p, TLT_JN_LIST, out);
  tlt_status status = tlt_jparse_expression(p, &first);
  *out = first;
  if (status || tlt_jtake(p, TLT_JT_OP, ")")) return status;
  if (!tlt_jis(p, TLT_JT_OP, ",")) return tlt_jsyntax(p, "\")\"");
  status = wrap(p, TLT_JN_LIST, first, out);
  return status ? status : elements(p, *out, ")", false);
}

static tlt_status primary(tlt_jparser *p, tlt_jnode **out) {
  tlt_status status;
  switch (tlt_jpeek(p)->kind) {
    case TLT_JT_NAME: return name(p, out);
    case TLT_JT_STRING: return string(p, out);
    case TLT_JT_INT:
    case TLT_JT_FLOAT: return number(p, out);
    default: break;
  }
  if (tlt_jis(p, TLT_JT_OP, "(")) return parenthesis(p, out);
  bool list = tlt_jis(p, TLT_JT_OP, "[");
  if (!list && !tlt_jis(p, TLT_JT_OP, "{")) return tlt_jsyntax(p, "an expression");
  status = tlt_jnode_new(p, list ? TLT_JN_LIST : TLT_JN_DICT, out);
  p->at++;
  return status ? status : elements(p, *out, list ? "]" : "}", !list);
}

/* ---- postfix ---- */

static tlt_status argument(tlt_jparser *p, tlt_jnode *call) {
  const tlt_jtoken *token = tlt_jpeek(p), *next = token + 1;
  bool keyword =
      token->kind == TLT_JT_NAME && next->kind == TLT_JT_OP && next->n == 1 && next->text[0] == '=';
  if (!keyword) return add_expression(p, call);
  tlt_jnode *node;
  tlt_status status = tlt_jnode_new(p, TLT_JN_KEYWORD, &node);
  if (status) return status;
  tlt_jnode_text(node, token);
  p->at += 2;
  status = add_expression(p, node);
  return status ? status : tlt_jnode_add(p, call, node);
}

/* At "(": arguments are added to call. */
static tlt_status arguments(tlt_jparser *p, tlt_jnode *call) {
  tlt_status status = tlt_jexpect(p, TLT_JT_OP, "(");
  for (bool first = true; !status && !tlt_jtake(p, TLT_JT_OP, ")"); first = false) {
    if (!first && (status = tlt_jexpect(p, TLT_JT_OP, ","))) break;
    if (!first && tlt_jtake(p, TLT_JT_OP, ")")) break;
    status = argument(p, call);
  }
  return status;
}

static tlt_status slice_part(tlt_jparser *p, tlt_jnode *slice) {
  if (tlt_jis(p, TLT_JT_OP, ":") || tlt_jis(p, TLT_JT_OP, "]"))
    return tlt_jnode_add(p, slice, NULL);
  return add_expression(p, slice);
}

static tlt_status subscript(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out) {
  tlt_status status = wrap(p, TLT_JN_ITEM, on, out);
  p->at++;
  if (!status) status = slice_part(p, *out);
  if (status) return status;
  if (tlt_jis(p, TLT_JT_OP, ":")) {
    (*out)->kind = TLT_JN_SLICE;
    while (!status && (*out)->n_kids < 4)
      status = tlt_jtake(p, TLT_JT_OP, ":") ? slice_part(p, *out) : tlt_jnode_add(p, *out, NULL);
  } else if (!(*out)->kids[1]) {
    return tlt_jsyntax(p, "an index");
  }
  return status ? status : tlt_jexpect(p, TLT_JT_OP, "]");
}

static tlt_status attribute(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out) {
  p->at++;
  if (tlt_jis(p, TLT_JT_INT, NULL)) {
    tlt_jnode *index;
    tlt_status status = wrap(p, TLT_JN_ITEM, on, out);
    if (!status) status = number(p, &index);
    return status ? status : tlt_jnode_add(p, *out, index);
  }
  if (!tlt_jis(p, TLT_JT_NAME, NULL)) return tlt_jsyntax(p, "an attribute");
  tlt_status status = wrap(p, TLT_JN_ATTR, on, out);
  if (!status) tlt_jnode_text(*out, tlt_jpeek(p));
  p->at++;
  return status;
}

static tlt_status postfix(tlt_jparser *p, tlt_jnode *node, tlt_jnode **out) {
  tlt_status status = TLT_OK;
  int entered = p->depth;
  while (!status) {
    if (tlt_jis(p, TLT_JT_OP, ".")) status = attribute(p, node, &node);
    else if (tlt_jis(p, TLT_JT_OP, "[")) status = subscript(p, node, &node);
    else if (tlt_jis(p, TLT_JT_OP, "(")) {
      status = wrap(p, TLT_JN_CALL, node, &node);
      if (!status) status = arguments(p, node);
    } else break;
    if (!status) status = tlt_jenter(p); /* evaluation recurses once per link */
  }
  p->depth = entered;
  *out = node;
  return status;
}

static tlt_status filter(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out) {
  tlt_status status = wrap(p, TLT_JN_FILTER, on, out);
  if (status) return status;
  const tlt_jtoken *token = tlt_jpeek(p);
  if (token->kind != TLT_JT_NAME || !tlt_jfilter_known(token->text, token->n))
    return tlt_jsyntax(p, "a filter of the supported subset");
  tlt_jnode_text(*out, token);
  p->at++;
  return tlt_jis(p, TLT_JT_OP, "(") ? arguments(p, *out) : TLT_OK;
}

static bool starts_test_argument(const tlt_jparser *p) {
  switch (tlt_jpeek(p)->kind) {
    case TLT_JT_STRING:
    case TLT_JT_INT:
    case TLT_JT_FLOAT: return true;
    case TLT_JT_OP: return tlt_jis(p, TLT_JT_OP, "[") || tlt_jis(p, TLT_JT_OP, "{");
    case TLT_JT_NAME:
      return !tlt_jis(p, TLT_JT_NAME, "else") && !tlt_jis(p, TLT_JT_NAME, "or") &&
             !tlt_jis(p, TLT_JT_NAME, "and") && !tlt_jis(p, TLT_JT_NAME, "if") &&
             !tlt_jis(p, TLT_JT_NAME, "is") && !tlt_jis(p, TLT_JT_NAME, "not") &&
             !tlt_jis(p, TLT_JT_NAME, "in");
    default: return false;
  }
}

/* Behind "is". */
static tlt_status test(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out) {
  tlt_jnode *node, *kid;
  bool negated = tlt_jtake(p, TLT_JT_NAME, "not");
  tlt_status status = wrap(p, TLT_JN_TEST, on, &node);
  if (status) return status;
  const tlt_jtoken *token = tlt_jpeek(p);
  if (token->kind != TLT_JT_NAME || !tlt_jtest_known(token->text, token->n))
    return tlt_jsyntax(p, "a test of the supported subset");
  tlt_jnode_text(node, token);
  p->at++;
  if (tlt_jis(p, TLT_JT_OP, "(")) {
    status = arguments(p, node);
  } else if (starts_test_argument(p)) {
    status = primary(p, &kid);
    if (!status) status = postfix(p, kid, &kid);
    if (!status) status = tlt_jnode_add(p, node, kid);
  }
  *out = node;
  return status || !negated ? status : wrap(p, TLT_JN_NOT, node, out);
}

tlt_status tlt_jparse_filters(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out) {
  tlt_status status = TLT_OK;
  int entered = p->depth;
  *out = on;
  while (!status) {
    if (tlt_jtake(p, TLT_JT_OP, "|")) status = filter(p, *out, out);
    else if (*out && tlt_jtake(p, TLT_JT_NAME, "is")) status = test(p, *out, out);
    else break;
    if (!status) status = tlt_jenter(p);
  }
  p->depth = entered;
  return status;
}

/* ---- operators ---- */

static tlt_status unary(tlt_jparser *p, bool filters, tlt_jnode **out) {
  tlt_status status = tlt_jenter(p);
  if (status) return status;
  bool minus = tlt_jis(p, TLT_JT_OP, "-");
  if (minus || tlt_jis(p, TLT_JT_OP, "+")) {
    p->at++;
    status = unary(p, false, out);
    if (!status) status = wrap(p, minus ? TLT_JN_NEGATE : TLT_JN_PLUS, *out, out);
  } else {
    status = primary(p, out);
    if (!status) status = postfix(p, *out, out);
  }
  if (!status && filters) status = tlt_jparse_filters(p, *out, out);
  tlt_jleave(p);
  return status;
}

typedef struct operator_name {
  const char *text;
  tlt_jop op;
} operator_name;

static bool take_operator(tlt_jparser *p, const operator_name *names, size_t n, tlt_jop *op) {
  for (size_t i = 0; i < n; i++)
    if (tlt_jtake(p, TLT_JT_OP, names[i].text)) {
      *op = names[i].op;
      return true;
    }
  return false;
}

/* Left-associative chain. Depth counts, because evaluation recurses along it. */
typedef tlt_status (*operand_fn)(tlt_jparser *p, tlt_jnode **out);

static tlt_status chain(tlt_jparser *p, operand_fn operand, const operator_name *names, size_t n,
                        tlt_jnode **out) {
  tlt_jnode *right;
  tlt_jop op;
  int links = 0;
  tlt_status status = operand(p, out);
  while (!status && take_operator(p, names, n, &op)) {
    if (++links > 4 * TLT_JINJA_DEPTH_MAX) return tlt_jsyntax(p, "a shorter expression");
    status = operand(p, &right);
    if (!status) status = wrap(p, TLT_JN_BINARY, *out, out);
    if (!status) (*out)->op = op, status = tlt_jnode_add(p, *out, right);
  }
  return status;
}

static tlt_status unary_operand(tlt_jparser *p, tlt_jnode **out) {
  return unary(p, true, out);
}

static tlt_status product(tlt_jparser *p, tlt_jnode **out) {
  static const operator_name names[] = {
      {"*", TLT_JO_MUL}, {"//", TLT_JO_FLOORDIV}, {"/", TLT_JO_DIV}, {"%", TLT_JO_MOD}};
  return chain(p, unary_operand, names, 4, out);
}

/* Operands joined by one connective into a flat node. */
static tlt_status flat(tlt_jparser *p, operand_fn operand, tlt_jtoken_kind kind, const char *text,
                       tlt_jnode_kind node, tlt_jnode **out) {
  tlt_jnode *next;
  tlt_status status = operand(p, out);
  if (status || !tlt_jis(p, kind, text)) return status;
  status = wrap(p, node, *out, out);
  while (!status && tlt_jtake(p, kind, text)) {
    status = operand(p, &next);
    if (!status) status = tlt_jnode_add(p, *out, next);
  }
  return status;
}

static tlt_status concatenation(tlt_jparser *p, tlt_jnode **out) {
  return flat(p, product, TLT_JT_OP, "~", TLT_JN_CONCAT, out);
}

static tlt_status sum(tlt_jparser *p, tlt_jnode **out) {
  static const operator_name names[] = {{"+", TLT_JO_ADD}, {"-", TLT_JO_SUB}};
  return chain(p, concatenation, names, 2, out);
}

static bool take_comparison(tlt_jparser *p, tlt_jop *op) {
  static const operator_name names[] = {{"==", TLT_JO_EQ}, {"!=", TLT_JO_NE}, {"<=", TLT_JO_LE},
                                        {">=", TLT_JO_GE}, {"<", TLT_JO_LT},  {">", TLT_JO_GT}};
  if (take_operator(p, names, 6, op)) return true;
  *op = TLT_JO_IN;
  if (tlt_jtake(p, TLT_JT_NAME, "in")) return true;
  const tlt_jtoken *next = tlt_jpeek(p) + 1;
  if (!tlt_jis(p, TLT_JT_NAME, "not") || next->kind != TLT_JT_NAME || next->n != 2 ||
      memcmp(next->text, "in", 2) != 0)
    return false;
  *op = TLT_JO_NOT_IN;
  p->at += 2;
  return true;
}

static tlt_status comparison(tlt_jparser *p, tlt_jnode **out) {
  tlt_jnode *right, *whole = NULL;
  tlt_jop op;
  tlt_status status = sum(p, out);
  while (!status && take_comparison(p, &op)) {
    if (!whole) status = wrap(p, TLT_JN_COMPARE, *out, &whole);
    if (!status) status = sum(p, &right);
    tlt_jnode *link; /* carries the operator, so that the operand keeps its own */
    if (!status) status = wrap(p, TLT_JN_PLUS, right, &link);
    if (!status) link->op = op, status = tlt_jnode_add(p, whole, link);
  }
  if (whole) *out = whole;
  return status;
}

static tlt_status negation(tlt_jparser *p, tlt_jnode **out) {
  if (!tlt_jis(p, TLT_JT_NAME, "not")) return comparison(p, out);
  tlt_status status = tlt_jenter(p);
  p->at++;
  if (!status) status = negation(p, out);
  if (!status) status = wrap(p, TLT_JN_NOT, *out, out);
  tlt_jleave(p);
  return status;
}

static tlt_status conjunction(tlt_jparser *p, tlt_jnode **out) {
  return flat(p, negation, TLT_JT_NAME, "and", TLT_JN_AND, out);
}

tlt_status tlt_jparse_or(tlt_jparser *p, tlt_jnode **out) {
  return flat(p, conjunction, TLT_JT_NAME, "or", TLT_JN_OR, out);
}

tlt_status tlt_jparse_expression(tlt_jparser *p, tlt_jnode **out) {
  tlt_jnode *condition, *other = NULL;
  tlt_status status = tlt_jenter(p);
  int entered = p->depth;
  if (!status) status = tlt_jparse_or(p, out);
  while (!status && tlt_jtake(p, TLT_JT_NAME, "if")) {
    status = tlt_jparse_or(p, &condition);
    other = NULL;
    if (!status && tlt_jtake(p, TLT_JT_NAME, "else")) status = tlt_jparse_expression(p, &other);
    tlt_jnode *value = *out;
    if (!status) status = wrap(p, TLT_JN_TERNARY, condition, out);
    if (!status) status = tlt_jnode_add(p, *out, value);
    if (!status) status = tlt_jnode_add(p, *out, other);
    if (!status) status = tlt_jenter(p);
  }
  p->depth = entered;
  tlt_jleave(p);
  return status;
}
