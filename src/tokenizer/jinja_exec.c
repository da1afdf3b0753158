/* Execution of statements, and rendering. */
#include <string.h>

#include "tokenizer/jinja_internal.h"

tlt_status tlt_jemit(tlt_jrender *r, tlt_jstr s) {
  if (s.n == 0) return TLT_OK;
  if (s.n > TLT_JINJA_OUTPUT_MAX - r->text->n)
    return tlt_jerror(r, "got more than %d MiB of output", TLT_JINJA_OUTPUT_MAX >> 20);
  if (!tlt_bytes_reserve(r->text, s.n) || !tlt_bytes_reserve(r->taint, s.n))
    return tlt_fail_nomem(r->err, "rendered chat", s.n);
  tlt_bytes_add(r->text, s.s, s.n);
  if (s.taint) memcpy(r->taint->data + r->taint->n, s.taint, s.n);
  else memset(r->taint->data + r->taint->n, 0, s.n);
  r->taint->n += s.n;
  return TLT_OK;
}

tlt_status tlt_jbind(tlt_jrender *r, const char *name, size_t n, tlt_jval value) {
  return tlt_jdict_set(r, &r->scope->names, (tlt_jstr){name, NULL, n}, value);
}

tlt_status tlt_jcapture(tlt_jrender *r, const tlt_jnode *body, tlt_jval *out) {
  tlt_bytes text = {0}, taint = {0}, *outer_text = r->text, *outer_taint = r->taint;
  r->text = &text, r->taint = &taint;
  tlt_status status = tlt_jexec(r, body);
  r->text = outer_text, r->taint = outer_taint;
  tlt_jstr all = {text.data, (const uint8_t *)taint.data, text.n};
  *out = (tlt_jval){.kind = TLT_J_STRING};
  if (!status) status = tlt_jstr_join(r, &all, 1, &out->str);
  tlt_bytes_free(&text);
  tlt_bytes_free(&taint);
  return status;
}

/* ---- loops ---- */

static tlt_status bind_targets(tlt_jrender *r, tlt_jnode *const *targets, size_t n,
                               tlt_jval value) {
  if (n == 1) return tlt_jbind(r, targets[0]->text, targets[0]->n_text, value);
  const tlt_jlist *parts;
  tlt_status status = tlt_jiterate(r, value, &parts);
  if (!status && parts->n != n)
    return tlt_jerror(r, "got %zu values, expected %zu to unpack", parts->n, n);
  for (size_t i = 0; i < n && !status; i++)
    status = tlt_jbind(r, targets[i]->text, targets[i]->n_text, parts->items[i]);
  return status;
}

/* The elements for which the loop's own condition holds. */
static tlt_status filtered(tlt_jrender *r, const tlt_jnode *node, const tlt_jlist *all,
                           const tlt_jlist **out) {
  tlt_jval kept, holds;
  *out = all;
  if (!node->kids[1]) return TLT_OK;
  tlt_status status = tlt_jlist_new(r, &kept);
  for (size_t i = 0; i < all->n && !status; i++) {
    r->scope->names.n = 0;
    status = bind_targets(r, node->kids + 4, node->n_kids - 4, all->items[i]);
    if (!status) status = tlt_jeval(r, node->kids[1], &holds);
    if (!status && tlt_jtruth(holds)) status = tlt_jlist_add(r, kept.list, all->items[i]);
  }
  *out = kept.list;
  return status;
}

/* Every turn starts from an empty scope: what a turn sets is gone in the next. */
static tlt_status turns(tlt_jrender *r, const tlt_jnode *node, const tlt_jlist *list) {
  tlt_status status = TLT_OK;
  tlt_jloop *loop = tlt_jalloc(r, sizeof *loop, &status);
  for (size_t i = 0; i < list->n && !status; i++) {
    r->scope->names.n = 0;
    r->node = node;
    *loop = (tlt_jloop){list, i};
    status = tlt_jbind(r, "loop", 4, (tlt_jval){.kind = TLT_J_LOOP, .loop = loop});
    if (!status) status = bind_targets(r, node->kids + 4, node->n_kids - 4, list->items[i]);
    if (!status) status = tlt_jexec(r, node->kids[2]);
    tlt_jflow flow = r->flow;
    r->flow = TLT_JFLOW_NEXT;
    if (flow == TLT_JFLOW_BREAK) break;
  }
  return status;
}

