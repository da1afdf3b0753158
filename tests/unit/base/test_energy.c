/* Joules from a made-up /sys/class/powercap: which zones count, wrap-around, what is not available.
 * Alone: build/tests/unit/base/test_energy */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/energy.h"

static char root[64];
static tlt_energy energy;

static void put(const char *zone, const char *file, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", root, zone);
  mkdir(path, 0700);
  snprintf(path, sizeof path, "%s/%s/%s", root, zone, file);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void put_zone(const char *zone, const char *name, const char *counter) {
  put(zone, "name", name);
  put(zone, "max_energy_range_uj", "262143328850\n");
  put(zone, "energy_uj", counter);
}

static void remove_counter(const char *zone) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s/energy_uj", root, zone);
  assert_int_equal(remove(path), 0);
}

static int setup(void **state) {
  (void)state;
  snprintf(root, sizeof root, "/tmp/tlt-powercap-XXXXXX");
  return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", root);
  return system(command);
}

static void test_packages_only(void **state) {
  (void)state;
  put_zone("intel-rapl:0", "package-0\n", "1000000\n");
  put_zone("intel-rapl:1", "package-1\n", "2000000\n");
  put_zone("intel-rapl:0:0", "core\n", "500000\n");
  put_zone("intel-rapl:2", "psys\n", "9000000\n");
  put_zone("intel-rapl-mmio:0", "package-0\n", "1000000\n");
  tlt_energy_open(&energy, root);
  assert_int_equal(energy.packages, 2);
  put("intel-rapl:0", "energy_uj", "4500000\n");
  put("intel-rapl:1", "energy_uj", "2250000\n");
  put("intel-rapl:0:0", "energy_uj", "3500000\n");
  assert_true(fabs(tlt_energy_take(&energy) - 3.75) < 1e-9);
  assert_true(tlt_energy_take(&energy) == 0);
}

static void test_wrap_around(void **state) {
  (void)state;
  put_zone("intel-rapl:0", "package-0\n", "262143000000\n");
  tlt_energy_open(&energy, root);
  put("intel-rapl:0", "energy_uj", "1671150\n");
  assert_true(fabs(tlt_energy_take(&energy) - 2.0) < 1e-6);
}

static void test_not_available(void **state) {
  (void)state;
  tlt_energy_open(&energy, "/nonexistent");
  assert_true(isnan(tlt_energy_take(&energy)));
  tlt_energy_open(&energy, root); /* no zones */
  assert_true(isnan(tlt_energy_take(&energy)));
  put_zone("intel-rapl:0", "package-0\n", "1000000\n");
  put_zone("intel-rapl:1", "package-1\n", "1000000\n");
  remove_counter("intel-rapl:1"); /* as good as not permitted */
  tlt_energy_open(&energy, root);
  assert_int_equal(energy.packages, 0);
  put_zone("intel-rapl:1", "package-1\n", "garbage\n");
  tlt_energy_open(&energy, root);
  assert_true(isnan(tlt_energy_take(&energy)));
}

/* The step in which a reading fails has no figure, and neither has the next. */
static void test_a_reading_that_fails(void **state) {
  (void)state;
  put_zone("intel-rapl:0", "package-0\n", "1000000\n");
  tlt_energy_open(&energy, root);
  remove_counter("intel-rapl:0");
  assert_true(isnan(tlt_energy_take(&energy)));
  put("intel-rapl:0", "energy_uj", "5000000\n");
  assert_true(isnan(tlt_energy_take(&energy)));
  put("intel-rapl:0", "energy_uj", "6000000\n");
  assert_true(fabs(tlt_energy_take(&energy) - 1) < 1e-9);
}

/* A counter that could have gone around unseen says nothing. */
static void test_too_late(void **state) {
  (void)state;
  put_zone("intel-rapl:0", "package-0\n", "1000000\n");
  put("intel-rapl:0", "max_energy_range_uj", "5000000\n"); /* 5 ms at 1 kW */
  tlt_energy_open(&energy, root);
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  put("intel-rapl:0", "energy_uj", "2000000\n");
  assert_true(isnan(tlt_energy_take(&energy)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_packages_only, setup, teardown),
      cmocka_unit_test_setup_teardown(test_wrap_around, setup, teardown),
      cmocka_unit_test_setup_teardown(test_not_available, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_reading_that_fails, setup, teardown),
      cmocka_unit_test_setup_teardown(test_too_late, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
