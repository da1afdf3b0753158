/* The one file layer: every open, read, write, sync, rename of the program passes here, so that
 * faults can be injected (TLT_FAULT=io:N:ENOSPC,short:N) and every error names its path.
 * EINTR and short transfers are continued. Failures are TLT_EIO unless said otherwise; a file to
 * be read that does not exist or is not a regular file is TLT_EDATA.
 * Threads: a handle belongs to one thread at a time. */
#ifndef TLT_IO_FILE_H
#define TLT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "tlt/status.h"

typedef struct tlt_file tlt_file;

typedef enum tlt_file_mode {
  TLT_FILE_READ,   /* must exist and be a regular file: directories and FIFOs are refused */
  TLT_FILE_CREATE, /* must not exist */
  TLT_FILE_TRUNCATE,
  TLT_FILE_APPEND, /* created when missing */
} tlt_file_mode;

tlt_status tlt_file_open(const char *path, tlt_file_mode mode, tlt_file **out, tlt_err *err);
const char *tlt_file_path(const tlt_file *f); /* owned by the handle */
tlt_status tlt_file_size(tlt_file *f, uint64_t *bytes, tlt_err *err);

/* Read exactly n bytes at offset. A shorter file is TLT_EDATA with both sizes. Does not move any
 * file position: several threads may read one handle. */
tlt_status tlt_file_pread(tlt_file *f, void *to, size_t n, uint64_t offset, tlt_err *err);
tlt_status tlt_file_write(tlt_file *f, const void *from, size_t n, tlt_err *err);
tlt_status tlt_file_sync(tlt_file *f, tlt_err *err);
tlt_status tlt_file_truncate(tlt_file *f, uint64_t bytes, tlt_err *err);

/* Errors of close are errors of the write. NULL is harmless. The handle is gone in any case. */
tlt_status tlt_file_close(tlt_file *f, tlt_err *err);

/* The whole file, NUL-terminated (a NUL inside is kept), caller frees with tlt_free. Larger than
 * cap bytes: TLT_EDATA with both numbers. */
tlt_status tlt_file_load(const char *path, size_t cap, char **text, size_t *n, tlt_err *err);

/* Write path atomically: temporary (path.tmp) beside it, fsync, rename, fsync of the directory.
 * On failure the temporary is gone and path is what it was (a failed sync of the directory, after
 * the rename, excepted). */
tlt_status tlt_file_store(const char *path, const void *data, size_t n, tlt_err *err);

/* The second half of tlt_file_store for files written piece by piece: sync, close and rename the
 * temporary f to path, then sync the directory. Takes f in any case; removes it on failure. */
tlt_status tlt_file_publish(tlt_file *f, const char *path, tlt_err *err);

/* Close a file being written and remove it: the way out after an error. NULL is harmless. */
void tlt_file_discard(tlt_file *f);

/* SHA-256 of a file's bytes as lower-case hex; "" on failure. */
tlt_status tlt_file_sha256(const char *path, char hex[TLT_SHA256_HEX], tlt_err *err);

bool tlt_path_exists(const char *path);
bool tlt_path_is_dir(const char *path);
tlt_status tlt_dir_make(const char *path, tlt_err *err); /* with parents; existing is fine */
tlt_status tlt_dir_sync(const char *path, tlt_err *err);
tlt_status tlt_path_rename(const char *from, const char *to, tlt_err *err);
/* File, or directory with contents (links are removed, not followed). Missing is fine. */
tlt_status tlt_path_remove(const char *path, tlt_err *err);

/* Names in a directory, sorted, without "." and ".."; free with tlt_dir_list_free. */
tlt_status tlt_dir_list(const char *path, char ***names, size_t *count, tlt_err *err);
void tlt_dir_list_free(char **names, size_t count);

/* "a/b" of "a" and "b" into a fixed buffer; a cut path is an error of the later open. */
enum { TLT_PATH_MAX = 4096 };
void tlt_path_join(char out[TLT_PATH_MAX], const char *dir, const char *name);
void tlt_path_parent(char out[TLT_PATH_MAX], const char *path); /* "." for a bare name */

/* Lock a directory for this process: flock on DIR/lock, which holds the process id. Held by
 * another: TLT_EIO naming its id. Released by tlt_lock_release or the end of the process; the
 * file stays. Child processes do not inherit it. */
typedef struct tlt_lock tlt_lock;
tlt_status tlt_lock_acquire(const char *dir, tlt_lock **out, tlt_err *err);
void tlt_lock_release(tlt_lock *lock); /* NULL is harmless */

#endif
