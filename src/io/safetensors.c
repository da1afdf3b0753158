/* Reader of safetensors files and sharded sets; see safetensors.h. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/json.h"

enum { MAX_SHARDS = 10000, INDEX_MAX = 64 << 20 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are little-endian on disk");

static const struct {
  const char *name;
  tlt_dtype dtype;
  size_t size;
} dtypes[] = {
    {"F32", TLT_F32, 4},
    {"F16", TLT_F16, 2},
    {"BF16", TLT_BF16, 2},
    {"I64", TLT_I64, 8},
    {"I32", TLT_I32, 4},
    {"U8", TLT_U8, 1},
    {"BOOL", TLT_BOOL, 1},
    {"F64", TLT_DTYPE_OTHER, 8},
    {"I8", TLT_DTYPE_OTHER, 1},
    {"I16", TLT_DTYPE_OTHER, 2},
    {"U16", TLT_DTYPE_OTHER, 2},
    {"U32", TLT_DTYPE_OTHER, 4},
    {"U64", TLT_DTYPE_OTHER, 8},
    {"F8_E4M3", TLT_DTYPE_OTHER, 1},
    {"F8_E5M2", TLT_DTYPE_OTHER, 1},
    {"C64", TLT_DTYPE_OTHER, 8},
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

struct tlt_st_set {
  tlt_arena arena; /* names */
  tlt_file **files;
  size_t n_files;
  tlt_st_tensor *tensors; /* by file, then by offset */
  size_t n, room;
  tlt_st_tensor **by_name; /* sorted; made when all files are read */
};

size_t tlt_dtype_size(tlt_dtype t) {
  for (size_t i = 0; i < N_DTYPES; i++)
    if (dtypes[i].dtype == t && t != TLT_DTYPE_OTHER) return dtypes[i].size;
  return 0;
}

const char *tlt_dtype_name(tlt_dtype t) {
  for (size_t i = 0; i < N_DTYPES; i++)
    if (dtypes[i].dtype == t && t != TLT_DTYPE_OTHER) return dtypes[i].name;
  return "other";
}

/* ---- One tensor of the header ---- */

static tlt_status read_dtype(const tlt_json_node *entry, tlt_dtype *dtype, size_t *size,
                             tlt_err *err) {
  const char *name;
  tlt_status status = tlt_json_string(entry, "dtype", &name, err);
  if (status != TLT_OK) return status;
  for (size_t i = 0; i < N_DTYPES; i++)
    if (!strcmp(dtypes[i].name, name)) {
      *dtype = dtypes[i].dtype;
      *size = dtypes[i].size;
      return TLT_OK;
    }
  return tlt_json_fail(entry, "dtype", err, "got \"%.40s\", expected a known data type", name);
}

/* Fills n_dims and shape; *elements is their product, checked against overflow. */
static tlt_status read_shape(const tlt_json_node *entry, tlt_st_tensor *t, uint64_t *elements,
                             tlt_err *err) {
  tlt_json_node shape;
  tlt_status status = tlt_json_array(entry, "shape", &shape, err);
  if (status != TLT_OK) return status;
  size_t n = json_array_size(shape.value);
  if (n > TLT_ST_MAX_DIMS)
    return tlt_json_fail(&shape, NULL, err, "got %zu dimensions, expected at most %d", n,
                         TLT_ST_MAX_DIMS);
  t->n_dims = (int)n;
  *elements = 1;
  for (size_t i = 0; i < n; i++) {
    const json_t *value = json_array_get(shape.value, i);
    int64_t d = json_integer_value(value);
    char got[64];
    tlt_json_describe(value, got);
    if (!json_is_integer(value) || d < 0)
      return tlt_json_fail(&shape, NULL, err, "got dimension %s, expected integer of at least 0",
                           got);
    if (__builtin_mul_overflow(*elements, (uint64_t)d, elements) || *elements > INT64_MAX)
      return tlt_json_fail(&shape, NULL, err, "product of dimensions overflows at %s", got);
    t->shape[i] = d;
  }
  return TLT_OK;
}

