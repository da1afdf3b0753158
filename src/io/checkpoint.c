/* Names and finding of checkpoints; see checkpoint.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/checkpoint_int.h"

void tlt_ckpt_path(char out[TLT_PATH_MAX], const char *dir, int64_t step) {
  char name[32];
  snprintf(name, sizeof name, "step-%" PRId64, step);
  tlt_path_join(out, dir, name);
}

int64_t tlt__ckpt_step_of(const char *name) {
  enum { MOST_DIGITS = 18 };
  if (strncmp(name, "step-", 5)) return -1;
  size_t digits = strspn(name + 5, "0123456789");
  if (digits == 0 || digits > MOST_DIGITS || name[5 + digits]) return -1;
  if (name[5] == '0' && digits > 1) return -1;
  return strtoll(name + 5, NULL, 10);
}

bool tlt__ckpt_name_is_good(const char *name) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  size_t n = strlen(name);
  return n > 0 && n <= 100 && strspn(name, allowed) == n && strcmp(name, ".") &&
         strcmp(name, "..") && strcmp(name, TLT__CKPT_MANIFEST);
}

tlt_status tlt__ckpt_damage(tlt_status status, tlt_err *err) {
  if (status != TLT_EDATA) return status;
  if (err) err->status = TLT_ECHECKPOINT;
  return TLT_ECHECKPOINT;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

tlt_status tlt__ckpt_list(const char *dir, int64_t **steps, size_t *count, tlt_err *err) {
  char **names;
  size_t n;
  *steps = NULL;
  *count = 0;
  tlt_status status = tlt_dir_list(dir, &names, &n, err);
  if (status != TLT_OK) return status;
  if (n && !(*steps = tlt_malloc(n * sizeof **steps)))
    status = tlt_fail_nomem(err, "list of checkpoints", n * sizeof **steps);
  for (size_t i = 0; i < n && *steps; i++) {
    int64_t step = tlt__ckpt_step_of(names[i]);
    if (step >= 0) (*steps)[(*count)++] = step;
  }
  tlt_dir_list_free(names, n);
  if (*count) qsort(*steps, *count, sizeof **steps, ascending);
  return status;
}

/* The step that LATEST names, -1 without LATEST. */
static tlt_status read_latest(const char *dir, int64_t *step, tlt_err *err) {
  char path[TLT_PATH_MAX], *text;
  size_t n;
  *step = -1;
  tlt_path_join(path, dir, "LATEST");
  if (!tlt_path_exists(path)) return TLT_OK;
  tlt_status status = tlt__ckpt_damage(tlt_file_load(path, 64, &text, &n, err), err);
  if (status != TLT_OK) return status;
  text[strcspn(text, "\n")] = 0;
  *step = tlt__ckpt_step_of(text);
  if (*step < 0)
    status = tlt_fail(err, TLT_ECHECKPOINT, "%s: got \"%s\", expected step-N", path, text);
  tlt_free(text);
  return status;
}

tlt_status tlt_ckpt_latest(const char *dir, int64_t *step, tlt_err *err) {
  int64_t *steps, named;
  size_t count;
  *step = -1;
  if (!tlt_path_is_dir(dir)) return TLT_OK;
  tlt_status status = tlt__ckpt_list(dir, &steps, &count, err);
  if (status == TLT_OK) status = read_latest(dir, &named, err);
  if (status == TLT_OK) {
    /* a kill between the renames of step-N and LATEST leaves LATEST one behind */
    if (count) *step = steps[count - 1];
    if (named > *step)
      status = tlt_fail(err, TLT_ECHECKPOINT, "%s/LATEST: names step-%" PRId64 ", which is missing",
                        dir, named);
  }
  tlt_free(steps);
  return status;
}

tlt_status tlt__ckpt_check(const char *dir, int64_t step, tlt_err *err) {
  tlt_ckpt_reader *r;
  tlt_status status = tlt_ckpt_open(dir, step, &r, err);
  if (status != TLT_OK) return status;
  status = tlt_ckpt_verify(r, err);
  tlt_ckpt_close(r);
  return status;
}

tlt_status tlt_ckpt_last_good(const char *dir, int64_t *step, tlt_err *err) {
  int64_t *steps;
  size_t count;
  *step = -1;
  tlt_status status = tlt__ckpt_list(dir, &steps, &count, err);
  for (size_t i = count; i-- > 0 && status == TLT_OK && *step < 0;) {
    tlt_err damage = {0};
    tlt_status found = tlt__ckpt_check(dir, steps[i], &damage);
    if (found == TLT_OK) *step = steps[i];
    else if (found == TLT_ECHECKPOINT) tlt_log_write(TLT_LOG_WARN, "passed over: %s", damage.text);
    else status = tlt_fail(err, found, "%s", damage.text);
  }
  tlt_free(steps);
  if (status == TLT_OK && *step < 0)
    status = tlt_fail(err, TLT_ECHECKPOINT, "%s: no undamaged checkpoint among %zu", dir, count);
  return status;
}
