/* Checkpoint container: round trip, publishing rules, damage.
 * Run alone: build/tests/unit/io/test_checkpoint */
#include "scratch.h"
/* the rest after it */
#include "base/mem.h"
#include "io/checkpoint.h"
#include "io/json.h"

static char dir[TLT_PATH_MAX];

static int fresh(void **state) {
  (void)state;
  tlt_path_join(dir, scratch_dir, "checkpoints");
  return tlt_path_remove(dir, NULL) == TLT_OK ? 0 : -1;
}

static tlt_status save(int64_t step, int keep, tlt_err *err) {
  tlt_ckpt_writer *w;
  json_t *state = json_pack("{s:I, s:f}", "step", (json_int_t)step, "third", 1.0 / 3);
  tlt_status status = tlt_ckpt_create(dir, step, &w, err);
  if (status == TLT_OK) {
    status = tlt_ckpt_part(w, "weights", err);
    for (int i = 0; i < 1000 && status == TLT_OK; i++)
      status = tlt_ckpt_write(w, &i, sizeof i, err);
    if (status == TLT_OK) status = tlt_ckpt_part(w, "empty", err);
    if (status == TLT_OK) status = tlt_ckpt_part(w, "optimizer.m", err);
    if (status == TLT_OK) status = tlt_ckpt_write(w, "moments", 7, err);
    if (status == TLT_OK) status = tlt_ckpt_publish(w, state, keep, err);
    else tlt_ckpt_abandon(w);
  }
  json_decref(state);
  return status;
}

static bool has(const char *name) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, name);
  return tlt_path_exists(path);
}

/* Rewrite a file of a checkpoint with one byte changed, or cut to `keep` bytes. */
static void damage(const char *name, int64_t flip, size_t keep) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_path_join(path, dir, name);
  assert_ok(tlt_file_load(path, 1 << 26, &text, &n, &err));
  if (flip >= 0) text[flip] ^= 1;
  assert_ok(tlt_file_store(path, text, keep < n ? keep : n, &err));
  tlt_free(text);
}

static tlt_status check(int64_t step, tlt_err *err) {
  tlt_ckpt_reader *r;
  tlt_status status = tlt_ckpt_open(dir, step, &r, err);
  if (status == TLT_OK) status = tlt_ckpt_verify(r, err);
  tlt_ckpt_close(r);
  return status;
}

static void round_trip(void **state) {
  (void)state;
  tlt_ckpt_reader *r;
  uint64_t bytes;
  int values[1000];
  char text[8] = {0};
  double third;
  int64_t step;
  assert_ok(tlt_ckpt_latest(dir, &step, &err));
  assert_int_equal(step, -1);
  assert_ok(save(7, 2, &err));
  assert_ok(tlt_ckpt_latest(dir, &step, &err));
  assert_int_equal(step, 7);
  assert_ok(tlt_ckpt_open(dir, 7, &r, &err));
  tlt_json_node top = tlt_json_top(tlt_ckpt_state(r), "state", 0);
  assert_ok(tlt_json_double(&top, "third", 0, 1, &third, &err));
  assert_true(third == 1.0 / 3);
  assert_int_equal(tlt_ckpt_part_count(r), 3);
  assert_string_equal(tlt_ckpt_part_name(r, 1), "empty");
  assert_ok(tlt_ckpt_seek(r, "optimizer.m", &bytes, &err));
  assert_int_equal(bytes, 7);
  assert_ok(tlt_ckpt_read(r, text, 7, &err));
  assert_string_equal(text, "moments");
  assert_fails(tlt_ckpt_read(r, text, 1, &err), TLT_ECHECKPOINT, "got 0 bytes, expected 1 more");
  assert_ok(tlt_ckpt_seek(r, "weights", &bytes, &err));
  assert_ok(tlt_ckpt_read(r, values, 1, &err));
  assert_ok(tlt_ckpt_read(r, (char *)values + 1, sizeof values - 1, &err));
  assert_int_equal(values[999], 999);
  assert_fails(tlt_ckpt_seek(r, "nothing", &bytes, &err), TLT_ECHECKPOINT, "has no part nothing");
  assert_ok(tlt_ckpt_verify(r, &err));
  tlt_ckpt_close(r);
}

