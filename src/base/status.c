#include "tlt/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void one_line(char *text) {
  for (char *c = text; *c; c++)
    if (*c == '\n' || *c == '\r') *c = ' ';
}

tlt_status tlt_fail(tlt_err *err, tlt_status status, const char *format, ...) {
  if (!err) return status;
  char text[TLT_ERR_TEXT]; /* an argument may be err->text itself */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  one_line(text);
  err->status = status;
  memcpy(err->text, text, sizeof text);
  return status;
}

tlt_status tlt_fail_prefix(tlt_err *err, const char *format, ...) {
  if (!err) return TLT_EINTERNAL;
  char prefix[TLT_ERR_TEXT];
  va_list args;
  va_start(args, format);
  vsnprintf(prefix, sizeof prefix, format, args);
  va_end(args);
  return tlt_fail(err, err->status, "%.400s: %.600s", prefix, err->text);
}

int tlt_status_exit_code(tlt_status status) {
  switch (status) {
#define TLT_STATUS_CASE(name, code, text)                                                          \
  case name: return code;
    TLT_STATUS_LIST(TLT_STATUS_CASE)
#undef TLT_STATUS_CASE
  }
  return 70;
}

const char *tlt_status_text(tlt_status status) {
  switch (status) {
#define TLT_STATUS_CASE(name, code, text)                                                          \
  case name: return text;
    TLT_STATUS_LIST(TLT_STATUS_CASE)
#undef TLT_STATUS_CASE
  }
  return "unknown status";
}
