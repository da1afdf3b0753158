/* JSON reading with good errors, JSONL, and the writer.
 * Run alone: build/tests/unit/io/test_json */
#include "scratch.h"
/* the rest after it */
#include <math.h>

#include "base/fmath.h"
#include "base/mem.h"
#include "io/json.h"
#include "io/text.h"

static json_t *parse(const char *text) {
  json_t *json = NULL;
  assert_ok(tlt_json_parse(text, strlen(text), "c.json", 0, &json, &err));
  return json;
}

static void members(void **state) {
  (void)state;
  int64_t i;
  double d;
  bool b;
  const char *s;
  json_t *json =
      parse("{\"i\":7,\"f\":0.5,\"b\":true,\"s\":\"x\",\"n\":null,\"o\":{\"k\":[{\"z\":\"8\"}]}}");
  tlt_json_node top = tlt_json_top(json, "c.json", 0), o, k;
  assert_ok(tlt_json_int(&top, "i", 1, 7, &i, &err));
  assert_ok(tlt_json_double(&top, "i", 0, 9, &d, &err));
  assert_true(d == 7);
  assert_ok(tlt_json_bool(&top, "b", &b, &err));
  assert_ok(tlt_json_string(&top, "s", &s, &err));
  assert_ok(tlt_json_int_or(&top, "n", 0, 1, 42, &i, &err));
  assert_int_equal(i, 42);
  assert_fails(tlt_json_int(&top, "i", 8, 9, &i, &err), TLT_EDATA,
               "c.json: i: got 7, expected integer in 8 .. 9");
  assert_fails(tlt_json_int(&top, "f", 0, 9, &i, &err), TLT_EDATA, "f: got 0.5, expected integer");
  assert_fails(tlt_json_int(&top, "none", 0, 9, &i, &err), TLT_EDATA,
               "none: missing, expected integer");
  assert_fails(tlt_json_double(&top, "s", 0, 9, &d, &err), TLT_EDATA,
               "s: got \"x\", expected number in 0 .. 9");
  assert_fails(tlt_json_bool(&top, "i", &b, &err), TLT_EDATA, "i: got 7, expected true or false");
  assert_fails(tlt_json_string_or(&top, "o", "", &s, &err), TLT_EDATA,
               "o: got an object, expected string");
  assert_ok(tlt_json_object(&top, "o", &o, &err));
  assert_ok(tlt_json_array(&o, "k", &k, &err));
  tlt_json_node element = tlt_json_element(&k, 0);
  assert_fails(tlt_json_int(&element, "z", 0, 9, &i, &err), TLT_EDATA,
               "c.json: o.k[0].z: got \"8\", expected");
  json_decref(json);
}

static void refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *part;
  } cases[] = {
      {"", "c.json:1: offset 0"},
      {"{\"a\":1,\"a\":2}", "duplicate"},
      {"{\"a\":\"\\ud800\"}", "Unicode"},
      {"{\"a\":\"\\u0000\"}", "\\u0000"},
      {"{\"a\":1e999}", "overflow"},
      {"{\"a\":99999999999999999999}", "too big"},
      {"{\"a\":NaN}", "c.json:1"},
      {"{\"a\":01}", "c.json:1"},
      {"{\"a\":1}\n}", "c.json:2"},
      {"{\"\xed\xa0\x80\":1}", "offset 2: got byte 0xed, expected UTF-8"},
      {"{\"\xc0\x80\":1}", "offset 2: got byte 0xc0"},
  };
  json_t *json;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_fails(tlt_json_parse(cases[i].text, strlen(cases[i].text), "c.json", 0, &json, &err),
                 TLT_EDATA, cases[i].part);
  assert_fails(tlt_json_parse("{\"a\0\":1}", 8, "c.json", 0, &json, &err), TLT_EDATA, "c.json");
  assert_fails(tlt_json_load(scratch_text("big", "[1,2,3]"), 6, &json, &err), TLT_EDATA,
               "at most 6");
  char deep[400];
  memset(deep, '[', 65);
  assert_fails(tlt_json_parse(deep, 65, "c.json", 0, &json, &err), TLT_EDATA, "nesting over 64");
  memset(deep, '[', 64);
  memset(deep + 64, ']', 64);
  assert_ok(tlt_json_parse(deep, 128, "c.json", 0, &json, &err));
  json_decref(json);
}

static void expect_line(tlt_jsonl *r, long line, const char *key, int want) {
  json_t *json;
  int64_t x;
  assert_ok(tlt_jsonl_next(r, &json, &err));
  assert_non_null(json);
  assert_int_equal(tlt_jsonl_line(r), line);
  tlt_json_node top = tlt_json_top(json, tlt_jsonl_file(r), line);
  assert_ok(tlt_json_int(&top, key, 0, 99, &x, &err));
  assert_int_equal(x, want);
  json_decref(json);
}

