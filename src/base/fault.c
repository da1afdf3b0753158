#include "base/fault.h"

#ifdef TLT_FAULTS
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault {
  long at; /* 0: not armed */
  bool sticky;
  int error_number;
  atomic_long calls;
} fault;

static fault faults[3];
static pthread_once_t once = PTHREAD_ONCE_INIT;

enum { KILL = -1 }; /* not an error: the process dies before the call, as by SIGKILL */

static int errno_by_name(const char *name) {
  static const struct {
    const char *name;
    int value;
  } known[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EINTR", EINTR},
               {"EROFS", EROFS},   {"EACCES", EACCES}, {"KILL", KILL}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strncmp(name, known[i].name, strlen(known[i].name))) return known[i].value;
  return EIO;
}

static void parse_one(const char *spec) {
  static const char *const kinds[] = {"alloc:", "io:", "short:"};
  for (int k = 0; k < 3; k++) {
    size_t n = strlen(kinds[k]);
    if (strncmp(spec, kinds[k], n)) continue;
    char *end;
    faults[k].at = strtol(spec + n, &end, 10);
    faults[k].error_number = *end == ':' ? errno_by_name(end + 1) : EIO;
    faults[k].sticky = strchr(spec, '+') != NULL;
  }
}

static void parse(void) {
  const char *env = getenv("TLT_FAULT");
  char copy[256];
  if (!env) return;
  snprintf(copy, sizeof copy, "%s", env);
  char *save = NULL;
  for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) parse_one(s);
}

bool tlt_fault_hit(tlt_fault_kind kind, int *error_number) {
  pthread_once(&once, parse);
  fault *f = &faults[kind];
  long call = atomic_fetch_add(&f->calls, 1) + 1;
  if (!f->at || (f->sticky ? call < f->at : call != f->at)) return false;
  if (f->error_number == KILL) raise(SIGKILL);
  if (error_number) *error_number = f->error_number;
  return true;
}
#endif