/* Span relative to the data section, inside its `data_bytes`. */
static tlt_status read_span(const tlt_json_node *entry, uint64_t data_bytes, tlt_st_tensor *t,
                            tlt_err *err) {
  tlt_json_node offsets;
  tlt_status status = tlt_json_array(entry, "data_offsets", &offsets, err);
  if (status != TLT_OK) return status;
  const json_t *begin = json_array_get(offsets.value, 0), *end = json_array_get(offsets.value, 1);
  if (json_array_size(offsets.value) != 2 || !json_is_integer(begin) || !json_is_integer(end))
    return tlt_json_fail(&offsets, NULL, err, "expected two integers");
  int64_t b = json_integer_value(begin), e = json_integer_value(end);
  if (b < 0 || e < b || (uint64_t)e > data_bytes)
    return tlt_json_fail(&offsets, NULL, err,
                         "got %lld .. %lld, expected ascending within 0 .. %llu (data bytes)",
                         (long long)b, (long long)e, (unsigned long long)data_bytes);
  t->offset = (uint64_t)b;
  t->bytes = (uint64_t)(e - b);
  return TLT_OK;
}

static tlt_status read_entry(const tlt_json_node *entry, uint64_t data_bytes, tlt_st_tensor *t,
                             tlt_err *err) {
  size_t size = 0;
  uint64_t elements = 0, bytes;
  if (!json_is_object(entry->value)) return tlt_json_fail(entry, NULL, err, "expected an object");
  tlt_status status = read_dtype(entry, &t->dtype, &size, err);
  if (status == TLT_OK) status = read_shape(entry, t, &elements, err);
  if (status == TLT_OK) status = read_span(entry, data_bytes, t, err);
  if (status != TLT_OK) return status;
  if (__builtin_mul_overflow(elements, (uint64_t)size, &bytes) || bytes != t->bytes)
    return tlt_json_fail(entry, NULL, err,
                         "got a span of %llu bytes, expected %llu elements of %zu bytes",
                         (unsigned long long)t->bytes, (unsigned long long)elements, size);
  return TLT_OK;
}

/* ---- One file ---- */

static tlt_status add_tensor(tlt_st_set *set, const tlt_st_tensor *t, tlt_err *err) {
  if (set->n == set->room) {
    size_t room = set->room ? 2 * set->room : 256;
    tlt_st_tensor *grown = tlt_realloc(set->tensors, room * sizeof *grown);
    if (!grown) return tlt_fail_nomem(err, "tensor table", room * sizeof *grown);
    set->tensors = grown;
    set->room = room;
  }
  set->tensors[set->n] = *t;
  char *name = tlt_arena_strndup(&set->arena, t->name, strlen(t->name));
  if (!name) return tlt_fail_nomem(err, "tensor name", strlen(t->name) + 1);
  set->tensors[set->n++].name = name;
  return TLT_OK;
}

