/* safetensors, read and write. Layout of a file: 8 bytes little-endian header length H, H bytes of
 * JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {...}},
 * then the data; offsets are relative to byte 8 + H, without holes or overlap.
 *
 * Everything is checked before it is trusted: header length against file and TLT_ST_HEADER_MAX,
 * UTF-8, JSON depth, offsets (ascending, no hole, no overlap, inside the file), shape product with
 * overflow, shape x dtype against the span, trailing bytes, Git LFS pointers. Every fault is
 * TLT_EDATA naming file and tensor or byte offset. Files are read with pread, never mapped. */
#ifndef TLT_IO_SAFETENSORS_H
#define TLT_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "tlt/status.h"

enum { TLT_ST_HEADER_MAX = 100000000, TLT_ST_MAX_DIMS = 8 };

typedef enum tlt_dtype {
  TLT_F32,
  TLT_F16,
  TLT_BF16,
  TLT_I64,
  TLT_I32,
  TLT_U8,
  TLT_BOOL,
  TLT_DTYPE_OTHER, /* known to the format, read raw only */
} tlt_dtype;

size_t tlt_dtype_size(tlt_dtype t);      /* bytes; 0 for TLT_DTYPE_OTHER */
const char *tlt_dtype_name(tlt_dtype t); /* "BF16"; "other" */

typedef struct tlt_st_tensor {
  const char *name; /* owned by the set */
  tlt_dtype dtype;
  int n_dims;
  int64_t shape[TLT_ST_MAX_DIMS];
  int file;               /* index of the shard */
  uint64_t offset, bytes; /* absolute position in that file */
} tlt_st_tensor;

/* All tensors of a model directory or of one file. */
typedef struct tlt_st_set tlt_st_set;

/* path: a .safetensors file, or a directory with model.safetensors or
 * model.safetensors.index.json (both present: the index is ignored with a warning). An index that
 * names a missing shard, or a tensor absent from its shard, is refused with both names. */
tlt_status tlt_st_open(const char *path, tlt_st_set **out, tlt_err *err);
void tlt_st_close(tlt_st_set *set);
size_t tlt_st_count(const tlt_st_set *set);
const tlt_st_tensor *tlt_st_at(const tlt_st_set *set, size_t i);
const tlt_st_tensor *tlt_st_find(const tlt_st_set *set, const char *name); /* NULL when absent */
const char *tlt_st_file_name(const tlt_st_set *set, int file);

/* Elements first .. first+count-1 of a float tensor (f32, f16, bf16) as fp32. NaN or infinity is
 * TLT_EDATA naming the tensor and element. */
tlt_status tlt_st_read_f32(const tlt_st_set *set, const tlt_st_tensor *t, uint64_t first,
                           size_t count, float *to, tlt_err *err);

/* The tensor's raw bytes. */
tlt_status tlt_st_read_raw(const tlt_st_set *set, const tlt_st_tensor *t, void *to, tlt_err *err);

/* Writer: declare all tensors in the order of their data, then write each in that order. The file
 * appears under its name only on a successful finish (temporary, fsync, rename). */
typedef struct tlt_st_writer tlt_st_writer;
tlt_status tlt_st_create(const char *path, tlt_st_writer **out, tlt_err *err);
tlt_status tlt_st_declare(tlt_st_writer *w, const char *name, tlt_dtype dtype, const int64_t *shape,
                          int n_dims, tlt_err *err);
/* Next bytes of the data section; any split is fine. */
tlt_status tlt_st_write(tlt_st_writer *w, const void *data, size_t bytes, tlt_err *err);
tlt_status tlt_st_finish(tlt_st_writer *w, tlt_err *err); /* frees w; short data is TLT_EINTERNAL */
void tlt_st_abandon(tlt_st_writer *w);                    /* frees w, removes the temporary */

#endif
