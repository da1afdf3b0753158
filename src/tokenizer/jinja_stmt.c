/* Statements of the template language, and compiling a template. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/jinja_internal.h"
#include "tokenizer/text.h"

tlt_status tlt_jinja_fail(const tlt_jinja *t, int line, int column, tlt_err *err,
                          const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return tlt_fail(err, TLT_EDATA, "%s:%d:%d: %s", t->name, line, column, text);
}

static tlt_status body(tlt_jparser *p, const char *const *ends, tlt_jnode **out);

static tlt_status block_end(tlt_jparser *p) {
  return tlt_jexpect(p, TLT_JT_BLOCK_END, NULL);
}

/* A body and the tag "{% name %}" behind it. */
static tlt_status closed_body(tlt_jparser *p, const char *name, tlt_jnode **out) {
  const char *const ends[] = {name, NULL};
  tlt_status status = block_end(p);
  if (!status) status = body(p, ends, out);
  if (status) return status;
  p->at++;
  return block_end(p);
}

static tlt_status add_body(tlt_jparser *p, const char *const *ends, tlt_jnode *parent) {
  tlt_jnode *kid;
  tlt_status status = block_end(p);
  if (!status) status = body(p, ends, &kid);
  return status ? status : tlt_jnode_add(p, parent, kid);
}

static tlt_status add_parsed(tlt_jparser *p, tlt_jnode *parent) {
  tlt_jnode *kid;
  tlt_status status = tlt_jparse_expression(p, &kid);
  return status ? status : tlt_jnode_add(p, parent, kid);
}

static tlt_status if_statement(tlt_jparser *p, tlt_jnode *node) {
  static const char *const branch_ends[] = {"elif", "else", "endif", NULL};
  static const char *const else_ends[] = {"endif", NULL};
  node->kind = TLT_JN_IF;
  tlt_status status;
  do {
    status = add_parsed(p, node);
    if (!status) status = add_body(p, branch_ends, node);
  } while (!status && tlt_jtake(p, TLT_JT_NAME, "elif"));
  if (!status && tlt_jtake(p, TLT_JT_NAME, "else")) status = add_body(p, else_ends, node);
  if (!status) status = tlt_jexpect(p, TLT_JT_NAME, "endif");
  return status ? status : block_end(p);
}

/* name or name, name: added to node. */
static tlt_status targets(tlt_jparser *p, tlt_jnode *node) {
  tlt_status status;
  do {
    tlt_jnode *name;
    if (!tlt_jis(p, TLT_JT_NAME, NULL)) return tlt_jsyntax(p, "a name");
    status = tlt_jnode_new(p, TLT_JN_NAME, &name);
    if (!status) tlt_jnode_text(name, tlt_jpeek(p));
    p->at++;
    if (!status) status = tlt_jnode_add(p, node, name);
  } while (!status && tlt_jtake(p, TLT_JT_OP, ","));
  return status;
}

static tlt_status for_statement(tlt_jparser *p, tlt_jnode *node) {
  static const char *const ends[] = {"else", "endfor", NULL};
  static const char *const else_ends[] = {"endfor", NULL};
  tlt_jnode names = {0}, *iterable, *filter = NULL;
  node->kind = TLT_JN_FOR;
  bool parenthesised = tlt_jtake(p, TLT_JT_OP, "(");
  tlt_status status = targets(p, &names);
  if (!status && parenthesised) status = tlt_jexpect(p, TLT_JT_OP, ")");
  if (!status) status = tlt_jexpect(p, TLT_JT_NAME, "in");
  if (!status) status = tlt_jparse_or(p, &iterable);
  if (!status && tlt_jtake(p, TLT_JT_NAME, "if")) status = tlt_jparse_expression(p, &filter);
  if (!status) status = tlt_jnode_add(p, node, iterable);
  if (!status) status = tlt_jnode_add(p, node, filter);
  p->loops++;
  if (!status) status = add_body(p, ends, node);
  p->loops--;
  if (status) return status;
  if (tlt_jtake(p, TLT_JT_NAME, "else")) status = add_body(p, else_ends, node);
  else status = tlt_jnode_add(p, node, NULL);
  for (size_t i = 0; i < names.n_kids && !status; i++)
    status = tlt_jnode_add(p, node, names.kids[i]);
  if (!status) status = tlt_jexpect(p, TLT_JT_NAME, "endfor");
  return status ? status : block_end(p);
}

