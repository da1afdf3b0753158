#include "rl/state.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/json.h"

void tlt_run_state_free(tlt_run_state *s) {
  tlt_free(s->first.right);
  tlt_free(s->last.right);
  *s = (tlt_run_state){.best_step = -1};
}

/* ---- saving -------------------------------------------------------------------------------------
 */

static json_t *eval_to_json(const tlt_eval_memory *e) {
  if (!e->right) return json_null();
  json_t *right = json_array();
  for (size_t i = 0; i < e->n; i++)
    if (json_array_append_new(right, json_integer(e->right[i])) != 0) {
      json_decref(right);
      return NULL; /* no memory: json_pack fails on it */
    }
  return json_pack("{s:o, s:i, s:f}", "right", right, "samples", e->samples, "mean_length",
                   e->mean_length);
}

static json_t *state_to_json(const tlt_run_state *state, const tlt_session *s, const char *config) {
  return json_pack("{s:I, s:I, s:I, s:f, s:I, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
                   "rollout", (json_int_t)state->rollout, "optimizer_steps",
                   (json_int_t)tlt_trainer_steps(s->trainer), "best_step",
                   (json_int_t)state->best_step, "best_accuracy", state->best_accuracy, "step",
                   (json_int_t)state->step, "first", eval_to_json(&state->first), "last",
                   eval_to_json(&state->last), "weights_sha256", state->weights_sha256, "numerics",
                   tlt_numerics_name(s->model->kernels->numerics), "fingerprint", s->fingerprint,
                   "model_sha256", s->model_sha256, "data_sha256", s->data_sha256, "held_sha256",
                   s->held_sha256, "config", config);
}

tlt_status tlt_state_save_trainer(tlt_ckpt_writer *w, tlt_trainer *t, tlt_err *err) {
  const char *names[] = {"masters", "moment1", "moment2"};
  const float *data[] = {tlt_trainer_masters(t), tlt_trainer_moment1(t), tlt_trainer_moment2(t)};
  size_t bytes = (size_t)tlt_trainer_elements(t) * sizeof(float);
  tlt_status s = TLT_OK;
  for (int i = 0; s == TLT_OK && i < 3; i++) {
    s = tlt_ckpt_part(w, names[i], err);
    if (s == TLT_OK) s = tlt_ckpt_write(w, data[i], bytes, err);
  }
  return s;
}

