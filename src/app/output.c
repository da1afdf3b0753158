#include "app/output.h"

#include <stdio.h>

tlt_status tlt_output_open(tlt_output *o, const char *path, tlt_err *err) {
  char temporary[TLT_PATH_MAX + 8];
  snprintf(o->path, sizeof o->path, "%s", path);
  snprintf(temporary, sizeof temporary, "%s.part", path);
  return tlt_file_open(temporary, TLT_FILE_TRUNCATE, &o->file, err);
}

tlt_status tlt_output_close(tlt_output *o, tlt_status status, tlt_err *err) {
  tlt_file *file = o->file;
  o->file = NULL;
  if (!file) return status;
  if (status == TLT_OK) return tlt_file_publish(file, o->path, err);
  tlt_file_discard(file);
  return status;
}
