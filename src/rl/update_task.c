/* Gradients of groups as tasks, for this worker and for others. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rl/rewards.h"
#include "rl/update_internal.h"

/* ---- tasks ------------------------------------------------------------------------------------
 */

tlt_status tlt_update_begin(tlt_update *u, const tlt_update_job *job, tlt_groups *groups,
                            tlt_err *err) {
  size_t room = (size_t)groups->room, samples = (size_t)groups->samples;
  *u = (tlt_update){.job = *job, .groups = groups, .known = true, .first_pass = true};
  u->task = tlt_calloc(room, sizeof *u->task);
  u->measured = tlt_calloc(room * samples, sizeof *u->measured);
  if (!u->task || !u->measured)
    return tlt_fail_nomem(err, "update", room * samples * sizeof *u->measured);
  for (size_t i = 0; i < room; i++) u->task[i].measured = u->measured + i * samples;
  return tlt_gradient_open(&u->here, job->config, job->trainer, job->reference, err);
}

void tlt_update_end(tlt_update *u) {
  for (int i = 0; u->task && i < u->groups->room; i++) tlt_free(u->task[i].reference);
  tlt_free(u->task);
  tlt_free(u->measured);
  tlt_gradient_close(&u->here);
  *u = (tlt_update){0};
}

bool tlt_update_includes(const tlt_group *g) {
  return !g->masked && !g->replaced;
}

static bool has_advantage(const tlt_group *g, int samples) {
  for (int s = 0; s < samples; s++)
    if (g->answer[s].advantage != 0) return true;
  return false;
}

bool tlt_update_needs(const tlt_update *u, const tlt_group *g) {
  return tlt_update_includes(g) && (u->here.loss.kl != 0 || has_advantage(g, u->groups->samples));
}

void tlt_update_make_waiting(tlt_update *u, int i) {
  u->task[i].state = TLT_TASK_WAITING;
  u->waiting++;
}

/* Groups replaced later only move a group to the front, so an index inside the first minibatch is
 * there for good; so is every group that cannot be replaced where there is one minibatch. */
static bool is_certain(const tlt_update *u, int i) {
  const tlt_conf_algorithm *a = &u->job.config->algorithm;
  const tlt_group *g = &u->groups->group[i];
  bool replaceable = a->max_gen > 1 && (g->constant || g->masked);
  if (replaceable || a->scale == TLT_SCALE_BATCH) return false;
  return a->minibatches == 1 || i < u->job.config->rollout.prompts / a->minibatches;
}

void tlt_update_offer(tlt_update *u, int i) {
  tlt_group *g = &u->groups->group[i];
  if (!is_certain(u, i)) return;
  tlt_group_rewards(g, u->groups->samples, u->job.config);
  tlt_group_advantages(g, u->groups->samples, 0, u->job.config);
  if (!tlt_update_needs(u, g)) return;
  u->task[i].early = true;
  tlt_update_make_waiting(u, i);
}

int tlt_update_take(tlt_update *u) {
  int64_t most = -1;
  int best = -1;
  for (int i = 0; u->waiting && i < u->groups->n; i++) {
    if (u->task[i].state != TLT_TASK_WAITING) continue;
    int64_t tokens = tlt_group_tokens(&u->groups->group[i], u->groups->samples);
    if (tokens <= most) continue;
    most = tokens;
    best = i;
  }
  if (best < 0) return -1;
  u->task[best].state = TLT_TASK_GIVEN;
  u->waiting--;
  u->given++;
  return best;
}

static void task_done(tlt_update *u, int i) {
  u->task[i].state = TLT_TASK_DONE;
  u->given--;
}

static tlt_status reference_of(tlt_gradient *here, const tlt_group *g, float **to, tlt_err *err) {
  if (!here->reference || *to) return TLT_OK;
  size_t n = (size_t)tlt_group_tokens(g, here->samples);
  *to = tlt_malloc(n * sizeof **to + 1);
  if (!*to) return tlt_fail_nomem(err, "reference log-probabilities", n * sizeof **to);
  return tlt_gradient_reference(here, g, *to, err);
}

tlt_status tlt_update_do(tlt_update *u, int i, tlt_err *err) {
  const tlt_group *g = &u->groups->group[i];
  tlt_update_task *t = &u->task[i];
  double from = tlt_now();
  tlt_status s = reference_of(&u->here, g, &t->reference, err);
  u->reference_seconds += tlt_now() - from;
  if (s == TLT_OK)
    s = tlt_gradient_group(&u->here, g, u->known, u->first_pass, t->reference, t->measured, err);
  task_done(u, i);
  return s;
}

/* ---- between workers --------------------------------------------------------------------------
 */

typedef struct packed_task {
  uint32_t rollout, first;
  int32_t known, entropy;
  uint64_t reference_bytes; /* follows; then the group */
} packed_task;

typedef struct packed_result {
  double reference_seconds;
  uint64_t reference_bytes; /* follows the measured answers */
} packed_result;

static size_t reference_bytes(const tlt_group *g, int samples, const float *reference) {
  return reference ? (size_t)tlt_group_tokens(g, samples) * sizeof *reference : 0;
}

