#include "rl/follow.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rl/crew.h"

#define WAIT_S 0.05        /* for messages, with nothing to do */
#define SCORE_WAIT_S 0.005 /* for scores, with messages to look at */
#define REST_S 0.005       /* the same in the middle of idle work, or until cores are borrowed */
#define TELL_EVERY_S 0.2

typedef struct follower {
  tlt_session *session;
  tlt_cluster *cluster;
  tlt_gradient gradient;
  tlt_decode decode;
  bool rolling, evaluation; /* a rollout runs */
  bool wanted, freed;       /* WANT and FREE were sent and not answered */
  void *task;               /* a gradient task that waits, or NULL */
  size_t n_task;
  tlt_tag command; /* STEP, PUBLISH or STOP that waits; HAND: none */
  tlt_msg_step step;
  tlt_msg_publish publish;
  double told;
  tlt_err *err;
  tlt_status status; /* first failure inside a pause */
} follower;

static tlt_status send(follower *f, tlt_tag tag, const void *data, size_t n, tlt_err *err) {
  return tlt_cluster_send(f->cluster, 0, (int)tag, data, n, err);
}

/* ---- what messages ask ------------------------------------------------------------------------
 */

static tlt_status group_complete(void *context, tlt_group *g, tlt_err *err) {
  follower *f = context;
  int samples = f->decode.job.samples;
  void *bytes = NULL;
  size_t n = 0;
  tlt_status s = tlt_group_pack(g, samples, f->decode.job.keep_text, &bytes, &n, err);
  if (s == TLT_OK) s = send(f, TLT_TAG_GROUP, bytes, n, err);
  tlt_free(bytes);
  tlt_group_free(g, samples);
  return s;
}

static tlt_status begin_rollout(follower *f, const tlt_mail *m, tlt_err *err) {
  tlt_msg_rollout what;
  if (f->rolling) return tlt_fail(err, TLT_EINTERNAL, "got a rollout inside a rollout");
  tlt_status s = tlt_crew_read(m, &what, sizeof what, err);
  if (s != TLT_OK) return s;
  f->rolling = true;
  f->evaluation = what.evaluation;
  f->wanted = f->freed = false;
  tlt_session_before_rollout(f->session, what.evaluation, what.step, what.first);
  tlt_decode_job job = tlt_session_decode_job(f->session, what.evaluation, what.first);
  f->decode = (tlt_decode){.complete = group_complete, .context = f};
  return tlt_decode_begin(&f->decode, &job, tlt_session_groups_most(f->session, what.evaluation),
                          err);
}

static tlt_status end_rollout(follower *f, tlt_err *err) {
  if (!f->rolling) return tlt_fail(err, TLT_EINTERNAL, "got the end of no rollout");
  tlt_msg_ended sums = {.done = {f->decode.answers, f->decode.tokens, f->decode.prompt_tokens},
                        .reward = tlt_reward_totals(f->session->reward)};
  if (f->session->spec) tlt_spec_stats_get(f->session->spec, &sums.spec);
  f->rolling = false;
  tlt_account_decoded(f->session->idle.account, 0, 0);
  tlt_decode_end(&f->decode);
  if (!f->evaluation) tlt_session_after_rollout(f->session);
  return send(f, TLT_TAG_ENDED, &sums, sizeof sums, err);
}

static tlt_status take_hand(follower *f, const tlt_mail *m, tlt_err *err) {
  uint32_t rollout;
  if (!f->rolling) return tlt_fail(err, TLT_EINTERNAL, "got a group outside a rollout");
  tlt_status s = tlt_crew_read(m, &rollout, sizeof rollout, err);
  if (s != TLT_OK) return s;
  f->wanted = f->freed = false;
  return tlt_decode_take(&f->decode, rollout, err);
}

static tlt_status take_task(follower *f, const tlt_mail *m, tlt_err *err) {
  if (f->task) return tlt_fail(err, TLT_EINTERNAL, "got a second gradient task");
  if (m->bytes == 0) return tlt_fail(err, TLT_EINTERNAL, "got an empty gradient task");
  f->freed = false;
  f->task = tlt_malloc(m->bytes);
  f->n_task = m->bytes;
  if (!f->task) return tlt_fail_nomem(err, "gradient task", m->bytes);
  memcpy(f->task, m->data, m->bytes);
  return TLT_OK;
}

