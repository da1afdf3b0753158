/* Paths and directories of the file layer; see file.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/seam.h"

bool tlt_path_exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

bool tlt_path_is_dir(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void tlt_path_join(char out[TLT_PATH_MAX], const char *dir, const char *name) {
  size_t n = strlen(dir);
  const char *slash = n && dir[n - 1] != '/' ? "/" : "";
  int used = snprintf(out, TLT_PATH_MAX, "%s%s%s", dir, slash, name);
  (void)used; /* a cut path fills the buffer, which open refuses */
}

void tlt_path_parent(char out[TLT_PATH_MAX], const char *path) {
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  while (n > 0 && path[n - 1] != '/') n--;
  while (n > 1 && path[n - 1] == '/') n--;
  if (n >= TLT_PATH_MAX) n = TLT_PATH_MAX - 1;
  if (n == 0) path = ".", n = 1;
  memcpy(out, path, n);
  out[n] = 0;
}

static tlt_status make_one(const char *path, tlt_err *err) {
  if (TLT__CALL(mkdir(path, 0777)) == 0) return TLT_OK;
  int error_number = errno;
  if (error_number == EEXIST && tlt_path_is_dir(path)) return TLT_OK;
  errno = error_number;
  return tlt__fail_errno(err, path, "make directory");
}

tlt_status tlt_dir_make(const char *path, tlt_err *err) {
  char part[TLT_PATH_MAX];
  size_t n = strlen(path);
  if (n >= sizeof part) return tlt_fail(err, TLT_EIO, "%.100s...: path too long", path);
  if (tlt_path_is_dir(path)) return TLT_OK;
  for (size_t i = 1; i < n; i++) {
    if (path[i] != '/') continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (tlt_path_is_dir(part)) continue;
    tlt_status status = make_one(part, err);
    if (status != TLT_OK) return status;
  }
  return make_one(path, err);
}

tlt_status tlt_dir_sync(const char *path, tlt_err *err) {
  int fd = TLT__CALL(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd < 0) return tlt__fail_errno(err, path, "open directory");
  int rc;
  do rc = TLT__CALL(fsync(fd));
  while (rc < 0 && errno == EINTR);
  int error_number = errno;
  close(fd);
  if (rc == 0 || error_number == EINVAL) return TLT_OK; /* EINVAL: no such thing on this system */
  errno = error_number;
  return tlt__fail_errno(err, path, "sync directory");
}

tlt_status tlt_path_rename(const char *from, const char *to, tlt_err *err) {
  if (TLT__CALL(rename(from, to)) == 0) return TLT_OK;
  return tlt_fail(err, TLT_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
}

static tlt_status remove_tree(const char *path, int depth, tlt_err *err) {
  enum { DEEPEST = 64 };
  char **names;
  size_t count;
  if (depth > DEEPEST) return tlt_fail(err, TLT_EIO, "%s: directories nested too deep", path);
  tlt_status status = tlt_dir_list(path, &names, &count, err);
  if (status != TLT_OK) return status;
  for (size_t i = 0; i < count && status == TLT_OK; i++) {
    char child[TLT_PATH_MAX];
    struct stat st;
    tlt_path_join(child, path, names[i]);
    if (TLT__CALL(lstat(child, &st)) < 0) status = tlt__fail_errno(err, child, "stat");
    else if (S_ISDIR(st.st_mode)) status = remove_tree(child, depth + 1, err);
    else if (TLT__CALL(unlink(child)) < 0) status = tlt__fail_errno(err, child, "remove");
  }
  tlt_dir_list_free(names, count);
  if (status == TLT_OK && TLT__CALL(rmdir(path)) < 0) status = tlt__fail_errno(err, path, "remove");
  return status;
}

tlt_status tlt_path_remove(const char *path, tlt_err *err) {
  struct stat st;
  if (TLT__CALL(lstat(path, &st)) < 0)
    return errno == ENOENT ? TLT_OK : tlt__fail_errno(err, path, "stat");
  if (S_ISDIR(st.st_mode)) return remove_tree(path, 0, err);
  return TLT__CALL(unlink(path)) < 0 ? tlt__fail_errno(err, path, "remove") : TLT_OK;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static tlt_status read_names(DIR *d, const char *path, char ***names, size_t *count, tlt_err *err) {
  size_t room = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = tlt__io_faulted() ? NULL : readdir(d);
    if (!entry) return errno ? tlt__fail_errno(err, path, "list") : TLT_OK;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (*count == room) {
      room = room ? 2 * room : 16;
      char **grown = tlt_realloc(*names, room * sizeof *grown);
      if (!grown) return tlt_fail_nomem(err, path, room * sizeof *grown);
      *names = grown;
    }
    char *copy = tlt_strdup(entry->d_name);
    if (!copy) return tlt_fail_nomem(err, path, strlen(entry->d_name) + 1);
    (*names)[(*count)++] = copy;
  }
}

tlt_status tlt_dir_list(const char *path, char ***names, size_t *count, tlt_err *err) {
  *names = NULL;
  *count = 0;
  DIR *d = tlt__io_faulted() ? NULL : opendir(path);
  if (!d) return tlt__fail_errno(err, path, "list");
  tlt_status status = read_names(d, path, names, count, err);
  closedir(d);
  if (status != TLT_OK) {
    tlt_dir_list_free(*names, *count);
    *names = NULL;
    *count = 0;
    return status;
  }
  if (*count) qsort(*names, *count, sizeof **names, by_name);
  return TLT_OK;
}

void tlt_dir_list_free(char **names, size_t count) {
  for (size_t i = 0; i < count; i++) tlt_free(names[i]);
  tlt_free(names);
}
