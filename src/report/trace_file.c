#include "report/trace_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"

#define HEAD "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"detail_every\":%lld},\"traceEvents\":[\n"
#define FIRST                                                                                \
  "{\"step\":0,\"cat\":\"name\",\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\"," \
  "\"args\":{\"name\":\"run\"}}\n"
#define TAIL "]}\n"

enum {
  LOAD_MAX = 1 << 30,
  TOTALS_PER_DETAIL = 64, /* steps and totals are thinned that much later than spans */
  EVERY_MAX = 1 << 30
};

struct tlt_trace_file {
  tlt_file *file;
  uint64_t bytes; /* without the closing line */
  uint64_t limit;
  int64_t every; /* spans and counters are kept for steps divisible by this */
  char path[TLT_PATH_MAX];
};

bool tlt_trace_file_details(const tlt_trace_file *f, int64_t step) {
  return step % f->every == 0;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static tlt_status begin_anew(tlt_trace_file *f, tlt_err *err) {
  char text[512];
  int n = snprintf(text, sizeof text, HEAD FIRST TAIL, 1LL);
  f->every = 1;
  f->bytes = (uint64_t)n - strlen(TAIL);
  tlt_status s = tlt_file_truncate(f->file, 0, err);
  return s == TLT_OK ? tlt_file_write(f->file, text, (size_t)n, err) : s;
}

/* Lines that follow the first f->bytes bytes, and the closing line, in one write. */
static tlt_status append(tlt_trace_file *f, const char *lines, size_t n, tlt_err *err) {
  tlt_text text = {0};
  tlt_text_add_n(&text, lines, n);
  tlt_text_add(&text, TAIL);
  tlt_status s = tlt_text_check(&text, err);
  if (s == TLT_OK) s = tlt_file_truncate(f->file, f->bytes, err);
  if (s == TLT_OK) s = tlt_file_write(f->file, text.data, text.n, err);
  if (s == TLT_OK) f->bytes += n;
  tlt_text_free(&text);
  return s;
}

/* ---- thinning -----------------------------------------------------------------------------------
 */

/* Skip what `at` begins with; NULL: it does not, or at is NULL. */
static const char *skip(const char *at, const char *what) {
  size_t n = strlen(what);
  return at && !strncmp(at, what, n) ? at + n : NULL;
}

/* No sscanf: it measures the whole rest of the file first, for every line. */
bool tlt_trace_line_head(const char *line, int64_t *step, char cat[TLT_TRACE_CAT]) {
  char *end;
  const char *at = skip(line, ",{\"step\":");
  if (!at || *at < '0' || *at > '9') return false;
  *step = strtoll(at, &end, 10);
  at = skip(end, ",\"cat\":\"");
  size_t n = at ? strspn(at, "abcdefghijklmnopqrstuvwxyz") : 0;
  if (n == 0 || n >= TLT_TRACE_CAT || at[n] != '"') return false;
  memcpy(cat, at, n);
  cat[n] = 0;
  return true;
}

static bool kept(const char *line, int64_t every) {
  int64_t step;
  char cat[TLT_TRACE_CAT];
  if (!tlt_trace_line_head(line, &step, cat)) return false;
  if (!strcmp(cat, "name")) return true;
  int64_t totals = every > TOTALS_PER_DETAIL ? every / TOTALS_PER_DETAIL : 1;
  return step % (strcmp(cat, "step") ? every : totals) == 0;
}

/* Event lines behind the first that stay; text may be NULL to count their bytes only. */
static uint64_t filter(const char *at, const char *end, int64_t every, tlt_text *text) {
  uint64_t bytes = 0;
  while (at < end) {
    const char *next = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
    if (kept(at, every)) {
      bytes += (uint64_t)(next - at);
      if (text) tlt_text_add_n(text, at, (size_t)(next - at));
    }
    at = next;
  }
  return bytes;
}

static tlt_status rewrite(tlt_trace_file *f, const char *lines, const char *end, tlt_err *err) {
  tlt_text text = {0};
  tlt_text_printf(&text, HEAD, (long long)f->every);
  tlt_text_add(&text, FIRST);
  filter(lines, end, f->every, &text);
  uint64_t bytes = text.n;
  tlt_text_add(&text, TAIL);
  tlt_status s = tlt_text_check(&text, err);
  if (s == TLT_OK) {
    s = tlt_file_close(f->file, err);
    f->file = NULL;
  }
  if (s == TLT_OK) s = tlt_file_store(f->path, text.data, text.n, err);
  if (s == TLT_OK) s = tlt_file_open(f->path, TLT_FILE_APPEND, &f->file, err);
  f->bytes = bytes;
  tlt_text_free(&text);
  return s;
}

static tlt_status thin(tlt_trace_file *f, tlt_err *err) {
  char *text = NULL;
  size_t n;
  tlt_status s = tlt_file_load(f->path, LOAD_MAX, &text, &n, err);
  if (s == TLT_OK && n < f->bytes)
    s = tlt_fail(err, TLT_EIO, "%s: got %zu bytes, expected %llu (changed by somebody else?)",
                 f->path, n, (unsigned long long)f->bytes);
  if (s == TLT_OK) {
    const char *lines = strchr(strchr(text, '\n') + 1, '\n') + 1, *end = text + f->bytes;
    do f->every *= 2;
    while (filter(lines, end, f->every, NULL) > f->limit / 2 && f->every < EVERY_MAX);
    s = rewrite(f, lines, end, err);
  }
  tlt_free(text);
  return s;
}

tlt_status tlt_trace_file_add(tlt_trace_file *f, const char *lines, size_t n, tlt_err *err) {
  tlt_status s = append(f, lines, n, err);
  if (s == TLT_OK && f->bytes > f->limit && f->every < EVERY_MAX) s = thin(f, err);
  return s;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

typedef enum line_kind { KEEP, LATER, FOREIGN } line_kind;

static line_kind judge(const char *line, size_t n, int64_t last_step, tlt_trace_seen seen,
                       void *context) {
  json_t *event = NULL;
  int64_t step;
  char cat[TLT_TRACE_CAT];
  if (!tlt_trace_line_head(line, &step, cat)) return FOREIGN;
  if (tlt_json_parse(line + 1, n - 1, "", 0, &event, NULL) != TLT_OK) return FOREIGN;
  if (step <= last_step) seen(context, event);
  json_decref(event);
  return step <= last_step ? KEEP : LATER;
}

/* Bytes of the head and of the event lines to keep; 0: this is no trace of ours. */
static uint64_t measure(tlt_trace_file *f, const char *text, size_t n, int64_t last_step,
                        tlt_trace_seen seen, void *context) {
  long long every = 0;
  char head[512];
  if (sscanf(text, HEAD, &every) != 1 || every < 1 || every > EVERY_MAX) return 0;
  size_t at = (size_t)snprintf(head, sizeof head, HEAD FIRST, every), line = 3;
  if (at > n || memcmp(text, head, at)) return 0;
  f->every = every;
  const char *end;
  for (; (end = memchr(text + at, '\n', n - at)); line++) {
    size_t length = (size_t)(end - text) - at;
    if (length == strlen(TAIL) - 1 && !memcmp(text + at, TAIL, length)) return at;
    line_kind kind = judge(text + at, length, last_step, seen, context);
    if (kind == LATER) return at;
    if (kind == FOREIGN) break;
    at += length + 1;
  }
  tlt_log_write(TLT_LOG_WARN, "%s:%zu: the trace is damaged or cut off here, going on from there",
                f->path, line);
  return at;
}

static tlt_status go_on(tlt_trace_file *f, int64_t last_step, tlt_trace_seen seen, void *context,
                        tlt_err *err) {
  char *text = NULL;
  size_t n = 0;
  uint64_t keep = 0;
  tlt_err unread = {0};
  if (last_step < 0) return begin_anew(f, err);
  if (tlt_file_load(f->path, LOAD_MAX, &text, &n, &unread) == TLT_OK && n > 0)
    keep = measure(f, text, n, last_step, seen, context);
  if (keep == 0 && (n > 0 || unread.text[0]))
    tlt_log_write(TLT_LOG_WARN, "%s: got no trace of a run, beginning a new one", f->path);
  tlt_free(text);
  if (keep == 0) return begin_anew(f, err);
  f->bytes = keep;
  return append(f, "", 0, err);
}

tlt_status tlt_trace_file_open(const char *path, int64_t last_step, uint64_t limit,
                               tlt_trace_seen seen, void *context, tlt_trace_file **out,
                               tlt_err *err) {
  *out = NULL;
  tlt_trace_file *f = tlt_calloc(1, sizeof *f);
  if (!f) return tlt_fail_nomem(err, "trace", sizeof *f);
  snprintf(f->path, sizeof f->path, "%s", path);
  f->limit = limit;
  f->every = 1;
  tlt_status s = tlt_file_open(path, TLT_FILE_APPEND, &f->file, err);
  if (s == TLT_OK) s = go_on(f, last_step, seen, context, err);
  if (s == TLT_OK) *out = f;
  else tlt_trace_file_close(f, NULL);
  return s;
}

tlt_status tlt_trace_file_sync(tlt_trace_file *f, tlt_err *err) {
  return tlt_file_sync(f->file, err);
}

tlt_status tlt_trace_file_close(tlt_trace_file *f, tlt_err *err) {
  if (!f) return TLT_OK;
  tlt_status s = tlt_file_close(f->file, err);
  tlt_free(f);
  return s;
}