static tlt_status exec_for(tlt_jrender *r, const tlt_jnode *node) {
  tlt_jval v;
  const tlt_jlist *list;
  tlt_status status = tlt_jeval(r, node->kids[0], &v);
  r->node = node;
  if (!status) status = tlt_jiterate(r, v, &list);
  if (status) return status;
  tlt_jscope *outer = r->scope, *inner = tlt_jalloc(r, sizeof *inner, &status);
  if (status) return status;
  inner->parent = outer;
  r->scope = inner;
  status = filtered(r, node, list, &list);
  if (!status && list->n > 0) status = turns(r, node, list);
  r->scope = outer;
  if (!status && list->n == 0 && node->kids[3]) status = tlt_jexec(r, node->kids[3]);
  return status;
}

/* ---- set ---- */

static tlt_status set_attribute(tlt_jrender *r, const tlt_jnode *node, tlt_jval value) {
  tlt_jval space;
  tlt_status status = tlt_jeval(r, node->kids[1], &space);
  if (status) return status;
  if (space.kind != TLT_J_DICT || !space.dict->space)
    return tlt_jerror(r, "got an attribute set on %s, expected a namespace", tlt_jkind_name(space));
  return tlt_jdict_set(r, space.dict, (tlt_jstr){node->text, NULL, node->n_text}, value);
}

static tlt_status exec_set(tlt_jrender *r, const tlt_jnode *node) {
  tlt_jval value;
  tlt_status status = tlt_jeval(r, node->kids[0], &value);
  r->node = node;
  if (status) return status;
  if (node->text) return set_attribute(r, node, value);
  return bind_targets(r, node->kids + 1, node->n_kids - 1, value);
}

/* Filters of {% set x | a | b %}: the innermost works on the caught text. */
static tlt_status apply_filters(tlt_jrender *r, const tlt_jnode *node, tlt_jval *value) {
  tlt_jargs args;
  if (!node) return TLT_OK;
  tlt_status status = apply_filters(r, node->kids[0], value);
  if (!status) status = tlt_jeval_args(r, node, &args);
  if (status) return status;
  tlt_jval in = *value;
  return tlt_jfilter(r, node->text, node->n_text, in, &args, value);
}

static tlt_status exec_set_block(tlt_jrender *r, const tlt_jnode *node) {
  tlt_jval value;
  tlt_status status = tlt_jcapture(r, node->kids[0], &value);
  if (!status) status = apply_filters(r, node->kids[2], &value);
  return status ? status : tlt_jbind(r, node->kids[1]->text, node->kids[1]->n_text, value);
}

/* ---- macros ---- */

static tlt_status exec_macro(tlt_jrender *r, const tlt_jnode *node) {
  tlt_status status = TLT_OK;
  tlt_jmacro *macro = tlt_jalloc(r, sizeof *macro, &status);
  if (status) return status;
  *macro = (tlt_jmacro){node, r->scope};
  return tlt_jbind(r, node->text, node->n_text, (tlt_jval){.kind = TLT_J_MACRO, .macro = macro});
}

static tlt_status bind_parameters(tlt_jrender *r, const tlt_jnode *node, const tlt_jargs *args) {
  tlt_status status = TLT_OK;
  size_t n = node->n_kids - 1, used = 0;
  if (args->list.n > n)
    return tlt_jerror(r, "got %zu arguments, expected at most %zu", args->list.n, n);
  for (size_t i = 0; i < n && !status; i++) {
    const tlt_jnode *parameter = node->kids[i + 1];
    tlt_jstr name = {parameter->text, NULL, parameter->n_text};
    const tlt_jval *named = tlt_jdict_get(&args->named, name);
    tlt_jval value = tlt_jundefined(name.s, name.n);
    if (i < args->list.n) value = args->list.items[i];
    else if (named) value = *named;
    else if (parameter->kind == TLT_JN_KEYWORD) status = tlt_jeval(r, parameter->kids[0], &value);
    used += named != NULL;
    if (!status) status = tlt_jbind(r, name.s, name.n, value);
  }
  if (!status && used < args->named.n)
    return tlt_jerror(r, "got an argument the macro does not have");
  return status;
}

