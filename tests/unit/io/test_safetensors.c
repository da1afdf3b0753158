/* safetensors: round trip, sharded sets, and the list of files that must be refused.
 * Run alone: build/tests/unit/io/test_safetensors */
#include "scratch.h"
/* the rest after it */
#include "base/bf16.h"
#include "io/safetensors.h"

/* A file of a header text and n data bytes. length < 0: the true header length. */
static const char *craft(const char *name, const char *header, int64_t length, size_t n) {
  static char bytes[8192];
  size_t h = strlen(header);
  uint64_t stated = length < 0 ? h : (uint64_t)length;
  memcpy(bytes, &stated, 8);
  memcpy(bytes + 8, header, h);
  memset(bytes + 8 + h, 0, n);
  return scratch_file(name, bytes, 8 + h + n);
}

#define F4 "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":"

static void refused(void **state) {
  (void)state;
  static const struct {
    const char *header;
    int64_t length;
    size_t n;
    const char *part;
  } cases[] = {
      {"{}", 3, 0, "header of 3 bytes, expected at most 2"},
      {"{}", INT64_MAX, 0, "header of 9223372036854775807 bytes"},
      {"[]", -1, 0, "does not begin with {"},
      {"", -1, 0, "does not begin with {"},
      {"{} x", -1, 0, "end of file expected"},
      {"{\"a\xff\":1}", -1, 0, "offset 3: got byte 0xff, expected UTF-8"},
      {"{\"a\":{" F4 "[0,4]},\"a\":{" F4 "[0,4]}}", -1, 4, "duplicate"},
      {"{\"a\":{" F4 "[0,4]},\"b\":{" F4 "[2,6]}}", -1, 6,
       "b: data begins at 2, expected 4 (tensors overlap)"},
      {"{\"a\":{" F4 "[0,4]},\"b\":{" F4 "[8,12]}}", -1, 12,
       "b: data begins at 8, expected 4 (hole"},
      {"{\"a\":{" F4 "[4,0]}}", -1, 4, "a.data_offsets: got 4 .. 0"},
      {"{\"a\":{" F4 "[-4,0]}}", -1, 4, "a.data_offsets: got -4 .. 0"},
      {"{\"a\":{" F4 "[0,8]}}", -1, 4, "a.data_offsets: got 0 .. 8"},
      {"{\"a\":{" F4 "[0,9223372036854775808]}}", -1, 4, "too big integer"},
      {"{\"a\":{" F4 "[0]}}", -1, 4, "expected two integers"},
      {"{\"a\":{" F4 "[0,4]}}", -1, 5, "got 5 bytes of data, expected 4"},
      {"{\"a\":{" F4 "[0,4]}}", -1, 3, "expected ascending within 0 .. 3"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4194305,4194305,211106198978564],\"data_offsets\":[0,4]"
       "}}",
       -1, 4, "a.shape: product of dimensions overflows"},
      {"{\"a\":{\"dtype\":\"I64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", -1, 0,
       "span of 0 bytes"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", -1, 4,
       "a: got a span of 4 bytes, expected 2 elements of 4 bytes"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", -1, 4, "dimension -1"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", -1, 4,
       "dimension 1.0"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", -1, 4,
       "9 dimensions"},
      {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4,
       "a.dtype: got \"Q4\""},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4, "a.dtype: missing"},
      {"{\"a\":7}", -1, 0, "a: expected an object"},
      {"{\"__metadata__\":{\"format\":7}}", -1, 0, "__metadata__.format: expected a string"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tlt_st_set *set;
    const char *path = craft("bad.safetensors", cases[i].header, cases[i].length, cases[i].n);
    assert_fails(tlt_st_open(path, &set, &err), TLT_EDATA, cases[i].part);
    assert_null(set);
  }
}

