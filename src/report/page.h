/* The page of `tlt report`, of the live view and of `tlt compare --html`: one HTML document with
 * style, program, Chart.js and data inside, made from report/page/ when tlt is built. It loads
 * nothing: its Content-Security-Policy names the hash of its own style and program and forbids
 * everything else.
 *
 * The data is one JSON object; report/page/README.md has its shape. Texts in it may hold anything
 * (markup, control characters): the page shows them as text. */
#ifndef TLT_REPORT_PAGE_H
#define TLT_REPORT_PAGE_H

#include <stddef.h>

#include "tlt/status.h"

typedef enum tlt_page_kind {
  TLT_PAGE_FILE, /* may connect to nothing */
  TLT_PAGE_LIVE  /* may open event streams where it came from */
} tlt_page_kind;

/* The document around payload, n bytes of valid JSON in UTF-8. *html [*bytes] is NUL-terminated,
 * freed by the caller with tlt_free. TLT_ENOMEM, then *html is NULL. */
tlt_status tlt_page_make(const char *payload, size_t n, tlt_page_kind kind, char **html,
                         size_t *bytes, tlt_err *err);

/* The same as a file of kind TLT_PAGE_FILE, written by tlt_file_store. TLT_ENOMEM, TLT_EIO. */
tlt_status tlt_page_save(const char *path, const char *payload, size_t n, tlt_err *err);

#endif
