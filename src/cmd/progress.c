#include "cmd/progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

static bool shown;
static double last;

/* Workers write through their launcher, which says whether that writes to a terminal. */
static bool is_terminal(void) {
  const char *launcher = getenv("TLT_TERMINAL");
  return isatty(STDERR_FILENO) || (launcher && !strcmp(launcher, "1"));
}

static int width(void) {
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10) return size.ws_col - 1;
  return 79;
}

void tlt_progress_show(const char *format, ...) {
  double now = tlt_now();
  if (!is_terminal() || now - last < 0.1) return;
  last = now;
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fprintf(stderr, "\r\033[K%.*s", width(), text);
  fflush(stderr);
  shown = true;
}

void tlt_progress_clear(void) {
  if (!shown) return;
  fprintf(stderr, "\r\033[K");
  fflush(stderr);
  shown = false;
}

const char *tlt_progress_time(double seconds, char out[32]) {
  long s = seconds < 0 ? 0 : (long)(seconds + 0.5);
  if (s >= 3600) snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else if (s >= 60) snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
  else snprintf(out, 32, "%lds", s);
  return out;
}
