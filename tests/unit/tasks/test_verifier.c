/* Verifiers: right, wrong and unreadable answers; hostile texts; time linear in the text.
 * Run alone: build/tests/unit/tasks/test_verifier */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the ones above first */
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "tasks/problem.h"
#include "tasks/verifier.h"

typedef struct row {
  const char *answer, *completion;
  int right, parsed;
} row;

static tlt_verdict judge(tlt_verifier v, const char *answer, const char *completion) {
  tlt_problem p = {.answer = answer, .answer_bytes = strlen(answer)};
  return tlt_verify(v, &p, completion, strlen(completion));
}

static void check_rows(tlt_verifier v, const row *rows, size_t n) {
  for (size_t i = 0; i < n; i++) {
    tlt_verdict got = judge(v, rows[i].answer, rows[i].completion);
    if (got.score != rows[i].right || got.parsed != rows[i].parsed)
      fail_msg("%s: '%s' against '%s': got %g %d, expected %d %d", tlt_verifier_name(v),
               rows[i].completion, rows[i].answer, got.score, got.parsed, rows[i].right,
               rows[i].parsed);
  }
}
#define CHECK_ROWS(v, rows) check_rows(v, rows, sizeof(rows) / sizeof *(rows))

static void numeric_rows(void **state) {
  (void)state;
  static const row rows[] = {
      {"42", "answer 42", 1, 1},
      {"42", "7*6=42\nanswer: 42.0", 1, 1},
      {"42", "Answer 41\nanswer 42", 1, 1},
      {"42", "answer 42\nanswer 41", 0, 1},
      {"42", "so it is 42.", 1, 1},
      {"42", "7*6 is 42, not 43", 0, 1},
      {"42", "#### 42", 1, 1},
      {"#### 1,042", "<answer> 1042 </answer> 7", 1, 1},
      {"-4", "9-13=-4", 1, 1},
      {"4", "9-13=4", 1, 1},
      {"3", "10-7", 0, 1},
      {"7", "10-7", 1, 1},
      {"0.5", "answer 1/2", 1, 1},
      {"0.5", "answer 2/4", 1, 1},
      {"1/3", "answer 0.3333333333", 0, 1},
      {"1000000", "answer 1e6", 1, 1},
      {"0.001", "answer 1E-3", 1, 1},
      {"1234567", "answer $1,234,567", 1, 1},
      {"50", "answer 50%", 1, 1},
      {"-7",
       "answer \xe2\x88\x92"
       "7",
       1, 1},
      {"01000", "answer 1000.000000000000000000000000000", 1, 1},
      {"5", "answer 5/0", 0, 0},
      {"5", "answer none", 0, 0},
      {"5", "", 0, 0},
      {"5", "answer", 0, 0},
      {"5", "no number at all", 0, 0},
      {"1000000000000000000", "answer 1000000000000000000", 1, 1},
      {"5", "answer 99999999999999999999999999999999", 0, 0},
      {"5", "answer 5e999999999999", 0, 0},
      {"0", "answer -0", 1, 1},
      {"42", "\\boxed{42}", 1, 1},
  };
  CHECK_ROWS(TLT_VERIFY_NUMERIC, rows);
}

static void exact_rows(void **state) {
  (void)state;
  static const row rows[] = {
      {"yes", "well\nanswer yes", 1, 1}, {"yes", "answer: yes \n", 1, 1},
      {"yes", "answer Yes", 0, 1},       {"yes", "yes", 0, 0},
      {"a b", "#### a b", 1, 1},         {"x", "<answer>x</answer>", 1, 1},
      {"x", "<answer>x", 1, 1},          {"x", "answers x", 0, 0},
      {"x", "\\boxed{x}", 1, 1},         {"x", "\\boxed{x", 0, 0},
  };
  CHECK_ROWS(TLT_VERIFY_EXACT, rows);
}

