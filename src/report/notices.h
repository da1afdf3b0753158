/* What is odd about a run directory, as sentences for its reader: a report of a damaged run is
 * still a report. */
#ifndef TLT_REPORT_NOTICES_H
#define TLT_REPORT_NOTICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "tlt/status.h"

enum { TLT_NOTICES_MAX = 40, TLT_NOTICE_TEXT = 400 };

/* From zero; end with tlt_notices_free. */
typedef struct tlt_notices {
  char *text[TLT_NOTICES_MAX];
  int n;
  int64_t more; /* that had no room */
} tlt_notices;

void tlt_notice(tlt_notices *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tlt_notices_free(tlt_notices *n);

/* Objects of the file DIR/NAME, one per line, in order. A line that is cut off, is no object or is
 * longer than TLT_LINE_MAX is left out, with a notice "NAME line N: ..."; bytes that are no UTF-8
 * and escapes that our JSON strings cannot hold are replaced by U+FFFD, with a notice. A missing
 * file is an empty one. */
typedef struct tlt_run_lines tlt_run_lines;

/* Whether a line is worth parsing, by its text. */
typedef bool (*tlt_run_want)(void *context, const char *text, size_t n);

/* want: NULL for every line. notices outlives the reader. TLT_ENOMEM. */
tlt_status tlt_run_lines_open(const char *dir, const char *name, tlt_run_want want, void *context,
                              tlt_notices *notices, tlt_run_lines **out, tlt_err *err);
/* *out: the next object, owned by the caller, or NULL at the end. TLT_ENOMEM. */
tlt_status tlt_run_lines_next(tlt_run_lines *r, json_t **out, tlt_err *err);
long tlt_run_lines_number(const tlt_run_lines *r); /* of the last object's line */
void tlt_run_lines_close(tlt_run_lines *r);        /* NULL is harmless */

/* A whole small JSON file in the same manner; *out NULL when there is none or it cannot be read. */
void tlt_run_load(const char *dir, const char *name, json_t **out, tlt_notices *notices);

#endif
