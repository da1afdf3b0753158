#define _GNU_SOURCE
#include "io/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/seam.h"

struct tlt_file {
  int fd;
  char path[];
};

static size_t transfer_size(size_t n) {
  enum { LARGEST = 1 << 30 }; /* Linux moves at most 2 GiB per call */
  if (n > 1 && tlt_fault_hit(TLT_FAULT_SHORT, NULL)) return n / 2;
  return n < LARGEST ? n : LARGEST;
}

/* ---- Handles ---- */

static const char *kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

static tlt_status check_regular(int fd, const char *path, tlt_err *err) {
  struct stat st;
  if (TLT__CALL(fstat(fd, &st)) < 0) return tlt__fail_errno(err, path, "stat");
  if (!S_ISREG(st.st_mode))
    return tlt_fail(err, TLT_EDATA, "%s: got %s, expected a regular file", path,
                    kind_of(st.st_mode));
  return TLT_OK;
}

static tlt_status open_fd(const char *path, tlt_file_mode mode, int *fd, tlt_err *err) {
  static const int flags[] = {
      [TLT_FILE_READ] = O_RDONLY | O_NONBLOCK, /* a FIFO without writer must not block */
      [TLT_FILE_CREATE] = O_WRONLY | O_CREAT | O_EXCL,
      [TLT_FILE_TRUNCATE] = O_WRONLY | O_CREAT | O_TRUNC,
      [TLT_FILE_APPEND] = O_WRONLY | O_CREAT | O_APPEND,
  };
  TLT__CALL_AGAIN(*fd, open(path, flags[mode] | O_CLOEXEC, 0666));
  if (*fd >= 0) return TLT_OK;
  if (mode == TLT_FILE_READ && (errno == ENOENT || errno == ENOTDIR))
    return tlt_fail(err, TLT_EDATA, "%s: no such file", path);
  return tlt__fail_errno(err, path, mode == TLT_FILE_READ ? "open" : "open for writing");
}

tlt_status tlt_file_open(const char *path, tlt_file_mode mode, tlt_file **out, tlt_err *err) {
  *out = NULL;
  size_t n = strlen(path);
  if (n >= TLT_PATH_MAX - 1)
    return tlt_fail(err, TLT_EIO, "%.100s...: path of %zu bytes, expected below %d", path, n,
                    TLT_PATH_MAX - 1);
  tlt_file *f = tlt_malloc(sizeof *f + n + 1);
  if (!f) return tlt_fail_nomem(err, "file handle", sizeof *f + n + 1);
  memcpy(f->path, path, n + 1);
  tlt_status status = open_fd(path, mode, &f->fd, err);
  if (status == TLT_OK && mode == TLT_FILE_READ) {
    status = check_regular(f->fd, path, err);
    if (status != TLT_OK) close(f->fd);
  }
  if (status != TLT_OK) {
    tlt_free(f);
    return status;
  }
  *out = f;
  return TLT_OK;
}

const char *tlt_file_path(const tlt_file *f) {
  return f->path;
}

tlt_status tlt_file_size(tlt_file *f, uint64_t *bytes, tlt_err *err) {
  struct stat st;
  if (TLT__CALL(fstat(f->fd, &st)) < 0) return tlt__fail_errno(err, f->path, "stat");
  *bytes = (uint64_t)st.st_size;
  return TLT_OK;
}

tlt_status tlt_file_pread(tlt_file *f, void *to, size_t n, uint64_t offset, tlt_err *err) {
  if (offset > INT64_MAX - n)
    return tlt_fail(err, TLT_EDATA, "%s: offset %llu is beyond any file", f->path,
                    (unsigned long long)offset);
  size_t done = 0;
  while (done < n) {
    ssize_t got;
    TLT__CALL_AGAIN(
        got, pread(f->fd, (char *)to + done, transfer_size(n - done), (off_t)(offset + done)));
    if (got < 0) return tlt__fail_errno(err, f->path, "read");
    if (got == 0)
      return tlt_fail(err, TLT_EDATA, "%s:%llu: got %zu bytes, expected %zu (file cut short?)",
                      f->path, (unsigned long long)offset, done, n);
    done += (size_t)got;
  }
  return TLT_OK;
}

tlt_status tlt_file_write(tlt_file *f, const void *from, size_t n, tlt_err *err) {
  size_t done = 0;
  while (done < n) {
    ssize_t put;
    TLT__CALL_AGAIN(put, write(f->fd, (const char *)from + done, transfer_size(n - done)));
    if (put < 0) return tlt__fail_errno(err, f->path, "write");
    done += (size_t)put;
  }
  return TLT_OK;
}

tlt_status tlt_file_sync(tlt_file *f, tlt_err *err) {
  int rc;
  TLT__CALL_AGAIN(rc, fsync(f->fd));
  return rc < 0 ? tlt__fail_errno(err, f->path, "sync") : TLT_OK;
}

