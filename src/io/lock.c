/* Directory lock of the file layer; see file.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/file.h"

struct tlt_lock {
  int fd;
};

static tlt_status fail_held(int fd, const char *dir, tlt_err *err) {
  char text[32] = {0};
  ssize_t n = pread(fd, text, sizeof text - 1, 0);
  text[strcspn(text, "\n")] = 0;
  return tlt_fail(err, TLT_EIO, "%s: in use by process %s", dir, n > 0 ? text : "(unknown)");
}

static tlt_status write_pid(int fd, const char *path, tlt_err *err) {
  char text[32];
  int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n) return TLT_OK;
  return tlt_fail(err, TLT_EIO, "%s: cannot write: %s", path, strerror(errno));
}

tlt_status tlt_lock_acquire(const char *dir, tlt_lock **out, tlt_err *err) {
  char path[TLT_PATH_MAX];
  *out = NULL;
  tlt_path_join(path, dir, "lock");
  tlt_lock *lock = tlt_malloc(sizeof *lock);
  if (!lock) return tlt_fail_nomem(err, "lock", sizeof *lock);
  int fault = EIO;
  lock->fd = -1;
  if (tlt_fault_hit(TLT_FAULT_IO, &fault)) errno = fault;
  else lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  tlt_status status = TLT_OK;
  if (lock->fd < 0)
    status = tlt_fail(err, TLT_EIO, "%s: cannot open for writing: %s", path, strerror(errno));
  else if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0) status = write_pid(lock->fd, path, err);
  else if (errno == EWOULDBLOCK) status = fail_held(lock->fd, dir, err);
  else status = tlt_fail(err, TLT_EIO, "%s: cannot lock: %s", path, strerror(errno));
  if (status != TLT_OK) {
    tlt_lock_release(lock);
    return status;
  }
  *out = lock;
  return TLT_OK;
}

void tlt_lock_release(tlt_lock *lock) {
  if (!lock) return;
  if (lock->fd >= 0) close(lock->fd);
  tlt_free(lock);
}
