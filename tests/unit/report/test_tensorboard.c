/* Event files: framing to the byte, one file a start, what a beginning removes. That TensorBoard
 * reads them is checked by tests/py/test_tensorboard.py.
 * Alone: build/tests/unit/report/test_report_tensorboard */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "report/event_file.h"
#include "report/tensorboard.h"

static char top[64], dir[TLT_PATH_MAX];
static tlt_err err;

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-events-XXXXXX");
  if (!mkdtemp(top)) return -1;
  tlt_path_join(dir, top, "tensorboard");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

static void ok(tlt_status s) {
  if (s != TLT_OK) fail_msg("%s", err.text);
}

static void check_count(size_t want) {
  char **names;
  size_t n;
  ok(tlt_dir_list(dir, &names, &n, &err));
  assert_int_equal(n, want);
  tlt_dir_list_free(names, n);
}

/* The newest file. */
static char *load(size_t *bytes) {
  char **names, path[TLT_PATH_MAX], *text;
  size_t n;
  ok(tlt_dir_list(dir, &names, &n, &err));
  tlt_path_join(path, dir, names[n - 1]);
  tlt_dir_list_free(names, n);
  ok(tlt_file_load(path, 1 << 20, &text, bytes, &err));
  return text;
}

static void test_crc32c(void **state) {
  (void)state;
  const uint8_t zeros[32] = {0};
  assert_int_equal(tlt_crc32c("123456789", 9), 0xe3069283);
  assert_int_equal(tlt_crc32c(zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
  assert_int_equal(tlt_crc32c("", 0), 0);
}

static void test_record_to_the_byte(void **state) {
  (void)state;
  static const uint8_t want[] = {/* 3 bytes; check of that */ 3,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0xb0,
                                 0x99,
                                 0x49,
                                 0x0e,
                                 'a',
                                 'b',
                                 'c',
                                 /* check of the message */ 0x6e,
                                 0x57,
                                 0xf1,
                                 0x21};
  tlt_event_file *f;
  size_t n;
  ok(tlt_event_file_open(dir, &f, &err));
  memcpy(tlt_event_file_room(f, 3), "abc", 3);
  ok(tlt_event_file_add(f, &err));
  ok(tlt_event_file_close(f, &err));
  char *text = load(&n);
  assert_int_equal(n, sizeof want);
  assert_memory_equal(text, want, n);
  tlt_free(text);
}

/* Three starts: from the beginning, going on, from the beginning again. */
static void test_a_file_each_start(void **state) {
  (void)state;
  static tlt_metrics m = {.step = 1};
  const int64_t after[] = {-1, 0, 1, -1};
  const size_t files[] = {1, 2, 3, 1};
  tlt_metrics_real(&m, "a", 0.0);
  tlt_metrics_real(&m, "b", NAN);
  tlt_metrics_text(&m, "c", "text");
  for (int i = 0; i < 4; i++) {
    void *writer;
    size_t head, n;
    ok(tlt_metrics_tensorboard.start(NULL, top, after[i], &writer, &err));
    tlt_free(load(&head));
    ok(tlt_metrics_tensorboard.put(writer, &m, &err));
    ok(tlt_metrics_tensorboard.close(writer, &err));
    check_count(files[i]);
    tlt_free(load(&n));
    /* wall time 9, step 2, summary 2 + value 2 + tag 3 + number 5, framing 16 */
    assert_int_equal(n - head, 39);
  }
  ok(tlt_metrics_tensorboard.close(NULL, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc32c),
      cmocka_unit_test_setup_teardown(test_record_to_the_byte, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_file_each_start, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
