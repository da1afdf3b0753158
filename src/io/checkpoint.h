/* Checkpoint container: a directory per step that is either complete and checked, or not there.
 *
 *   DIR/step-N/manifest.json   written last; see below
 *   DIR/step-N/<part>          raw bytes of each part
 *   DIR/LATEST                 "step-N\n", for people and tools
 *   DIR/tmp-*                  unfinished work, removed by the next save
 *   DIR/step-N.bad             a damaged step that had to make way
 *
 * Saving: parts into tmp-N with a CRC-32 per block, each synced; manifest, synced; directory
 * synced; rename to step-N; DIR synced; LATEST by the same recipe; then older steps are deleted. A
 * kill at any instant leaves the step before, or this one, complete. A published step is never
 * replaced.
 *
 * manifest.json is one JSON object: {"crc32": "<8 hex digits>", "manifest":\n BODY \n}\n where the
 * CRC-32 is over the bytes of BODY = {"format", "step", "parts": [{"name", "bytes", "block",
 * "crc32": ["<8 hex digits>", ...]}, ...], "state": {...}}.
 *
 * Whatever is wrong with a checkpoint is TLT_ECHECKPOINT naming file and offset or size; faults of
 * the environment are TLT_EIO. One process saves at a time (hold the lock of file.h); a writer or
 * reader belongs to one thread. */
#ifndef TLT_IO_CHECKPOINT_H
#define TLT_IO_CHECKPOINT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "io/file.h"
#include "tlt/status.h"

enum { TLT_CKPT_FORMAT = 1, TLT_CKPT_BLOCK = 1 << 24, TLT_CKPT_PARTS_MAX = 4096 };

/* "DIR/step-N". */
void tlt_ckpt_path(char out[TLT_PATH_MAX], const char *dir, int64_t step);

/* ---- Saving ---- */

typedef struct tlt_ckpt_writer tlt_ckpt_writer;

/* Begin step >= 0 in dir, which is made when missing. An intact published step of this number or a
 * higher one is TLT_ECHECKPOINT; damaged ones become step-N.bad when this one is published. */
tlt_status tlt_ckpt_create(const char *dir, int64_t step, tlt_ckpt_writer **out, tlt_err *err);

/* End the part before and begin this one. name: [A-Za-z0-9._-]+, not repeated. */
tlt_status tlt_ckpt_part(tlt_ckpt_writer *w, const char *name, tlt_err *err);

/* Next bytes of the part; any split is fine, nothing is kept in memory. */
tlt_status tlt_ckpt_write(tlt_ckpt_writer *w, const void *data, size_t bytes, tlt_err *err);

/* Publishing shall not delete this older step (the best one), however old; -1: none. */
void tlt_ckpt_spare(tlt_ckpt_writer *w, int64_t step);

/* Write the manifest with the caller's object `state` (borrowed; doubles keep all digits), publish,
 * delete all but the newest max(keep, 2) steps. Frees w in any case; on failure what was published
 * before is untouched and the temporary directory is gone. A failing deletion is only a warning. */
tlt_status tlt_ckpt_publish(tlt_ckpt_writer *w, json_t *state, int keep, tlt_err *err);

/* Frees w and removes the temporary directory. NULL is harmless. */
void tlt_ckpt_abandon(tlt_ckpt_writer *w);

/* ---- Finding ---- */

/* The newest step published in dir, -1 when there is none (or no dir). LATEST naming a step above
 * all that are there is TLT_ECHECKPOINT: something was lost. */
tlt_status tlt_ckpt_latest(const char *dir, int64_t *step, tlt_err *err);

/* The newest step whose every byte checks out; each damaged one passed over is logged as a
 * warning. None: TLT_ECHECKPOINT. */
tlt_status tlt_ckpt_last_good(const char *dir, int64_t *step, tlt_err *err);

/* ---- Loading ---- */

typedef struct tlt_ckpt_reader tlt_ckpt_reader;

/* Reads and checks the manifest, and the size of every part; contents are checked as they are
 * read. Another format: TLT_ECHECKPOINT with both versions. */
tlt_status tlt_ckpt_open(const char *dir, int64_t step, tlt_ckpt_reader **out, tlt_err *err);
void tlt_ckpt_close(tlt_ckpt_reader *r); /* NULL is harmless */

const json_t *tlt_ckpt_state(const tlt_ckpt_reader *r); /* owned by r */
size_t tlt_ckpt_part_count(const tlt_ckpt_reader *r);
const char *tlt_ckpt_part_name(const tlt_ckpt_reader *r, size_t i); /* in the order written */

/* Begin reading a part from its start; *bytes (may be NULL) is its size. Unknown name:
 * TLT_ECHECKPOINT. */
tlt_status tlt_ckpt_seek(tlt_ckpt_reader *r, const char *name, uint64_t *bytes, tlt_err *err);

/* Next bytes of the part. A block is checked when its last byte is read: do not act on any of
 * the data before the last read of the part has returned TLT_OK. Beyond the end: TLT_ECHECKPOINT.
 */
tlt_status tlt_ckpt_read(tlt_ckpt_reader *r, void *to, size_t bytes, tlt_err *err);

/* Read and check every part. */
tlt_status tlt_ckpt_verify(tlt_ckpt_reader *r, tlt_err *err);

#endif
