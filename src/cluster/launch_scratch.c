#define _GNU_SOURCE
#include "cluster/launch_scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Measured: 4 MiB of segment per worker, and about 5 MB for mpirun's own tables. */
enum { WORKER_MB = 5, MPIRUN_MB = 10 };

static bool has_room(const char *directory, int workers) {
  struct statvfs v;
  return statvfs(directory, &v) == 0 &&
         (double)v.f_bavail * (double)v.f_frsize > 1e6 * (MPIRUN_MB + WORKER_MB * workers);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
  (void)info, (void)type, (void)where;
  remove(path);
  return 0;
}

void tlt__scratch_remove(const char *path) {
  if (*path) nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Directories of this user whose launcher is gone. */
static void remove_stale(const char *base) {
  DIR *dir = opendir(base);
  if (!dir) return;
  for (struct dirent *d; (d = readdir(dir));) {
    int pid, end = 0;
    char path[TLT__SCRATCH_MAX];
    struct stat info;
    if (sscanf(d->d_name, "tlt-workers-%d%n", &pid, &end) != 1 || d->d_name[end] || pid <= 0)
      continue;
    if (kill(pid, 0) == 0 || errno != ESRCH) continue;
    snprintf(path, sizeof path, "%s/tlt-workers-%d", base, pid);
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid())
      tlt__scratch_remove(path);
  }
  closedir(dir);
}

bool tlt__scratch_make(int workers, char path[TLT__SCRATCH_MAX]) {
  static const char bases[][16] = {"/dev/shm", "/tmp"};
  for (int i = 0; i < 2; i++) {
    remove_stale(bases[i]);
    snprintf(path, TLT__SCRATCH_MAX, "%s/tlt-workers-%d", bases[i], (int)getpid());
    if (has_room(bases[i], workers) && mkdir(path, 0700) == 0) return true;
  }
  *path = 0;
  return false;
}
