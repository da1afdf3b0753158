#include "app/output.h"

#include <stdio.h>

tlt_status tlt_output_open(tlt_output *o, const char *path, tlt_err *err) {
  snprintf(o->path, sizeof o->path, "%s", path);
  snprintf(o->temporary, sizeof o->temporary, "%s.part", path);
  return tlt_file_open(o->temporary, TLT_FILE_TRUNCATE, &o->file, err);
}

tlt_status tlt_output_close(tlt_output *o, tlt_status status, tlt_err *err) {
  if (!o->file) return status;
  if (status == TLT_OK) status = tlt_file_sync(o->file, err);
  tlt_status closed = tlt_file_close(o->file, status == TLT_OK ? err : NULL);
  o->file = NULL;
  if (status == TLT_OK) status = closed;
  if (status == TLT_OK) status = tlt_path_rename(o->temporary, o->path, err);
  if (status != TLT_OK) tlt_path_remove(o->temporary, NULL);
  return status;
}
