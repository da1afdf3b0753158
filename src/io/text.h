/* Growing text and a JSON writer on it: metrics and rollout lines, safetensors headers, manifests.
 *
 * Running out of memory is remembered, and every later call is harmless: check `failed` (or
 * tlt_text_check) once at the end. Start from zero: `tlt_text t = {0};`, end with tlt_text_free.
 * A cleared text keeps its memory, so a line per step allocates nothing once warm. */
#ifndef TLT_IO_TEXT_H
#define TLT_IO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_text {
  char *data; /* NUL-terminated once anything was added; NULL before */
  size_t n, room;
  bool failed;
} tlt_text;

void tlt_text_free(tlt_text *t);  /* leaves a valid empty text */
void tlt_text_clear(tlt_text *t); /* n = 0, failed = false */
void tlt_text_add(tlt_text *t, const char *s);
void tlt_text_add_n(tlt_text *t, const char *s, size_t n);
void tlt_text_printf(tlt_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
tlt_status tlt_text_check(const tlt_text *t, tlt_err *err); /* TLT_ENOMEM if it failed */

/* Numbers that read back to the same bits ("%.9g", "%.17g"; -0 as "-0.0"); NaN and infinity,
 * which JSON does not have, become null. */
void tlt_text_f32(tlt_text *t, float x);
void tlt_text_f64(tlt_text *t, double x);

/* A quoted JSON string. Bytes that are not UTF-8 become U+FFFD, one per bad byte, and so does NUL,
 * which readers of JSON refuse (io/json.h among them). */
void tlt_text_json_string(tlt_text *t, const char *s, size_t n);

/* Length in bytes (1 to 4) of the valid UTF-8 sequence at s, 0 if there is none within n bytes.
 * Overlong forms, surrogates and values above U+10FFFF are invalid. */
size_t tlt_utf8_length(const char *s, size_t n);

/* ---- Writer: puts commas and keys; key is NULL inside arrays and at the top ---- */

typedef struct tlt_json_writer {
  tlt_text text;
  bool comma; /* something stands before the next value at this level */
} tlt_json_writer;

void tlt_json_begin(tlt_json_writer *w, const char *key, char bracket); /* '{' or '[' */
void tlt_json_end(tlt_json_writer *w, char bracket);                    /* '}' or ']' */
void tlt_json_put_int(tlt_json_writer *w, const char *key, int64_t x);
void tlt_json_put_f32(tlt_json_writer *w, const char *key, float x);
void tlt_json_put_f64(tlt_json_writer *w, const char *key, double x);
void tlt_json_put_bool(tlt_json_writer *w, const char *key, bool x);
void tlt_json_put_null(tlt_json_writer *w, const char *key);
void tlt_json_put_string(tlt_json_writer *w, const char *key, const char *s);
void tlt_json_put_string_n(tlt_json_writer *w, const char *key, const char *s, size_t n);
void tlt_json_put_raw(tlt_json_writer *w, const char *key, const char *json); /* already JSON */
void tlt_json_newline(tlt_json_writer *w); /* end of a JSONL line */

#endif
