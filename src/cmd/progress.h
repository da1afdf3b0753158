/* One status line on a terminal, rewritten in place; nothing when stderr is not a terminal. */
#ifndef TLT_CMD_PROGRESS_H
#define TLT_CMD_PROGRESS_H

/* Show text (one line, cut at the terminal's width), at most ten times a second. */
void tlt_progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Remove the line; call before printing anything else to the terminal. */
void tlt_progress_clear(void);

/* "1:02:03" or "4:05" or "7s" of seconds. */
const char *tlt_progress_time(double seconds, char out[32]);

#endif
