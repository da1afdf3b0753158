/* The page around its data: nothing in the data can leave its script element; what it may connect
 * to. How it looks and behaves is checked by tests/py/test_page.py. Alone:
 * build/tests/unit/report/test_report_page */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "report/page.h"
#include "report/page_parts.h"

static tlt_err err;

/* The data as it stands in a page. */
static const char *embedded(const char *payload, size_t n, tlt_page_kind kind, char **html) {
  size_t bytes;
  assert_int_equal(tlt_page_make(payload, n, kind, html, &bytes, &err), TLT_OK);
  assert_int_equal(strlen(*html), bytes);
  char *tail = *html + bytes - tlt_page_tail.bytes;
  assert_string_equal(tail, tlt_page_tail.text);
  *tail = '\0';
  return strstr(*html, "id=\"run\">") + strlen("id=\"run\">");
}

static void check(const char *payload, const char *expected) {
  char *html;
  assert_string_equal(embedded(payload, strlen(payload), TLT_PAGE_FILE, &html), expected);
  tlt_free(html);
}

static void test_escape(void **state) {
  (void)state;
  check("{}", "{}");
  check("{\"a\":\"</script><!--\"}", "{\"a\":\"\\u003c/script>\\u003c!--\"}");
  check("\"\xe2\x80\xa8 \xe2\x80\xa9 \xe2\x80\xaa\"", "\"\\u2028 \\u2029 \xe2\x80\xaa\"");
  check("\xe2\x80", "\xe2\x80"); /* an end in mid-character is not read past */
  check("<", "\\u003c");
}

static void test_connect(void **state) {
  (void)state;
  for (int live = 0; live < 2; live++) {
    char *html;
    embedded("{}", 2, live ? TLT_PAGE_LIVE : TLT_PAGE_FILE, &html);
    assert_non_null(strstr(html, live ? "connect-src 'self'" : "connect-src 'none'"));
    assert_non_null(strstr(html, "default-src 'none'"));
    tlt_free(html);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_escape), cmocka_unit_test(test_connect)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