tlt_status tlt_state_save(const tlt_rundir *dir, const tlt_run_state *state, const tlt_session *s,
                          tlt_err *err) {
  tlt_text config = {0};
  tlt_ckpt_writer *w = NULL;
  tlt_yaml_write(&tlt_train_schema, s->config, false, &config);
  json_t *json = NULL;
  tlt_status status = tlt_text_check(&config, err);
  if (status == TLT_OK && !(json = state_to_json(state, s, config.data)))
    status = tlt_fail_nomem(err, "checkpoint state", config.n);
  if (status == TLT_OK) status = tlt_ckpt_create(dir->checkpoints, state->step, &w, err);
  if (status == TLT_OK) {
    status = tlt_state_save_trainer(w, s->trainer, err);
    if (status == TLT_OK) {
      tlt_ckpt_spare(w, state->best_step);
      status = tlt_ckpt_publish(w, json, (int)s->config->checkpoint.keep, err);
    } else {
      tlt_ckpt_abandon(w);
    }
  }
  json_decref(json);
  tlt_text_free(&config);
  return status;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

/* Bad content of a checkpoint has its own status. */
static tlt_status damaged(tlt_status s, tlt_err *err) {
  if (s != TLT_EDATA) return s;
  if (err) err->status = TLT_ECHECKPOINT;
  return TLT_ECHECKPOINT;
}

static tlt_status read_eval(const tlt_json_node *top, const char *key, tlt_eval_memory *e,
                            tlt_err *err) {
  tlt_json_node node, list;
  int64_t samples = 0, right = 0;
  if (!tlt_json_has(top, key)) return TLT_OK;
  tlt_status s = tlt_json_object(top, key, &node, err);
  if (s == TLT_OK) s = tlt_json_int(&node, "samples", 1, 1 << 20, &samples, err);
  if (s == TLT_OK) s = tlt_json_double(&node, "mean_length", 0, 1e12, &e->mean_length, err);
  if (s == TLT_OK) s = tlt_json_array(&node, "right", &list, err);
  if (s != TLT_OK) return s;
  e->n = json_array_size(list.value);
  e->samples = (int)samples;
  e->right = tlt_calloc(e->n + 1, sizeof *e->right);
  if (!e->right) return tlt_fail_nomem(err, "evaluation", e->n * sizeof *e->right);
  for (size_t i = 0; i < e->n; i++) {
    const json_t *x = json_array_get(list.value, i);
    right = json_is_integer(x) ? json_integer_value(x) : -1;
    if (right < 0 || right > samples)
      return tlt_json_fail(&list, NULL, err, "got a bad count, expected 0 .. %lld",
                           (long long)samples);
    e->right[i] = (int32_t)right;
  }
  return TLT_OK;
}

static tlt_status read_state(const tlt_ckpt_reader *r, const char *file, tlt_run_state *state,
                             tlt_err *err) {
  tlt_json_node top = tlt_json_top(tlt_ckpt_state(r), file, 0);
  const char *sha = NULL, *text = NULL;
  const char *const texts[] = {"numerics",    "fingerprint", "model_sha256",
                               "data_sha256", "held_sha256", "config"};
  tlt_status s = tlt_json_int(&top, "step", 0, INT64_MAX, &state->step, err);
  if (s == TLT_OK) s = tlt_json_int(&top, "rollout", 0, TLT_ROLLOUT_MAX, &state->rollout, err);
  if (s == TLT_OK) s = tlt_json_int(&top, "best_step", -1, INT64_MAX, &state->best_step, err);
  if (s == TLT_OK) s = tlt_json_double(&top, "best_accuracy", 0, 1, &state->best_accuracy, err);
  if (s == TLT_OK) s = tlt_json_string(&top, "weights_sha256", &sha, err);
  if (s == TLT_OK) snprintf(state->weights_sha256, sizeof state->weights_sha256, "%s", sha);
  for (size_t i = 0; s == TLT_OK && i < sizeof texts / sizeof *texts; i++)
    s = tlt_json_string(&top, texts[i], &text, err);
  if (s == TLT_OK) s = read_eval(&top, "first", &state->first, err);
  if (s == TLT_OK) s = read_eval(&top, "last", &state->last, err);
  return damaged(s, err);
}

tlt_status tlt_state_open(const tlt_rundir *dir, tlt_resume resume, tlt_ckpt_reader **reader,
                          tlt_run_state *state, tlt_err *err) {
  int64_t step = -1;
  char file[TLT_PATH_MAX];
  *reader = NULL;
  tlt_status s =
      tlt_ckpt_latest(dir->checkpoints, &step, resume == TLT_RESUME_LAST_GOOD ? NULL : err);
  if (resume == TLT_RESUME_LAST_GOOD && (s == TLT_ECHECKPOINT || (s == TLT_OK && step >= 0)))
    s = tlt_ckpt_last_good(dir->checkpoints, &step, err);
  if (s != TLT_OK || step < 0) return s;
  s = tlt_ckpt_open(dir->checkpoints, step, reader, err);
  if (s != TLT_OK) return s;
  tlt_ckpt_path(file, dir->checkpoints, step);
  s = read_state(*reader, file, state, err);
  if (s == TLT_OK) return s;
  tlt_ckpt_close(*reader);
  *reader = NULL;
  tlt_run_state_free(state);
  return s;
}

static const char *text_of(const tlt_ckpt_reader *r, const char *key) {
  return json_string_value(json_object_get(tlt_ckpt_state(r), key)); /* checked by read_state */
}

const char *tlt_state_numerics(const tlt_ckpt_reader *reader) {
  return text_of(reader, "numerics");
}

/* ---- may this run go on from there -------------------------------------------------------------
 */

typedef struct differences {
  tlt_resume resume;
  const tlt_train_config *before, *after;
  int refused;
  char text[TLT_ERR_TEXT];
} differences;

static void note_difference(void *context, const tlt_yaml_difference *d) {
  differences *all = context;
  bool data = !strncmp(d->key, "data.", 5) || !strcmp(d->key, "eval.file");
  bool path = !strcmp(d->key, "model") || !strcmp(d->key, "data.file"); /* contents are compared */
  bool allowed = d->may_change || path || (data && all->resume == TLT_RESUME_CHANGED);
  if (!strcmp(d->key, "steps")) allowed = all->after->steps > all->before->steps;
  if (allowed) return;
  size_t n = strlen(all->text);
  snprintf(all->text + n, sizeof all->text - n, "%s%s: %.60s -> %.60s", n ? "; " : "", d->key,
           d->before, d->after);
  all->refused++;
}

tlt_status tlt_state_check_config(const tlt_ckpt_reader *reader, const tlt_train_config *config,
                                  tlt_resume resume, tlt_err *err) {
  tlt_train_config before;
  const char *text = text_of(reader, "config");
  tlt_status s = tlt_yaml_parse(&tlt_train_schema, text, strlen(text),
                                "configuration of the checkpoint", NULL, 0, &before, NULL, err);
  if (s != TLT_OK) {
    if (s == TLT_EUSAGE && err) err->status = s = TLT_ECHECKPOINT;
    return s;
  }
  differences all = {.resume = resume, .before = &before, .after = config};
  s = tlt_yaml_diff(&tlt_train_schema, &before, config, note_difference, &all, err);
  tlt_yaml_free(&tlt_train_schema, &before);
  if (s == TLT_OK && all.refused)
    s = tlt_fail(err, TLT_ECHECKPOINT,
                 "resume: got %d keys that differ from the checkpoint and may not: %s", all.refused,
                 all.text);
  return s;
}

tlt_status tlt_state_check_identity(const tlt_ckpt_reader *reader, const tlt_session *s,
                                    tlt_resume resume, tlt_err *err) {
  const struct {
    const char *key, *now, *what;
  } parts[] = {{"model_sha256", s->model_sha256, "model weights"},
               {"data_sha256", s->data_sha256, "training problems"},
               {"held_sha256", s->held_sha256, "held-back problems"},
               {"fingerprint", s->fingerprint, "numerics fingerprint"}};
  char text[512] = "";
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    const char *before = text_of(reader, parts[i].key);
    if (!strcmp(before, parts[i].now)) continue;
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, "%s%s (%.12s... -> %.12s...)", n ? ", " : "", parts[i].what,
             before, parts[i].now);
  }
  if (!text[0]) return TLT_OK;
  if (resume != TLT_RESUME_CHANGED)
    return tlt_fail(err, TLT_ECHECKPOINT,
                    "resume: got other %s than the checkpoint has (--resume=changed accepts that)",
                    text);
  tlt_log_write(TLT_LOG_WARN,
                "resuming with other %s: the run is no longer reproducible bit for bit", text);
  return TLT_OK;
}