tlt_status tlt_file_truncate(tlt_file *f, uint64_t bytes, tlt_err *err) {
  int rc;
  TLT__CALL_AGAIN(rc, ftruncate(f->fd, (off_t)bytes));
  return rc < 0 ? tlt__fail_errno(err, f->path, "truncate") : TLT_OK;
}

tlt_status tlt_file_close(tlt_file *f, tlt_err *err) {
  if (!f) return TLT_OK;
  tlt_status status = TLT_OK;
  bool injected = tlt__io_faulted();
  int error_number = errno;
  int rc = close(f->fd); /* Linux frees the descriptor even on EINTR: never repeated */
  if (injected) errno = error_number;
  if ((rc < 0 || injected) && errno != EINTR) status = tlt__fail_errno(err, f->path, "close");
  tlt_free(f);
  return status;
}

/* ---- Whole files ---- */

static tlt_status load_open(tlt_file *f, size_t cap, char **text, size_t *n, tlt_err *err) {
  uint64_t bytes;
  tlt_status status = tlt_file_size(f, &bytes, err);
  if (status != TLT_OK) return status;
  if (bytes > cap)
    return tlt_fail(err, TLT_EDATA, "%s: got %llu bytes, expected at most %zu", f->path,
                    (unsigned long long)bytes, cap);
  char *buffer = tlt_malloc((size_t)bytes + 1);
  if (!buffer) return tlt_fail_nomem(err, f->path, (size_t)bytes + 1);
  status = tlt_file_pread(f, buffer, (size_t)bytes, 0, err);
  if (status != TLT_OK) {
    tlt_free(buffer);
    return status;
  }
  buffer[bytes] = 0;
  *text = buffer;
  *n = (size_t)bytes;
  return TLT_OK;
}

tlt_status tlt_file_load(const char *path, size_t cap, char **text, size_t *n, tlt_err *err) {
  tlt_file *f;
  *text = NULL;
  *n = 0;
  tlt_status status = tlt_file_open(path, TLT_FILE_READ, &f, err);
  if (status != TLT_OK) return status;
  status = load_open(f, cap, text, n, err);
  tlt_file_close(f, NULL); /* nothing was written: its failure loses nothing */
  return status;
}

tlt_status tlt_file_publish(tlt_file *f, const char *path, tlt_err *err) {
  char temporary[TLT_PATH_MAX], dir[TLT_PATH_MAX];
  snprintf(temporary, sizeof temporary, "%s", f->path);
  tlt_status status = tlt_file_sync(f, err);
  tlt_status closed = tlt_file_close(f, status == TLT_OK ? err : NULL);
  if (status == TLT_OK) status = closed;
  if (status == TLT_OK) status = tlt_path_rename(temporary, path, err);
  if (status != TLT_OK) {
    unlink(temporary);
    return status;
  }
  tlt_path_parent(dir, path);
  return tlt_dir_sync(dir, err);
}

void tlt_file_discard(tlt_file *f) {
  if (!f) return;
  unlink(f->path); /* if even this fails, the next run overwrites the leftover */
  tlt_file_close(f, NULL);
}

tlt_status tlt_file_store(const char *path, const void *data, size_t n, tlt_err *err) {
  char temporary[TLT_PATH_MAX + 8];
  tlt_file *f;
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  tlt_status status = tlt_file_open(temporary, TLT_FILE_TRUNCATE, &f, err);
  if (status != TLT_OK) return status;
  status = tlt_file_write(f, data, n, err);
  if (status == TLT_OK) return tlt_file_publish(f, path, err);
  tlt_file_discard(f);
  return status;
}

tlt_status tlt_file_sha256(const char *path, char hex[TLT_SHA256_HEX], tlt_err *err) {
  enum { BLOCK = 1 << 18 };
  tlt_file *f = NULL;
  uint64_t bytes;
  char *block = NULL;
  tlt_sha256 hash;
  hex[0] = 0;
  tlt_status status = tlt_file_open(path, TLT_FILE_READ, &f, err);
  if (status != TLT_OK) return status;
  status = tlt_file_size(f, &bytes, err);
  if (status == TLT_OK && !(block = tlt_malloc(BLOCK))) status = tlt_fail_nomem(err, path, BLOCK);
  tlt_sha256_begin(&hash);
  for (uint64_t at = 0; status == TLT_OK && at < bytes; at += BLOCK) {
    size_t n = bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK;
    status = tlt_file_pread(f, block, n, at, err);
    if (status == TLT_OK) tlt_sha256_add(&hash, block, n);
  }
  tlt_sha256_end(&hash, hex);
  if (status != TLT_OK) hex[0] = 0;
  tlt_free(block);
  tlt_file_close(f, NULL);
  return status;
}
