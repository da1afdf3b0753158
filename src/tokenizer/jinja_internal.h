/* Shared inside of the template interpreter: tokens, syntax tree, values, rendering state.
 * Flow: jinja_lex.c -> jinja_parse*.c -> (tree) -> jinja_exec.c / jinja_eval.c, which use
 * jinja_value.c, jinja_call.c (methods, functions), jinja_filter.c, jinja_test.c, jinja_json.c. */
#ifndef TLT_TOKENIZER_JINJA_INTERNAL_H
#define TLT_TOKENIZER_JINJA_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "tokenizer/jinja.h"

/* ---- strings and values ---- */

/* UTF-8 with a taint flag (0 or 1) per byte; taint NULL: no byte is tainted. Borrowed, immutable.
 */
typedef struct tlt_jstr {
  const char *s;
  const uint8_t *taint;
  size_t n;
} tlt_jstr;

typedef enum tlt_jkind {
  TLT_J_UNDEFINED,
  TLT_J_NONE,
  TLT_J_BOOL,
  TLT_J_INT,
  TLT_J_FLOAT,
  TLT_J_STRING,
  TLT_J_LIST, /* tuples too */
  TLT_J_DICT, /* namespaces too: `space` set */
  TLT_J_LOOP,
  TLT_J_MACRO,
  TLT_J_FUNCTION,
} tlt_jkind;

typedef struct tlt_jval {
  tlt_jkind kind;
  union {
    bool b;
    int64_t i;
    double f;
    tlt_jstr str; /* TLT_J_UNDEFINED: its name, for errors */
    struct tlt_jlist *list;
    struct tlt_jdict *dict;
    struct tlt_jloop *loop;
    struct tlt_jmacro *macro;
    int function; /* tlt_jfunction */
  };
} tlt_jval;

typedef struct tlt_jlist {
  tlt_jval *items;
  size_t n, cap;
} tlt_jlist;

typedef struct tlt_jpair {
  tlt_jstr key;
  tlt_jval value;
} tlt_jpair;

typedef struct tlt_jdict {
  tlt_jpair *items; /* in order of insertion */
  size_t n, cap;
  bool space; /* made by namespace(): attributes may be set */
} tlt_jdict;

typedef struct tlt_jloop {
  const tlt_jlist *list;
  size_t index0;
} tlt_jloop;

typedef enum tlt_jfunction {
  TLT_JF_NAMESPACE,
  TLT_JF_RANGE,
  TLT_JF_DICT,
  TLT_JF_RAISE
} tlt_jfunction;

/* ---- tokens ---- */

typedef enum tlt_jtoken_kind {
  TLT_JT_DATA,
  TLT_JT_VAR_BEGIN,
  TLT_JT_VAR_END,
  TLT_JT_BLOCK_BEGIN,
  TLT_JT_BLOCK_END,
  TLT_JT_NAME,
  TLT_JT_INT,
  TLT_JT_FLOAT,
  TLT_JT_STRING,
  TLT_JT_OP, /* operator or bracket of 1 or 2 characters, in text */
  TLT_JT_END,
} tlt_jtoken_kind;

typedef struct tlt_jtoken {
  tlt_jtoken_kind kind;
  int line, column; /* from 1; columns count bytes */
  const char *text;
  size_t n;
} tlt_jtoken;

/* ---- syntax tree ---- */

