#include "app/stdin_text.h"

#include <stdio.h>

#include "base/mem.h"

tlt_status tlt_stdin_load(char **text, size_t *n, tlt_err *err) {
  size_t room = 65536, used = 0;
  char *data = tlt_malloc(room);
  if (!data) return tlt_fail_nomem(err, "standard input", room);
  for (size_t got; (got = fread(data + used, 1, room - used - 1, stdin)) > 0;) {
    used += got;
    if (used < room - 1) continue;
    char *more = room < TLT_STDIN_MAX ? tlt_realloc(data, room * 2) : NULL;
    if (!more) {
      tlt_free(data);
      return tlt_fail_nomem(err, "standard input", room * 2);
    }
    data = more;
    room *= 2;
  }
  if (ferror(stdin)) {
    tlt_free(data);
    return tlt_fail(err, TLT_EIO, "standard input: cannot read");
  }
  data[used] = 0;
  *text = data;
  *n = used;
  return TLT_OK;
}
