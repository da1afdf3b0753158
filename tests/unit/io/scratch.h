/* A directory of its own for each test program, removed at the end, and shorthands. Include it
 * before anything else: it asks for mkdtemp. */
#ifndef TLT_TESTS_UNIT_IO_SCRATCH_H
#define TLT_TESTS_UNIT_IO_SCRATCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs those above first */
#include <cmocka.h>

#include "io/file.h"

static char scratch_dir[64];

static inline int scratch_open(void **state) {
  (void)state;
  snprintf(scratch_dir, sizeof scratch_dir, "/dev/shm/tlt_test_XXXXXX"); /* fsync is free there */
  if (mkdtemp(scratch_dir)) return 0;
  snprintf(scratch_dir, sizeof scratch_dir, "/tmp/tlt_test_XXXXXX");
  return mkdtemp(scratch_dir) ? 0 : -1;
}

static inline int scratch_close(void **state) {
  (void)state;
  return tlt_path_remove(scratch_dir, NULL) == TLT_OK ? 0 : -1;
}

/* Path of a name in the directory; four results stay valid. */
static inline const char *scratch(const char *name) {
  static char paths[4][TLT_PATH_MAX];
  static int turn;
  char *path = paths[turn++ % 4];
  tlt_path_join(path, scratch_dir, name);
  return path;
}

static inline const char *scratch_file(const char *name, const void *data, size_t n) {
  tlt_err err = {0};
  if (tlt_file_store(scratch(name), data, n, &err) != TLT_OK) fail_msg("%s", err.text);
  return scratch(name);
}

static inline const char *scratch_text(const char *name, const char *text) {
  return scratch_file(name, text, strlen(text));
}

#define assert_ok(call)                             \
  do {                                              \
    tlt_err err = {0};                              \
    if ((call) != TLT_OK) fail_msg("%s", err.text); \
  } while (0)

/* The call, which must use &err, fails with this status and its text holds `part`. */
#define assert_fails(call, expected, part)                                                \
  do {                                                                                    \
    tlt_err err = {0};                                                                    \
    assert_int_equal((call), expected);                                                   \
    assert_int_equal(err.status, expected);                                               \
    if (!strstr(err.text, part)) fail_msg("\"%s\" does not hold \"%s\"", err.text, part); \
  } while (0)

#endif
