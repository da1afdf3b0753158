/* The lines of trace.json: opening, mending, cutting, thinning. trace.c makes the events.
 *
 *   {"displayTimeUnit":"ms","otherData":{"detail_every":1},"traceEvents":[
 *   {...}
 *   ,{"step":3,"cat":"work",...}
 *   ]}
 *
 * Every event line but the first begins like the third. cat: "name" (metadata) and "step" (steps,
 * totals) against "work" (spans) and "count" (counters), which thinning drops first. */
#ifndef TLT_REPORT_TRACE_FILE_H
#define TLT_REPORT_TRACE_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tlt/status.h"

enum { TLT_TRACE_CAT = 8 };

/* Step and category of an event line, which every one but the first begins with; false: it is no
 * such line. line is NUL-terminated and may go on behind the category. */
bool tlt_trace_line_head(const char *line, int64_t *step, char cat[TLT_TRACE_CAT]);

typedef struct tlt_trace_file tlt_trace_file;

/* Called for every kept event. */
typedef void (*tlt_trace_seen)(void *context, const json_t *event);

/* Keep the events up to last_step (below 0: none) of an existing file, else make one. */
tlt_status tlt_trace_file_open(const char *path, int64_t last_step, uint64_t limit,
                               tlt_trace_seen seen, void *context, tlt_trace_file **out,
                               tlt_err *err);
/* Whether spans and counters of a step are kept. */
bool tlt_trace_file_details(const tlt_trace_file *f, int64_t step);
/* n bytes of whole event lines, steps ascending. */
tlt_status tlt_trace_file_add(tlt_trace_file *f, const char *lines, size_t n, tlt_err *err);
tlt_status tlt_trace_file_sync(tlt_trace_file *f, tlt_err *err);
tlt_status tlt_trace_file_close(tlt_trace_file *f, tlt_err *err); /* NULL is harmless */

#endif
