/* Template interpreter: snippets against transformers' Jinja (tests/golden/tokenizer, made by
 * tools/golden_tokenizer.py), syntax errors by line and column, caps, taint.
 * Run alone: build/tests/unit/tokenizer/test_jinja */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "io/json.h"
#include "tokenizer/jinja.h"

enum { MAX_VARS = 32 };

static tlt_status render(const char *template, const json_t *context, bool tainted, tlt_bytes *text,
                         tlt_bytes *taint, tlt_err *err) {
  tlt_jinja *program;
  tlt_jinja_var vars[MAX_VARS];
  size_t n = 0;
  const char *key;
  json_t *value;
  if (context) json_object_foreach((json_t *)context, key, value) {
      assert_true(n < MAX_VARS);
      vars[n++] = (tlt_jinja_var){key, value, tainted};
    }
  tlt_status status = tlt_jinja_compile("t", template, strlen(template), &program, err);
  if (!status) status = tlt_jinja_render(program, vars, n, text, taint, err);
  tlt_jinja_free(program);
  return status;
}

static void snippets_render_as_in_transformers(void **state) {
  (void)state;
  tlt_jsonl *file;
  tlt_err err = {0};
  json_t *head, *line;
  size_t count = 0;
  assert_int_equal(tlt_jsonl_open(TLT_GOLDEN "/tokenizer/snippets.jsonl", &file, &err), TLT_OK);
  assert_int_equal(tlt_jsonl_next(file, &head, &err), TLT_OK);
  while (tlt_jsonl_next(file, &line, &err) == TLT_OK && line) {
    const char *template = json_string_value(json_object_get(line, "template"));
    const json_t *want = json_object_get(line, "want");
    tlt_bytes text = {0}, taint = {0};
    tlt_status status =
        render(template, json_object_get(head, "context"), true, &text, &taint, &err);
    if (status) fail_msg("%s\n  got error %s", template, err.text);
    tlt_bytes_add(&text, "", 1);
    if (text.n - 1 != json_string_length(want) || strcmp(text.data, json_string_value(want)) != 0)
      fail_msg("%s\n  got  <%s>\n  want <%s>", template, text.data, json_string_value(want));
    assert_int_equal(taint.n, text.n - 1);
    tlt_bytes_free(&text);
    tlt_bytes_free(&taint);
    json_decref(line);
    count++;
  }
  assert_true(count > 60);
  json_decref(head);
  tlt_jsonl_close(file);
}

