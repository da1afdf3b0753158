/* Loading and verifying a checkpoint; see checkpoint.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/checkpoint_int.h"
#include "io/json.h"

struct tlt_ckpt_reader {
  char dir[TLT_PATH_MAX]; /* of the step */
  json_t *json;           /* whole manifest file */
  const json_t *parts, *state;
  /* the open part */
  tlt_file *file;
  const json_t *part;
  uint64_t size, at;
  uint32_t crc; /* of the open block */
};

/* ---- Manifest ---- */

static tlt_status check_format(const tlt_json_node *manifest, tlt_err *err) {
  int64_t format;
  tlt_status status = tlt_json_int(manifest, "format", 0, INT64_MAX, &format, err);
  if (status != TLT_OK || format == TLT_CKPT_FORMAT) return status;
  return tlt_fail(err, TLT_ECHECKPOINT, "%s: got checkpoint format %" PRId64 ", expected %d",
                  manifest->file, format, TLT_CKPT_FORMAT);
}

static tlt_status check_crc(const char *path, const char *text, size_t n, tlt_err *err) {
  char head[TLT__CKPT_HEAD_BYTES + 1];
  size_t frame = TLT__CKPT_HEAD_BYTES + TLT__CKPT_TAIL_BYTES;
  if (n <= frame) return tlt_fail(err, TLT_ECHECKPOINT, "%s: got %zu bytes, cut short", path, n);
  uint32_t crc = tlt_crc32(0, text + TLT__CKPT_HEAD_BYTES, n - frame);
  snprintf(head, sizeof head, TLT__CKPT_HEAD, (unsigned)crc);
  if (!memcmp(head, text, TLT__CKPT_HEAD_BYTES) &&
      !memcmp(text + n - TLT__CKPT_TAIL_BYTES, TLT__CKPT_TAIL, TLT__CKPT_TAIL_BYTES))
    return TLT_OK;
  return tlt_fail(err, TLT_ECHECKPOINT, "%s: contents do not match their checksum %08" PRIx32, path,
                  crc);
}

/* One entry of "parts", and the size of its file. */
static tlt_status check_part(const tlt_ckpt_reader *r, const tlt_json_node *part, tlt_err *err) {
  const char *name;
  int64_t bytes, block;
  tlt_json_node list;
  tlt_status status = tlt_json_string(part, "name", &name, err);
  if (status == TLT_OK) status = tlt_json_int(part, "bytes", 0, INT64_MAX, &bytes, err);
  if (status == TLT_OK)
    status = tlt_json_int(part, "block", TLT_CKPT_BLOCK, TLT_CKPT_BLOCK, &block, err);
  if (status == TLT_OK) status = tlt_json_array(part, "crc32", &list, err);
  if (status != TLT_OK) return status;
  if (!tlt__ckpt_name_is_good(name)) return tlt_json_fail(part, "name", err, "bad name");
  if (json_array_size(list.value) !=
      (uint64_t)bytes / TLT_CKPT_BLOCK + (bytes % TLT_CKPT_BLOCK > 0))
    return tlt_json_fail(&list, NULL, err, "got %zu checksums for %" PRId64 " bytes",
                         json_array_size(list.value), bytes);
  char path[TLT_PATH_MAX];
  tlt_file *f;
  uint64_t size;
  tlt_path_join(path, r->dir, name);
  status = tlt_file_open(path, TLT_FILE_READ, &f, err);
  if (status != TLT_OK) return status;
  status = tlt_file_size(f, &size, err);
  if (status == TLT_OK && size != (uint64_t)bytes)
    status = tlt_fail(err, TLT_ECHECKPOINT, "%s: got %" PRIu64 " bytes, expected %" PRId64, path,
                      size, bytes);
  tlt_file_close(f, NULL);
  return status;
}

static tlt_status check_manifest(tlt_ckpt_reader *r, const char *path, const char *text, size_t n,
                                 int64_t step, tlt_err *err) {
  tlt_json_node top = tlt_json_top(r->json, path, 0), manifest, parts, state;
  int64_t named;
  tlt_status status = tlt_json_object(&top, "manifest", &manifest, err);
  if (status == TLT_OK) status = check_format(&manifest, err);
  if (status == TLT_OK) status = check_crc(path, text, n, err);
  if (status == TLT_OK) status = tlt_json_int(&manifest, "step", step, step, &named, err);
  if (status == TLT_OK) status = tlt_json_object(&manifest, "state", &state, err);
  if (status == TLT_OK) status = tlt_json_array(&manifest, "parts", &parts, err);
  if (status != TLT_OK) return status;
  r->state = state.value;
  r->parts = parts.value;
  for (size_t i = 0; i < json_array_size(r->parts) && status == TLT_OK; i++) {
    tlt_json_node part = tlt_json_element(&parts, i);
    status = check_part(r, &part, err);
  }
  return status;
}

