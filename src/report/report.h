/* What `tlt report` makes: the page of a run as a file. */
#ifndef TLT_REPORT_REPORT_H
#define TLT_REPORT_REPORT_H

#include "io/file.h"

typedef struct tlt_report_result {
  char path[TLT_PATH_MAX]; /* of the page */
  uint64_t bytes;
  int notices; /* that the page shows: what was damaged or left out */
} tlt_report_result;

/* Read the run directory and write its page atomically to `to` (NULL: RUN/report.html). program:
 * version of this program, "" unknown. TLT_EDATA: not a run; TLT_EIO, TLT_ENOMEM. */
tlt_status tlt_report_write(const char *run, const char *to, const char *program,
                            tlt_report_result *out, tlt_err *err);

#endif
