#include "rl/drafting_save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"

/* 2^31 fp32 weights, three times. */
#define STATE_BYTES_MAX ((size_t)24 << 30)

static const char STATE_FILE[] = "training.state", MAGIC[] = "TLTDRAFT";

enum { CHECKED_FROM = 16 }; /* offset of what the checksum is about */

void tlt_drafting_step_path(char out[TLT_PATH_MAX], const char *dir, int64_t step) {
  char name[32];
  snprintf(name, sizeof name, "step-%lld", (long long)step);
  tlt_path_join(out, dir, name);
}

/* ---- what is there --------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static bool step_of(const char *name, int64_t *step) {
  char again[32];
  long long x;
  if (sscanf(name, "step-%lld", &x) != 1 || x < 0) return false;
  snprintf(again, sizeof again, "step-%lld", x);
  *step = x;
  return !strcmp(name, again);
}

tlt_status tlt_drafting_steps(const char *dir, int64_t **steps, size_t *n, tlt_err *err) {
  char **names = NULL;
  size_t count = 0;
  *steps = NULL;
  *n = 0;
  if (!tlt_path_exists(dir)) return TLT_OK;
  tlt_status s = tlt_dir_list(dir, &names, &count, err);
  if (s != TLT_OK) return s;
  *steps = tlt_malloc((count + 1) * sizeof **steps);
  if (!*steps) s = tlt_fail_nomem(err, "drafter checkpoints", (count + 1) * sizeof **steps);
  for (size_t i = 0; s == TLT_OK && i < count; i++) *n += step_of(names[i], &(*steps)[*n]);
  tlt_dir_list_free(names, count);
  if (s == TLT_OK) qsort(*steps, *n, sizeof **steps, ascending);
  return s;
}

tlt_status tlt_drafting_state_load(const char *dir, int64_t step, unsigned char **state,
                                   size_t *bytes, tlt_err *err) {
  char at[TLT_PATH_MAX], path[TLT_PATH_MAX], *text = NULL;
  tlt_drafting_state h;
  tlt_drafting_step_path(at, dir, step);
  tlt_path_join(path, at, STATE_FILE);
  tlt_status s = tlt_file_load(path, STATE_BYTES_MAX, &text, bytes, err);
  *state = (unsigned char *)text;
  if (s != TLT_OK) return s;
  if (*bytes >= sizeof h) memcpy(&h, text, sizeof h);
  if (*bytes < sizeof h || memcmp(h.magic, MAGIC, sizeof h.magic) != 0)
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: got another file, expected the state of a drafter",
                 path);
  else if (h.format != TLT_DRAFTING_FORMAT)
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: got format %u, expected %d", path, h.format,
                 TLT_DRAFTING_FORMAT);
  else if (h.elements > STATE_BYTES_MAX / 12 || *bytes != sizeof h + 12 * (size_t)h.elements)
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: got %zu bytes, expected %zu and 12 for each of %llu",
                 path, *bytes, sizeof h, (unsigned long long)h.elements);
  else if (tlt_crc32(0, text + CHECKED_FROM, *bytes - CHECKED_FROM) != h.crc32)
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: got a wrong checksum", path);
  if (s == TLT_OK) return TLT_OK;
  tlt_free(text);
  *state = NULL;
  return s;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void remove_old(const tlt_drafting_writer *w) {
  int64_t *steps;
  size_t n;
  char path[TLT_PATH_MAX];
  if (tlt_drafting_steps(w->dir, &steps, &n, NULL) != TLT_OK) return;
  size_t keep = w->keep > 2 ? (size_t)w->keep : 2;
  for (size_t i = 0; i + keep < n; i++) {
    tlt_drafting_step_path(path, w->dir, steps[i]);
    tlt_path_remove(path, NULL);
  }
  tlt_free(steps);
}

static tlt_status publish(const tlt_drafting_writer *w, const char *tmp, tlt_err *err) {
  char path[TLT_PATH_MAX], latest[TLT_PATH_MAX], name[32];
  int n = snprintf(name, sizeof name, "step-%lld\n", (long long)w->step);
  tlt_drafting_step_path(path, w->dir, w->step);
  tlt_path_join(latest, w->dir, "LATEST");
  tlt_status s = tlt_dir_sync(tmp, err);
  if (s == TLT_OK) s = tlt_path_remove(path, err); /* only a damaged one can be in the way */
  if (s == TLT_OK) s = tlt_path_rename(tmp, path, err);
  if (s == TLT_OK) s = tlt_dir_sync(w->dir, err);
  if (s == TLT_OK) s = tlt_file_store(latest, name, (size_t)n, err);
  if (s == TLT_OK) remove_old(w);
  return s;
}

static tlt_status write_all(tlt_drafting_writer *w, tlt_err *err) {
  char name[32], tmp[TLT_PATH_MAX], path[TLT_PATH_MAX];
  tlt_drafting_state *h = (tlt_drafting_state *)(void *)w->state;
  snprintf(name, sizeof name, "tmp-%lld", (long long)w->step);
  tlt_path_join(tmp, w->dir, name);
  tlt_path_join(path, tmp, STATE_FILE);
  memcpy(h->magic, MAGIC, sizeof h->magic);
  h->format = TLT_DRAFTING_FORMAT;
  h->crc32 = tlt_crc32(0, w->state + CHECKED_FROM, w->state_bytes - CHECKED_FROM);
  tlt_status s = tlt_path_remove(tmp, err);
  if (s == TLT_OK) s = tlt_drafter_save(w->drafter, tmp, err);
  if (s == TLT_OK) s = tlt_file_store(path, w->state, w->state_bytes, err);
  if (s == TLT_OK) s = publish(w, tmp, err);
  if (s != TLT_OK) tlt_path_remove(tmp, NULL);
  return s;
}

static void *run(void *context) {
  tlt_drafting_writer *w = context;
  w->began = tlt_now();
  w->status = write_all(w, &w->err);
  w->seconds = tlt_now() - w->began;
  atomic_store(&w->done, true);
  return NULL;
}

static void drop_copy(tlt_drafting_writer *w) {
  tlt_drafter_free(w->drafter);
  tlt_free(w->state);
  w->drafter = NULL;
  w->state = NULL;
}

void tlt_drafting_writer_wait(tlt_drafting_writer *w) {
  if (!w->running) return;
  pthread_join(w->thread, NULL);
  w->running = false;
  drop_copy(w);
  if (w->status == TLT_OK) w->newest = w->step;
  else tlt_log_write(TLT_LOG_WARN, "drafter checkpoint not written: %s", w->err.text);
}

bool tlt_drafting_writer_idle(tlt_drafting_writer *w) {
  if (w->running && atomic_load(&w->done)) tlt_drafting_writer_wait(w);
  return !w->running;
}

void tlt_drafting_writer_begin(tlt_drafting_writer *w, int64_t step, tlt_drafter *drafter,
                               unsigned char *state, size_t bytes) {
  w->drafter = drafter;
  w->state = state;
  w->state_bytes = bytes;
  w->step = step;
  atomic_store(&w->done, false);
  w->running = pthread_create(&w->thread, NULL, run, w) == 0;
  if (w->running) return;
  drop_copy(w);
  tlt_log_write(TLT_LOG_WARN, "drafter checkpoint not written: no thread could be started");
}

void tlt_drafting_writer_close(tlt_drafting_writer *w) {
  tlt_drafting_writer_wait(w);
}
