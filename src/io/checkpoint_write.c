/* Saving a checkpoint; see checkpoint.h for the recipe. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/checkpoint_int.h"
#include "io/text.h"

struct tlt_ckpt_writer {
  char dir[TLT_PATH_MAX], temporary[TLT_PATH_MAX];
  int64_t step, spared; /* spared: -1 for none */
  json_t *parts;
  /* the open part */
  tlt_file *file;
  const char *name; /* owned by parts */
  uint64_t bytes;
  uint32_t crc; /* of the open block */
};

/* ---- Making room ---- */

/* Intact steps at or above the new one would be replaced or overtaken: refused. */
static tlt_status check_newer(const tlt_ckpt_writer *w, tlt_err *err) {
  int64_t *steps;
  size_t count;
  tlt_status status = tlt__ckpt_list(w->dir, &steps, &count, err);
  for (size_t i = 0; i < count && status == TLT_OK; i++) {
    tlt_err damage = {0};
    if (steps[i] < w->step) continue;
    tlt_status found = tlt__ckpt_check(w->dir, steps[i], &damage);
    if (found == TLT_OK)
      status = tlt_fail(err, TLT_ECHECKPOINT,
                        "%s/step-%" PRId64 ": is intact and not before step %" PRId64, w->dir,
                        steps[i], w->step);
    else if (found != TLT_ECHECKPOINT) status = tlt_fail(err, found, "%s", damage.text);
  }
  tlt_free(steps);
  return status;
}

/* check_newer found every step at or above this one damaged. */
static tlt_status set_damaged_aside(const tlt_ckpt_writer *w, tlt_err *err) {
  int64_t *steps;
  size_t count;
  tlt_status status = tlt__ckpt_list(w->dir, &steps, &count, err);
  for (size_t i = 0; i < count && status == TLT_OK; i++) {
    char path[TLT_PATH_MAX], bad[TLT_PATH_MAX + 8];
    if (steps[i] < w->step) continue;
    tlt_ckpt_path(path, w->dir, steps[i]);
    snprintf(bad, sizeof bad, "%s.bad", path);
    status = tlt_path_remove(bad, err);
    if (status == TLT_OK) status = tlt_path_rename(path, bad, err);
    if (status == TLT_OK) tlt_log_write(TLT_LOG_WARN, "%s: damaged, now %s", path, bad);
  }
  tlt_free(steps);
  return status;
}

static tlt_status remove_leftovers(const char *dir, tlt_err *err) {
  char **names;
  size_t count;
  tlt_status status = tlt_dir_list(dir, &names, &count, err);
  if (status != TLT_OK) return status;
  for (size_t i = 0; i < count && status == TLT_OK; i++) {
    char path[TLT_PATH_MAX];
    if (strncmp(names[i], "tmp-", 4)) continue;
    tlt_path_join(path, dir, names[i]);
    status = tlt_path_remove(path, err);
  }
  tlt_dir_list_free(names, count);
  return status;
}

/* ---- Parts ---- */

tlt_status tlt_ckpt_create(const char *dir, int64_t step, tlt_ckpt_writer **out, tlt_err *err) {
  char name[32];
  *out = NULL;
  if (step < 0) return tlt_fail(err, TLT_EINTERNAL, "checkpoint of step %" PRId64, step);
  tlt_ckpt_writer *w = tlt_calloc(1, sizeof *w);
  if (!w) return tlt_fail_nomem(err, "checkpoint", sizeof *w);
  snprintf(w->dir, sizeof w->dir, "%s", dir);
  snprintf(name, sizeof name, "tmp-%" PRId64, step);
  tlt_path_join(w->temporary, dir, name);
  w->step = step;
  w->spared = -1;
  w->parts = json_array();
  tlt_status status = w->parts ? tlt_dir_make(dir, err) : tlt_fail_nomem(err, "checkpoint", 64);
  if (status == TLT_OK) status = remove_leftovers(dir, err);
  if (status == TLT_OK) status = check_newer(w, err);
  if (status == TLT_OK) status = tlt_dir_make(w->temporary, err);
  if (status != TLT_OK) {
    tlt_ckpt_abandon(w);
    return status;
  }
  *out = w;
  return TLT_OK;
}

