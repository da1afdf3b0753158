/* The terminal that a person looks at while this process runs: its own standard error, or that of
 * the launcher that passes on what workers print (cluster/launch.h). Nothing here writes to it or
 * changes its modes. Threads: any. */
#ifndef TLT_BASE_TERMINAL_H
#define TLT_BASE_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether there is one that understands control sequences (TERM is not "dumb"). */
bool tlt_terminal(void);

/* Columns and rows at this moment; 80 and 24 where they cannot be known. */
void tlt_terminal_size(int *columns, int *rows);

bool tlt_terminal_utf8(void);  /* the locale's encoding, by LC_ALL, LC_CTYPE, LANG */
bool tlt_terminal_color(void); /* NO_COLOR is unset or empty */

/* What a launcher puts into its workers' environment for the functions above: "TLT_TERMINAL=" and
 * the name of the terminal of standard error; false when that is none. */
bool tlt_terminal_pass_on(char *text, size_t room);

#endif
