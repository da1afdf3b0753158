/* The one file layer: every open, read, write, sync, rename of the program passes here, so that
 * faults can be injected (TLT_FAULT=io:N:ENOSPC,short:N) and every error names its path.
 * EINTR and short transfers are continued. Failures are TLT_EIO unless said otherwise.
 * Threads: a handle belongs to one thread at a time. */
#ifndef TLT_IO_FILE_H
#define TLT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

typedef struct tlt_file tlt_file;

typedef enum tlt_file_mode {
  TLT_FILE_READ,   /* must exist and be a regular file: directories and FIFOs are refused */
  TLT_FILE_CREATE, /* must not exist */
  TLT_FILE_TRUNCATE,
  TLT_FILE_APPEND, /* created when missing */
} tlt_file_mode;

tlt_status tlt_file_open(const char *path, tlt_file_mode mode, tlt_file **out, tlt_err *err);
tlt_status tlt_file_size(tlt_file *f, uint64_t *bytes, tlt_err *err);

/* Read exactly n bytes at offset. A shorter file is TLT_EDATA with both sizes. */
tlt_status tlt_file_pread(tlt_file *f, void *to, size_t n, uint64_t offset, tlt_err *err);
tlt_status tlt_file_write(tlt_file *f, const void *from, size_t n, tlt_err *err);
tlt_status tlt_file_sync(tlt_file *f, tlt_err *err);
tlt_status tlt_file_truncate(tlt_file *f, uint64_t bytes, tlt_err *err);

/* Errors of close are errors of the write. NULL is harmless. The handle is gone in any case. */
tlt_status tlt_file_close(tlt_file *f, tlt_err *err);

/* The whole file, NUL-terminated (a NUL inside is kept), caller frees with tlt_free. Larger than
 * cap bytes: TLT_EDATA with both numbers. */
tlt_status tlt_file_load(const char *path, size_t cap, char **text, size_t *n, tlt_err *err);

/* Write path atomically: temporary beside it, fsync, rename, fsync of the directory. */
tlt_status tlt_file_store(const char *path, const void *data, size_t n, tlt_err *err);

bool tlt_path_exists(const char *path);
bool tlt_path_is_dir(const char *path);
tlt_status tlt_dir_make(const char *path, tlt_err *err); /* with parents; existing is fine */
tlt_status tlt_dir_sync(const char *path, tlt_err *err);
tlt_status tlt_path_rename(const char *from, const char *to, tlt_err *err);
tlt_status tlt_path_remove(const char *path, tlt_err *err); /* file, or directory with contents */

/* Names in a directory, sorted, without "." and ".."; caller frees each and the array. */
tlt_status tlt_dir_list(const char *path, char ***names, size_t *count, tlt_err *err);

/* "a/b" of "a" and "b" into a fixed buffer; a cut path is an error of the later open. */
enum { TLT_PATH_MAX = 4096 };
void tlt_path_join(char out[TLT_PATH_MAX], const char *dir, const char *name);

#endif