static void several_blocks(void **state) {
  (void)state;
  size_t n = 2 * (size_t)TLT_CKPT_BLOCK + 5;
  char *data = tlt_calloc(n, 1);
  tlt_ckpt_writer *w;
  json_t *empty = json_object();
  data[TLT_CKPT_BLOCK] = 1;
  assert_ok(tlt_ckpt_create(dir, 1, &w, &err));
  assert_ok(tlt_ckpt_part(w, "big", &err));
  assert_ok(tlt_ckpt_write(w, data, n, &err));
  assert_ok(tlt_ckpt_part(w, "whole", &err));
  assert_ok(tlt_ckpt_write(w, data, TLT_CKPT_BLOCK, &err));
  assert_ok(tlt_ckpt_publish(w, empty, 2, &err));
  assert_ok(check(1, &err));
  damage("step-1/big", TLT_CKPT_BLOCK + 9, SIZE_MAX);
  assert_fails(check(1, &err), TLT_ECHECKPOINT,
               "step-1/big: bytes 16777216 .. 33554431: got CRC-32");
  tlt_free(data);
  json_decref(empty);
}

static void keeps_the_newest(void **state) {
  (void)state;
  assert_ok(save(1, 0, &err));
  assert_ok(save(2, 0, &err));
  assert_ok(save(10, 0, &err));
  assert_false(has("step-1"));
  assert_true(has("step-2") && has("step-10"));
  assert_ok(save(11, 3, &err));
  assert_true(has("step-2"));
  assert_fails(save(11, 2, &err), TLT_ECHECKPOINT, "step-11: is intact");
  assert_fails(save(5, 2, &err), TLT_ECHECKPOINT, "step-10: is intact");
  assert_ok(check(11, &err));
}

static void every_damage_is_named(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int64_t flip;
    size_t keep;
    const char *part;
  } cases[] = {
      {"step-3/weights", 0, SIZE_MAX, "step-3/weights: bytes 0 .. 3999: got CRC-32"},
      {"step-3/weights", 3999, SIZE_MAX, "step-3/weights: bytes 0 .. 3999: got CRC-32"},
      {"step-3/weights", -1, 3999, "step-3/weights: got 3999 bytes, expected 4000"},
      {"step-3/optimizer.m", -1, 0, "step-3/optimizer.m: got 0 bytes, expected 7"},
      {"step-3/manifest.json", -1, 0, "step-3/manifest.json"},
      {"step-3/manifest.json", -1, 60, "step-3/manifest.json"},
      {"step-3/manifest.json", 13, SIZE_MAX, "do not match their checksum"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fresh(NULL);
    assert_ok(save(3, 2, &err));
    damage(cases[i].name, cases[i].flip, cases[i].keep);
    assert_fails(check(3, &err), TLT_ECHECKPOINT, cases[i].part);
  }
}

/* No flipped bit anywhere in the manifest goes unseen. */
static void manifest_is_covered(void **state) {
  (void)state;
  char path[TLT_PATH_MAX], *text;
  size_t n;
  assert_ok(save(3, 2, &err));
  tlt_path_join(path, dir, "step-3/manifest.json");
  assert_ok(tlt_file_load(path, 1 << 20, &text, &n, &err));
  for (size_t i = 0; i < n; i++) {
    text[i] ^= 1;
    assert_ok(tlt_file_store(path, text, n, &err));
    assert_int_equal(check(3, NULL), TLT_ECHECKPOINT);
    text[i] ^= 1;
  }
  tlt_free(text);
}

static void missing_part(void **state) {
  (void)state;
  char path[TLT_PATH_MAX];
  assert_ok(save(3, 2, &err));
  tlt_path_join(path, dir, "step-3/empty");
  assert_ok(tlt_path_remove(path, &err));
  assert_fails(check(3, &err), TLT_ECHECKPOINT, "step-3/empty: no such file");
}

