/* Interpreter for the subset of Jinja that chat templates use, with the settings of transformers:
 * trim_blocks, lstrip_blocks, no autoescape, undefined names are falsy and print nothing.
 *
 * Statements: for (with else, filter `if`, tuple targets, break, continue), if / elif / else, set
 * (names, namespace attributes, blocks), macro, generation, raw, comments. Expressions: literals,
 * lists, dicts, attributes, items, slices, calls, filters, tests, arithmetic, comparisons, `in`,
 * `~`, ternary. Functions: namespace, range, dict, raise_exception. strftime_now is not defined: a
 * date would make runs differ. Anything else is TLT_EDATA with line and column.
 *
 * Every byte of output carries a taint flag: set when it came from a tainted variable, however it
 * was sliced, split, stripped or joined on the way. */
#ifndef TLT_TOKENIZER_JINJA_H
#define TLT_TOKENIZER_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "tlt/status.h"
#include "tokenizer/buffer.h"

/* Caps: a template is data from strangers. */
enum {
  TLT_JINJA_DEPTH_MAX = 100,       /* nesting of expressions and statements */
  TLT_JINJA_EVAL_MAX = 600,        /* nested evaluations, macro calls included */
  TLT_JINJA_STEPS_MAX = 20000000,  /* evaluated nodes of one rendering */
  TLT_JINJA_OUTPUT_MAX = 64 << 20, /* bytes of one rendering */
  TLT_JINJA_MEMORY_MAX = 512 << 20 /* bytes of temporary values of one rendering */
};

typedef struct tlt_jinja tlt_jinja; /* a parsed template: immutable, shared by threads */

/* Parse text[0..n), valid UTF-8; name stands in errors and is copied. */
tlt_status tlt_jinja_compile(const char *name, const char *text, size_t n, tlt_jinja **out,
                             tlt_err *err);
void tlt_jinja_free(tlt_jinja *t);

typedef struct tlt_jinja_var {
  const char *name;
  const json_t *value; /* borrowed */
  bool tainted;        /* every string in it */
} tlt_jinja_var;

/* Render into text, with one flag (0 or 1) per byte in taint; both are appended to. */
tlt_status tlt_jinja_render(const tlt_jinja *t, const tlt_jinja_var *vars, size_t n_vars,
                            tlt_bytes *text, tlt_bytes *taint, tlt_err *err);

#endif