static int by_offset(const void *a, const void *b) {
  const tlt_st_tensor *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* Spans must tile the data section: each begins where the one before it ended. */
static tlt_status check_tiling(const tlt_st_set *set, size_t from, const char *file,
                               uint64_t data_bytes, tlt_err *err) {
  uint64_t at = 0;
  for (size_t i = from; i < set->n; i++) {
    const tlt_st_tensor *t = &set->tensors[i];
    if (t->offset != at)
      return tlt_fail(err, TLT_EDATA, "%s: %.200s: data begins at %llu, expected %llu (%s)", file,
                      t->name, (unsigned long long)t->offset, (unsigned long long)at,
                      t->offset < at ? "tensors overlap" : "hole before it");
    at += t->bytes;
  }
  if (at == data_bytes) return TLT_OK;
  return tlt_fail(err, TLT_EDATA, "%s: got %llu bytes of data, expected %llu by the header", file,
                  (unsigned long long)data_bytes, (unsigned long long)at);
}

static tlt_status check_metadata(const tlt_json_node *metadata, tlt_err *err) {
  const char *key;
  json_t *value;
  if (!json_is_object(metadata->value))
    return tlt_json_fail(metadata, NULL, err, "expected an object");
  json_object_foreach((json_t *)(uintptr_t)metadata->value, key, value) {
    if (!json_is_string(value)) return tlt_json_fail(metadata, key, err, "expected a string");
  }
  return TLT_OK;
}

/* data_at: file offset of the data section, data_bytes its length. */
static tlt_status read_entries(tlt_st_set *set, const json_t *header, const char *file,
                               uint64_t data_at, uint64_t data_bytes, tlt_err *err) {
  tlt_json_node top = tlt_json_top(header, file, 0);
  size_t from = set->n;
  const char *name;
  json_t *value;
  if (!json_is_object(header)) return tlt_fail(err, TLT_EDATA, "%s:8: expected an object", file);
  json_object_foreach((json_t *)(uintptr_t)header, name, value) {
    tlt_json_node entry = {.value = value, .file = file, .parent = &top, .name = name};
    tlt_st_tensor t = {.name = name, .file = (int)set->n_files - 1};
    bool metadata = !strcmp(name, "__metadata__");
    tlt_status status =
        metadata ? check_metadata(&entry, err) : read_entry(&entry, data_bytes, &t, err);
    if (status == TLT_OK && !metadata) status = add_tensor(set, &t, err);
    if (status != TLT_OK) return status;
  }
  size_t n = set->n - from;
  if (n) qsort(set->tensors + from, n, sizeof *set->tensors, by_offset);
  tlt_status status = check_tiling(set, from, file, data_bytes, err);
  for (size_t i = from; i < set->n; i++) set->tensors[i].offset += data_at;
  return status;
}

/* Reads and bounds the header length; nothing is allocated by its word before that. */
static tlt_status read_header_length(tlt_file *f, uint64_t bytes, uint64_t *length, tlt_err *err) {
  static const char lfs[] = "version https://git-lfs";
  const char *path = tlt_file_path(f);
  char start[sizeof lfs - 1];
  tlt_status status = TLT_OK;
  if (bytes >= sizeof start) status = tlt_file_pread(f, start, sizeof start, 0, err);
  if (status != TLT_OK) return status;
  if (bytes >= sizeof start && !memcmp(start, lfs, sizeof start))
    return tlt_fail(err, TLT_EDATA, "%s: got a Git LFS pointer, expected the file (git lfs pull)",
                    path);
  if (bytes < 8)
    return tlt_fail(err, TLT_EDATA, "%s: got %llu bytes, expected at least 8", path,
                    (unsigned long long)bytes);
  status = tlt_file_pread(f, length, 8, 0, err);
  if (status != TLT_OK) return status;
  if (*length <= bytes - 8 && *length <= TLT_ST_HEADER_MAX) return TLT_OK;
  return tlt_fail(
      err, TLT_EDATA, "%s:0: got a header of %llu bytes, expected at most %llu", path,
      (unsigned long long)*length,
      (unsigned long long)(bytes - 8 < TLT_ST_HEADER_MAX ? bytes - 8 : TLT_ST_HEADER_MAX));
}

static tlt_status read_header(tlt_st_set *set, tlt_file *f, tlt_err *err) {
  const char *path = tlt_file_path(f);
  char label[TLT_PATH_MAX + 16], *text = NULL;
  json_t *header = NULL;
  uint64_t bytes = 0, length = 0;
  tlt_status status = tlt_file_size(f, &bytes, err);
  if (status == TLT_OK) status = read_header_length(f, bytes, &length, err);
  if (status != TLT_OK) return status;
  if (!(text = tlt_malloc((size_t)length + 1))) return tlt_fail_nomem(err, path, (size_t)length);
  snprintf(label, sizeof label, "%s: header", path);
  status = tlt_file_pread(f, text, (size_t)length, 8, err);
  if (status == TLT_OK && (length == 0 || text[0] != '{'))
    status = tlt_fail(err, TLT_EDATA, "%s:8: header does not begin with {", path);
  if (status == TLT_OK) status = tlt_json_parse(text, (size_t)length, label, 0, &header, err);
  if (status == TLT_OK)
    status = read_entries(set, header, path, 8 + length, bytes - 8 - length, err);
  json_decref(header);
  tlt_free(text);
  return status;
}

static tlt_status add_file(tlt_st_set *set, const char *path, tlt_err *err) {
  tlt_file *f;
  tlt_file **grown = tlt_realloc(set->files, (set->n_files + 1) * sizeof *grown);
  if (!grown) return tlt_fail_nomem(err, "shard table", (set->n_files + 1) * sizeof *grown);
  set->files = grown;
  tlt_status status = tlt_file_open(path, TLT_FILE_READ, &f, err);
  if (status != TLT_OK) return status;
  set->files[set->n_files++] = f;
  return read_header(set, f, err);
}

/* ---- The set ---- */

static int by_name(const void *a, const void *b) {
  return strcmp((*(tlt_st_tensor *const *)a)->name, (*(tlt_st_tensor *const *)b)->name);
}

static tlt_status index_names(tlt_st_set *set, tlt_err *err) {
  if (set->n == 0) return TLT_OK;
  set->by_name = tlt_malloc(set->n * sizeof *set->by_name);
  if (!set->by_name) return tlt_fail_nomem(err, "tensor names", set->n * sizeof *set->by_name);
  for (size_t i = 0; i < set->n; i++) set->by_name[i] = &set->tensors[i];
  qsort(set->by_name, set->n, sizeof *set->by_name, by_name);
  for (size_t i = 1; i < set->n; i++) {
    const tlt_st_tensor *a = set->by_name[i - 1], *b = set->by_name[i];
    if (!strcmp(a->name, b->name))
      return tlt_fail(err, TLT_EDATA, "%s: %.200s: also in %s", tlt_st_file_name(set, b->file),
                      b->name, tlt_st_file_name(set, a->file));
  }
  return TLT_OK;
}

/* Shard files of the index's weight_map, each opened once. */
static tlt_status open_shards(tlt_st_set *set, const tlt_json_node *map, const char *dir,
                              tlt_err *err) {
  const char *tensor;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)map->value, tensor, value) {
    const char *shard = json_string_value(value);
    char path[TLT_PATH_MAX];
    size_t i = 0;
    if (!shard || !*shard || strchr(shard, '/') || *shard == '.')
      return tlt_json_fail(map, tensor, err, "expected the name of a shard in the same directory");
    tlt_path_join(path, dir, shard);
    while (i < set->n_files && strcmp(tlt_st_file_name(set, (int)i), path)) i++;
    if (i < set->n_files) continue;
    if (i == MAX_SHARDS) return tlt_json_fail(map, NULL, err, "over %d shards", MAX_SHARDS);
    if (!tlt_path_exists(path))
      return tlt_json_fail(map, tensor, err, "shard %s is missing", shard);
    tlt_status status = add_file(set, path, err);
    if (status != TLT_OK) return status;
  }
  return TLT_OK;
}

