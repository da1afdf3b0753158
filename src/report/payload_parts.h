/* Private to src/report/payload*.c: members of the object that read files of their own. */
#ifndef TLT_REPORT_PAYLOAD_PARTS_H
#define TLT_REPORT_PAYLOAD_PARTS_H

#include "report/payload.h"
#include "report/saved.h"

/* The object of the timeline at w's top level; gives every account that it reads to saved. */
tlt_status tlt_payload_timeline(tlt_run_log *log, tlt_json_writer *w, tlt_saved *saved,
                                tlt_err *err);

/* "samples": [...] */
tlt_status tlt_payload_samples(tlt_run_log *log, tlt_json_writer *w, tlt_err *err);

#endif