tlt_status tlt_state_read_trainer(tlt_ckpt_reader *reader, tlt_trainer *t, int64_t *steps,
                                  tlt_err *err) {
  const char *names[] = {"masters", "moment1", "moment2"};
  float *data[] = {tlt_trainer_masters(t), tlt_trainer_moment1(t), tlt_trainer_moment2(t)};
  uint64_t want = tlt_trainer_elements(t) * sizeof(float), bytes = 0;
  tlt_json_node top = tlt_json_top(tlt_ckpt_state(reader), "checkpoint", 0);
  tlt_status s = damaged(tlt_json_int(&top, "optimizer_steps", 0, INT64_MAX, steps, err), err);
  for (int i = 0; s == TLT_OK && i < 3; i++) {
    s = tlt_ckpt_seek(reader, names[i], &bytes, err);
    if (s == TLT_OK && bytes != want)
      s = tlt_fail(err, TLT_ECHECKPOINT,
                   "checkpoint: %s: got %llu bytes, expected %llu of this model", names[i],
                   (unsigned long long)bytes, (unsigned long long)want);
    if (s == TLT_OK) s = tlt_ckpt_read(reader, data[i], (size_t)bytes, err);
  }
  return s;
}

tlt_status tlt_state_restore(tlt_ckpt_reader *reader, tlt_trainer *t, tlt_err *err) {
  int64_t steps = 0;
  tlt_status s = tlt_state_read_trainer(reader, t, &steps, err);
  return s == TLT_OK ? tlt_trainer_restored(t, steps, err) : s;
}