static tlt_status check_placement(const tlt_st_set *set, const tlt_json_node *map, const char *dir,
                                  tlt_err *err) {
  const char *tensor;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)map->value, tensor, value) {
    char path[TLT_PATH_MAX];
    const tlt_st_tensor *t = tlt_st_find(set, tensor);
    tlt_path_join(path, dir, json_string_value(value));
    if (!t || strcmp(tlt_st_file_name(set, t->file), path))
      return tlt_json_fail(map, tensor, err, "absent from shard %s", json_string_value(value));
  }
  return TLT_OK;
}

static tlt_status open_index(tlt_st_set *set, const char *index, const char *dir, tlt_err *err) {
  json_t *json;
  tlt_json_node map;
  tlt_status status = tlt_json_load(index, INDEX_MAX, &json, err);
  if (status != TLT_OK) return status;
  tlt_json_node top = tlt_json_top(json, index, 0);
  if (!json_is_object(json)) status = tlt_json_fail(&top, NULL, err, "expected an object");
  if (status == TLT_OK) status = tlt_json_object(&top, "weight_map", &map, err);
  if (status == TLT_OK) status = open_shards(set, &map, dir, err);
  if (status == TLT_OK) status = index_names(set, err);
  if (status == TLT_OK) status = check_placement(set, &map, dir, err);
  json_decref(json);
  return status;
}

static tlt_status open_directory(tlt_st_set *set, const char *dir, tlt_err *err) {
  char single[TLT_PATH_MAX], index[TLT_PATH_MAX];
  tlt_path_join(single, dir, "model.safetensors");
  tlt_path_join(index, dir, "model.safetensors.index.json");
  bool indexed = tlt_path_exists(index);
  if (!tlt_path_exists(single)) {
    if (indexed) return open_index(set, index, dir, err);
    return tlt_fail(err, TLT_EDATA,
                    "%s: found neither model.safetensors nor model.safetensors.index.json", dir);
  }
  if (indexed)
    tlt_log_write(TLT_LOG_WARN, "%s: ignored, since model.safetensors is present", index);
  tlt_status status = add_file(set, single, err);
  return status == TLT_OK ? index_names(set, err) : status;
}