static void faults_name_line_and_column(void **state) {
  (void)state;
  static const struct {
    const char *template, *want;
  } cases[] = {
      {"{{ 1 +", "t:1:3: got an unfinished tag"},
      {"a\n{% if x %}b", "t:2:12: got \"the end\", expected elif"},
      {"{% include 'x' %}", "t:1:4: got \"include\", expected if, for, set"},
      {"{{ x | nope }}", "t:1:8: got \"nope\", expected a filter of the supported subset"},
      {"{{ x is nope }}", "t:1:9: got \"nope\", expected a test of the supported subset"},
      {"{{ x }", "t:1:6: got an unbalanced bracket"},
      {"{{ (1 }}", "t:1:8: got an unbalanced bracket"},
      {"{{ 'abc }}", "t:1:4: got an unfinished string"},
      {"{# never", "t:1:1: got an unfinished comment"},
      {"{% raw %}x", "t:1:1: got an unfinished raw block"},
      {"{% for x in y recursive %}{% endfor %}", "t:1:15: got \"recursive\""},
      {"{% break %}", "t:1:4: got \"break\""},
      {"{% set x = 1, 2 %}", "t:1:13: got \",\""},
      {"{{ a ** b }}", "t:1:6: got \"**\""},
      {"{{ $ }}", "t:1:4: got a character that no expression has"},
      {"{{ 12abc }}", "t:1:6: got a letter inside a number"},
      {"{{ 99999999999999999999 }}",
       "t:1:4: got \"99999999999999999999\", expected a number in range"},
      {"{% endif %}", "t:1:4: got \"endif\""},
      {"{% call m() %}{% endcall %}", "t:1:4: got \"call\""},
      {"ok\n\n  {{ nothing.at.all }}",
       "t:3:6: got attribute \"at\" of \"nothing\", which is undefined"},
      {"{{ 'a' + 1 }}", "t:1:4: got a string + an integer"},
      {"{{ none + 'a' }}", "t:1:4: got none + a string"},
      {"{{ 1 // 0 }}", "t:1:4: got a division by zero"},
      {"{{ [1] }}", "t:1:4: got a list as text"},
      {"{{ strftime_now('%d') }}", "t:1:4: got a call of \"strftime_now\""},
      {"{{ 'x'.encode() }}", "t:1:4: got string method \"encode\""},
      {"{{ raise_exception('No ' ~ 1) }}", "t:1:4: the template refuses the conversation: No 1"},
      {"{% for a, b in [1] %}{% endfor %}", "t:1:4: got a loop over an integer"},
      {"{% set x.y = 1 %}", "expected a namespace"},
      {"{{ 9223372036854775807 + 1 }}", "t:1:4: got an integer beyond 64 bits"},
      {"{{ 'a'.split('') }}", "empty separator"},
      {"{{ range(1000000) | length }}", "got a range of more than 100000"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested evaluations"},
      {"{{ [1][::0] }}", "slice step"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "got 2 arguments, expected at most 1"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tlt_bytes text = {0}, taint = {0};
    tlt_err err = {0};
    tlt_status status = render(cases[i].template, NULL, false, &text, &taint, &err);
    if (status != TLT_EDATA || !strstr(err.text, cases[i].want))
      fail_msg("%s\n  got  %d %s\n  want %s", cases[i].template, status, err.text, cases[i].want);
    tlt_bytes_free(&text);
    tlt_bytes_free(&taint);
  }
}

static void nesting_and_growth_are_capped(void **state) {
  (void)state;
  static const char *const repeated[][3] = {
      {"{{ ", "(", "1"},    {"{{ ", "[", "1"},         {"{{ ", "not ", "1 }}"},
      {"{{ ", "-", "1 }}"}, {"", "{% if 1 %}", ""},    {"{{ 1", " + 1", "}}"},
      {"{{ x", ".a", "}}"}, {"{{ 'x'", "|trim", "}}"}, {"{{ 1", " if 1 else 1", "}}"},
      {"{{ x", "[0]", "}}"}};
  for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
    tlt_bytes source = {0}, text = {0}, taint = {0};
    tlt_err err = {0};
    tlt_bytes_add(&source, repeated[i][0], strlen(repeated[i][0]));
    for (int k = 0; k < 20000; k++) tlt_bytes_add(&source, repeated[i][1], strlen(repeated[i][1]));
    tlt_bytes_add(&source, repeated[i][2], strlen(repeated[i][2]) + 1);
    assert_int_equal(render(source.data, NULL, false, &text, &taint, &err), TLT_EDATA);
    tlt_bytes_free(&source);
    tlt_bytes_free(&text);
    tlt_bytes_free(&taint);
  }
  static const char *const growing[] = {
      "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100000) %}{% set ns.s = "
      "ns.s "
      "+ ns.s %}{% endfor %}",
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{% for i in range(100000) %}{{ 'x' * 1000000 }}{% endfor %}",
  };
  for (size_t i = 0; i < sizeof growing / sizeof *growing; i++) {
    tlt_bytes text = {0}, taint = {0};
    tlt_err err = {0};
    assert_int_equal(render(growing[i], NULL, false, &text, &taint, &err), TLT_EDATA);
    assert_non_null(strstr(err.text, "more than"));
    tlt_bytes_free(&text);
    tlt_bytes_free(&taint);
  }
}

/* Capital letters of the variable are tainted wherever they end up; all else is not. */
static void taint_follows_every_byte(void **state) {
  (void)state;
  static const char *const templates[] = {"{{ x }}",
                                          "a{{ x }}b",
                                          "{{ 'a' + x + 'b' }}",
                                          "{{ 'a' ~ x }}",
                                          "{{ x | trim }}",
                                          "{{ x.split('B')[0] }}x{{ x.split('B')[1] }}",
                                          "{{ x[1:] }}-{{ x[::-1] }}",
                                          "{{ x | tojson }}",
                                          "{{ {'k': x} | tojson }}",
                                          "{{ x.replace('B', 'y') }}",
                                          "{{ 'pq'.replace('q', x) }}",
                                          "{{ x.strip('A') }}",
                                          "{% set y %}a{{ x }}{% endset %}{{ y }}",
                                          "{{ [x, 'z', x] | join('-') }}",
                                          "{% macro m(v) %}m{{ v }}{% endmacro %}{{ m(x) }}",
                                          "{% for c in x %}{{ c }}.{% endfor %}",
                                          "{{ x if x else 'z' }}",
                                          "{{ (x ~ 'q') * 2 }}",
                                          "{{ x.removeprefix('A') }}",
                                          "{{ x | upper }}",
                                          "{{ [x, x] | first }}",
                                          "{{ x | default('z') }}",
                                          "{{ x | replace('A', 'a') }}"};
  json_t *context = json_pack("{s:s}", "x", "ABC");
  for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
    tlt_bytes text = {0}, taint = {0};
    tlt_err err = {0};
    if (render(templates[i], context, true, &text, &taint, &err)) fail_msg("%s", err.text);
    assert_int_equal(text.n, taint.n);
    for (size_t k = 0; k < text.n; k++)
      if ((text.data[k] >= 'A' && text.data[k] <= 'Z') != taint.data[k])
        fail_msg("%s: byte %zu of \"%.*s\"", templates[i], k, (int)text.n, text.data);
    tlt_bytes_free(&text);
    tlt_bytes_free(&taint);
  }
  json_decref(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(snippets_render_as_in_transformers),
      cmocka_unit_test(faults_name_line_and_column),
      cmocka_unit_test(nesting_and_growth_are_capped),
      cmocka_unit_test(taint_follows_every_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
