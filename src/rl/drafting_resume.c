/* The drafter's checkpoints of a run: which one a resumed run goes on from, when one is written. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rl/drafting_internal.h"

/* ---- going on -------------------------------------------------------------------------------- */

/* The replica is of the state's shape. */
static void restore(tlt_drafting *d, const unsigned char *state) {
  tlt_trainer *t = tlt_drafter_trainer_state(d->trainer);
  tlt_drafting_state h;
  memcpy(&h, state, sizeof h);
  size_t bytes = (size_t)h.elements * sizeof(float);
  memcpy(tlt_trainer_masters(t), state + sizeof h, bytes);
  memcpy(tlt_trainer_moment1(t), state + sizeof h + bytes, bytes);
  memcpy(tlt_trainer_moment2(t), state + sizeof h + 2 * bytes, bytes);
  tlt_trainer_restored(t, h.optimizer_steps, NULL); /* alone: cannot fail */
  d->total_steps = h.micro_steps;
  d->total_tokens = h.tokens;
  d->ready = true;
  tlt_replay_go_on(d->replay, (tlt_replay_position){h.buffer_serial, h.buffer_epoch});
}

static tlt_status load(tlt_drafting *d, const char *dir, int64_t step, tlt_err *err) {
  const tlt_model *m = d->o.model;
  char path[TLT_PATH_MAX];
  unsigned char *state;
  size_t bytes;
  tlt_drafter *saved;
  tlt_drafting_step_path(path, dir, step);
  tlt_status s = tlt_drafting_state_load(dir, step, &state, &bytes, err);
  if (s != TLT_OK) return s;
  s = tlt_drafter_load(path, m->weights, m->pool, &saved, err);
  uint64_t elements = (bytes - sizeof(tlt_drafting_state)) / 12;
  if (s == TLT_OK && saved->weights.elements != elements) {
    s = tlt_fail(err, TLT_ECHECKPOINT, "%s: got a state of %llu weights, expected %llu", path,
                 (unsigned long long)elements, (unsigned long long)saved->weights.elements);
    tlt_drafter_free(saved);
  }
  if (s == TLT_OK) s = tlt__drafting_replica(d, saved, err);
  if (s == TLT_OK) {
    restore(d, state);
    s = tlt__drafting_install(d, err);
  }
  tlt_free(state);
  return s;
}

static void remove_step(const char *dir, int64_t step) {
  char path[TLT_PATH_MAX];
  tlt_err err;
  tlt_drafting_step_path(path, dir, step);
  if (tlt_path_remove(path, &err) != TLT_OK) tlt_log_write(TLT_LOG_WARN, "%s", err.text);
}

void tlt_drafting_attach(tlt_drafting *d, const char *dir, int64_t step, bool writer) {
  int64_t *steps;
  size_t n;
  tlt_err err;
  if (!d) return;
  snprintf(d->writer.dir, sizeof d->writer.dir, "%s", writer ? dir : "");
  d->writer.keep = d->o.keep;
  if (tlt_drafting_steps(dir, &steps, &n, &err) != TLT_OK) {
    tlt_log_write(TLT_LOG_WARN, "drafter checkpoints passed over: %s", err.text);
    return;
  }
  for (; n > 0; n--) {
    if (steps[n - 1] > step) {
      if (writer) remove_step(dir, steps[n - 1]);
      continue;
    }
    if (load(d, dir, steps[n - 1], &err) == TLT_OK) {
      tlt_log_write(TLT_LOG_INFO, "drafter of step %lld taken up", (long long)steps[n - 1]);
      break;
    }
    tlt_log_write(TLT_LOG_WARN, "drafter checkpoint passed over: %s", err.text);
  }
  tlt_free(steps);
}

tlt_status tlt_drafting_sha256(const tlt_drafting *d, char hex[TLT_SHA256_HEX], tlt_err *err) {
  *hex = 0;
  return d ? tlt_weights_sha256(&d->drafter->weights, hex, err) : TLT_OK;
}

/* ---- saving ---------------------------------------------------------------------------------- */

static unsigned char *copy_state(const tlt_drafting *d, int64_t step, size_t *bytes) {
  tlt_trainer *t = tlt_drafter_trainer_state(d->trainer);
  tlt_replay_position at = tlt_replay_where(d->replay);
  tlt_drafting_state h = {.elements = tlt_trainer_elements(t),
                          .step = step,
                          .optimizer_steps = tlt_trainer_steps(t),
                          .micro_steps = d->total_steps,
                          .tokens = d->total_tokens,
                          .buffer_serial = at.serial,
                          .buffer_epoch = at.epoch};
  size_t part = (size_t)h.elements * sizeof(float);
  *bytes = sizeof h + 3 * part;
  unsigned char *state = tlt_malloc(*bytes);
  if (!state) return NULL;
  memcpy(state, &h, sizeof h);
  memcpy(state + sizeof h, tlt_trainer_masters(t), part);
  memcpy(state + sizeof h + part, tlt_trainer_moment1(t), part);
  memcpy(state + sizeof h + 2 * part, tlt_trainer_moment2(t), part);
  return state;
}

void tlt_drafting_save(tlt_drafting *d, int64_t step) {
  tlt_drafter *copy = NULL;
  size_t bytes;
  tlt_err err;
  if (!d || d->dead || !d->ready || !d->writer.dir[0] || d->writer.newest == step) return;
  if (!tlt_drafting_writer_idle(&d->writer)) {
    d->writer.skipped++;
    return;
  }
  if (d->writer.newest == step) return;
  unsigned char *state = copy_state(d, step, &bytes);
  tlt_status s = state ? TLT_OK : tlt_fail_nomem(&err, "copy of the drafter", bytes);
  if (s == TLT_OK) s = tlt_drafter_copy(d->drafter, d->o.model->weights, &copy, &err);
  if (s == TLT_OK) {
    tlt_drafting_writer_begin(&d->writer, step, copy, state, bytes);
    return;
  }
  tlt_free(state);
  tlt_log_write(TLT_LOG_WARN, "drafter checkpoint not written: %s", err.text);
}

bool tlt_drafting_saved(tlt_drafting *d, int64_t *step, double *from, double *to) {
  if (!d || !tlt_drafting_writer_idle(&d->writer) || d->writer.newest == d->writer.told)
    return false;
  *step = d->writer.told = d->writer.newest;
  *from = d->writer.began;
  *to = d->writer.began + d->writer.seconds;
  return true;
}

void tlt_drafting_finish(tlt_drafting *d, int64_t step) {
  if (!d) return;
  tlt_drafting_writer_wait(&d->writer);
  if (step > 0) tlt_drafting_save(d, step);
  tlt_drafting_writer_wait(&d->writer);
}