static void math_rows(void **state) {
  (void)state;
  static const row rows[] = {
      {"\\frac{1}{2}", "thus $\\boxed{\\dfrac{1}{2}}$.", 1, 1},
      {"\\frac{1}{2}", "\\boxed{0.5}", 1, 1},
      {"\\frac12", "\\boxed{\\frac{2}{4}}", 1, 1},
      {"-\\frac{1}{2}", "\\boxed{\\frac{-1}{2}}", 1, 1},
      {"-\\frac{1}{2}", "\\boxed{\\frac{1}{2}}", 0, 1},
      {"\\frac{7}{2}", "\\boxed{3\\frac{1}{2}}", 1, 1},
      {"1/2", "\\boxed{\\left(\\frac{1}{2}\\right)}", 0, 1},
      {"10,080", "\\boxed{10080}", 1, 1},
      {"10{,}080", "\\boxed{10080}", 1, 1},
      {"(1, 2)", "\\boxed{(1,2)}", 1, 1},
      {"1,234", "\\boxed{1, 234}", 1, 1}, /* the same text once blanks are gone */
      {"1234", "\\boxed{1, 234}", 0, 1},
      {"5", "\\boxed{5\\text{ cm}}", 1, 1},
      {"5", "\\boxed{5 \\mathrm{cm}^2}", 0, 1},
      {"5", "\\boxed{5 cm}", 1, 1},
      {"5", "\\boxed{5 square meters}", 1, 1},
      {"5", "\\boxed{5x}", 0, 1},
      {"50", "\\boxed{50\\%}", 1, 1},
      {"90", "\\boxed{90^\\circ}", 1, 1},
      {"\\text{Monday}", "\\boxed{Monday}", 1, 1},
      {"x=5", "\\boxed{5}", 1, 1},
      {"5", "\\boxed{x = 5}", 1, 1},
      {"\\sqrt{2}", "\\boxed{\\sqrt{2}}", 1, 1},
      {"\\sqrt{2}", "\\boxed{\\sqrt{3}}", 0, 1},
      {"2^{10}", "\\boxed{1024}", 0, 1},
      {"3", "\\boxed{4} no, \\boxed{3}", 1, 1},
      {"\\{1,2\\}", "\\boxed{\\{1, 2\\}}", 1, 1},
      {"\\frac{a}{b}", "\\boxed{\\tfrac{a}{b}}", 1, 1},
      {"12", "The answer is \\(12\\).", 1, 1},
      {"12", "answer 12", 1, 1},
      {"we get \\boxed{12}", "answer \\boxed{3}\nanswer \\boxed{12}", 1, 1},
      {"12", "\\boxed{12", 1, 1}, /* falls back to the last number */
      {"12", "\\boxed{}", 0, 0},
      {"12", "nothing", 0, 0},
      {"5^{5^{5^5}}", "\\boxed{5^{5^{5^5}}}", 1, 1},
  };
  CHECK_ROWS(TLT_VERIFY_MATH, rows);
}