tlt_status tlt_update_pack(const tlt_update *u, int i, void **bytes, size_t *n, tlt_err *err) {
  const tlt_group *g = &u->groups->group[i];
  const float *reference = u->task[i].reference;
  packed_task head = {.rollout = g->rollout,
                      .first = u->groups->group[0].rollout,
                      .known = u->known,
                      .entropy = u->first_pass,
                      .reference_bytes = reference_bytes(g, u->groups->samples, reference)};
  void *group = NULL;
  size_t n_group = 0, n_head = sizeof head + head.reference_bytes;
  *bytes = NULL;
  tlt_status s = tlt_group_pack(g, u->groups->samples, false, &group, &n_group, err);
  if (s != TLT_OK) return s;
  unsigned char *to = *bytes = tlt_malloc(*n = n_head + n_group);
  if (to) {
    memcpy(to, &head, sizeof head);
    if (reference) memcpy(to + sizeof head, reference, head.reference_bytes);
    memcpy(to + n_head, group, n_group);
  } else {
    s = tlt_fail_nomem(err, "gradient task", n_head + n_group);
  }
  tlt_free(group);
  return s;
}

int64_t tlt_update_task_rollout(const void *task, size_t n) {
  packed_task head;
  if (n < sizeof head) return -1;
  memcpy(&head, task, sizeof head);
  return head.rollout;
}

static tlt_status pack_result(const tlt_gradient *here, const tlt_group *g, const float *reference,
                              double seconds, const tlt_measured *measured, void **result,
                              size_t *n, tlt_err *err) {
  size_t n_measured = (size_t)here->samples * sizeof *measured;
  packed_result head = {seconds, reference_bytes(g, here->samples, reference)};
  unsigned char *to = *result = tlt_malloc(*n = sizeof head + n_measured + head.reference_bytes);
  if (!to) return tlt_fail_nomem(err, "gradient result", *n);
  memcpy(to, &head, sizeof head);
  memcpy(to + sizeof head, measured, n_measured);
  if (reference) memcpy(to + sizeof head + n_measured, reference, head.reference_bytes);
  return TLT_OK;
}

tlt_status tlt_update_serve(tlt_gradient *here, const tlt_update_source *from, const void *task,
                            size_t n, void **result, size_t *n_result, tlt_err *err) {
  packed_task head;
  *result = NULL;
  if (n < sizeof head) return tlt_fail(err, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  memcpy(&head, task, sizeof head);
  const unsigned char *at = (const unsigned char *)task + sizeof head;
  if (head.reference_bytes > n - sizeof head)
    return tlt_fail(err, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  tlt_group g = tlt_group_of(from->problems, from->shuffle, head.first, head.rollout);
  tlt_status s = tlt_group_unpack(at + head.reference_bytes, n - sizeof head - head.reference_bytes,
                                  &g, here->samples, err);
  tlt_measured *measured = tlt_calloc((size_t)here->samples, sizeof *measured);
  float *reference = head.reference_bytes ? tlt_malloc(head.reference_bytes) : NULL;
  if (s == TLT_OK && (!measured || (head.reference_bytes && !reference)))
    s = tlt_fail_nomem(err, "gradient task", head.reference_bytes);
  if (s == TLT_OK && reference &&
      reference_bytes(&g, here->samples, reference) != head.reference_bytes)
    s = tlt_fail(err, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  if (s == TLT_OK && reference) memcpy(reference, at, head.reference_bytes);
  double start = tlt_now();
  if (s == TLT_OK) s = reference_of(here, &g, &reference, err);
  double seconds = tlt_now() - start;
  if (s == TLT_OK)
    s = tlt_gradient_group(here, &g, head.known, head.entropy, reference, measured, err);
  if (s == TLT_OK) s = pack_result(here, &g, reference, seconds, measured, result, n_result, err);
  tlt_group_free(&g, here->samples);
  tlt_free(measured);
  tlt_free(reference);
  return s;
}

tlt_status tlt_update_receive(tlt_update *u, int i, const void *bytes, size_t n, tlt_err *err) {
  packed_result head;
  const unsigned char *at = bytes;
  size_t n_measured = (size_t)u->groups->samples * sizeof(tlt_measured);
  if (n < sizeof head + n_measured)
    return tlt_fail(err, TLT_EINTERNAL, "gradient result: got %zu bytes", n);
  memcpy(&head, at, sizeof head);
  tlt_update_task *t = &u->task[i];
  const tlt_group *g = &u->groups->group[i];
  size_t n_reference = (size_t)tlt_group_tokens(g, u->groups->samples) * sizeof *t->reference;
  if (head.reference_bytes != n - sizeof head - n_measured ||
      (head.reference_bytes && head.reference_bytes != n_reference))
    return tlt_fail(err, TLT_EINTERNAL, "gradient result: got %zu bytes", n);
  memcpy(t->measured, at + sizeof head, n_measured);
  u->reference_seconds += head.reference_seconds;
  if (head.reference_bytes && !t->reference) {
    t->reference = tlt_malloc(head.reference_bytes);
    if (!t->reference)
      return tlt_fail_nomem(err, "reference log-probabilities", head.reference_bytes);
    memcpy(t->reference, at + sizeof head + n_measured, head.reference_bytes);
  }
  task_done(u, i);
  return TLT_OK;
}
