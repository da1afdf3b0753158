/* Messages of the library to whoever runs it. The library itself never prints: without a sink,
 * messages are dropped. */
#ifndef TLT_BASE_LOG_H
#define TLT_BASE_LOG_H

#include <stdbool.h>

typedef enum tlt_log_level { TLT_LOG_DEBUG, TLT_LOG_INFO, TLT_LOG_WARN } tlt_log_level;

/* text: one line without newline, valid during the call. May be called from any thread. */
typedef void (*tlt_log_sink)(void *context, tlt_log_level level, const char *text);

/* Set once at start, before other threads exist. */
void tlt_log_set_sink(tlt_log_sink sink, void *context);

/* Drop messages for a while: another process is saying the same. */
void tlt_log_mute(bool mute);

void tlt_log_write(tlt_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
