#include "cmd/progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/terminal.h"

#define EVERY_S 0.1

/* Under the lock: what stands on the terminal. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int shown;                     /* lines */
static int cells[TLT_PROGRESS_LINES]; /* that each takes */
static double last;

bool tlt_progress_due(void) {
  return tlt_now() - last >= EVERY_S && tlt_terminal();
}

/* ---- one frame ----------------------------------------------------------------------------------
 */

/* Bytes of the escape sequence at s, 0 if it is none. */
static size_t escape_bytes(const char *s) {
  if (s[0] != '\033' || s[1] != '[') return 0;
  size_t n = 2 + strspn(s + 2, "0123456789;");
  return s[n] == 'm' ? n + 1 : 0;
}

/* What of a line fits into so many columns: bytes, and columns taken. Colours behind the end still
 * count, so that they are switched off. */
static size_t put_cut(char *to, const char *line, int columns, int *taken) {
  size_t n = 0;
  *taken = 0;
  for (size_t step; *line; line += step) {
    step = escape_bytes(line);
    bool colour = step > 0;
    if (!colour) {
      step = 1;
      while (((unsigned char)line[step] & 0xc0) == 0x80) step++;
      if (*taken == columns) continue;
      ++*taken;
    }
    memcpy(to + n, line, step);
    n += step;
  }
  return n;
}

/* Back to the first of the lines shown. A terminal that has become narrower has wrapped them. */
static int put_return(char *to, size_t room, int columns) {
  int rows = 0;
  for (int i = 0; i < shown; i++) rows += cells[i] > columns ? (cells[i] - 1) / columns + 1 : 1;
  return rows ? snprintf(to, room, "\r\033[%dA", rows) : snprintf(to, room, "\r");
}

/* In one piece: less of it gets between what others print. */
static void write_out(const char *text, size_t n) {
  fwrite(text, 1, n, stderr);
  fflush(stderr);
}

void tlt_progress_lines(const char (*line)[TLT_PROGRESS_BYTES], int n) {
  char frame[(TLT_PROGRESS_LINES + 1) * (TLT_PROGRESS_BYTES + 16)];
  int columns, rows;
  if (!tlt_terminal()) return;
  tlt_terminal_size(&columns, &rows);
  pthread_mutex_lock(&lock);
  size_t at = (size_t)put_return(frame, sizeof frame, columns);
  for (int i = 0; i < n && i < TLT_PROGRESS_LINES; i++) {
    at += put_cut(frame + at, line[i], columns - 1, &cells[i]);
    at += (size_t)snprintf(frame + at, sizeof frame - at, "\033[K\n");
  }
  at += (size_t)snprintf(frame + at, sizeof frame - at, "\033[J");
  shown = n;
  last = tlt_now();
  write_out(frame, at);
  pthread_mutex_unlock(&lock);
}

void tlt_progress_show(const char *format, ...) {
  char line[1][TLT_PROGRESS_BYTES];
  if (!tlt_progress_due()) return;
  va_list args;
  va_start(args, format);
  vsnprintf(line[0], sizeof line[0], format, args);
  va_end(args);
  tlt_progress_lines((const char(*)[TLT_PROGRESS_BYTES])line, 1);
}

void tlt_progress_print(const char *text) {
  char frame[TLT_PROGRESS_BYTES + 64];
  int columns, rows;
  size_t n = 0;
  pthread_mutex_lock(&lock);
  if (shown) {
    tlt_terminal_size(&columns, &rows);
    n = (size_t)put_return(frame, sizeof frame, columns);
    n += (size_t)snprintf(frame + n, sizeof frame - n, "\033[J");
  }
  shown = 0;
  n += (size_t)snprintf(frame + n, sizeof frame - n, "%.*s\n", TLT_PROGRESS_BYTES - 1, text);
  write_out(frame, n);
  pthread_mutex_unlock(&lock);
}

void tlt_progress_clear(void) {
  char frame[32];
  int columns, rows;
  if (pthread_mutex_trylock(&lock)) return; /* a frame is being written: it clears for itself */
  if (shown) {
    tlt_terminal_size(&columns, &rows);
    size_t n = (size_t)put_return(frame, sizeof frame, columns);
    n += (size_t)snprintf(frame + n, sizeof frame - n, "\033[J");
    write_out(frame, n);
  }
  shown = 0;
  pthread_mutex_unlock(&lock);
}

const char *tlt_progress_time(double seconds, char out[32]) {
  long s = seconds < 0 ? 0 : (long)(seconds + 0.5);
  if (s >= 3600) snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else if (s >= 60) snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
  else snprintf(out, 32, "%lds", s);
  return out;
}