static void countdown_rows(void **state) {
  (void)state;
  static const row rows[] = {
      {"", "1 7*3=21 21+25=46\nanswer (7*3)+25", 1, 1},
      {"", "answer 25+7*3", 1, 1},
      {"", "answer 3*7+25 = 46", 1, 1},
      {"", "answer ((((25))))+(3*7)", 1, 1},
      {"", "answer 25 + 3 \xc3\x97 7", 1, 1},
      {"", "\\boxed{25+3 \\times 7}", 1, 1},
      {"", "answer (25+3)*7", 0, 1},
      {"", "answer 25+21", 0, 1},
      {"", "answer 46", 0, 1},
      {"", "answer 25+7*3+0", 0, 1},
      {"", "answer 7*3+25*7/7", 0, 1},
      {"", "answer 25/(3-3)+7", 0, 1},
      {"", "answer 99999999999999999999*7", 0, 1},
      {"", "answer 25+7*", 0, 0},
      {"", "answer (25+7*3", 0, 0},
      {"", "answer 25+7*3)", 0, 0},
      {"", "answer 25 7 3", 0, 0},
      {"", "answer", 0, 0},
      {"", "answer -25+7*3", 0, 0},
      {"", "answer 2**3", 0, 0},
      {"", "25+7*3", 0, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tlt_problem p = {.numbers = {3, 7, 25}, .n_numbers = 3, .target = 46};
    tlt_verdict got =
        tlt_verify(TLT_VERIFY_COUNTDOWN, &p, rows[i].completion, strlen(rows[i].completion));
    if (got.score != rows[i].right || got.parsed != rows[i].parsed)
      fail_msg("'%s': got %g %d", rows[i].completion, got.score, got.parsed);
  }
}

static void countdown_keeps_fractions(void **state) {
  (void)state;
  tlt_problem p = {.numbers = {8, 3, 8, 3}, .n_numbers = 4, .target = 24};
  const char *text = "answer 8/(3-8/3)";
  tlt_verdict got = tlt_verify(TLT_VERIFY_COUNTDOWN, &p, text, strlen(text));
  assert_true(got.score == 1);
}

/* Every verifier on a megabyte of each unit: well under a second where the cost is linear. */
static void hostile_texts_are_linear(void **state) {
  (void)state;
  static const char *const units[] = {"(",
                                      "1/",
                                      "1,",
                                      "{",
                                      "\\boxed{",
                                      "\\boxed{1}",
                                      "answer ",
                                      "answer\n",
                                      "<answer>",
                                      "####",
                                      "9",
                                      "-",
                                      "\\text{",
                                      "\\frac{",
                                      "5^",
                                      "answer (1+",
                                      "0.0",
                                      "1e",
                                      "\xe2\x88\x92",
                                      "=",
                                      "</answer>",
                                      "answer 1+1*(",
                                      ",111",
                                      " cm",
                                      "\xff"};
  enum { BYTES = 1 << 20 };
  char *text = tlt_malloc(BYTES + 64);
  for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
    size_t n = 0, step = strlen(units[u]);
    const char *head = u % 2 ? "answer " : "";
    for (n = strlen(head), memcpy(text, head, n); n + step <= BYTES; n += step)
      memcpy(text + n, units[u], step);
    tlt_problem p = {.answer = "7", .answer_bytes = 1, .numbers = {1, 1}, .n_numbers = 2};
    for (int v = 0; v <= TLT_VERIFY_MATH; v++) {
      double start = tlt_now();
      tlt_verify((tlt_verifier)v, &p, text, n);
      if (tlt_now() - start > 1.0) fail_msg("%s on '%s' is slow", tlt_verifier_name(v), units[u]);
    }
  }
  tlt_free(text);
}

/* Random bytes over the alphabet that the parsers care about; sanitizers are the judge. */
static void random_texts_are_safe(void **state) {
  (void)state;
  static const char alphabet[] = "0123456789+-*/(){}\\boxedfractextanswer<>#=., $%^\n\xe2\x88\x92";
  tlt_stream s = tlt_stream_open(7, TLT_PURPOSE_TASK, 0, 0, 99);
  for (int i = 0; i < 20000; i++) {
    size_t n = tlt_stream_below(&s, 80);
    char *text = tlt_malloc(n + 1);
    for (size_t k = 0; k < n; k++) text[k] = alphabet[tlt_stream_below(&s, sizeof alphabet - 1)];
    tlt_problem p = {.answer = text, .answer_bytes = n, .numbers = {1, 2}, .n_numbers = 2};
    for (int v = 0; v <= TLT_VERIFY_MATH; v++) tlt_verify((tlt_verifier)v, &p, text, n);
    tlt_free(text);
  }
}

static void names_round_trip(void **state) {
  (void)state;
  tlt_verifier v;
  tlt_err err = {0};
  for (int i = 0; i <= TLT_VERIFY_MATH; i++) {
    assert_int_equal(tlt_verifier_find(tlt_verifier_name((tlt_verifier)i), &v, &err), TLT_OK);
    assert_int_equal(v, i);
  }
  assert_int_equal(tlt_verifier_find("maths", &v, &err), TLT_EUSAGE);
  assert_non_null(strstr(err.text, "maths"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numeric_rows),
      cmocka_unit_test(exact_rows),
      cmocka_unit_test(math_rows),
      cmocka_unit_test(countdown_rows),
      cmocka_unit_test(countdown_keeps_fractions),
      cmocka_unit_test(hostile_texts_are_linear),
      cmocka_unit_test(random_texts_are_safe),
      cmocka_unit_test(names_round_trip),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
