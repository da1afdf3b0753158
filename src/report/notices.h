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

/* Reading a JSONL file of a run. want: whether a line is worth parsing, by its text (NULL: every
 * one). take: an object; false ends the reading. */
typedef struct tlt_run_reader {
  void *context;
  bool (*want)(void *context, const char *text, size_t n);
  bool (*take)(void *context, const json_t *object, long line);
} tlt_run_reader;

/* Objects of the file DIR/NAME in order. A line that is cut off, is no object or is longer than
 * TLT_LINE_MAX is left out, with a notice "NAME line N: ..."; bytes that are no UTF-8 and
 * characters that JSON strings of ours cannot hold are replaced, with a notice. A missing file is
 * an empty one. TLT_ENOMEM. */
tlt_status tlt_run_read(const char *dir, const char *name, const tlt_run_reader *reader,
                        tlt_notices *notices, tlt_err *err);

/* A whole small JSON file in the same manner; *out NULL when there is none or it cannot be read. */
void tlt_run_load(const char *dir, const char *name, json_t **out, tlt_notices *notices);

#endif
