#define _GNU_SOURCE
#include "base/machine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void read_processor(char *to, size_t n) {
  char line[512];
  FILE *f = fopen("/proc/cpuinfo", "re");
  while (f && !to[0] && fgets(line, sizeof line, f)) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) || !colon) continue;
    snprintf(to, n, "%s", colon + 1 + strspn(colon + 1, " \t"));
    to[strcspn(to, "\n")] = 0;
  }
  if (f) fclose(f);
}

void tlt_machine_read(tlt_machine *m) {
  *m = (tlt_machine){.cores = (int)sysconf(_SC_NPROCESSORS_ONLN),
                     .memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)};
  read_processor(m->processor, sizeof m->processor);
}
