/* A few status lines at the bottom of a terminal, rewritten in place; nothing when there is no
 * terminal (base/terminal.h). The cursor stays visible, below them, and no mode is changed, so
 * there is nothing to restore however the process ends. */
#ifndef TLT_CMD_PROGRESS_H
#define TLT_CMD_PROGRESS_H

#include <stdbool.h>

enum { TLT_PROGRESS_LINES = 4, TLT_PROGRESS_BYTES = 1024 };

/* Whether lines would be shown now: there is a terminal, and the last ones are a tenth of a second
 * old. For whoever takes some trouble to make them. */
bool tlt_progress_due(void);

/* Show n lines, cut at the terminal's width, instead of those shown before; no matter when. They
 * are UTF-8 of characters one column wide, with colours ("\033[...m") at will. */
void tlt_progress_lines(const char (*line)[TLT_PROGRESS_BYTES], int n);

/* Show text, one line, when that is due. */
void tlt_progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line that stays, in the place of what is shown. In one piece, so that what the terminal itself
 * echoes (^C) does not come between. */
void tlt_progress_print(const char *text);

/* Remove the lines; call before printing anything else to the terminal. Any thread. */
void tlt_progress_clear(void);

/* "1:02:03" or "4:05" or "7s" of seconds. */
const char *tlt_progress_time(double seconds, char out[32]);

#endif
