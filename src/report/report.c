#include "report/report.h"

#include <stdio.h>

#include "base/mem.h"
#include "report/page.h"
#include "report/payload.h"

tlt_status tlt_report_write(const char *run, const char *to, const char *program,
                            tlt_report_result *out, tlt_err *err) {
  tlt_run_log *log = NULL;
  tlt_json_writer w = {0};
  char *html = NULL;
  size_t bytes = 0;
  if (to) snprintf(out->path, sizeof out->path, "%s", to);
  else tlt_path_join(out->path, run, "report.html");
  tlt_status s = tlt_run_log_open(run, &log, err);
  if (s == TLT_OK) s = tlt_payload_run(log, program, NULL, &w, err);
  if (s == TLT_OK) s = tlt_page_make(w.text.data, w.text.n, TLT_PAGE_FILE, &html, &bytes, err);
  if (s == TLT_OK) s = tlt_file_store(out->path, html, bytes, err);
  out->bytes = bytes;
  out->notices = log ? log->notices.n : 0;
  tlt_free(html);
  tlt_text_free(&w.text);
  tlt_run_log_free(log);
  return s;
}
