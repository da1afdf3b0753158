#include "app/check.h"

#include <stdio.h>
#include <string.h>

#include "app/sft_config.h"
#include "base/mem.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "model/drafter.h"
#include "model/weights.h"
#include "rl/config.h"
#include "tlt/tokenizer.h"

enum { CHUNK = 1 << 18 };

static bool has(const char *dir, const char *name) {
  char path[TLT_PATH_MAX];
  tlt_path_join(path, dir, name);
  return tlt_path_exists(path);
}

/* Read every element, which finds short files, NaN and infinity. */
static tlt_status read_all(const tlt_st_set *set, uint64_t *elements, tlt_err *err) {
  float *buffer = tlt_malloc(CHUNK * sizeof *buffer);
  if (!buffer) return tlt_fail_nomem(err, "tensor chunk", CHUNK * sizeof *buffer);
  tlt_status s = TLT_OK;
  for (size_t i = 0; s == TLT_OK && i < tlt_st_count(set); i++) {
    const tlt_st_tensor *t = tlt_st_at(set, i);
    if (t->dtype != TLT_F32 && t->dtype != TLT_F16 && t->dtype != TLT_BF16) continue;
    uint64_t count = t->bytes / tlt_dtype_size(t->dtype);
    for (uint64_t at = 0; s == TLT_OK && at < count; at += CHUNK)
      s = tlt_st_read_f32(set, t, at, count - at < CHUNK ? (size_t)(count - at) : CHUNK, buffer,
                          err);
    *elements += count;
  }
  tlt_free(buffer);
  return s;
}

static tlt_status check_tensors(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  tlt_st_set *set = NULL;
  uint64_t elements = 0;
  tlt_status s = tlt_st_open(path, &set, err);
  if (s == TLT_OK) s = read_all(set, &elements, err);
  if (s == TLT_OK)
    snprintf(report, TLT_CHECK_TEXT, "safetensors, %zu tensors, %llu finite values",
             tlt_st_count(set), (unsigned long long)elements);
  tlt_st_close(set);
  return s;
}

static tlt_status check_model(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  static const char *const archs[] = {"llama", "qwen2", "qwen3"};
  tlt_pool *pool = NULL;
  tlt_weights *w = NULL;
  tlt_tokenizer *t = NULL;
  const char *chat = "none";
  tlt_status s = tlt_pool_create(0, &pool, err);
  if (s == TLT_OK) s = tlt_weights_load(path, pool, &w, err);
  if (s == TLT_OK && has(path, "tokenizer.json")) {
    s = tlt_tokenizer_open(path, &t, err);
    if (s == TLT_OK && tlt_tokenizer_vocab(t) > w->config.vocab)
      s = tlt_fail(err, TLT_EDATA, "%s: got a tokenizer with %d ids, expected at most %d", path,
                   tlt_tokenizer_vocab(t), w->config.vocab);
    if (s == TLT_OK && tlt_tokenizer_has_template(t)) {
      tlt_message hello = {"user", "hello"};
      char *text = NULL;
      size_t n;
      s = tlt_chat_render(t, &hello, 1, true, &text, &n, err);
      tlt_free(text);
      chat = "works";
    }
  }
  if (s == TLT_OK)
    snprintf(report, TLT_CHECK_TEXT,
             "%s model, %.1fM parameters, %d layers, tokenizer %s, chat template %s",
             archs[w->config.arch], (double)w->elements / 1e6, w->config.layers,
             t ? "works" : "none", chat);
  tlt_tokenizer_close(t);
  tlt_weights_free(w);
  tlt_pool_free(pool);
  return s;
}

/* A drafter's tensors have bare names; fc.weight is in no model. */
static bool is_drafter(const char *dir) {
  char path[TLT_PATH_MAX];
  tlt_st_set *set = NULL;
  tlt_path_join(path, dir, "model.safetensors");
  bool found = tlt_path_exists(path) && tlt_st_open(path, &set, NULL) == TLT_OK &&
               tlt_st_find(set, "fc.weight") != NULL;
  tlt_st_close(set);
  return found;
}

/* Against an empty target of its own shape: whether it fits a certain model is for its use to say.
 */
static tlt_status check_drafter(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  tlt_pool *pool = NULL;
  tlt_weights *shape = NULL;
  tlt_drafter *d = NULL;
  tlt_config c;
  tlt_status s = tlt_config_load(path, &c, err);
  if (s == TLT_OK) s = tlt_pool_create(0, &pool, err);
  if (s == TLT_OK) s = tlt_weights_create(&c, &shape, err);
  if (s == TLT_OK) s = tlt_drafter_load(path, shape, pool, &d, err);
  if (s == TLT_OK)
    snprintf(
        report, TLT_CHECK_TEXT,
        "EAGLE-1 drafter, %.2fM parameters, for models of hidden size %d and %d tokens, %d hot",
        (double)d->weights.elements / 1e6, c.hidden, c.vocab, d->n_hot);
  tlt_drafter_free(d);
  tlt_weights_free(shape);
  tlt_pool_free(pool);
  return s;
}

