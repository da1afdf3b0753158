/* Status codes and error text of every fallible tlt function.
 *
 * Convention: a fallible function returns tlt_status and takes `tlt_err *err` last. On TLT_OK the
 * error is untouched; otherwise it holds one line of the form
 *     <file>:<line|offset|json-path>: got X, expected Y
 * A NULL err is legal: the text is dropped. The library never prints and never exits. */
#ifndef TLT_STATUS_H
#define TLT_STATUS_H

#include <stddef.h>

/* X(name, exit code of the program, short text) */
#define TLT_STATUS_LIST(X)                                                                         \
  X(TLT_OK, 0, "ok")                                                                               \
  X(TLT_EUSAGE, 2, "bad configuration or usage")                                                   \
  X(TLT_EDATA, 3, "bad model or data")                                                             \
  X(TLT_EIO, 4, "environment or input/output failure")                                             \
  X(TLT_ENOMEM, 4, "out of memory")                                                                \
  X(TLT_ECHECKPOINT, 5, "bad or mismatching checkpoint")                                           \
  X(TLT_EREWARD, 6, "reward failure")                                                              \
  X(TLT_ENUMERIC, 7, "numeric failure")                                                            \
  X(TLT_EWORKER, 8, "worker failure")                                                              \
  X(TLT_EINTERNAL, 70, "internal bug")                                                             \
  X(TLT_ESTOPPED, 75, "stopped by signal, resumable")

typedef enum tlt_status {
#define TLT_STATUS_ENUM(name, code, text) name,
  TLT_STATUS_LIST(TLT_STATUS_ENUM)
#undef TLT_STATUS_ENUM
} tlt_status;

enum { TLT_ERR_TEXT = 1024 };

typedef struct tlt_err {
  tlt_status status;
  char text[TLT_ERR_TEXT]; /* NUL-terminated, one line, cut if longer */
} tlt_err;

/* Fill err (may be NULL) with a printf-style text and return status, so that a failing function
 * reads `return tlt_fail(err, TLT_EDATA, "%s: got %d, expected %d", path, got, want);`. */
tlt_status tlt_fail(tlt_err *err, tlt_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the text that err already holds; returns err->status (TLT_EINTERNAL when
 * err is NULL), so that a caller can add the file it was working on. */
tlt_status tlt_fail_prefix(tlt_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Exit code of the program for a status; table above. */
int tlt_status_exit_code(tlt_status status);

/* Constant short text for a status; never NULL. */
const char *tlt_status_text(tlt_status status);

#endif