typedef enum tlt_jnode_kind {
  /* expressions */
  TLT_JN_LITERAL, /* value */
  TLT_JN_NAME,    /* text */
  TLT_JN_LIST,    /* kids */
  TLT_JN_DICT,    /* kids: key, value, key, value ... */
  TLT_JN_ATTR,    /* kids[0] . text */
  TLT_JN_ITEM,    /* kids[0] [ kids[1] ] */
  TLT_JN_SLICE,   /* kids[0] [ kids[1] : kids[2] : kids[3] ], absent parts NULL */
  TLT_JN_CALL,    /* kids[0] ( arguments kids[1..] ) */
  TLT_JN_KEYWORD, /* argument text = kids[0] */
  TLT_JN_FILTER,  /* kids[0] | text ( kids[1..] ) */
  TLT_JN_TEST,    /* kids[0] is text ( kids[1..] ) */
  TLT_JN_NOT,
  TLT_JN_NEGATE,
  TLT_JN_PLUS,
  TLT_JN_AND, /* kids, left to right */
  TLT_JN_OR,
  TLT_JN_CONCAT,  /* kids joined as text: ~ */
  TLT_JN_BINARY,  /* kids[0] op kids[1] */
  TLT_JN_COMPARE, /* kids[0], then (op of kids[i]) kids[i] */
  TLT_JN_TERNARY, /* kids: condition, then, else or NULL */
  /* statements */
  TLT_JN_BODY,      /* kids */
  TLT_JN_DATA,      /* text */
  TLT_JN_OUTPUT,    /* kids[0] */
  TLT_JN_IF,        /* kids: condition, body, condition, body ..., [else body] */
  TLT_JN_FOR,       /* kids: iterable, filter or NULL, body, else or NULL, then target names */
  TLT_JN_SET,       /* kids[0] value, then target names; text: attribute of the only target */
  TLT_JN_SET_BLOCK, /* kids: body, target, filters (a FILTER chain on a NULL) or NULL */
  TLT_JN_MACRO,     /* text, kids[0] body, then parameters: NAME or KEYWORD with the default */
  TLT_JN_BREAK,
  TLT_JN_CONTINUE,
} tlt_jnode_kind;

/* Operators of BINARY and COMPARE; in COMPARE each kid from the second carries its own. */
typedef enum tlt_jop {
  TLT_JO_ADD,
  TLT_JO_SUB,
  TLT_JO_MUL,
  TLT_JO_DIV,
  TLT_JO_FLOORDIV,
  TLT_JO_MOD,
  TLT_JO_EQ,
  TLT_JO_NE,
  TLT_JO_LT,
  TLT_JO_LE,
  TLT_JO_GT,
  TLT_JO_GE,
  TLT_JO_IN,
  TLT_JO_NOT_IN,
} tlt_jop;

typedef struct tlt_jnode {
  tlt_jnode_kind kind;
  tlt_jop op;
  int line, column;
  const char *text;
  size_t n_text;
  tlt_jval value;
  struct tlt_jnode **kids;
  size_t n_kids, cap_kids;
} tlt_jnode;

struct tlt_jinja {
  tlt_arena arena; /* tree and strings */
  const char *name;
  tlt_jnode *body;
};

/* ---- lexing and parsing ---- */

typedef struct tlt_jparser {
  tlt_jinja *t;
  const char *source; /* line ends normalised to \n, one trailing line end removed */
  size_t n_source;
  tlt_jtoken *tokens;
  size_t n_tokens, cap_tokens, at;
  int depth, loops, macros;
  tlt_err *err;
} tlt_jparser;

/* "name:line:column: text": TLT_EDATA. */
tlt_status tlt_jinja_fail(const tlt_jinja *t, int line, int column, tlt_err *err,
                          const char *format, ...) __attribute__((format(printf, 5, 6)));

tlt_status tlt_jinja_lex(tlt_jparser *p); /* fills tokens */

const tlt_jtoken *tlt_jpeek(const tlt_jparser *p);
bool tlt_jis(const tlt_jparser *p, tlt_jtoken_kind kind, const char *text); /* text NULL: any */
bool tlt_jtake(tlt_jparser *p, tlt_jtoken_kind kind, const char *text);
tlt_status tlt_jexpect(tlt_jparser *p, tlt_jtoken_kind kind, const char *text);
tlt_status tlt_jsyntax(const tlt_jparser *p, const char *expected); /* error at the next token */
tlt_status tlt_jnode_new(tlt_jparser *p, tlt_jnode_kind kind, tlt_jnode **out);
tlt_status tlt_jnode_add(tlt_jparser *p, tlt_jnode *parent, tlt_jnode *kid);
void tlt_jnode_text(tlt_jnode *node, const tlt_jtoken *token);

/* Guard of recursive rules: enter before, leave after. */
tlt_status tlt_jenter(tlt_jparser *p);
static inline void tlt_jleave(tlt_jparser *p) {
  p->depth--;
}

