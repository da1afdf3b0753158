#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static tlt_log_sink sink;
static void *sink_context;
static bool muted;

void tlt_log_set_sink(tlt_log_sink new_sink, void *context) {
  sink = new_sink;
  sink_context = context;
}

void tlt_log_mute(bool mute) {
  muted = mute;
}

void tlt_log_write(tlt_log_level level, const char *format, ...) {
  if (!sink || muted) return;
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  sink(sink_context, level, text);
}