static tlt_status set_block(tlt_jparser *p, tlt_jnode *node, tlt_jnode *target) {
  tlt_jnode *text, *filters = NULL;
  node->kind = TLT_JN_SET_BLOCK;
  tlt_status status = tlt_jparse_filters(p, NULL, &filters);
  if (!status) status = closed_body(p, "endset", &text);
  if (!status) status = tlt_jnode_add(p, node, text);
  if (!status) status = tlt_jnode_add(p, node, target);
  return status ? status : tlt_jnode_add(p, node, filters);
}

static tlt_status set_statement(tlt_jparser *p, tlt_jnode *node) {
  tlt_jnode names = {0}, *value;
  node->kind = TLT_JN_SET;
  tlt_status status = targets(p, &names);
  if (!status && names.n_kids == 1 && tlt_jtake(p, TLT_JT_OP, ".")) {
    if (!tlt_jis(p, TLT_JT_NAME, NULL)) return tlt_jsyntax(p, "an attribute");
    tlt_jnode_text(node, tlt_jpeek(p));
    p->at++;
  }
  if (status) return status;
  if (!tlt_jtake(p, TLT_JT_OP, "=")) {
    if (names.n_kids != 1 || node->text) return tlt_jsyntax(p, "\"=\"");
    return set_block(p, node, names.kids[0]);
  }
  status = tlt_jparse_expression(p, &value);
  if (!status && tlt_jis(p, TLT_JT_OP, ",")) return tlt_jsyntax(p, "a tuple in parentheses");
  if (!status) status = tlt_jnode_add(p, node, value);
  for (size_t i = 0; i < names.n_kids && !status; i++)
    status = tlt_jnode_add(p, node, names.kids[i]);
  return status ? status : block_end(p);
}

static tlt_status parameter(tlt_jparser *p, tlt_jnode *node) {
  tlt_jnode *one;
  if (!tlt_jis(p, TLT_JT_NAME, NULL)) return tlt_jsyntax(p, "a parameter");
  tlt_status status = tlt_jnode_new(p, TLT_JN_NAME, &one);
  if (status) return status;
  tlt_jnode_text(one, tlt_jpeek(p));
  p->at++;
  if (tlt_jtake(p, TLT_JT_OP, "=")) {
    one->kind = TLT_JN_KEYWORD;
    status = add_parsed(p, one);
  }
  return status ? status : tlt_jnode_add(p, node, one);
}

static tlt_status macro_statement(tlt_jparser *p, tlt_jnode *node) {
  tlt_jnode *text;
  node->kind = TLT_JN_MACRO;
  if (!tlt_jis(p, TLT_JT_NAME, NULL)) return tlt_jsyntax(p, "a macro name");
  tlt_jnode_text(node, tlt_jpeek(p));
  p->at++;
  tlt_status status = tlt_jnode_add(p, node, NULL); /* place of the body */
  if (!status) status = tlt_jexpect(p, TLT_JT_OP, "(");
  for (bool first = true; !status && !tlt_jtake(p, TLT_JT_OP, ")"); first = false) {
    if (!first && (status = tlt_jexpect(p, TLT_JT_OP, ","))) break;
    status = parameter(p, node);
  }
  int loops = p->loops;
  p->loops = 0; /* a macro inside a loop cannot leave it */
  if (!status) status = closed_body(p, "endmacro", &text);
  p->loops = loops;
  if (!status) node->kids[0] = text;
  return status;
}

/* {% generation %} marks what an assistant said; it only renders its body. */
static tlt_status generation(tlt_jparser *p, tlt_jnode *node) {
  tlt_jnode *text;
  node->kind = TLT_JN_BODY;
  tlt_status status = closed_body(p, "endgeneration", &text);
  return status ? status : tlt_jnode_add(p, node, text);
}

static tlt_status loop_control(tlt_jparser *p, tlt_jnode *node, tlt_jnode_kind kind) {
  if (p->loops == 0) {
    p->at--;
    return tlt_jsyntax(p, "it inside a loop");
  }
  node->kind = kind;
  return block_end(p);
}