tlt_status tlt_jparse_expression(tlt_jparser *p, tlt_jnode **out);
tlt_status tlt_jparse_or(tlt_jparser *p, tlt_jnode **out); /* no ternary */
/* "| name (args)" chain on `on`, which may be NULL. */
tlt_status tlt_jparse_filters(tlt_jparser *p, tlt_jnode *on, tlt_jnode **out);
tlt_status tlt_jparse_template(tlt_jparser *p, tlt_jnode **out);

/* ---- rendering ---- */

typedef struct tlt_jscope {
  struct tlt_jscope *parent;
  tlt_jdict names;
} tlt_jscope;

typedef struct tlt_jmacro {
  const tlt_jnode *node;
  tlt_jscope *scope; /* where it was defined */
} tlt_jmacro;

typedef enum tlt_jflow { TLT_JFLOW_NEXT, TLT_JFLOW_BREAK, TLT_JFLOW_CONTINUE } tlt_jflow;

typedef struct tlt_jrender {
  const tlt_jinja *t;
  tlt_arena arena;
  size_t memory; /* bytes taken from the arena */
  int64_t steps;
  int depth;
  tlt_jscope *scope;
  tlt_bytes *text, *taint; /* where output goes now */
  tlt_jflow flow;
  const tlt_jnode *node; /* being evaluated: place of errors */
  tlt_err *err;
} tlt_jrender;

/* Arguments of a call: the positional ones, and keywords as a dict. */
typedef struct tlt_jargs {
  tlt_jlist list;
  tlt_jdict named;
} tlt_jargs;