static void refused_without_header(void **state) {
  (void)state;
  tlt_st_set *set;
  assert_fails(tlt_st_open(scratch("none"), &set, &err), TLT_EDATA, "no such file");
  assert_fails(tlt_st_open(scratch_text("s", "1234567"), &set, &err), TLT_EDATA, "got 7 bytes");
  assert_fails(tlt_st_open(scratch_text("s", ""), &set, &err), TLT_EDATA, "got 0 bytes");
  assert_fails(
      tlt_st_open(scratch_text("s", "version https://git-lfs.github.com/spec/v1\n"), &set, &err),
      TLT_EDATA, "Git LFS pointer");
  char deep[512] = "{\"a\":";
  memset(deep + 5, '[', 200);
  assert_fails(tlt_st_open(craft("s", deep, -1, 0), &set, &err), TLT_EDATA, "nesting over 64");
  assert_ok(tlt_dir_make(scratch("empty"), &err));
  assert_fails(tlt_st_open(scratch("empty"), &set, &err), TLT_EDATA, "found neither");
}

static void write_mixed(const char *path) {
  const float f[3] = {1.5f, -0.0f, 3e38f};
  const uint16_t bf[2] = {0x3f80, 0xc000}, half[4] = {0x3c00, 0x0001, 0xfbff, 0x8000};
  tlt_st_writer *w;
  assert_ok(tlt_st_create(path, &w, &err));
  assert_ok(tlt_st_declare(w, "f", TLT_F32, (int64_t[]){3, 1}, 2, &err));
  assert_ok(tlt_st_declare(w, "bf \"q\"", TLT_BF16, (int64_t[]){2}, 1, &err));
  assert_ok(tlt_st_declare(w, "half", TLT_F16, (int64_t[]){4}, 1, &err));
  assert_ok(tlt_st_declare(w, "empty", TLT_F32, (int64_t[]){0, 7}, 2, &err));
  assert_ok(tlt_st_write(w, f, 5, &err));
  assert_ok(tlt_st_write(w, (const char *)f + 5, 7, &err));
  assert_ok(tlt_st_write(w, bf, sizeof bf, &err));
  assert_ok(tlt_st_write(w, half, sizeof half, &err));
  assert_false(tlt_path_exists(path));
  assert_ok(tlt_st_finish(w, &err));
}

static void round_trip_of_mixed_types(void **state) {
  (void)state;
  float x[4];
  tlt_st_set *set;
  const char *path = scratch("mixed.safetensors");
  write_mixed(path);
  assert_ok(tlt_st_open(path, &set, &err));
  assert_int_equal(tlt_st_count(set), 4);
  const tlt_st_tensor *t = tlt_st_find(set, "f");
  assert_int_equal(t->n_dims, 2);
  assert_int_equal(t->shape[0], 3);
  assert_int_equal(t->offset % 8, 0);
  assert_ok(tlt_st_read_f32(set, t, 1, 2, x, &err));
  assert_true(x[0] == 0 && tlt_bits_f32(x[0]) == 0x80000000u && x[1] == 3e38f);
  assert_ok(tlt_st_read_f32(set, tlt_st_find(set, "bf \"q\""), 0, 2, x, &err));
  assert_true(x[0] == 1 && x[1] == -2);
  assert_ok(tlt_st_read_f32(set, tlt_st_find(set, "half"), 0, 4, x, &err));
  assert_true(x[0] == 1 && x[1] == 0x1p-24f && x[2] == -65504 && tlt_bits_f32(x[3]) == 0x80000000u);
  assert_int_equal(tlt_st_find(set, "empty")->bytes, 0);
  assert_null(tlt_st_find(set, "nothing"));
  assert_fails(tlt_st_read_f32(set, t, 2, 2, x, &err), TLT_EINTERNAL, "outside the tensor");
  tlt_st_close(set);
}