static tlt_status check_dataset(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  tlt_dataset *d = NULL;
  tlt_status s = tlt_dataset_load(path, TLT_NEED_NOTHING, TLT_VERIFY_EXACT, &d, err);
  if (s != TLT_OK) return s;
  size_t n = tlt_dataset_count(d), answers = 0, completions = 0;
  for (size_t i = 0; i < n; i++) {
    answers += tlt_dataset_at(d, i)->answer != NULL;
    completions += tlt_dataset_at(d, i)->completion != NULL;
  }
  snprintf(report, TLT_CHECK_TEXT, "%zu problems, %zu with answer, %zu with completion", n, answers,
           completions);
  tlt_dataset_close(d);
  return TLT_OK;
}

static tlt_status verify_step(const char *dir, int64_t step, char report[TLT_CHECK_TEXT],
                              tlt_err *err) {
  tlt_ckpt_reader *r = NULL;
  tlt_status s = tlt_ckpt_open(dir, step, &r, err);
  if (s == TLT_OK) s = tlt_ckpt_verify(r, err);
  if (s == TLT_OK)
    snprintf(report, TLT_CHECK_TEXT, "checkpoint of step %lld, %zu parts, checksums agree",
             (long long)step, tlt_ckpt_part_count(r));
  tlt_ckpt_close(r);
  return s;
}

/* PATH is CHECKPOINTS/step-N. */
static tlt_status check_checkpoint(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  char dir[TLT_PATH_MAX];
  snprintf(dir, sizeof dir, "%s", path);
  size_t n = strlen(dir);
  while (n > 1 && dir[n - 1] == '/') dir[--n] = 0;
  char *slash = strrchr(dir, '/'), *name = slash ? slash + 1 : dir;
  long long step;
  if (sscanf(name, "step-%lld", &step) != 1 || step < 0)
    return tlt_fail(err, TLT_ECHECKPOINT, "%s: got '%s', expected a directory named step-N", path,
                    name);
  if (slash) *slash = 0;
  return verify_step(slash ? dir : ".", step, report, err);
}

static tlt_status count_metrics(const char *dir, long *lines, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_jsonl *r = NULL;
  tlt_path_join(path, dir, "metrics.jsonl");
  *lines = 0;
  if (!tlt_path_exists(path)) return TLT_OK;
  tlt_status s = tlt_jsonl_open(path, &r, err);
  while (s == TLT_OK) {
    json_t *line = NULL;
    s = tlt_jsonl_next(r, &line, err);
    if (!line) break;
    ++*lines;
    json_decref(line);
  }
  tlt_jsonl_close(r);
  return s;
}

/* config.yaml of a run is that of `tlt train` or of `tlt sft`. */
static tlt_status check_run_config(const char *dir, tlt_err *err) {
  char path[TLT_PATH_MAX];
  tlt_train_config train;
  tlt_sft_config sft;
  tlt_path_join(path, dir, "config.yaml");
  tlt_status s = tlt_train_config_load(path, NULL, 0, &train, err);
  if (s == TLT_OK) {
    tlt_train_config_free(&train);
    return s;
  }
  if (tlt_sft_config_load(path, NULL, 0, &sft, NULL) != TLT_OK) return s;
  tlt_sft_config_free(&sft);
  return TLT_OK;
}

static tlt_status check_run(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  char dir[TLT_PATH_MAX], newest[TLT_CHECK_TEXT] = "no checkpoint";
  int64_t step = -1;
  long lines = 0;
  tlt_path_join(dir, path, "checkpoints");
  tlt_status s = check_run_config(path, err);
  if (s == TLT_OK) s = count_metrics(path, &lines, err);
  if (s == TLT_OK && tlt_path_is_dir(dir)) s = tlt_ckpt_latest(dir, &step, err);
  if (s == TLT_OK && step >= 0) s = verify_step(dir, step, newest, err);
  if (s == TLT_OK)
    snprintf(report, TLT_CHECK_TEXT, "run with %ld lines of metrics, %.400s", lines, newest);
  return s;
}

static bool ends_with(const char *path, const char *tail) {
  size_t n = strlen(path), m = strlen(tail);
  return n > m && !strcmp(path + n - m, tail);
}

tlt_status tlt_check_path(const char *path, char report[TLT_CHECK_TEXT], tlt_err *err) {
  if (!tlt_path_exists(path)) return tlt_fail(err, TLT_EIO, "%s: does not exist", path);
  if (tlt_path_is_dir(path)) {
    if (has(path, "config.yaml")) return check_run(path, report, err);
    if (has(path, "manifest.json")) return check_checkpoint(path, report, err);
    if (has(path, "config.json") && is_drafter(path)) return check_drafter(path, report, err);
    if (has(path, "config.json")) return check_model(path, report, err);
    return tlt_fail(
        err, TLT_EDATA,
        "%s: got none of config.json (model), config.yaml (run), manifest.json (checkpoint)", path);
  }
  if (ends_with(path, ".safetensors")) return check_tensors(path, report, err);
  if (ends_with(path, ".jsonl")) return check_dataset(path, report, err);
  return tlt_fail(err, TLT_EUSAGE, "%s: expected a directory, a .safetensors or a .jsonl file",
                  path);
}