/* Error at the node being evaluated. */
tlt_status tlt_jerror(tlt_jrender *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Temporary memory that lives until the end of the rendering; NULL and an error when over a cap. */
void *tlt_jalloc(tlt_jrender *r, size_t bytes, tlt_status *status);

tlt_status tlt_jeval(tlt_jrender *r, const tlt_jnode *node, tlt_jval *out);
tlt_status tlt_jeval_args(tlt_jrender *r, const tlt_jnode *call, tlt_jargs *args);
tlt_status tlt_jexec(tlt_jrender *r, const tlt_jnode *node);
tlt_status tlt_jemit(tlt_jrender *r, tlt_jstr s);
/* Run a body with its output caught as a string. */
tlt_status tlt_jcapture(tlt_jrender *r, const tlt_jnode *body, tlt_jval *out);
tlt_status tlt_jcall_macro(tlt_jrender *r, const tlt_jmacro *macro, const tlt_jargs *args,
                           tlt_jval *out);
tlt_status tlt_jbind(tlt_jrender *r, const char *name, size_t n, tlt_jval value);

tlt_status tlt_jmethod(tlt_jrender *r, tlt_jval self, const char *name, size_t n,
                       const tlt_jargs *args, tlt_jval *out, bool *known);
tlt_status tlt_jfunction_call(tlt_jrender *r, tlt_jfunction f, const tlt_jargs *args,
                              tlt_jval *out);
tlt_status tlt_jfilter(tlt_jrender *r, const char *name, size_t n, tlt_jval self,
                       const tlt_jargs *args, tlt_jval *out);
bool tlt_jfilter_known(const char *name, size_t n);
tlt_status tlt_jtest(tlt_jrender *r, const char *name, size_t n, tlt_jval self,
                     const tlt_jargs *args, bool *out);
bool tlt_jtest_known(const char *name, size_t n);

/* ---- values (jinja_value.c, jinja_string.c, jinja_json.c) ---- */

#define TLT_JSTR(literal) ((tlt_jstr){literal, NULL, sizeof(literal) - 1})
static inline tlt_jval tlt_jbool(bool b) {
  return (tlt_jval){.kind = TLT_J_BOOL, .b = b};
}
static inline tlt_jval tlt_jint(int64_t i) {
  return (tlt_jval){.kind = TLT_J_INT, .i = i};
}
static inline tlt_jval tlt_jstring(tlt_jstr s) {
  return (tlt_jval){.kind = TLT_J_STRING, .str = s};
}
static inline tlt_jval tlt_jundefined(const char *name, size_t n) {
  return (tlt_jval){.kind = TLT_J_UNDEFINED, .str = {name, NULL, n}};
}

bool tlt_jstr_is(tlt_jstr s, const char *text);
bool tlt_jstr_equal(tlt_jstr a, tlt_jstr b);
int tlt_jstr_compare(tlt_jstr a, tlt_jstr b);
tlt_jstr tlt_jstr_cut(tlt_jstr s, size_t from, size_t to);
tlt_status tlt_jstr_join(tlt_jrender *r, const tlt_jstr *parts, size_t n, tlt_jstr *out);
/* Offset of part in s[from..], SIZE_MAX when absent. An empty part is found at from. */
size_t tlt_jstr_find(tlt_jstr s, tlt_jstr part, size_t from);
size_t tlt_jstr_length(tlt_jstr s); /* code points */
/* Byte offset of the k-th code point; n when there are fewer. */
size_t tlt_jstr_offset(tlt_jstr s, size_t k);
/* Without the characters of `set` (NULL: Python's white space) at the left and/or right end. */
tlt_jstr tlt_jstr_strip(tlt_jstr s, const tlt_jstr *set, bool left, bool right);
tlt_status tlt_jstr_split(tlt_jrender *r, tlt_jstr s, const tlt_jstr *separator, int64_t max,
                          tlt_jval *out);
tlt_status tlt_jstr_replace(tlt_jrender *r, tlt_jstr s, tlt_jstr old, tlt_jstr by, int64_t max,
                            tlt_jstr *out);
typedef enum tlt_jcase {
  TLT_JCASE_UPPER,
  TLT_JCASE_LOWER,
  TLT_JCASE_CAPITAL,
  TLT_JCASE_TITLE
} tlt_jcase;
tlt_status tlt_jstr_case(tlt_jrender *r, tlt_jstr s, tlt_jcase how, tlt_jstr *out);

const char *tlt_jkind_name(tlt_jval v); /* "string", "list", ... for errors */
bool tlt_jtruth(tlt_jval v);
bool tlt_jequal(tlt_jval a, tlt_jval b);
tlt_status tlt_jless(tlt_jrender *r, tlt_jval a, tlt_jval b, bool or_equal, bool *out);
tlt_status tlt_jcontains(tlt_jrender *r, tlt_jval container, tlt_jval item, bool *out);
tlt_status tlt_jlength(tlt_jrender *r, tlt_jval v, size_t *out);
/* As printed by {{ }}. Lists and dicts are refused. */
tlt_status tlt_jtext(tlt_jrender *r, tlt_jval v, tlt_jstr *out);
/* The elements that a for loop visits; a new list, or the value's own one. */
tlt_status tlt_jiterate(tlt_jrender *r, tlt_jval v, const tlt_jlist **out);
tlt_status tlt_jlist_new(tlt_jrender *r, tlt_jval *out);
tlt_status tlt_jlist_add(tlt_jrender *r, tlt_jlist *list, tlt_jval item);
tlt_status tlt_jdict_new(tlt_jrender *r, tlt_jval *out);
tlt_status tlt_jdict_set(tlt_jrender *r, tlt_jdict *dict, tlt_jstr key, tlt_jval value);
tlt_jval *tlt_jdict_get(const tlt_jdict *dict, tlt_jstr key); /* NULL: absent */
/* Attribute or item `name`; undefined when there is none. Undefined and none have none: error. */
tlt_status tlt_jattribute(tlt_jrender *r, tlt_jval v, tlt_jstr name, tlt_jval *out);
tlt_status tlt_jitem(tlt_jrender *r, tlt_jval v, tlt_jval key, tlt_jval *out);
/* v[from:to:step] as Python slices; parts may be none. */
tlt_status tlt_jslice(tlt_jrender *r, tlt_jval v, tlt_jval from, tlt_jval to, tlt_jval step,
                      tlt_jval *out);

tlt_status tlt_jfrom_json(tlt_jrender *r, const json_t *json, bool tainted, tlt_jval *out);
typedef struct tlt_jdump {
  int indent; /* -1: on one line */
  bool ascii, sort;
} tlt_jdump;
tlt_status tlt_jto_json(tlt_jrender *r, tlt_jval v, tlt_jdump how, tlt_jstr *out);

#endif
