/* Lines of a text file, read in order through a window that grows up to one line of
 * TLT_LINE_MAX bytes: what JSONL readers and readers of traces stand on. */
#ifndef TLT_IO_LINES_H
#define TLT_IO_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

enum { TLT_LINE_MAX = 16 << 20 };

typedef struct tlt_lines tlt_lines;

/* The file as long as it is now: what is appended later is not seen. Errors of tlt_file_open. */
tlt_status tlt_lines_open(const char *path, tlt_lines **out, tlt_err *err);
/* *text: the next line without its newline, valid until the next call; NULL at the end of the file.
 * A line over TLT_LINE_MAX bytes is TLT_EDATA with its number; nothing can be read behind it. */
tlt_status tlt_lines_next(tlt_lines *r, const char **text, size_t *n, tlt_err *err);
bool tlt_lines_torn(const tlt_lines *r);       /* the last line had no newline */
long tlt_lines_number(const tlt_lines *r);     /* of the last line, from 1 */
uint64_t tlt_lines_offset(const tlt_lines *r); /* just behind the last line */
const char *tlt_lines_file(const tlt_lines *r);
/* Go on at a line that begins at this offset and has this number. */
void tlt_lines_seek(tlt_lines *r, uint64_t offset, long number);
void tlt_lines_close(tlt_lines *r); /* NULL is harmless */

#endif