static void jsonl_lines(void **state) {
  (void)state;
  tlt_jsonl *r;
  json_t *json;
  assert_ok(
      tlt_jsonl_open(scratch_text("l", "{\"a\":1}\n\n \r\n{\"b\":2}\r\n{\"c\":3}"), &r, &err));
  expect_line(r, 1, "a", 1);
  assert_int_equal(tlt_jsonl_offset(r), 8);
  expect_line(r, 4, "b", 2);
  expect_line(r, 5, "c", 3);
  assert_ok(tlt_jsonl_next(r, &json, &err));
  assert_null(json);
  tlt_jsonl_close(r);
  assert_ok(tlt_jsonl_open(scratch_text("l", "{\"a\":1}\n[2]\n{]\n"), &r, &err));
  expect_line(r, 1, "a", 1);
  assert_fails(tlt_jsonl_next(r, &json, &err), TLT_EDATA,
               "l:2: got an array of 1, expected an object");
  assert_fails(tlt_jsonl_next(r, &json, &err), TLT_EDATA, "l:3: offset");
  tlt_jsonl_close(r);
}

static void jsonl_long_lines(void **state) {
  (void)state;
  enum { N = TLT_JSONL_LINE_MAX + 64 };
  char *text = tlt_malloc(N);
  tlt_jsonl *r;
  json_t *json;
  memset(text, ' ', N);
  memcpy(text, "{\"a\":1", 6);
  text[200000] = '}'; /* beyond the first window */
  text[200001] = '\n';
  memcpy(text + 200002, "{\"b\":2}\n{\"c\"", 12);
  assert_ok(tlt_jsonl_open(scratch_file("l", text, N), &r, &err));
  expect_line(r, 1, "a", 1);
  expect_line(r, 2, "b", 2);
  assert_fails(tlt_jsonl_next(r, &json, &err), TLT_EDATA, "l:3: ");
  tlt_jsonl_close(r);
  memset(text + 2, ' ', N - 2);
  assert_ok(tlt_jsonl_open(scratch_file("l", text, N), &r, &err));
  assert_fails(tlt_jsonl_next(r, &json, &err), TLT_EDATA, "l:1: got a line");
  tlt_jsonl_close(r);
  tlt_free(text);
}

static void numbers_read_back(void **state) {
  (void)state;
  tlt_text t = {0};
  for (uint32_t u = 1; u < 0x7f800000u; u += 7919 * 131) {
    float x = tlt_f32_bits(u);
    tlt_text_clear(&t);
    tlt_text_f32(&t, x);
    assert_int_equal(tlt_bits_f32(strtof(t.data, NULL)), u);
    tlt_text_clear(&t);
    tlt_text_f64(&t, (double)x / 3);
    assert_true(strtod(t.data, NULL) == (double)x / 3);
  }
  tlt_text_clear(&t);
  tlt_text_f32(&t, -0.0f);
  tlt_text_add(&t, " ");
  tlt_text_f64(&t, (double)NAN);
  tlt_text_add(&t, " ");
  tlt_text_f64(&t, 0.25);
  assert_string_equal(t.data, "-0.0 null 0.25");
  tlt_text_free(&t);
}

static void writer_makes_one_line(void **state) {
  (void)state;
  tlt_json_writer w = {0};
  tlt_json_begin(&w, NULL, '{');
  tlt_json_put_string_n(&w, "a\"b", "x\n\x01\xff\xc3\xa9\\", 7);
  tlt_json_begin(&w, "list", '[');
  tlt_json_put_int(&w, NULL, -1);
  tlt_json_put_f32(&w, NULL, 0.1f);
  tlt_json_end(&w, ']');
  tlt_json_put_bool(&w, "b", true);
  tlt_json_put_null(&w, "n");
  tlt_json_end(&w, '}');
  tlt_json_newline(&w);
  assert_ok(tlt_text_check(&w.text, &err));
  assert_string_equal(w.text.data,
                      "{\"a\\\"b\": \"x\\n\\u0001\xef\xbf\xbd\xc3\xa9\\\\\", "
                      "\"list\": [-1, 0.100000001], \"b\": true, \"n\": null}\n");
  tlt_text_free(&w.text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(members),           cmocka_unit_test(refused),
      cmocka_unit_test(jsonl_lines),       cmocka_unit_test(jsonl_long_lines),
      cmocka_unit_test(numbers_read_back), cmocka_unit_test(writer_makes_one_line),
  };
  return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
