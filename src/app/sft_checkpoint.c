#include "app/sft_checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rl/state.h"

static const char *const identity_names[] = {"data_sha256", "model_sha256", "fingerprint"};

/* What a checkpoint belongs to, in the order of identity_names. The starting weights of a run from
 * `init` follow from the configuration. */
typedef struct identity {
  char value[3][65];
} identity;

static identity identity_of(tlt_sft_model *m, const tlt_sft_config *c) {
  identity id;
  tlt_sft_source_hash(&m->source, &c->data, id.value[0]);
  memcpy(id.value[1], m->start_sha256, sizeof id.value[1]);
  tlt_numerics_fingerprint(m->model->kernels, id.value[2]);
  return id;
}

static json_t *state_json(tlt_sft_model *m, const tlt_sft_config *c, int64_t step) {
  tlt_text text = {0};
  tlt_yaml_write(&tlt_sft_schema, c, false, &text);
  identity id = identity_of(m, c);
  json_t *state =
      text.failed ? NULL
                  : json_pack("{s:I, s:I, s:s, s:s}", "step", (json_int_t)step, "optimizer_steps",
                              (json_int_t)tlt_trainer_steps(m->trainer), "numerics",
                              tlt_numerics_name(m->model->kernels->numerics), "config", text.data);
  for (int i = 0; state && i < 3; i++)
    json_object_set_new(state, identity_names[i], json_string(id.value[i]));
  tlt_text_free(&text);
  return state;
}

tlt_status tlt_sft_checkpoint_save(const tlt_rundir *dir, tlt_sft_model *m, const tlt_sft_config *c,
                                   int64_t step, tlt_err *err) {
  tlt_ckpt_writer *w = NULL;
  json_t *state = state_json(m, c, step);
  if (!state) return tlt_fail_nomem(err, "checkpoint state", 0);
  tlt_status s = tlt_ckpt_create(dir->checkpoints, step, &w, err);
  if (s == TLT_OK) {
    s = tlt_state_save_trainer(w, m->trainer, err);
    if (s == TLT_OK) s = tlt_ckpt_publish(w, state, (int)c->checkpoint.keep, err);
    else tlt_ckpt_abandon(w);
  }
  json_decref(state);
  return s;
}

/* ---- resume ------------------------------------------------------------------------------------
 */

typedef struct differences {
  int count;
  char text[600];
} differences;

static void note(void *context, const tlt_yaml_difference *d) {
  differences *list = context;
  if (d->may_change) return;
  size_t n = strlen(list->text);
  snprintf(list->text + n, sizeof list->text - n, "%s%s: was %s, is %s", list->count++ ? "; " : "",
           d->key, d->before, d->after);
}

static tlt_status check_config(const json_t *state, const tlt_sft_config *c, const char *path,
                               tlt_err *err) {
  const char *text = json_string_value(json_object_get(state, "config"));
  tlt_sft_config before;
  differences list = {0};
  if (!text) return tlt_fail(err, TLT_ECHECKPOINT, "%s: state.config: missing", path);
  tlt_status s =
      tlt_yaml_parse(&tlt_sft_schema, text, strlen(text), path, NULL, 0, &before, NULL, err);
  if (s != TLT_OK) return s;
  s = tlt_yaml_diff(&tlt_sft_schema, &before, c, note, &list, err);
  if (s == TLT_OK && c->steps < before.steps)
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: steps: was %lld, is %lld, expected at least as many",
                 path, (long long)before.steps, (long long)c->steps);
  tlt_sft_config_free(&before);
  if (s != TLT_OK || !list.count) return s;
  return tlt_fail(err, TLT_ECHECKPOINT, "%s: the configuration differs: %s", path, list.text);
}

static tlt_status check_identity(const json_t *state, const identity *id, tlt_resume how,
                                 const char *path, tlt_err *err) {
  for (int i = 0; i < 3; i++) {
    const char *was = json_string_value(json_object_get(state, identity_names[i]));
    if (was && !strcmp(was, id->value[i])) continue;
    if (how != TLT_RESUME_CHANGED)
      return tlt_fail(err, TLT_ECHECKPOINT,
                      "%s: %s: was %.16s, is %.16s (--resume=changed accepts it)", path,
                      identity_names[i], was ? was : "missing", id->value[i]);
    tlt_log_write(TLT_LOG_WARN,
                  "%s differs from the checkpoint's: the run is no longer a bitwise "
                  "continuation",
                  identity_names[i]);
  }
  return TLT_OK;
}

static tlt_status restore(tlt_ckpt_reader *reader, const char *path, tlt_sft_model *m,
                          const tlt_sft_config *c, tlt_resume how, int64_t *step, tlt_err *err) {
  const json_t *state = tlt_ckpt_state(reader), *at = json_object_get(state, "step");
  identity id = identity_of(m, c);
  if (!json_is_integer(at)) return tlt_fail(err, TLT_ECHECKPOINT, "%s: state.step: missing", path);
  tlt_status s = check_config(state, c, path, err);
  if (s == TLT_OK) s = check_identity(state, &id, how, path, err);
  if (s == TLT_OK) s = tlt_state_restore(reader, m->trainer, err);
  if (s == TLT_OK) *step = json_integer_value(at);
  return s;
}

tlt_status tlt_sft_checkpoint_resume(const tlt_rundir *dir, tlt_sft_model *m,
                                     const tlt_sft_config *c, tlt_resume how, int64_t *step,
                                     tlt_err *err) {
  int64_t newest = -1;
  char path[TLT_PATH_MAX];
  tlt_ckpt_reader *reader = NULL;
  *step = 0;
  tlt_status s = how == TLT_RESUME_LAST_GOOD ? tlt_ckpt_last_good(dir->checkpoints, &newest, err)
                                             : tlt_ckpt_latest(dir->checkpoints, &newest, err);
  if (s != TLT_OK || newest < 0) return s;
  tlt_ckpt_path(path, dir->checkpoints, newest);
  s = tlt_ckpt_open(dir->checkpoints, newest, &reader, err);
  if (s == TLT_OK) s = restore(reader, path, m, c, how, step, err);
  tlt_ckpt_close(reader);
  return s;
}