tlt_status tlt_jcall_macro(tlt_jrender *r, const tlt_jmacro *macro, const tlt_jargs *args,
                           tlt_jval *out) {
  tlt_status status = TLT_OK;
  tlt_jscope *caller = r->scope, *inner = tlt_jalloc(r, sizeof *inner, &status);
  if (status) return status;
  inner->parent = macro->scope;
  r->scope = inner;
  status = bind_parameters(r, macro->node, args);
  if (!status) status = tlt_jcapture(r, macro->node->kids[0], out);
  r->scope = caller;
  return status;
}

/* ---- all ---- */

static tlt_status exec_if(tlt_jrender *r, const tlt_jnode *node) {
  size_t i = 0;
  for (; i + 1 < node->n_kids; i += 2) {
    tlt_jval holds;
    tlt_status status = tlt_jeval(r, node->kids[i], &holds);
    if (status) return status;
    if (tlt_jtruth(holds)) return tlt_jexec(r, node->kids[i + 1]);
  }
  return i < node->n_kids ? tlt_jexec(r, node->kids[i]) : TLT_OK;
}

static tlt_status exec_output(tlt_jrender *r, const tlt_jnode *node) {
  tlt_jval value;
  tlt_jstr text;
  tlt_status status = tlt_jeval(r, node->kids[0], &value);
  r->node = node->kids[0];
  if (!status) status = tlt_jtext(r, value, &text);
  return status ? status : tlt_jemit(r, text);
}

static tlt_status exec_kind(tlt_jrender *r, const tlt_jnode *node) {
  tlt_status status = TLT_OK;
  switch (node->kind) {
    case TLT_JN_BODY:
      for (size_t i = 0; i < node->n_kids && !status && r->flow == TLT_JFLOW_NEXT; i++)
        status = tlt_jexec(r, node->kids[i]);
      return status;
    case TLT_JN_DATA: return tlt_jemit(r, (tlt_jstr){node->text, NULL, node->n_text});
    case TLT_JN_OUTPUT: return exec_output(r, node);
    case TLT_JN_IF: return exec_if(r, node);
    case TLT_JN_FOR: return exec_for(r, node);
    case TLT_JN_SET: return exec_set(r, node);
    case TLT_JN_SET_BLOCK: return exec_set_block(r, node);
    case TLT_JN_MACRO: return exec_macro(r, node);
    case TLT_JN_BREAK: r->flow = TLT_JFLOW_BREAK; return TLT_OK;
    case TLT_JN_CONTINUE: r->flow = TLT_JFLOW_CONTINUE; return TLT_OK;
    default: return tlt_jerror(r, "internal: not a statement");
  }
}

tlt_status tlt_jexec(tlt_jrender *r, const tlt_jnode *node) {
  r->node = node;
  if (++r->steps > TLT_JINJA_STEPS_MAX)
    return tlt_jerror(r, "got more than %d steps", TLT_JINJA_STEPS_MAX);
  if (r->depth >= TLT_JINJA_EVAL_MAX)
    return tlt_jerror(r, "got more than %d nested evaluations", TLT_JINJA_EVAL_MAX);
  r->depth++;
  tlt_status status = exec_kind(r, node);
  r->depth--;
  return status;
}

tlt_status tlt_jinja_render(const tlt_jinja *t, const tlt_jinja_var *vars, size_t n_vars,
                            tlt_bytes *text, tlt_bytes *taint, tlt_err *err) {
  tlt_jscope variables = {0}, top = {.parent = &variables};
  tlt_jrender r = {.t = t, .scope = &variables, .text = text, .taint = taint, .err = err};
  tlt_status status = TLT_OK;
  for (size_t i = 0; i < n_vars && !status; i++) {
    tlt_jval value;
    status = tlt_jfrom_json(&r, vars[i].value, vars[i].tainted, &value);
    if (!status) status = tlt_jbind(&r, vars[i].name, strlen(vars[i].name), value);
  }
  r.scope = &top;
  if (!status) status = tlt_jexec(&r, t->body);
  tlt_arena_free(&r.arena);
  return status;
}