static tlt_status load_manifest(tlt_ckpt_reader *r, int64_t step, tlt_err *err) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  tlt_path_join(path, r->dir, TLT__CKPT_MANIFEST);
  tlt_status status = tlt_file_load(path, TLT__CKPT_MANIFEST_MAX, &text, &n, err);
  if (status == TLT_OK) status = tlt_json_parse(text, n, path, 0, &r->json, err);
  if (status == TLT_OK) status = check_manifest(r, path, text, n, step, err);
  tlt_free(text);
  return tlt__ckpt_damage(status, err);
}

tlt_status tlt_ckpt_open(const char *dir, int64_t step, tlt_ckpt_reader **out, tlt_err *err) {
  *out = NULL;
  tlt_ckpt_reader *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, "checkpoint", sizeof *r);
  tlt_ckpt_path(r->dir, dir, step);
  tlt_status status = load_manifest(r, step, err);
  if (status != TLT_OK) {
    tlt_ckpt_close(r);
    return status;
  }
  *out = r;
  return TLT_OK;
}

void tlt_ckpt_close(tlt_ckpt_reader *r) {
  if (!r) return;
  tlt_file_close(r->file, NULL);
  json_decref(r->json);
  tlt_free(r);
}

const json_t *tlt_ckpt_state(const tlt_ckpt_reader *r) {
  return r->state;
}
size_t tlt_ckpt_part_count(const tlt_ckpt_reader *r) {
  return json_array_size(r->parts);
}

const char *tlt_ckpt_part_name(const tlt_ckpt_reader *r, size_t i) {
  return json_string_value(json_object_get(json_array_get(r->parts, i), "name"));
}

/* ---- Contents ---- */

tlt_status tlt_ckpt_seek(tlt_ckpt_reader *r, const char *name, uint64_t *bytes, tlt_err *err) {
  char path[TLT_PATH_MAX];
  size_t i = 0, n = tlt_ckpt_part_count(r);
  while (i < n && strcmp(tlt_ckpt_part_name(r, i), name)) i++;
  if (i == n) return tlt_fail(err, TLT_ECHECKPOINT, "%s: has no part %s", r->dir, name);
  tlt_file_close(r->file, NULL);
  r->file = NULL;
  r->part = json_array_get(r->parts, i);
  r->size = (uint64_t)json_integer_value(json_object_get(r->part, "bytes"));
  r->at = 0;
  r->crc = 0;
  if (bytes) *bytes = r->size;
  tlt_path_join(path, r->dir, name);
  return tlt__ckpt_damage(tlt_file_open(path, TLT_FILE_READ, &r->file, err), err);
}

static tlt_status check_block(tlt_ckpt_reader *r, tlt_err *err) {
  char hex[16];
  uint64_t block = (r->at - 1) / TLT_CKPT_BLOCK;
  const char *want =
      json_string_value(json_array_get(json_object_get(r->part, "crc32"), (size_t)block));
  snprintf(hex, sizeof hex, "%08" PRIx32, r->crc);
  r->crc = 0;
  if (want && !strcmp(want, hex)) return TLT_OK;
  return tlt_fail(
      err, TLT_ECHECKPOINT, "%s: bytes %" PRIu64 " .. %" PRIu64 ": got CRC-32 %s, expected %s",
      tlt_file_path(r->file), block * TLT_CKPT_BLOCK, r->at - 1, hex, want ? want : "a string");
}

tlt_status tlt_ckpt_read(tlt_ckpt_reader *r, void *to, size_t bytes, tlt_err *err) {
  char *next = to;
  if (!r->file) return tlt_fail(err, TLT_EINTERNAL, "%s: read before seek", r->dir);
  if (bytes > r->size - r->at)
    return tlt_fail(err, TLT_ECHECKPOINT,
                    "%s:%" PRIu64 ": got %" PRIu64 " bytes, expected %zu more",
                    tlt_file_path(r->file), r->at, r->size - r->at, bytes);
  while (bytes) {
    size_t n = TLT_CKPT_BLOCK - (size_t)(r->at % TLT_CKPT_BLOCK);
    if (n > bytes) n = bytes;
    tlt_status status = tlt__ckpt_damage(tlt_file_pread(r->file, next, n, r->at, err), err);
    if (status != TLT_OK) return status;
    r->crc = tlt_crc32(r->crc, next, n);
    r->at += n;
    next += n;
    bytes -= n;
    if (r->at % TLT_CKPT_BLOCK && r->at != r->size) continue;
    if ((status = check_block(r, err)) != TLT_OK) return status;
  }
  return TLT_OK;
}

tlt_status tlt_ckpt_verify(tlt_ckpt_reader *r, tlt_err *err) {
  enum { PIECE = 1 << 18 };
  char *piece = tlt_malloc(PIECE);
  tlt_status status = piece ? TLT_OK : tlt_fail_nomem(err, "checkpoint", PIECE);
  for (size_t i = 0, n = tlt_ckpt_part_count(r); i < n && status == TLT_OK; i++) {
    uint64_t left = 0;
    status = tlt_ckpt_seek(r, tlt_ckpt_part_name(r, i), &left, err);
    while (left && status == TLT_OK) {
      size_t bytes = left < PIECE ? (size_t)left : PIECE;
      status = tlt_ckpt_read(r, piece, bytes, err);
      left -= bytes;
    }
  }
  tlt_free(piece);
  return status;
}
