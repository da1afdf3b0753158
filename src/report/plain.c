#include "report/plain.h"

#include <stdbool.h>
#include <string.h>

#include "io/text.h"

/* Control characters, and U+2000 to U+207F with everything that turns or hides what follows. */
static bool is_hidden(const unsigned char *c, size_t length) {
  if (length == 0) return true;
  if (length == 1) return c[0] < 0x20 || c[0] == 0x7f;
  if (length == 2) return (c[0] == 0xc2 && c[1] < 0xa0) || (c[0] == 0xd8 && c[1] == 0x9c);
  if (length == 3 && c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf) return true;
  return length == 3 && c[0] == 0xe2 && (c[1] == 0x80 || c[1] == 0x81);
}

void tlt_plain_text(const char *text, char *out, size_t room) {
  enum { LONGEST = 4 };
  size_t used = 0, n = strlen(text);
  for (size_t at = 0; at < n && used + LONGEST < room;) {
    size_t length = tlt_utf8_length(text + at, n - at);
    if (text[at] == '\n') {
      out[used++] = '\\';
      out[used++] = 'n';
    } else if (is_hidden((const unsigned char *)text + at, length)) {
      out[used++] = '?';
    } else {
      memcpy(out + used, text + at, length);
      used += length;
    }
    at += length ? length : 1;
  }
  out[used] = 0;
}
