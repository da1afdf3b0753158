/* Writing a model directory that transformers loads, and the digest of its values. */
#include "base/mem.h"
#include "base/sha256.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/weights_internal.h"

/* Rows of p as bf16 bytes through sink, chunk by chunk. buffer: chunk floats; the bf16 values are
 * packed over its front. */
typedef tlt_status (*byte_sink)(void *context, const void *data, size_t bytes, tlt_err *err);

static tlt_status emit_param(const tlt_param *p, float *buffer, byte_sink sink, void *context,
                             tlt_err *err) {
  int step = tlt__param_chunk_rows(p);
  tlt_bf16 *packed = (tlt_bf16 *)(void *)(buffer + (size_t)step * (size_t)p->k);
  for (int row = 0; row < p->n; row += step) {
    int rows = p->n - row < step ? p->n - row : step;
    size_t count = (size_t)rows * (size_t)p->k;
    tlt_param_get_rows(p, row, rows, buffer);
    for (size_t i = 0; i < count; i++) packed[i] = tlt_f32_to_bf16(buffer[i]);
    tlt_status s = sink(context, packed, count * sizeof *packed, err);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

static tlt_status emit_all(const tlt_weights *w, byte_sink sink, void *context, tlt_err *err) {
  size_t bytes = tlt__weights_chunk_floats(w) * (sizeof(float) + sizeof(tlt_bf16));
  float *buffer = tlt_malloc(bytes);
  if (!buffer) return tlt_fail_nomem(err, "weights as bytes", bytes);
  tlt_status s = TLT_OK;
  for (int i = 0; i < w->n_params && s == TLT_OK; i++)
    s = emit_param(&w->param[i], buffer, sink, context, err);
  tlt_free(buffer);
  return s;
}

/* ---- Digest ---- */

static tlt_status add_to_digest(void *context, const void *data, size_t bytes, tlt_err *err) {
  (void)err;
  tlt_sha256_add(context, data, bytes);
  return TLT_OK;
}

tlt_status tlt_weights_sha256(const tlt_weights *w, char hex[TLT_SHA256_HEX], tlt_err *err) {
  tlt_sha256 h;
  tlt_sha256_begin(&h);
  tlt_status s = emit_all(w, add_to_digest, &h, err);
  tlt_sha256_end(&h, hex);
  return s;
}

/* ---- Files ---- */

static tlt_status write_to_file(void *context, const void *data, size_t bytes, tlt_err *err) {
  return tlt_st_write(context, data, bytes, err);
}

tlt_status tlt__weights_write(const tlt_weights *w, const char *path, tlt_err *err) {
  tlt_st_writer *writer;
  tlt_status s = tlt_st_create(path, &writer, err);
  if (s != TLT_OK) return s;
  for (int i = 0; i < w->n_params && s == TLT_OK; i++) {
    const tlt_param *p = &w->param[i];
    int64_t shape[2] = {p->n, p->k};
    s = tlt_st_declare(writer, p->name, TLT_BF16, shape, p->matrix ? 2 : 1, err);
  }
  if (s == TLT_OK) s = emit_all(w, write_to_file, writer, err);
  if (s == TLT_OK) return tlt_st_finish(writer, err);
  tlt_st_abandon(writer);
  return s;
}

static tlt_status copy_tokenizer(const char *from, const char *to, tlt_err *err) {
  static const char *NAMES[] = {
      "tokenizer.json",
      "tokenizer_config.json",
      "special_tokens_map.json",
      "added_tokens.json",
      "vocab.json",
      "merges.txt",
      "chat_template.jinja",
  };
  enum { TOKENIZER_FILE_MAX = 256 << 20 };
  for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
    char source[TLT_PATH_MAX], target[TLT_PATH_MAX], *text;
    size_t n;
    tlt_path_join(source, from, NAMES[i]);
    tlt_path_join(target, to, NAMES[i]);
    if (!tlt_path_exists(source)) continue;
    tlt_status s = tlt_file_load(source, TOKENIZER_FILE_MAX, &text, &n, err);
    if (s == TLT_OK) s = tlt_file_store(target, text, n, err);
    tlt_free(text);
    if (s != TLT_OK) return s;
  }
  return TLT_OK;
}

tlt_status tlt_weights_save(const tlt_weights *w, const char *dir, const char *tokenizer_dir,
                            tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, "model.safetensors");
  tlt_status s = tlt_dir_make(dir, err);
  if (s == TLT_OK) s = tlt_config_store(&w->config, dir, err);
  if (s == TLT_OK && tokenizer_dir) s = copy_tokenizer(tokenizer_dir, dir, err);
  return s == TLT_OK ? tlt__weights_write(w, path, err) : s;
}
