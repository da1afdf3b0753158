/* Writer of safetensors files; see safetensors.h. The header is written with the first data byte,
 * padded with spaces so that the data section is 8-byte aligned. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "io/text.h"

struct tlt_st_writer {
  tlt_file *file;
  char path[TLT_PATH_MAX];
  tlt_json_writer header;
  uint64_t declared, written; /* bytes of data */
  bool header_written;
};

tlt_status tlt_st_create(const char *path, tlt_st_writer **out, tlt_err *err) {
  char temporary[TLT_PATH_MAX + 8];
  *out = NULL;
  tlt_st_writer *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, path, sizeof *w);
  snprintf(w->path, sizeof w->path, "%s", path);
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  tlt_status status = tlt_file_open(temporary, TLT_FILE_TRUNCATE, &w->file, err);
  if (status != TLT_OK) {
    tlt_free(w);
    return status;
  }
  tlt_json_begin(&w->header, NULL, '{');
  tlt_json_begin(&w->header, "__metadata__", '{'); /* transformers asks for "format" */
  tlt_json_put_string(&w->header, "format", "pt");
  tlt_json_end(&w->header, '}');
  *out = w;
  return TLT_OK;
}

tlt_status tlt_st_declare(tlt_st_writer *w, const char *name, tlt_dtype dtype, const int64_t *shape,
                          int n_dims, tlt_err *err) {
  uint64_t bytes = tlt_dtype_size(dtype);
  if (w->header_written || !bytes || n_dims < 0 || n_dims > TLT_ST_MAX_DIMS)
    return tlt_fail(err, TLT_EINTERNAL, "%s: %s: declared too late, or with a bad type or rank",
                    w->path, name);
  tlt_json_begin(&w->header, name, '{');
  tlt_json_put_string(&w->header, "dtype", tlt_dtype_name(dtype));
  tlt_json_begin(&w->header, "shape", '[');
  for (int i = 0; i < n_dims; i++) {
    tlt_json_put_int(&w->header, NULL, shape[i]);
    if (shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)shape[i], &bytes))
      return tlt_fail(err, TLT_EINTERNAL, "%s: %s: impossible shape", w->path, name);
  }
  tlt_json_end(&w->header, ']');
  tlt_json_begin(&w->header, "data_offsets", '[');
  tlt_json_put_int(&w->header, NULL, (int64_t)w->declared);
  w->declared += bytes;
  tlt_json_put_int(&w->header, NULL, (int64_t)w->declared);
  tlt_json_end(&w->header, ']');
  tlt_json_end(&w->header, '}');
  return tlt_text_check(&w->header.text, err);
}

static tlt_status write_header(tlt_st_writer *w, tlt_err *err) {
  tlt_text *text = &w->header.text;
  tlt_json_end(&w->header, '}');
  while (text->n % 8 && !text->failed) tlt_text_add(text, " ");
  tlt_status status = tlt_text_check(text, err);
  uint64_t length = text->n;
  if (status == TLT_OK && length > TLT_ST_HEADER_MAX)
    status = tlt_fail(err, TLT_EDATA, "%s: header of %llu bytes, expected at most %d", w->path,
                      (unsigned long long)length, TLT_ST_HEADER_MAX);
  if (status == TLT_OK) status = tlt_file_write(w->file, &length, sizeof length, err);
  if (status == TLT_OK) status = tlt_file_write(w->file, text->data, text->n, err);
  w->header_written = true;
  return status;
}

tlt_status tlt_st_write(tlt_st_writer *w, const void *data, size_t bytes, tlt_err *err) {
  if (!w->header_written) {
    tlt_status status = write_header(w, err);
    if (status != TLT_OK) return status;
  }
  if (bytes > w->declared - w->written)
    return tlt_fail(err, TLT_EINTERNAL, "%s: more data than the %llu bytes declared", w->path,
                    (unsigned long long)w->declared);
  w->written += bytes;
  return tlt_file_write(w->file, data, bytes, err);
}

tlt_status tlt_st_finish(tlt_st_writer *w, tlt_err *err) {
  tlt_status status = w->header_written ? TLT_OK : write_header(w, err);
  if (status == TLT_OK && w->written != w->declared)
    status = tlt_fail(err, TLT_EINTERNAL, "%s: got %llu bytes of data, expected %llu", w->path,
                      (unsigned long long)w->written, (unsigned long long)w->declared);
  if (status == TLT_OK) {
    status = tlt_file_publish(w->file, w->path, err);
    w->file = NULL;
  }
  tlt_st_abandon(w);
  return status;
}

void tlt_st_abandon(tlt_st_writer *w) {
  if (!w) return;
  if (w->file) tlt_file_discard(w->file);
  tlt_text_free(&w->header.text);
  tlt_free(w);
}
