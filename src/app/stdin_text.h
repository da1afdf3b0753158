/* All of standard input as one text. */
#ifndef TLT_APP_STDIN_TEXT_H
#define TLT_APP_STDIN_TEXT_H

#include <stddef.h>

#include "tlt/status.h"

enum { TLT_STDIN_MAX = 1 << 30 };

/* *text is NUL-terminated, caller frees with tlt_free; n without the NUL. */
tlt_status tlt_stdin_load(char **text, size_t *n, tlt_err *err);

#endif
