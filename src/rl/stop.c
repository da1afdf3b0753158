#define _GNU_SOURCE
#include "rl/stop.h"

#include <stddef.h>
#include <unistd.h>

#include "tlt/status.h"

tlt_stop tlt_stop_flags;

enum { EXIT_STOPPED = 75 }; /* tlt_status_exit_code(TLT_ESTOPPED), which is not async-signal-safe */

static void on_stop(int signal_number) {
  if (tlt_stop_flags.stop) _exit(EXIT_STOPPED);
  tlt_stop_flags.stop = signal_number;
}

static void on_save(int signal_number) {
  (void)signal_number;
  tlt_stop_flags.save = 1;
}

static int install(int signal_number, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(signal_number, &action, NULL);
}

int tlt_stop_install(void) {
  static const int stops[] = {SIGINT, SIGTERM, SIGUSR1};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
    if (install(stops[i], on_stop) != 0) return -1;
  return install(SIGUSR2, on_save);
}