tlt_status tlt_st_open(const char *path, tlt_st_set **out, tlt_err *err) {
  *out = NULL;
  tlt_st_set *set = tlt_calloc(1, sizeof *set);
  if (!set) return tlt_fail_nomem(err, path, sizeof *set);
  tlt_status status;
  if (tlt_path_is_dir(path)) status = open_directory(set, path, err);
  else if ((status = add_file(set, path, err)) == TLT_OK) status = index_names(set, err);
  if (status != TLT_OK) {
    tlt_st_close(set);
    return status;
  }
  *out = set;
  return TLT_OK;
}

void tlt_st_close(tlt_st_set *set) {
  if (!set) return;
  for (size_t i = 0; i < set->n_files; i++) tlt_file_close(set->files[i], NULL);
  tlt_free(set->files);
  tlt_free(set->by_name);
  tlt_free(set->tensors);
  tlt_arena_free(&set->arena);
  tlt_free(set);
}

size_t tlt_st_count(const tlt_st_set *set) {
  return set->n;
}
const tlt_st_tensor *tlt_st_at(const tlt_st_set *set, size_t i) {
  return &set->tensors[i];
}

const char *tlt_st_file_name(const tlt_st_set *set, int file) {
  return tlt_file_path(set->files[file]);
}

const tlt_st_tensor *tlt_st_find(const tlt_st_set *set, const char *name) {
  size_t low = 0, high = set->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(name, set->by_name[middle]->name);
    if (order == 0) return set->by_name[middle];
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return NULL;
}

/* ---- Contents ---- */

static float f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return tlt_f32_bits(sign | 0x7f800000u | mantissa << 13);
  if (exponent) return tlt_f32_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24f; /* exact */
  return sign ? -magnitude : magnitude;
}

static void widen(tlt_dtype dtype, const uint16_t *from, size_t n, float *to) {
  if (dtype == TLT_BF16)
    for (size_t i = 0; i < n; i++) to[i] = tlt_bf16_to_f32(from[i]);
  else
    for (size_t i = 0; i < n; i++) to[i] = f16_to_f32(from[i]);
}

static tlt_status check_finite(const tlt_st_set *set, const tlt_st_tensor *t, uint64_t first,
                               const float *x, size_t n, tlt_err *err) {
  uint32_t largest = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t magnitude = tlt_bits_f32(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  if (largest < 0x7f800000u) return TLT_OK;
  size_t i = 0;
  while ((tlt_bits_f32(x[i]) & 0x7fffffffu) < 0x7f800000u) i++;
  return tlt_fail(err, TLT_EDATA, "%s: %.200s[%llu]: got %s, expected a finite number",
                  tlt_st_file_name(set, t->file), t->name, (unsigned long long)(first + i),
                  x[i] != x[i] ? "NaN" : "infinity");
}

tlt_status tlt_st_read_f32(const tlt_st_set *set, const tlt_st_tensor *t, uint64_t first,
                           size_t count, float *to, tlt_err *err) {
  enum { BLOCK = 1 << 15 };
  uint16_t narrow[BLOCK];
  size_t size = tlt_dtype_size(t->dtype);
  if (t->dtype != TLT_F32 && t->dtype != TLT_F16 && t->dtype != TLT_BF16)
    return tlt_fail(err, TLT_EDATA, "%s: %.200s: got dtype %s, expected F32, F16 or BF16",
                    tlt_st_file_name(set, t->file), t->name, tlt_dtype_name(t->dtype));
  if (first > t->bytes / size || count > t->bytes / size - first)
    return tlt_fail(err, TLT_EINTERNAL, "%s: %.200s: elements %llu + %zu are outside the tensor",
                    tlt_st_file_name(set, t->file), t->name, (unsigned long long)first, count);
  for (size_t done = 0; done < count;) {
    size_t n = count - done < BLOCK ? count - done : BLOCK;
    void *into = t->dtype == TLT_F32 ? (void *)(to + done) : (void *)narrow;
    tlt_status status =
        tlt_file_pread(set->files[t->file], into, n * size, t->offset + (first + done) * size, err);
    if (status != TLT_OK) return status;
    if (t->dtype != TLT_F32) widen(t->dtype, narrow, n, to + done);
    status = check_finite(set, t, first + done, to + done, n, err);
    if (status != TLT_OK) return status;
    done += n;
  }
  return TLT_OK;
}

tlt_status tlt_st_read_raw(const tlt_st_set *set, const tlt_st_tensor *t, void *to, tlt_err *err) {
  return tlt_file_pread(set->files[t->file], to, (size_t)t->bytes, t->offset, err);
}
