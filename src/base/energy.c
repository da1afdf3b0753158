#define _GNU_SOURCE
#include "base/energy.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define PACKAGE_W_MAX 1000.0 /* more than a package draws: bounds how soon a counter is around */
#define POLL_S 10.0
#define JOULES_PER_COUNT 1e-6

static bool read_line(const char *path, char *to, int n) {
  FILE *f = fopen(path, "re");
  bool good = f && fgets(to, n, f);
  if (f) fclose(f);
  return good;
}

/* A microjoule counter; NaN when it cannot be read. */
static double read_joules(const char *path) {
  char text[64];
  unsigned long long counts;
  if (!read_line(path, text, sizeof text) || sscanf(text, "%19llu", &counts) != 1) return NAN;
  return (double)counts * JOULES_PER_COUNT;
}

static void name_file(char path[TLT_ENERGY_PATH_MAX], const char *root, const char *zone,
                      const char *file) {
  snprintf(path, TLT_ENERGY_PATH_MAX, "%.200s/%.200s/%s", root, zone, file);
}

/* Parts of packages and the whole platform would count twice, and so would "intel-rapl-mmio:0",
 * which is another way to read a package. */
static bool is_package(const char *root, const char *zone) {
  char path[TLT_ENERGY_PATH_MAX], name[64];
  name_file(path, root, zone, "name");
  return !strncmp(zone, "intel-rapl:", 11) && read_line(path, name, sizeof name) &&
         !strncmp(name, "package-", 8);
}

static bool open_package(tlt_energy *e, const char *root, const char *zone) {
  char path[TLT_ENERGY_PATH_MAX];
  if (e->packages == TLT_ENERGY_PACKAGES) return false;
  struct tlt_energy_package *p = &e->package[e->packages++];
  name_file(path, root, zone, "max_energy_range_uj");
  name_file(p->counter, root, zone, "energy_uj");
  p->range = read_joules(path);
  p->last = read_joules(p->counter);
  return p->range > 0 && !isnan(p->last);
}

void tlt_energy_open(tlt_energy *e, const char *root) {
  *e = (tlt_energy){.read_at = tlt_now()};
  if (!root) root = TLT_ENERGY_ROOT;
  DIR *dir = opendir(root);
  if (!dir) return;
  bool whole = true;
  for (struct dirent *d; (d = readdir(dir));)
    if (is_package(root, d->d_name)) whole &= open_package(e, root, d->d_name);
  closedir(dir);
  if (!whole) e->packages = 0; /* one package of two is no figure for the machine */
}

static void read_all(tlt_energy *e) {
  double now = tlt_now(), since = now - e->read_at;
  e->read_at = now;
  for (int i = 0; i < e->packages; i++) {
    struct tlt_energy_package *p = &e->package[i];
    double before = p->last;
    p->last = read_joules(p->counter);
    double spent = p->last >= before ? p->last - before : p->last - before + p->range;
    e->joules += since * PACKAGE_W_MAX > p->range ? NAN : spent;
  }
}

double tlt_energy_take(tlt_energy *e) {
  if (!e->packages) return NAN;
  read_all(e);
  double joules = e->joules;
  e->joules = 0;
  return joules;
}

void tlt_energy_poll(tlt_energy *e) {
  if (e->packages && tlt_now() - e->read_at >= POLL_S) read_all(e);
}