/* The entry of the open part: the last one. */
static json_t *open_entry(const tlt_ckpt_writer *w) {
  return json_array_get(w->parts, json_array_size(w->parts) - 1);
}

static tlt_status end_block(tlt_ckpt_writer *w, tlt_err *err) {
  char hex[16];
  snprintf(hex, sizeof hex, "%08" PRIx32, w->crc);
  w->crc = 0;
  json_t *list = json_object_get(open_entry(w), "crc32");
  if (json_array_append_new(list, json_string(hex)) == 0) return TLT_OK;
  return tlt_fail_nomem(err, "checkpoint manifest", 64);
}

static tlt_status end_part(tlt_ckpt_writer *w, tlt_err *err) {
  if (!w->file) return TLT_OK;
  tlt_status status = TLT_OK;
  if (w->bytes % TLT_CKPT_BLOCK) status = end_block(w, err);
  if (status == TLT_OK &&
      json_object_set_new(open_entry(w), "bytes", json_integer((json_int_t)w->bytes)))
    status = tlt_fail_nomem(err, "checkpoint manifest", 64);
  if (status == TLT_OK) status = tlt_file_sync(w->file, err);
  tlt_status closed = tlt_file_close(w->file, status == TLT_OK ? err : NULL);
  w->file = NULL;
  return status == TLT_OK ? closed : status;
}

static bool is_repeated(const tlt_ckpt_writer *w, const char *name) {
  size_t i;
  json_t *part;
  json_array_foreach(w->parts, i, part) {
    if (!strcmp(json_string_value(json_object_get(part, "name")), name)) return true;
  }
  return false;
}

tlt_status tlt_ckpt_part(tlt_ckpt_writer *w, const char *name, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_status status = end_part(w, err);
  if (status != TLT_OK) return status;
  if (!tlt__ckpt_name_is_good(name) || is_repeated(w, name) ||
      json_array_size(w->parts) >= TLT_CKPT_PARTS_MAX)
    return tlt_fail(err, TLT_EINTERNAL, "checkpoint part %s: bad or repeated name", name);
  json_t *part = json_pack("{s:s, s:I, s:i, s:[]}", "name", name, "bytes", (json_int_t)0, "block",
                           (int)TLT_CKPT_BLOCK, "crc32");
  if (!part || json_array_append_new(w->parts, part))
    return tlt_fail_nomem(err, "checkpoint manifest", 256);
  w->bytes = 0;
  w->crc = 0;
  tlt_path_join(path, w->temporary, name);
  return tlt_file_open(path, TLT_FILE_CREATE, &w->file, err);
}

tlt_status tlt_ckpt_write(tlt_ckpt_writer *w, const void *data, size_t bytes, tlt_err *err) {
  const char *from = data;
  if (!w->file) return tlt_fail(err, TLT_EINTERNAL, "checkpoint data outside a part");
  while (bytes) {
    size_t n = TLT_CKPT_BLOCK - (size_t)(w->bytes % TLT_CKPT_BLOCK);
    if (n > bytes) n = bytes;
    w->crc = tlt_crc32(w->crc, from, n);
    tlt_status status = tlt_file_write(w->file, from, n, err);
    w->bytes += n;
    if (status == TLT_OK && w->bytes % TLT_CKPT_BLOCK == 0) status = end_block(w, err);
    if (status != TLT_OK) return status;
    from += n;
    bytes -= n;
  }
  return TLT_OK;
}

/* ---- Publishing ---- */

