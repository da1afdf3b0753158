#define _GNU_SOURCE
#include "base/shared_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

enum { HUGE_PAGE = 2 << 20 };

/* A mapping of fd whose address is a multiple of HUGE_PAGE, as huge pages of a file demand. */
static void *map_aligned(int fd, size_t bytes) {
  if (bytes > SIZE_MAX - HUGE_PAGE) return NULL;
  size_t room = bytes + HUGE_PAGE;
  char *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return NULL;
  size_t before = (HUGE_PAGE - (uintptr_t)area % HUGE_PAGE) % HUGE_PAGE;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (bytes + page - 1) / page * page;
  char *p = mmap(area + before, used, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (p == MAP_FAILED) {
    munmap(area, room);
    return NULL;
  }
  if (before) munmap(area, before);
  if (room > before + used) munmap(p + used, room - before - used);
  madvise(p, used, MADV_HUGEPAGE);
  return p;
}

/* Most systems give shared memory small pages unless asked afterwards. A range without any page is
 * refused, hence the touch. Advice only: works without. */
static void make_huge(char *p, size_t bytes) {
  for (size_t at = 0; at + HUGE_PAGE <= bytes; at += HUGE_PAGE) {
    *(volatile char *)(p + at) = 0;
    if (madvise(p + at, HUGE_PAGE, MADV_COLLAPSE)) return;
  }
}

tlt_status tlt_shared_pages_make(size_t bytes, tlt_shared_pages *made, void **out, tlt_err *err) {
  *made = (tlt_shared_pages){0};
  *out = NULL;
  if (!bytes || tlt_fault_hit(TLT_FAULT_ALLOC, NULL))
    return tlt_fail_nomem(err, "shared memory", bytes);
  int fd = memfd_create("tlt", MFD_CLOEXEC);
  if (fd < 0) return tlt_fail(err, TLT_EIO, "shared memory: %s", strerror(errno));
  struct stat info;
  void *p = NULL;
  if (ftruncate(fd, (off_t)bytes) || fstat(fd, &info) || !(p = map_aligned(fd, bytes))) {
    close(fd);
    return tlt_fail_nomem(err, "shared memory", bytes);
  }
  make_huge(p, bytes);
  *made = (tlt_shared_pages){getpid(), fd, (int64_t)info.st_dev, (int64_t)info.st_ino, bytes};
  *out = p;
  return TLT_OK;
}

void tlt_shared_pages_close(tlt_shared_pages *made) {
  if (made->fd > 0 && made->pid == getpid()) close((int)made->fd);
  made->fd = 0;
}

tlt_status tlt_shared_pages_open(const tlt_shared_pages *made, void **out, tlt_err *err) {
  *out = NULL;
  if (tlt_fault_hit(TLT_FAULT_ALLOC, NULL))
    return tlt_fail_nomem(err, "shared memory", made->bytes);
  char path[64];
  snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)made->pid, (long long)made->fd);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return tlt_fail(err, TLT_EIO, "shared memory: %s: %s", path, strerror(errno));
  struct stat info;
  bool same = fstat(fd, &info) == 0 && (int64_t)info.st_dev == made->device &&
              (int64_t)info.st_ino == made->inode && (uint64_t)info.st_size == made->bytes;
  *out = same ? map_aligned(fd, made->bytes) : NULL;
  close(fd);
  if (!same) return tlt_fail(err, TLT_EIO, "shared memory: %s is something else", path);
  return *out ? TLT_OK : tlt_fail_nomem(err, "shared memory", made->bytes);
}

void tlt_shared_pages_unmap(void *p, size_t bytes) {
  if (p) munmap(p, bytes);
}
