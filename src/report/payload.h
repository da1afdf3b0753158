/* The JSON object that a page shows (report/page/README.md), made from a run directory. */
#ifndef TLT_REPORT_PAYLOAD_H
#define TLT_REPORT_PAYLOAD_H

#include "events/spans.h"
#include "io/text.h"
#include "report/run_log.h"

enum {
  TLT_PAYLOAD_COLUMNS = 5 << 20,  /* bytes of all columns: longer runs are thinned */
  TLT_PAYLOAD_TIMELINE = 7 << 19, /* bytes of all steps kept in the timeline */
  TLT_PAYLOAD_TRACE = 32 << 20,   /* bytes of trace.json that are read for it */
  TLT_PAYLOAD_SAMPLES = 4,        /* answers each of the first, middle and last step */
  TLT_PAYLOAD_TEXT = 16 << 10     /* bytes of an answer that are shown */
};

/* Append the whole object of a run. after: NULL for a file; else the page is live, and what this
 * id of its event stream stands for is in the object. Reads rollouts, spec.jsonl and trace.json
 * beside what the log holds; what is odd about them joins the log's notices. The log's rows may be
 * thinned further. TLT_ENOMEM. */
tlt_status tlt_payload_run(tlt_run_log *log, const char *program, const char *after,
                           tlt_json_writer *w, tlt_err *err);

/* ---- parts, for other pages ---- */

/* "run": {...} with the notices; program: this one, "" unknown. */
void tlt_payload_head(tlt_json_writer *w, const tlt_run_log *log);
/* "columns": {...}, "thinned": k. */
void tlt_payload_columns(tlt_json_writer *w, tlt_run_log *log, size_t bytes);
/* One worker of a step's timeline; begin: of the step, on the account's clock. */
void tlt_payload_worker(tlt_json_writer *w, const tlt_account *a, double begin);

#endif