static tlt_status write_manifest(const tlt_ckpt_writer *w, json_t *state, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_text text = {0};
  json_t *body = json_pack("{s:i, s:I, s:O, s:O}", "format", (int)TLT_CKPT_FORMAT, "step",
                           (json_int_t)w->step, "parts", w->parts, "state", state);
  char *dump = body ? json_dumps(body, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  tlt_status status =
      dump ? TLT_OK : tlt_fail(err, TLT_ENOMEM, "out of memory: checkpoint state");
  if (dump) {
    tlt_text_printf(&text, TLT__CKPT_HEAD, (unsigned)tlt_crc32(0, dump, strlen(dump)));
    tlt_text_add(&text, dump);
    tlt_text_add(&text, TLT__CKPT_TAIL);
    status = tlt_text_check(&text, err);
  }
  tlt_path_join(path, w->temporary, TLT__CKPT_MANIFEST);
  if (status == TLT_OK && text.n > TLT__CKPT_MANIFEST_MAX)
    status = tlt_fail(err, TLT_EINTERNAL, "checkpoint state of %zu bytes, expected at most %d",
                      text.n, TLT__CKPT_MANIFEST_MAX);
  if (status == TLT_OK) status = tlt_file_store(path, text.data, text.n, err);
  tlt_text_free(&text);
  tlt_free(dump);
  json_decref(body);
  return status;
}

/* Renamed out of the way first, so that a kill leaves no half step under its name. */
static tlt_status remove_step(const char *dir, int64_t step, tlt_err *err) {
  char path[TLT_PATH_MAX], away[TLT_PATH_MAX], name[40];
  snprintf(name, sizeof name, "tmp-old-%" PRId64, step);
  tlt_ckpt_path(path, dir, step);
  tlt_path_join(away, dir, name);
  tlt_status status = tlt_path_rename(path, away, err);
  return status == TLT_OK ? tlt_path_remove(away, err) : status;
}

static tlt_status remove_old(const char *dir, int keep, int64_t spared, tlt_err *err) {
  int64_t *steps;
  size_t count, kept = keep < 2 ? 2 : (size_t)keep;
  tlt_status status = tlt__ckpt_list(dir, &steps, &count, err);
  for (size_t i = 0; i + kept < count && status == TLT_OK; i++)
    if (steps[i] != spared) status = remove_step(dir, steps[i], err);
  tlt_free(steps);
  return status;
}

void tlt_ckpt_spare(tlt_ckpt_writer *w, int64_t step) { w->spared = step; }

static tlt_status write_latest(const tlt_ckpt_writer *w, tlt_err *err) {
  char path[TLT_PATH_MAX], text[40];
  tlt_path_join(path, w->dir, "LATEST");
  int n = snprintf(text, sizeof text, "step-%" PRId64 "\n", w->step);
  return tlt_file_store(path, text, (size_t)n, err);
}

tlt_status tlt_ckpt_publish(tlt_ckpt_writer *w, json_t *state, int keep, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_err warning = {0};
  tlt_ckpt_path(path, w->dir, w->step);
  tlt_status status = end_part(w, err);
  if (status == TLT_OK && !json_is_object(state))
    status = tlt_fail(err, TLT_EINTERNAL, "checkpoint state: expected an object");
  if (status == TLT_OK) status = write_manifest(w, state, err); /* also syncs tmp-N */
  if (status == TLT_OK) status = set_damaged_aside(w, err);
  if (status == TLT_OK) status = tlt_path_rename(w->temporary, path, err);
  if (status != TLT_OK) {
    tlt_ckpt_abandon(w);
    return status;
  }
  status = tlt_dir_sync(w->dir, err);
  if (status == TLT_OK) status = write_latest(w, err);
  if (status == TLT_OK && remove_old(w->dir, keep, w->spared, &warning) != TLT_OK)
    tlt_log_write(TLT_LOG_WARN, "old checkpoints stay: %s", warning.text);
  w->temporary[0] = 0; /* published: nothing to remove */
  tlt_ckpt_abandon(w);
  return status;
}

void tlt_ckpt_abandon(tlt_ckpt_writer *w) {
  if (!w) return;
  tlt_file_close(w->file, NULL);
  if (w->temporary[0]) tlt_path_remove(w->temporary, NULL); /* else the next save removes it */
  json_decref(w->parts);
  tlt_free(w);
}
