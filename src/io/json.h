/* Reading JSON and JSONL over jansson, with errors that name file and place.
 *
 * Every parse refuses duplicate keys, nesting over TLT_JSON_DEPTH_MAX, invalid UTF-8, lone
 * surrogates and NUL. Faults are TLT_EDATA of the form
 *     config.json: rope_scaling.factor: got "8", expected number in 1 .. 1024
 *     data.jsonl:17: prompt: missing, expected string */
#ifndef TLT_IO_JSON_H
#define TLT_IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

enum { TLT_JSON_DEPTH_MAX = 64, TLT_JSONL_LINE_MAX = 16 << 20 };

/* A value together with where it stands, for errors. Plain data: `file`, `name` and `parent` are
 * borrowed and must outlive the node (a node on the stack under its parent on the stack). */
typedef struct tlt_json_node {
  const json_t *value;
  const char *file;
  long line;                          /* of a JSONL file; 0: none */
  const struct tlt_json_node *parent; /* NULL: top */
  const char *name;                   /* key under parent; NULL for array elements */
  size_t index;                       /* element under parent when name is NULL */
} tlt_json_node;

/* Parse n bytes; `file` and `line` only serve errors. Owner frees with json_decref. */
tlt_status tlt_json_parse(const char *text, size_t n, const char *file, long line, json_t **out,
                          tlt_err *err);

/* Parse a file of at most cap bytes. */
tlt_status tlt_json_load(const char *path, size_t cap, json_t **out, tlt_err *err);

tlt_json_node tlt_json_top(const json_t *value, const char *file, long line);

/* "file:line: a.b[3]: " before a text of the caller's: returns TLT_EDATA. key may be NULL (the
 * error is about the node itself). */
tlt_status tlt_json_fail(const tlt_json_node *at, const char *key, tlt_err *err, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

/* Member `key` of an object; false when absent or null. */
bool tlt_json_has(const tlt_json_node *at, const char *key);

/* Required members. Integers must be written as integers (8.0 is refused); doubles accept both
 * and must be finite. Ranges are inclusive. Strings are borrowed from the JSON. */
tlt_status tlt_json_int(const tlt_json_node *at, const char *key, int64_t min, int64_t max,
                        int64_t *out, tlt_err *err);
tlt_status tlt_json_double(const tlt_json_node *at, const char *key, double min, double max,
                           double *out, tlt_err *err);
tlt_status tlt_json_bool(const tlt_json_node *at, const char *key, bool *out, tlt_err *err);
tlt_status tlt_json_string(const tlt_json_node *at, const char *key, const char **out,
                           tlt_err *err);
tlt_status tlt_json_object(const tlt_json_node *at, const char *key, tlt_json_node *out,
                           tlt_err *err);
tlt_status tlt_json_array(const tlt_json_node *at, const char *key, tlt_json_node *out,
                          tlt_err *err);

/* The same with a fallback where the member is absent or null. */
tlt_status tlt_json_int_or(const tlt_json_node *at, const char *key, int64_t min, int64_t max,
                           int64_t fallback, int64_t *out, tlt_err *err);
tlt_status tlt_json_double_or(const tlt_json_node *at, const char *key, double min, double max,
                              double fallback, double *out, tlt_err *err);
tlt_status tlt_json_bool_or(const tlt_json_node *at, const char *key, bool fallback, bool *out,
                            tlt_err *err);
tlt_status tlt_json_string_or(const tlt_json_node *at, const char *key, const char *fallback,
                              const char **out, tlt_err *err);

/* Element i of an array node; value NULL beyond the end. */
tlt_json_node tlt_json_element(const tlt_json_node *array, size_t i);

/* "got" text of a value: its JSON cut at about 40 bytes, "missing" for NULL. */
void tlt_json_describe(const json_t *value, char out[64]);

/* ---- JSONL ---- */

/* Objects of a file, one per line, read in order; blank lines are passed over. A line that is not
 * one JSON object, or is over TLT_JSONL_LINE_MAX bytes, is TLT_EDATA with "file:line". */
typedef struct tlt_jsonl tlt_jsonl;
tlt_status tlt_jsonl_open(const char *path, tlt_jsonl **out, tlt_err *err);
/* *out: the next object, owned by the caller (json_decref), or NULL at the end of the file. */
tlt_status tlt_jsonl_next(tlt_jsonl *r, json_t **out, tlt_err *err);
long tlt_jsonl_line(const tlt_jsonl *r); /* 1-based line of the last object */
/* Byte offset just behind the last object's line: where to cut a file after it. */
uint64_t tlt_jsonl_offset(const tlt_jsonl *r);
const char *tlt_jsonl_file(const tlt_jsonl *r);
void tlt_jsonl_close(tlt_jsonl *r); /* NULL is harmless */

#endif
