/* Task options as configuration text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tasks/task.h"

enum { MAX_SETTINGS = 16 };

/* Cut "name=value" pairs at commas, in place. */
static tlt_status parse(char *text, tlt_task_setting *settings, size_t *n, tlt_err *err) {
  char *save = NULL;
  for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
    char *equals = strchr(item, '='), *end;
    if (!equals) return tlt_fail(err, TLT_EUSAGE, "options: got '%s', expected name=value", item);
    if (*n == MAX_SETTINGS)
      return tlt_fail(err, TLT_EUSAGE, "options: more than %d of them", MAX_SETTINGS);
    *equals = 0;
    errno = 0;
    settings[*n] = (tlt_task_setting){item, strtoll(equals + 1, &end, 10)};
    if (end == equals + 1 || *end || errno)
      return tlt_fail(err, TLT_EUSAGE, "options.%s: got '%s', expected a whole number", item,
                      equals + 1);
    ++*n;
  }
  return TLT_OK;
}

tlt_status tlt_task_open_options(const char *task, const char *options, tlt_split split,
                                 uint32_t seed, bool traces, tlt_task **out, tlt_err *err) {
  tlt_task_setting settings[MAX_SETTINGS];
  size_t n = 0;
  char *text = tlt_strdup(options ? options : "");
  if (!text) return tlt_fail_nomem(err, "task options", 1);
  tlt_status s = parse(text, settings, &n, err);
  if (s == TLT_OK) s = tlt_task_open(task, settings, n, split, seed, traces, out, err);
  tlt_free(text);
  return s;
}
