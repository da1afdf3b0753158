/* Puts the page around made-up data for tests/py/test_page.py and tools/page-shots.
 * Alone: page_tool DATA.json OUT.html [live] */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "report/page.h"

enum { DATA_BYTES_MAX = 64 << 20 };

int main(int argc, char **argv) {
  tlt_err err = {0};
  char *data = NULL, *html = NULL;
  size_t n, bytes;
  if (argc < 3) return 2;
  tlt_page_kind kind = argc > 3 && strcmp(argv[3], "live") == 0 ? TLT_PAGE_LIVE : TLT_PAGE_FILE;
  tlt_status s = tlt_file_load(argv[1], DATA_BYTES_MAX, &data, &n, &err);
  if (s == TLT_OK) s = tlt_page_make(data, n, kind, &html, &bytes, &err);
  if (s == TLT_OK) s = tlt_file_store(argv[2], html, bytes, &err);
  if (s != TLT_OK) fprintf(stderr, "%s\n", err.text);
  tlt_free(html);
  tlt_free(data);
  return s != TLT_OK;
}
