#define _GNU_SOURCE
#include "base/terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char variable[] = "TLT_TERMINAL";

static const char *launcher(void) {
  const char *name = getenv(variable);
  return name && *name ? name : NULL;
}

bool tlt_terminal(void) {
  const char *kind = getenv("TERM");
  return (isatty(STDERR_FILENO) || launcher()) && kind && strcmp(kind, "dumb") != 0;
}

static bool size_of(int fd, struct winsize *size) {
  return ioctl(fd, TIOCGWINSZ, size) == 0 && size->ws_col > 0 && size->ws_row > 0;
}

/* Of the launcher's, by its name: a pipe lies between. */
static bool size_by_name(const char *name, struct winsize *size) {
  int fd = name && *name == '/' ? open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC) : -1;
  if (fd < 0) return false;
  bool known = size_of(fd, size);
  close(fd);
  return known;
}

void tlt_terminal_size(int *columns, int *rows) {
  struct winsize size = {0};
  bool own = isatty(STDERR_FILENO);
  bool known = own ? size_of(STDERR_FILENO, &size) : size_by_name(launcher(), &size);
  *columns = known ? size.ws_col : 80;
  *rows = known ? size.ws_row : 24;
}

bool tlt_terminal_utf8(void) {
  static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    if (!value || !*value) continue;
    const char *encoding = strchr(value, '.');
    return encoding && (!strncasecmp(encoding, ".utf-8", 6) || !strncasecmp(encoding, ".utf8", 5));
  }
  return false;
}

bool tlt_terminal_color(void) {
  const char *no = getenv("NO_COLOR");
  return !no || !*no;
}

bool tlt_terminal_pass_on(char *text, size_t room) {
  char name[256];
  if (!isatty(STDERR_FILENO)) return false;
  if (ttyname_r(STDERR_FILENO, name, sizeof name)) strcpy(name, "unknown");
  return snprintf(text, room, "%s=%s", variable, name) < (int)room;
}
