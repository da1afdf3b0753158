/* Text of unknown origin for a terminal or one line of a table. */
#ifndef TLT_REPORT_PLAIN_H
#define TLT_REPORT_PLAIN_H

#include <stddef.h>

/* text into out [room], NUL-terminated and cut at a character: line feeds as \n, bytes that are no
 * UTF-8 and control, invisible and direction characters as '?'. room is at least 8. */
void tlt_plain_text(const char *text, char *out, size_t room);

#endif
