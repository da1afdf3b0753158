/* Configuration files: YAML (libyaml) into a C struct under one schema table, and back.
 *
 * A table row says key, type, place in the struct, default and bounds. Everything else follows from
 * it: parsing, `--set key=value`, errors with file, line and nearest key, the resolved file of a
 * run directory, and the differences between two runs.
 *
 * What a value may look like:
 *   int, double   plain scalar in JSON's number syntax: no quotes, no leading zero or +, no nan, no
 *                 hex; an int has neither point nor exponent
 *   bool          plain `true` or `false`, nothing else
 *   string, enum  any scalar, plain or quoted; so an unquoted `off` is the string "off"
 *   null          plain `null`, `~` or nothing: only where the type says so
 * Aliases, anchors, tags, tabs, a second document, a repeated key, more than TLT_YAML_FILE_MAX
 * bytes and nesting over TLT_YAML_DEPTH_MAX are refused. Every fault of the file or of a set is
 * TLT_EUSAGE: "FILE:LINE: rollout.prompts: got 9x, expected integer in 1 .. 65536" or
 * "--set rollout.prompts=9x: got ...". */
#ifndef TLT_IO_YAML_H
#define TLT_IO_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/text.h"
#include "tlt/status.h"

enum { TLT_YAML_FILE_MAX = 1 << 20, TLT_YAML_DEPTH_MAX = 32, TLT_YAML_ITEMS_MAX = 16 };

typedef enum tlt_yaml_type {
  TLT_YAML_INT,            /* int */
  TLT_YAML_INT64,          /* int64_t */
  TLT_YAML_DOUBLE,         /* double */
  TLT_YAML_DOUBLES,        /* double[items]: a list of exactly `items` numbers */
  TLT_YAML_BOOL,           /* bool */
  TLT_YAML_STRING,         /* char *, never NULL */
  TLT_YAML_STRING_OR_NULL, /* char *, NULL for null */
  TLT_YAML_ENUM,           /* int: index into choices */
  TLT_YAML_CHOICES,        /* int[items]: a list of at most `items` different choices, as indices; -1: none */
  TLT_YAML_OPTIONS, /* char *: a mapping of scalars as "name=value,name=value" in the order of
                     * the file, NULL for null or an empty mapping */
} tlt_yaml_type;

typedef struct tlt_yaml_row {
  const char *key; /* within its section; may be dotted: "a.b" */
  tlt_yaml_type type;
  size_t offset;        /* of the field in the section's struct */
  const char *fallback; /* default as YAML text; NULL: the key must be given */
  double min, max;      /* numbers, inclusive; both 0: no bounds; INFINITY: none on that side */
  const char *const *choices; /* enum, choices: NULL-terminated */
  int items;                  /* TLT_YAML_DOUBLES, TLT_YAML_CHOICES */
  bool may_change;            /* on resume; handed through to tlt_yaml_diff */
  const char *help;           /* one line; may be NULL */
} tlt_yaml_row;

/* Rows of one section with the place of its struct. `tlt train` and `tlt sft` share sections by
 * naming the same rows at other offsets. */
typedef struct tlt_yaml_section {
  const char *name; /* "optimizer"; "" for keys at the top level */
  const tlt_yaml_row *rows;
  size_t n_rows;
  size_t offset; /* of the section's struct in the whole configuration */
} tlt_yaml_section;

typedef struct tlt_yaml_schema {
  const tlt_yaml_section *sections; /* keys of one section stand together */
  size_t n_sections;
} tlt_yaml_schema;

#define TLT_YAML_SECTION(name, rows, offset) \
  { name, rows, sizeof rows / sizeof *rows, offset }

/* Where each key was given, for rules over several keys. */
typedef struct tlt_yaml_origin tlt_yaml_origin;

/* Read path, then apply sets ("a.b=value", in order; NULL when n_sets is 0) over it; defaults fill
 * the rest. out: the configuration struct, whose old contents are not looked at; strings in it are
 * freed by tlt_yaml_free. On failure out needs no free. origin may be NULL. */
tlt_status tlt_yaml_load(const tlt_yaml_schema *schema, const char *path, const char *const *sets,
                         int n_sets, void *out, tlt_yaml_origin **origin, tlt_err *err);

/* The same from a text; `file` only serves errors. */
tlt_status tlt_yaml_parse(const tlt_yaml_schema *schema, const char *text, size_t n,
                          const char *file, const char *const *sets, int n_sets, void *out,
                          tlt_yaml_origin **origin, tlt_err *err);

/* Frees every string of the struct and sets it to NULL. */
void tlt_yaml_free(const tlt_yaml_schema *schema, void *config);

/* True when the file or a set gave this key ("data.task"), false when it has its default. */
bool tlt_yaml_given(const tlt_yaml_origin *origin, const char *key);

/* "FILE:LINE: key: " (or "--set ...: ", or "FILE: key: " for a default) before the caller's text;
 * returns TLT_EUSAGE. */
tlt_status tlt_yaml_fail(const tlt_yaml_origin *origin, const char *key, tlt_err *err,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
void tlt_yaml_origin_free(tlt_yaml_origin *origin); /* NULL is harmless */

/* Append the whole configuration as YAML that tlt_yaml_parse reads back to the same values. With
 * help, each key is followed by its help text as a comment. */
void tlt_yaml_write(const tlt_yaml_schema *schema, const void *config, bool help, tlt_text *out);

/* One call per key whose values differ; texts are valid during the call. */
typedef struct tlt_yaml_difference {
  const char *key, *before, *after;
  bool may_change; /* of the key's row */
} tlt_yaml_difference;
typedef void (*tlt_yaml_diff_sink)(void *context, const tlt_yaml_difference *difference);

/* TLT_ENOMEM, or TLT_OK. */
tlt_status tlt_yaml_diff(const tlt_yaml_schema *schema, const void *before, const void *after,
                         tlt_yaml_diff_sink sink, void *context, tlt_err *err);

/* Every value of a file without a schema, in its order: key "a.b", a list as "[x, y]"; texts are
 * valid during the call. What tlt_yaml_load refuses as a document is refused here too. */
typedef void (*tlt_yaml_pair_sink)(void *context, const char *key, const char *value);
tlt_status tlt_yaml_flat(const char *path, tlt_yaml_pair_sink sink, void *context, tlt_err *err);

#endif
