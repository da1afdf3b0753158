/* A run directory hurt at random: cut, overwritten, bytes flipped. Reading it ends with a page or
 * with one line of error, never with a crash (run it in an ASan build: make asan).
 * Alone: build/tests/unit/report/test_report_damage [SEED [ROUNDS]] */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "made_run.h"
#include "report/compare.h"
#include "report/payload.h"

static uint32_t seed = 1;
static int rounds = 100;
static char top[64], good[TLT_PATH_MAX], hurt[TLT_PATH_MAX];
static tlt_err err;

static uint32_t draw(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static const char *const names[] = {"config.yaml",          "status.json", "machine.json",
                                    "metrics.jsonl",        "trace.json",  "spec.jsonl",
                                    "rollouts/step-1.jsonl"};
enum { NAMES = sizeof names / sizeof *names };

/* Values that readers stumble over. */
static const char *const splinters[] = {"\n",
                                        "\"",
                                        "}",
                                        "{",
                                        "-1",
                                        "1e999",
                                        "9223372036854775808",
                                        "null",
                                        "[[[[[[",
                                        "\\u0000",
                                        "\xff\xfe",
                                        "\"step\": 9007199254740993",
                                        "]}\n",
                                        ",{\"step\":3,\"cat\":\"work\""};
enum { SPLINTERS = sizeof splinters / sizeof *splinters };

static void hurt_file(const char *name) {
  char path[TLT_PATH_MAX], *text = NULL;
  size_t n = 0;
  tlt_path_join(path, hurt, name);
  assert_int_equal(tlt_file_load(path, 1 << 24, &text, &n, &err), TLT_OK);
  size_t at = n ? draw((uint32_t)n) : 0;
  switch (draw(4)) {
    case 0: n = at; break;
    case 1:
      for (int i = 0; n && i < 8; i++) text[draw((uint32_t)n)] = (char)draw(256);
      break;
    case 2: {
      const char *splinter = splinters[draw(SPLINTERS)];
      size_t length = strlen(splinter);
      if (at + length <= n) memcpy(text + at, splinter, length);
      break;
    }
    default: memset(text + at, 0, n - at);
  }
  made_file(hurt, name, text, n);
  tlt_free(text);
}

static void judge(tlt_status s) {
  if (s == TLT_OK) return;
  assert_int_equal(s, TLT_EDATA);
  assert_null(strchr(err.text, '\n'));
  assert_true(strlen(err.text) > 10);
}

static void read_report(void) {
  tlt_run_log *log = NULL;
  tlt_json_writer w = {0};
  json_t *value = NULL;
  tlt_status s = tlt_run_log_open(hurt, &log, &err);
  if (s == TLT_OK) s = tlt_payload_run(log, "0.1.0", NULL, &w, &err);
  if (s == TLT_OK && tlt_json_parse(w.text.data, w.text.n, "payload", 0, &value, &err) != TLT_OK)
    fail_msg("seed %u: %s", seed, err.text);
  judge(s);
  json_decref(value);
  tlt_text_free(&w.text);
  tlt_run_log_free(log);
}

static void read_comparison(void) {
  static tlt_comparison c;
  tlt_text text = {0};
  const char *const paths[] = {good, hurt};
  tlt_status s = tlt_comparison_open(&c, paths, 2, &err);
  if (s == TLT_OK) tlt_identity_say(&c.identity[1], "good", "hurt", &text);
  judge(s);
  tlt_text_free(&text);
  tlt_comparison_free(&c);
}

static void test_damage(void **state) {
  (void)state;
  for (int round = 0; round < rounds; round++) {
    tlt_path_remove(hurt, &err);
    made_run(hurt, round % 3 ? -1 : 2);
    for (uint32_t i = 0, n = 1 + draw(3); i < n; i++) hurt_file(names[draw(NAMES)]);
    read_report();
    read_comparison();
  }
}

static void test_cut_anywhere(void **state) {
  (void)state;
  for (int k = 0; k < NAMES; k++) {
    char path[TLT_PATH_MAX], *text = NULL;
    size_t n = 0;
    tlt_path_join(path, good, names[k]);
    assert_int_equal(tlt_file_load(path, 1 << 24, &text, &n, &err), TLT_OK);
    tlt_path_remove(hurt, &err);
    made_run(hurt, -1);
    for (size_t at = 0; at < n; at += 1 + draw((uint32_t)n / 15)) {
      made_file(hurt, names[k], text, at);
      read_report();
    }
    tlt_free(text);
  }
}

static int setup(void **state) {
  (void)state;
  snprintf(top, sizeof top, "/tmp/tlt-damage-XXXXXX");
  if (!mkdtemp(top)) return -1;
  tlt_path_join(good, top, "good");
  tlt_path_join(hurt, top, "hurt");
  made_run(good, -1);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return tlt_path_remove(top, &err) == TLT_OK ? 0 : -1;
}

int main(int argc, char **argv) {
  if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
  if (argc > 2) rounds = atoi(argv[2]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_damage),
                                     cmocka_unit_test(test_cut_anywhere)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