static void non_finite_weights_are_named(void **state) {
  (void)state;
  const uint16_t bf[3] = {0x3f80, 0x7fc0, 0xff80};
  float x[3];
  tlt_st_writer *w;
  tlt_st_set *set;
  assert_ok(tlt_st_create(scratch("nan"), &w, &err));
  assert_ok(tlt_st_declare(w, "w", TLT_BF16, (int64_t[]){3}, 1, &err));
  assert_ok(tlt_st_write(w, bf, sizeof bf, &err));
  assert_ok(tlt_st_finish(w, &err));
  assert_ok(tlt_st_open(scratch("nan"), &set, &err));
  assert_fails(tlt_st_read_f32(set, tlt_st_at(set, 0), 0, 3, x, &err), TLT_EDATA, "w[1]: got NaN");
  assert_fails(tlt_st_read_f32(set, tlt_st_at(set, 0), 2, 1, x, &err), TLT_EDATA,
               "w[2]: got infinity");
  tlt_st_close(set);
}

static void writer_checks_its_caller(void **state) {
  (void)state;
  tlt_st_writer *w;
  assert_ok(tlt_st_create(scratch("short"), &w, &err));
  assert_ok(tlt_st_declare(w, "w", TLT_F32, (int64_t[]){3}, 1, &err));
  assert_ok(tlt_st_write(w, "1234", 4, &err));
  assert_fails(tlt_st_finish(w, &err), TLT_EINTERNAL, "got 4 bytes of data, expected 12");
  assert_false(tlt_path_exists(scratch("short")));
  assert_false(tlt_path_exists(scratch("short.tmp")));
}

static void one_tensor(const char *path, const char *name) {
  tlt_st_writer *w;
  assert_ok(tlt_st_create(path, &w, &err));
  assert_ok(tlt_st_declare(w, name, TLT_F32, (int64_t[]){1}, 1, &err));
  assert_ok(tlt_st_write(w, &(float){7}, 4, &err));
  assert_ok(tlt_st_finish(w, &err));
}

static void index_is(const char *map) {
  char text[512];
  snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":{%s}}", map);
  scratch_text("m/model.safetensors.index.json", text);
}

static void sharded_sets(void **state) {
  (void)state;
  tlt_st_set *set;
  assert_ok(tlt_dir_make(scratch("m"), &err));
  one_tensor(scratch("m/1.safetensors"), "a");
  one_tensor(scratch("m/2.safetensors"), "b");
  char dir[TLT_PATH_MAX];
  tlt_path_join(dir, scratch_dir, "m");
  index_is("\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"");
  assert_ok(tlt_st_open(dir, &set, &err));
  assert_int_equal(tlt_st_count(set), 2);
  assert_int_equal(tlt_st_find(set, "b")->file, 1);
  tlt_st_close(set);
  index_is("\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"");
  assert_fails(tlt_st_open(dir, &set, &err), TLT_EDATA,
               "weight_map.b: shard 3.safetensors is missing");
  index_is("\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"");
  assert_fails(tlt_st_open(dir, &set, &err), TLT_EDATA,
               "weight_map.c: absent from shard 2.safetensors");
  index_is("\"a\":\"../1.safetensors\"");
  assert_fails(tlt_st_open(dir, &set, &err), TLT_EDATA,
               "weight_map.a: expected the name of a shard");
  one_tensor(scratch("m/2.safetensors"), "a");
  index_is("\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"");
  assert_fails(tlt_st_open(dir, &set, &err), TLT_EDATA, "also in");
  one_tensor(scratch("m/model.safetensors"), "single");
  assert_ok(tlt_st_open(dir, &set, &err));
  assert_non_null(tlt_st_find(set, "single"));
  tlt_st_close(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refused),
      cmocka_unit_test(refused_without_header),
      cmocka_unit_test(round_trip_of_mixed_types),
      cmocka_unit_test(non_finite_weights_are_named),
      cmocka_unit_test(writer_checks_its_caller),
      cmocka_unit_test(sharded_sets),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