/* A step is over: its account goes to the leader, the next one begins. */
static tlt_status report(follower *f, tlt_err *err) {
  tlt_account *a = &f->session->account;
  tlt_msg_report r = {.drafting = tlt_drafting_take(f->session->drafting)};
  tlt_session_finish_account(f->session);
  r.now = tlt_now();
  size_t n = sizeof r + tlt_account_bytes(a);
  unsigned char *bytes = tlt_malloc(n);
  if (!bytes) return tlt_fail_nomem(err, "account", n);
  memcpy(bytes, &r, sizeof r);
  tlt_account_pack(a, bytes + sizeof r);
  tlt_status s = send(f, TLT_TAG_ACCOUNT, bytes, n, err);
  tlt_free(bytes);
  tlt_session_begin_account(f->session, a->step + 1, a->worker, TLT_WORK_WAITING);
  return s;
}

static tlt_status take(follower *f, const tlt_mail *m, tlt_err *err) {
  switch ((tlt_tag)m->tag) {
    case TLT_TAG_ROLLOUT: return begin_rollout(f, m, err);
    case TLT_TAG_HAND: return take_hand(f, m, err);
    case TLT_TAG_TASK: return take_task(f, m, err);
    case TLT_TAG_END:
    case TLT_TAG_CANCEL: return end_rollout(f, err);
    case TLT_TAG_REPORT: return report(f, err);
    case TLT_TAG_STEP:
      f->command = (tlt_tag)m->tag;
      return tlt_crew_read(m, &f->step, sizeof f->step, err);
    case TLT_TAG_PUBLISH:
      f->command = (tlt_tag)m->tag;
      return tlt_crew_read(m, &f->publish, sizeof f->publish, err);
    case TLT_TAG_STOP: f->command = (tlt_tag)m->tag; return TLT_OK;
    default: return tlt_fail(err, TLT_EINTERNAL, "got message %d", m->tag);
  }
}

/* All messages that are here, up to one that must be followed at once. */
static tlt_status attend(follower *f, tlt_err *err) {
  tlt_status s = TLT_OK;
  tlt_mail m;
  for (bool got = true; s == TLT_OK && got && f->command == TLT_TAG_HAND;) {
    s = tlt_cluster_receive(f->cluster, &m, &got, err);
    if (s == TLT_OK && got) s = take(f, &m, err);
  }
  tlt_energy_poll(&f->session->energy);
  if (s == TLT_OK && f->rolling && !f->wanted && tlt_decode_wants(&f->decode)) {
    f->wanted = true;
    s = send(f, TLT_TAG_WANT, NULL, 0, err);
  }
  return s;
}

/* ---- work -------------------------------------------------------------------------------------
 */

static tlt_account *account(const follower *f) {
  return f->session->idle.account;
}

static bool busy(const follower *f) {
  return f->rolling && tlt_decode_busy(&f->decode);
}

static tlt_status tell_progress(follower *f, tlt_err *err) {
  double now = tlt_now();
  tlt_msg_progress p = {f->decode.answers, f->decode.tokens, f->decode.prompt_tokens};
  if (now - f->told < TELL_EVERY_S) return TLT_OK;
  f->told = now;
  return send(f, TLT_TAG_PROGRESS, &p, sizeof p, err);
}

static tlt_status decode(follower *f, tlt_err *err) {
  tlt_account_enter(account(f), f->evaluation ? TLT_WORK_EVAL : TLT_WORK_DECODING);
  tlt_status s = tlt_decode_step(&f->decode, 0, err);
  tlt_account_decoded(account(f), f->decode.sequences, f->decode.drawn);
  return s == TLT_OK ? tell_progress(f, err) : s;
}

/* Something better to do than idle work, or none of it for now. */
static bool is_interrupted(const follower *f) {
  return busy(f) || (f->rolling && tlt_idle_rests(&f->session->idle));
}

/* In the pauses of idle work: messages, and groups that came meanwhile. */
static void look(follower *f) {
  if (f->status == TLT_OK) f->status = attend(f, f->err);
  if (f->status != TLT_OK || !is_interrupted(f)) return;
  int64_t detail = tlt_account_detail(account(f));
  tlt_work before = tlt_account_enter(account(f), TLT_WORK_IDLE);
  while (f->status == TLT_OK && is_interrupted(f)) {
    f->status = busy(f) ? decode(f, f->err) : tlt_cluster_wait(f->cluster, REST_S, f->err);
    if (f->status == TLT_OK) f->status = attend(f, f->err);
  }
  tlt_account_enter_for(account(f), before, detail);
}

static bool look_in_gradient(void *context) {
  look(context);
  return true;
}

static bool look_in_draft(void *context) {
  follower *f = context;
  if (f->status == TLT_OK) f->status = attend(f, f->err);
  bool better = f->status != TLT_OK || f->command != TLT_TAG_HAND || busy(f) || !f->rolling;
  if (!better) look(f);
  return !better;
}

