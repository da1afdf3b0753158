/* A result file that appears under its name only when complete. */
#ifndef TLT_APP_OUTPUT_H
#define TLT_APP_OUTPUT_H

#include "io/file.h"

typedef struct tlt_output {
  tlt_file *file;
  char path[TLT_PATH_MAX];
} tlt_output;

tlt_status tlt_output_open(tlt_output *o, const char *path, tlt_err *err);

/* With status TLT_OK: sync, close, rename. Otherwise the temporary is removed and an older file of
 * that name stays. Returns status, or the first failure of its own. Harmless when never opened. */
tlt_status tlt_output_close(tlt_output *o, tlt_status status, tlt_err *err);

#endif
