#include "rl/spec_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/text.h"
#include "rl/rollout_log.h"

enum { BLOCK = 8192 }; /* of reading: about a line */

struct tlt_spec_log {
  tlt_file *file; /* NULL after a failure */
  tlt_log_rollouts what;
  tlt_json_writer lines;
};

static void give_up(tlt_spec_log *l, const tlt_err *err) {
  tlt_log_write(TLT_LOG_WARN, "%s; no more is recorded about the sources of tokens", err->text);
  tlt_file_close(l->file, NULL);
  l->file = NULL;
}

/* ---- what a run left --------------------------------------------------------------------------
 */

/* From a line's first bytes; -1: not ours. */
static int64_t step_of(const char *line, size_t n) {
  char head[40];
  int64_t step;
  snprintf(head, sizeof head, "%.*s", (int)n, line);
  return sscanf(head, "{\"step\": %" SCNd64 ",", &step) == 1 ? step : -1;
}

static tlt_status read_block(tlt_file *f, uint64_t at, uint64_t size, char block[BLOCK], size_t *n,
                             tlt_err *err) {
  *n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
  return tlt_file_pread(f, block, *n, at, err);
}

/* Bytes of the whole lines of steps up to last_step. */
static tlt_status kept_bytes(tlt_file *f, uint64_t size, int64_t last_step, uint64_t *keep,
                             tlt_err *err) {
  char block[BLOCK];
  size_t n = 0;
  for (*keep = 0; *keep < size;) {
    uint64_t at = *keep;
    tlt_status s = read_block(f, at, size, block, &n, err);
    if (s != TLT_OK) return s;
    int64_t step = step_of(block, n);
    if (step < 0 || step > last_step) return TLT_OK;
    const char *end = memchr(block, '\n', n);
    for (; !end && at + n < size; end = memchr(block, '\n', n)) {
      at += n;
      s = read_block(f, at, size, block, &n, err);
      if (s != TLT_OK) return s;
    }
    if (!end) return TLT_OK; /* torn by a kill */
    *keep = at + (uint64_t)(end - block) + 1;
  }
  return TLT_OK;
}

static tlt_status cut(const char *path, int64_t last_step, uint64_t *keep, tlt_err *err) {
  tlt_file *f = NULL;
  uint64_t size = 0;
  *keep = 0;
  if (last_step < 0 || !tlt_path_exists(path)) return TLT_OK;
  tlt_status s = tlt_file_open(path, TLT_FILE_READ, &f, err);
  if (s == TLT_OK) s = tlt_file_size(f, &size, err);
  if (s == TLT_OK) s = kept_bytes(f, size, last_step, keep, err);
  tlt_file_close(f, NULL);
  return s;
}

tlt_spec_log *tlt_spec_log_open(const char *run, int64_t last_step, tlt_log_rollouts what) {
  char path[TLT_PATH_MAX];
  uint64_t keep;
  tlt_err err = {0};
  if (what == TLT_LOG_NONE) return NULL;
  tlt_spec_log *l = tlt_calloc(1, sizeof *l);
  if (!l) return NULL;
  l->what = what;
  tlt_path_join(path, run, "spec.jsonl");
  tlt_status s = cut(path, last_step, &keep, &err);
  if (s == TLT_OK) s = tlt_file_open(path, TLT_FILE_APPEND, &l->file, &err);
  if (s == TLT_OK) s = tlt_file_truncate(l->file, keep, &err);
  if (s != TLT_OK) give_up(l, &err);
  return l;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

/* A byte that is no UTF-8, or NUL, stands as U+FFFD in the rollout file. */
enum { REPLACEMENT_BYTES = 3 };

static void put_bytes(tlt_json_writer *w, const tlt_answer *a, const tlt_tokenizer *t) {
  size_t n = a->text ? a->n_text : 0, at = 0, end = 0;
  tlt_json_begin(w, "bytes", '[');
  for (int i = 0; i < a->n_tokens; i++) {
    size_t bytes = 0, own = 0;
    tlt_tokenizer_bytes(t, a->tokens[i], &own);
    end += own;
    while (at < n) {
      size_t length = a->text[at] ? tlt_utf8_length(a->text + at, n - at) : 0;
      if (at + (length ? length : 1) > end) break;
      bytes += length ? length : REPLACEMENT_BYTES;
      at += length ? length : 1;
    }
    tlt_json_put_int(w, NULL, (int64_t)bytes);
  }
  tlt_json_end(w, ']');
}

static void put_answer(tlt_json_writer *w, int64_t step, const tlt_group *g, int sample,
                       const tlt_tokenizer *t) {
  const tlt_answer *a = &g->answer[sample];
  if (!a->origins) return;
  w->comma = false;
  tlt_json_begin(w, NULL, '{');
  tlt_json_put_int(w, "step", step);
  tlt_json_put_int(w, "rollout", g->rollout);
  tlt_json_put_int(w, "sample", sample);
  tlt_json_put_string_n(w, "sources", a->origins, (size_t)a->n_tokens);
  put_bytes(w, a, t);
  tlt_json_end(w, '}');
  tlt_json_newline(w);
}

void tlt_spec_log_put(tlt_spec_log *l, const tlt_groups *g, const tlt_tokenizer *t, int64_t step) {
  tlt_err err = {0};
  if (!l || !l->file) return;
  tlt_text_clear(&l->lines.text);
  for (int64_t i = 0; i < tlt_logged_answers(g, l->what); i++) {
    int64_t at = tlt_logged_answer(g, l->what, i);
    put_answer(&l->lines, step, &g->group[at / g->samples], (int)(at % g->samples), t);
  }
  tlt_status s = tlt_text_check(&l->lines.text, &err);
  if (s == TLT_OK) s = tlt_file_write(l->file, l->lines.text.data, l->lines.text.n, &err);
  if (s != TLT_OK) give_up(l, &err);
}

void tlt_spec_log_sync(tlt_spec_log *l) {
  tlt_err err = {0};
  if (l && l->file && tlt_file_sync(l->file, &err) != TLT_OK) give_up(l, &err);
}

void tlt_spec_log_close(tlt_spec_log *l) {
  if (!l) return;
  tlt_file_close(l->file, NULL);
  tlt_text_free(&l->lines.text);
  tlt_free(l);
}
