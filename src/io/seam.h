/* Private to src/io: the point where every system call of the file layer is counted and may be
 * made to fail (base/fault.h). */
#ifndef TLT_IO_SEAM_H
#define TLT_IO_SEAM_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/fault.h"
#include "tlt/status.h"

/* True, with errno set, when this call must fail. */
static inline bool tlt__io_faulted(void) {
  int error_number = EIO;
  if (!tlt_fault_hit(TLT_FAULT_IO, &error_number)) return false;
  errno = error_number;
  return true;
}

#define TLT__CALL(expression) (tlt__io_faulted() ? -1 : (expression))

/* Repeats a call that a signal interrupted before it did anything. */
#define TLT__CALL_AGAIN(result, expression) \
  do result = TLT__CALL(expression);        \
  while (result < 0 && errno == EINTR)

static inline tlt_status tlt__fail_errno(tlt_err *err, const char *path, const char *what) {
  return tlt_fail(err, TLT_EIO, "%s: cannot %s: %s", path, what, strerror(errno));
}

#endif
