/* Private to src/io/checkpoint*.c. */
#ifndef TLT_IO_CHECKPOINT_INT_H
#define TLT_IO_CHECKPOINT_INT_H

#include <stdbool.h>

#include "io/checkpoint.h"

#define TLT__CKPT_MANIFEST "manifest.json"
#define TLT__CKPT_HEAD "{\"crc32\": \"%08x\", \"manifest\":\n"
#define TLT__CKPT_TAIL "\n}\n"
enum {
  TLT__CKPT_HEAD_BYTES = 34, /* with its 8 digits */
  TLT__CKPT_TAIL_BYTES = 3,
  TLT__CKPT_MANIFEST_MAX = 64 << 20
};

/* Step of a directory name "step-N", -1 for any other name. */
int64_t tlt__ckpt_step_of(const char *name);

/* Published steps in ascending order; caller frees *steps with tlt_free. */
tlt_status tlt__ckpt_list(const char *dir, int64_t **steps, size_t *count, tlt_err *err);

/* [A-Za-z0-9._-]+ of at most 100 bytes, not "." or "..", not the manifest. */
bool tlt__ckpt_name_is_good(const char *name);

/* TLT_ECHECKPOINT for TLT_EDATA, also in err: bad data in a checkpoint has one status. */
tlt_status tlt__ckpt_damage(tlt_status status, tlt_err *err);

/* Open and verify. */
tlt_status tlt__ckpt_check(const char *dir, int64_t step, tlt_err *err);

#endif
