/* File layer, directories, lock.
 * Run alone: build/tests/unit/io/test_file */
#include "scratch.h"
/* the rest after it */
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static void store_and_load(void **state) {
  (void)state;
  char *text;
  size_t n;
  const char *path = scratch_file("a", "x\0y", 3);
  assert_ok(tlt_file_load(path, 3, &text, &n, &err));
  assert_int_equal(n, 3);
  assert_memory_equal(text, "x\0y", 4);
  tlt_free(text);
  assert_fails(tlt_file_load(path, 2, &text, &n, &err), TLT_EDATA,
               "got 3 bytes, expected at most 2");
  assert_null(text);
  assert_false(tlt_path_exists(scratch("a.tmp")));
  scratch_file("a", "", 0);
  assert_ok(tlt_file_load(path, 3, &text, &n, &err));
  assert_int_equal(n, 0);
  tlt_free(text);
}

static void store_leaves_the_old_file_on_failure(void **state) {
  (void)state;
  assert_ok(tlt_dir_make(scratch("blocked.tmp"), &err)); /* the temporary cannot be made */
  scratch_text("kept", "old");
  assert_fails(tlt_file_store(scratch("blocked"), "x", 1, &err), TLT_EIO, "blocked.tmp: cannot");
  assert_fails(tlt_file_store(scratch("no/dir/x"), "x", 1, &err), TLT_EIO,
               "cannot open for writing");
}

static void refuses_what_is_not_a_regular_file(void **state) {
  (void)state;
  char *text;
  size_t n;
  assert_fails(tlt_file_load(scratch("none"), 9, &text, &n, &err), TLT_EDATA, "no such file");
  assert_fails(tlt_file_load(scratch_dir, 9, &text, &n, &err), TLT_EDATA, "got a directory");
  assert_int_equal(mkfifo(scratch("fifo"), 0600), 0);
  assert_fails(tlt_file_load(scratch("fifo"), 9, &text, &n, &err), TLT_EDATA, "got a FIFO");
  char longest[TLT_PATH_MAX + 8];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = 0;
  assert_fails(tlt_file_load(longest, 9, &text, &n, &err), TLT_EIO, "path of");
}

static void handles_read_write_append_truncate(void **state) {
  (void)state;
  tlt_file *f;
  char text[8] = {0};
  uint64_t bytes;
  assert_ok(tlt_file_open(scratch("log"), TLT_FILE_APPEND, &f, &err));
  assert_ok(tlt_file_write(f, "abc", 3, &err));
  assert_ok(tlt_file_close(f, &err));
  assert_ok(tlt_file_open(scratch("log"), TLT_FILE_APPEND, &f, &err));
  assert_ok(tlt_file_write(f, "def", 3, &err));
  assert_ok(tlt_file_truncate(f, 5, &err));
  assert_ok(tlt_file_sync(f, &err));
  assert_ok(tlt_file_close(f, &err));
  assert_fails(tlt_file_open(scratch("log"), TLT_FILE_CREATE, &f, &err), TLT_EIO, "exists");
  assert_ok(tlt_file_open(scratch("log"), TLT_FILE_READ, &f, &err));
  assert_ok(tlt_file_size(f, &bytes, &err));
  assert_int_equal(bytes, 5);
  assert_ok(tlt_file_pread(f, text, 3, 2, &err));
  assert_string_equal(text, "cde");
  assert_fails(tlt_file_pread(f, text, 3, 3, &err), TLT_EDATA, "got 2 bytes, expected 3");
  assert_fails(tlt_file_pread(f, text, 1, UINT64_MAX, &err), TLT_EDATA, "beyond any file");
  assert_ok(tlt_file_close(f, &err));
  assert_ok(tlt_file_close(NULL, &err));
}

static void sha256_of_a_file(void **state) {
  (void)state;
  char hex[TLT_SHA256_HEX];
  assert_ok(tlt_file_sha256(scratch_text("abc", "abc"), hex, &err));
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert_fails(tlt_file_sha256(scratch("none"), hex, &err), TLT_EDATA, "no such file");
  assert_string_equal(hex, "");
}

static void directories(void **state) {
  (void)state;
  char **names, parent[TLT_PATH_MAX];
  size_t count;
  assert_ok(tlt_dir_make(scratch("d/e/f"), &err));
  assert_ok(tlt_dir_make(scratch("d/e/f"), &err));
  scratch_text("d/z", "1");
  scratch_text("d/b", "2");
  scratch_text("outside", "3");
  assert_int_equal(symlink(scratch("outside"), scratch("d/e/link")), 0);
  assert_ok(tlt_dir_list(scratch("d"), &names, &count, &err));
  assert_int_equal(count, 3);
  assert_string_equal(names[0], "b");
  assert_string_equal(names[2], "z");
  tlt_dir_list_free(names, count);
  assert_fails(tlt_dir_make(scratch("d/b"), &err), TLT_EIO, "cannot make directory");
  assert_ok(tlt_path_remove(scratch("d"), &err));
  assert_ok(tlt_path_remove(scratch("d"), &err));
  assert_true(tlt_path_exists(scratch("outside")));
  tlt_path_parent(parent, "a/b//");
  assert_string_equal(parent, "a");
  tlt_path_parent(parent, "/a");
  assert_string_equal(parent, "/");
  tlt_path_parent(parent, "a");
  assert_string_equal(parent, ".");
}

static void lock_names_its_holder(void **state) {
  (void)state;
  tlt_lock *lock, *second;
  char holder[64];
  assert_ok(tlt_lock_acquire(scratch_dir, &lock, &err));
  snprintf(holder, sizeof holder, "in use by process %ld", (long)getpid());
  assert_fails(tlt_lock_acquire(scratch_dir, &second, &err), TLT_EIO, holder);
  assert_null(second);
  tlt_lock_release(lock);
  assert_ok(tlt_lock_acquire(scratch_dir, &lock, &err));
  tlt_lock_release(lock);
  tlt_lock_release(NULL);
  assert_fails(tlt_lock_acquire(scratch("none"), &lock, &err), TLT_EIO, "none/lock");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(store_and_load),
      cmocka_unit_test(store_leaves_the_old_file_on_failure),
      cmocka_unit_test(refuses_what_is_not_a_regular_file),
      cmocka_unit_test(handles_read_write_append_truncate),
      cmocka_unit_test(sha256_of_a_file),
      cmocka_unit_test(directories),
      cmocka_unit_test(lock_names_its_holder),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