static tlt_status do_task(follower *f) {
  void *task = f->task, *result = NULL;
  size_t n = 0;
  tlt_update_source from = {&f->session->problems, f->session->shuffle};
  f->task = NULL;
  tlt_account_enter_for(account(f), TLT_WORK_GRADIENT, tlt_update_task_rollout(task, f->n_task));
  tlt_pool_set_pause(f->session->model->pool, look_in_gradient, f);
  tlt_status s = tlt_update_serve(&f->gradient, &from, task, f->n_task, &result, &n, f->err);
  tlt_pool_set_pause(f->session->model->pool, NULL, NULL);
  tlt_free(task);
  if (s == TLT_OK) s = f->status;
  if (s == TLT_OK) s = send(f, TLT_TAG_RESULT, result, n, f->err);
  tlt_free(result);
  return s;
}

static tlt_status wait(follower *f) {
  bool scoring = f->rolling && tlt_decode_scoring(&f->decode);
  tlt_work why = scoring ? TLT_WORK_REWARD : f->rolling ? TLT_WORK_IDLE : TLT_WORK_WAITING;
  tlt_work state = tlt_idle_wait(&f->session->idle, why);
  tlt_account_enter(account(f), state);
  if (scoring) return tlt_decode_step(&f->decode, SCORE_WAIT_S, f->err);
  return tlt_cluster_wait(f->cluster, state == TLT_WORK_LENDING ? WAIT_S : REST_S, f->err);
}

static tlt_status be_idle(follower *f) {
  const tlt_idle *idle = &f->session->idle;
  tlt_status s = TLT_OK;
  if (f->rolling && tlt_decode_scoring(&f->decode)) s = tlt_decode_step(&f->decode, 0, f->err);
  if (s == TLT_OK && f->rolling && !f->freed) {
    f->freed = true;
    s = send(f, TLT_TAG_FREE, NULL, 0, f->err);
  }
  if (s != TLT_OK) return s;
  if (f->rolling && tlt_idle_rests(idle)) return wait(f);
  if (f->task && !idle->drafter_first) return do_task(f);
  if (f->rolling && !f->evaluation && tlt_idle_draft(idle, look_in_draft, f)) return f->status;
  return f->task ? do_task(f) : wait(f);
}

static tlt_status follow_command(follower *f) {
  tlt_tag command = f->command;
  tlt_step_result result;
  f->command = TLT_TAG_HAND;
  if (command == TLT_TAG_PUBLISH)
    return tlt_session_publish(f->session, f->publish.seconds, f->err);
  tlt_account_enter(account(f), TLT_WORK_UPDATE);
  return tlt_trainer_step(f->session->trainer, f->step.scale, &f->step.how, &result, f->err);
}

static tlt_status run(follower *f) {
  tlt_status s = TLT_OK;
  while (s == TLT_OK) {
    s = attend(f, f->err);
    if (s != TLT_OK) break;
    if (f->command == TLT_TAG_STOP) return TLT_OK;
    if (f->command != TLT_TAG_HAND) s = follow_command(f);
    else s = busy(f) ? decode(f, f->err) : be_idle(f);
    if (s == TLT_OK) s = f->status;
  }
  return s;
}

/* The leader hears why, stops the run and with it this worker. Where messages do not come through,
 * nothing is left to wait for. */
static void fail(follower *f, tlt_status s) {
  tlt_msg_failed m = {.status = s};
  tlt_mail ignored;
  bool got = false, stopped = false;
  if (tlt_cluster_broken()) return;
  memcpy(m.text, f->err->text, sizeof m.text);
  if (send(f, TLT_TAG_FAILED, &m, sizeof m, NULL) != TLT_OK) return;
  while (!stopped) {
    if (tlt_cluster_receive(f->cluster, &ignored, &got, NULL) != TLT_OK) return;
    stopped = got && ignored.tag == TLT_TAG_STOP;
    if (!got && tlt_cluster_wait(f->cluster, WAIT_S, NULL) != TLT_OK) return;
  }
}

tlt_status tlt_follow(tlt_session *session, int64_t step, tlt_err *err) {
  follower f = {
      .session = session, .cluster = session->cluster, .command = TLT_TAG_HAND, .err = err};
  tlt_session_begin_account(session, step + 1, tlt_cluster_rank(session->cluster),
                            TLT_WORK_WAITING);
  tlt_status s =
      tlt_gradient_open(&f.gradient, session->config, session->trainer, session->reference, err);
  if (s == TLT_OK) s = run(&f);
  if (s != TLT_OK) fail(&f, s);
  tlt_decode_end(&f.decode);
  tlt_free(f.task);
  tlt_gradient_close(&f.gradient);
  return s;
}