/* Behind "{%". */
static tlt_status statement(tlt_jparser *p, tlt_jnode **out) {
  tlt_status status = tlt_jenter(p);
  if (!status) status = tlt_jnode_new(p, TLT_JN_BODY, out);
  if (status) return status;
  if (tlt_jtake(p, TLT_JT_NAME, "if")) status = if_statement(p, *out);
  else if (tlt_jtake(p, TLT_JT_NAME, "for")) status = for_statement(p, *out);
  else if (tlt_jtake(p, TLT_JT_NAME, "set")) status = set_statement(p, *out);
  else if (tlt_jtake(p, TLT_JT_NAME, "macro")) status = macro_statement(p, *out);
  else if (tlt_jtake(p, TLT_JT_NAME, "generation")) status = generation(p, *out);
  else if (tlt_jtake(p, TLT_JT_NAME, "break")) status = loop_control(p, *out, TLT_JN_BREAK);
  else if (tlt_jtake(p, TLT_JT_NAME, "continue")) status = loop_control(p, *out, TLT_JN_CONTINUE);
  else status = tlt_jsyntax(p, "if, for, set, macro, generation, break, continue or raw");
  tlt_jleave(p);
  return status;
}

static bool ends_here(tlt_jparser *p, const char *const *ends) {
  if (!ends || !tlt_jis(p, TLT_JT_BLOCK_BEGIN, NULL)) return false;
  const tlt_jtoken *name = tlt_jpeek(p) + 1;
  for (; *ends; ends++)
    if (name->kind == TLT_JT_NAME && strlen(*ends) == name->n &&
        memcmp(*ends, name->text, name->n) == 0)
      return true;
  return false;
}

/* Data, output and statements up to a block that starts with one of `ends` (behind whose "{%" the
 * parser then stands), or to the end of the template when ends is NULL. */
static tlt_status body(tlt_jparser *p, const char *const *ends, tlt_jnode **out) {
  tlt_jnode *kid;
  tlt_status status = tlt_jnode_new(p, TLT_JN_BODY, out);
  while (!status && !ends_here(p, ends)) {
    if (tlt_jis(p, TLT_JT_END, NULL)) return ends ? tlt_jsyntax(p, ends[0]) : TLT_OK;
    if (tlt_jis(p, TLT_JT_DATA, NULL)) {
      status = tlt_jnode_new(p, TLT_JN_DATA, &kid);
      if (!status) tlt_jnode_text(kid, tlt_jpeek(p));
      p->at++;
    } else if (tlt_jtake(p, TLT_JT_VAR_BEGIN, NULL)) {
      status = tlt_jnode_new(p, TLT_JN_OUTPUT, &kid);
      if (!status) status = add_parsed(p, kid);
      if (!status) status = tlt_jexpect(p, TLT_JT_VAR_END, NULL);
    } else {
      p->at++;
      status = statement(p, &kid);
    }
    if (!status) status = tlt_jnode_add(p, *out, kid);
  }
  p->at++;
  return status;
}

tlt_status tlt_jparse_template(tlt_jparser *p, tlt_jnode **out) {
  return body(p, NULL, out);
}

/* Line ends become \n and one at the end is dropped, as Jinja does. */
static char *normalise_lines(tlt_arena *arena, const char *text, size_t n, size_t *left) {
  char *copy = tlt_arena_alloc(arena, n + 1);
  if (!copy) return NULL;
  size_t m = 0;
  for (size_t i = 0; i < n; i++) {
    copy[m++] = text[i] == '\r' ? '\n' : text[i];
    if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n') i++;
  }
  if (m > 0 && copy[m - 1] == '\n') m--;
  *left = m;
  return copy;
}

tlt_status tlt_jinja_compile(const char *name, const char *text, size_t n, tlt_jinja **out,
                             tlt_err *err) {
  *out = NULL;
  tlt_jinja *t = tlt_calloc(1, sizeof *t);
  if (!t) return tlt_fail_nomem(err, "chat template", sizeof *t);
  tlt_jparser p = {.t = t, .err = err};
  tlt_status status = TLT_OK;
  size_t bad = tlt_utf8_check(text, n);
  if (bad < n) status = tlt_fail(err, TLT_EDATA, "%s: offset %zu: expected UTF-8", name, bad);
  if (!status) {
    t->name = tlt_arena_strndup(&t->arena, name, strlen(name));
    p.source = normalise_lines(&t->arena, text, n, &p.n_source);
    if (!t->name || !p.source) status = tlt_fail_nomem(err, "chat template", n);
  }
  if (!status) status = tlt_jinja_lex(&p);
  if (!status) status = tlt_jparse_template(&p, &t->body);
  tlt_free(p.tokens);
  if (status) tlt_jinja_free(t);
  else *out = t;
  return status;
}

void tlt_jinja_free(tlt_jinja *t) {
  if (!t) return;
  tlt_arena_free(&t->arena);
  tlt_free(t);
}