static void other_format(void **state) {
  (void)state;
  assert_ok(save(3, 2, &err));
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, "step-3/manifest.json");
  const char *text = "{\"crc32\": \"00000000\", \"manifest\":\n{\"format\": 9}\n}\n";
  assert_ok(tlt_file_store(path, text, strlen(text), &err));
  assert_fails(check(3, &err), TLT_ECHECKPOINT, "got checkpoint format 9, expected 1");
}

static void falls_back_past_damage(void **state) {
  (void)state;
  int64_t step;
  assert_ok(save(1, 3, &err));
  assert_ok(save(2, 3, &err));
  assert_ok(save(3, 3, &err));
  damage("step-3/weights", 5, SIZE_MAX);
  damage("step-2/weights", -1, 5);
  assert_ok(tlt_ckpt_latest(dir, &step, &err));
  assert_int_equal(step, 3);
  assert_ok(tlt_ckpt_last_good(dir, &step, &err));
  assert_int_equal(step, 1);
  assert_ok(save(2, 3, &err));
  assert_true(has("step-2.bad") && has("step-3.bad") && !has("step-3"));
  assert_ok(check(2, &err));
  damage("step-1/weights", 5, SIZE_MAX);
  damage("step-2/weights", 5, SIZE_MAX);
  assert_fails(tlt_ckpt_last_good(dir, &step, &err), TLT_ECHECKPOINT,
               "no undamaged checkpoint among 2");
}

static void latest_behind_and_ahead(void **state) {
  (void)state;
  int64_t step;
  char path[TLT_PATH_MAX];
  assert_ok(save(4, 2, &err));
  tlt_path_join(path, dir, "LATEST");
  assert_ok(tlt_file_store(path, "step-2\n", 7, &err));
  assert_ok(tlt_ckpt_latest(dir, &step, &err));
  assert_int_equal(step, 4);
  assert_ok(tlt_file_store(path, "step-9\n", 7, &err));
  assert_fails(tlt_ckpt_latest(dir, &step, &err), TLT_ECHECKPOINT,
               "names step-9, which is missing");
  assert_ok(tlt_file_store(path, "junk", 4, &err));
  assert_fails(tlt_ckpt_latest(dir, &step, &err), TLT_ECHECKPOINT, "got \"junk\", expected step-N");
}

static void abandoned_and_left_over_work_goes(void **state) {
  (void)state;
  tlt_ckpt_writer *w;
  char path[TLT_PATH_MAX];
  assert_ok(tlt_ckpt_create(dir, 1, &w, &err));
  assert_ok(tlt_ckpt_part(w, "a", &err));
  assert_fails(tlt_ckpt_part(w, "a", &err), TLT_EINTERNAL, "repeated");
  assert_fails(tlt_ckpt_part(w, "../a", &err), TLT_EINTERNAL, "bad");
  assert_true(has("tmp-1"));
  tlt_ckpt_abandon(w);
  tlt_ckpt_abandon(NULL);
  assert_false(has("tmp-1"));
  tlt_path_join(path, dir, "tmp-99/x");
  assert_ok(tlt_dir_make(path, &err));
  assert_ok(save(1, 2, &err));
  assert_false(has("tmp-99"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(round_trip, fresh),
      cmocka_unit_test_setup(several_blocks, fresh),
      cmocka_unit_test_setup(keeps_the_newest, fresh),
      cmocka_unit_test_setup(every_damage_is_named, fresh),
      cmocka_unit_test_setup(manifest_is_covered, fresh),
      cmocka_unit_test_setup(missing_part, fresh),
      cmocka_unit_test_setup(other_format, fresh),
      cmocka_unit_test_setup(falls_back_past_damage, fresh),
      cmocka_unit_test_setup(latest_behind_and_ahead, fresh),
      cmocka_unit_test_setup(abandoned_and_left_over_work_goes, fresh),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
