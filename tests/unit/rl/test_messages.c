/* Leader and follower against peers that are made up: what a good message does, and that one that
 * makes no sense is an error which names the worker, never more.
 * Alone: build/tests/unit/rl/test_rl_messages */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "rl/follow.h"

/* ---- a cluster of one, and what the others say ---------------------------------------------- */

enum { MAILS_MAX = 64, BODY_MAX = TLT_ACCOUNT_BYTES_MAX + 4096 };

typedef struct mail {
  int peer, tag;
  size_t bytes;
  unsigned char *body;
} mail;

struct tlt_cluster {
  mail in[MAILS_MAX], out[MAILS_MAX];
  int n_in, next_in, n_out;
};
static tlt_cluster cluster;
static unsigned char body[BODY_MAX];
static tlt_err err;

static void clear(void) {
  for (int i = 0; i < cluster.n_in; i++) free(cluster.in[i].body);
  for (int i = 0; i < cluster.n_out; i++) free(cluster.out[i].body);
  cluster = (tlt_cluster){0};
  err = (tlt_err){0};
}

static void store(mail *m, int peer, int tag, const void *data, size_t bytes) {
  *m = (mail){peer, tag, bytes, malloc(bytes + 1)};
  if (bytes) memcpy(m->body, data, bytes);
}

static void say(int peer, int tag, const void *data, size_t bytes) {
  assert_true(cluster.n_in < MAILS_MAX);
  store(&cluster.in[cluster.n_in++], peer, tag, data, bytes);
}

int tlt_cluster_rank(const tlt_cluster *c) {
  (void)c;
  return 2;
}
int tlt_cluster_size(const tlt_cluster *c) {
  (void)c;
  return 3;
}
tlt_status tlt_cluster_send(tlt_cluster *c, int to, int tag, const void *data, size_t bytes,
                            tlt_err *e) {
  (void)e;
  assert_true(c->n_out < MAILS_MAX);
  store(&c->out[c->n_out++], to, tag, data, bytes);
  return TLT_OK;
}
tlt_status tlt_cluster_receive(tlt_cluster *c, tlt_mail *out, bool *got, tlt_err *e) {
  (void)e;
  *got = c->next_in < c->n_in;
  if (!*got) return TLT_OK;
  const mail *m = &c->in[c->next_in++];
  *out = (tlt_mail){m->peer, m->tag, m->bytes ? m->body : NULL, m->bytes};
  return TLT_OK;
}
/* Who waits for more than there is hears that the run is over. */
bool tlt_cluster_broken(void) {
  return false;
}

tlt_status tlt_cluster_wait(tlt_cluster *c, double seconds, tlt_err *e) {
  (void)seconds, (void)e;
  if (c->next_in == c->n_in) say(0, TLT_TAG_STOP, NULL, 0);
  return TLT_OK;
}

/* ---- everything else that a worker does ------------------------------------------------------ */

static int taken, rollouts, steps, publications;

tlt_status tlt_decode_begin(tlt_decode *d, const tlt_decode_job *job, int groups, tlt_err *e) {
  (void)d, (void)job, (void)groups, (void)e;
  rollouts++;
  return TLT_OK;
}
void tlt_decode_end(tlt_decode *d) {
  (void)d;
}
tlt_status tlt_decode_take(tlt_decode *d, uint32_t rollout, tlt_err *e) {
  (void)d, (void)e;
  taken = (int)rollout;
  return TLT_OK;
}
bool tlt_decode_wants(const tlt_decode *d) {
  (void)d;
  return false;
}
bool tlt_decode_busy(const tlt_decode *d) {
  (void)d;
  return false;
}
bool tlt_decode_scoring(const tlt_decode *d) {
  (void)d;
  return false;
}
tlt_status tlt_decode_step(tlt_decode *d, double wait, tlt_err *e) {
  (void)d, (void)wait, (void)e;
  return TLT_OK;
}
tlt_reward_stats tlt_reward_totals(const tlt_reward *r) {
  (void)r;
  return (tlt_reward_stats){.items = 7};
}
void tlt_spec_stats_get(const tlt_spec *s, tlt_spec_stats *out) {
  (void)s;
  *out = (tlt_spec_stats){0};
}
tlt_drafting_sums tlt_drafting_take(tlt_drafting *d) {
  (void)d;
  return (tlt_drafting_sums){.micro_steps = 5};
}
tlt_status tlt_gradient_open(tlt_gradient *g, const tlt_train_config *c, tlt_trainer *t,
                             tlt_trainer *reference, tlt_err *e) {
  (void)g, (void)c, (void)t, (void)reference, (void)e;
  return TLT_OK;
}
void tlt_gradient_close(tlt_gradient *g) {
  (void)g;
}
int64_t tlt_update_task_rollout(const void *task, size_t n) {
  (void)task, (void)n;
  return 4;
}
tlt_status tlt_update_serve(tlt_gradient *here, const tlt_update_source *from, const void *task,
                            size_t n, void **result, size_t *n_result, tlt_err *e) {
  (void)here, (void)from;
  *result = NULL;
  if (n != 8) return tlt_fail(e, TLT_EINTERNAL, "gradient task: got %zu bytes", n);
  *n_result = n;
  *result = tlt_malloc(n);
  memcpy(*result, task, n);
  return TLT_OK;
}
int tlt_update_take(tlt_update *u) {
  (void)u;
  return -1;
}
tlt_status tlt_update_pack(const tlt_update *u, int i, void **bytes, size_t *n, tlt_err *e) {
  (void)u, (void)i, (void)bytes, (void)n, (void)e;
  return TLT_OK;
}
tlt_status tlt_update_receive(tlt_update *u, int i, const void *bytes, size_t n, tlt_err *e) {
  (void)u, (void)i, (void)bytes;
  return n == 8 ? TLT_OK : tlt_fail(e, TLT_EINTERNAL, "gradient result: got %zu bytes", n);
}
tlt_status tlt_trainer_step(tlt_trainer *t, float scale, const tlt_adamw *how,
                            tlt_step_result *result, tlt_err *e) {
  (void)t, (void)scale, (void)how, (void)result, (void)e;
  steps++;
  return TLT_OK;
}
void tlt_session_before_rollout(tlt_session *s, bool evaluation, int64_t step, uint32_t first) {
  (void)s, (void)evaluation, (void)step, (void)first;
}
tlt_decode_job tlt_session_decode_job(const tlt_session *s, bool evaluation, uint32_t first) {
  (void)s, (void)evaluation, (void)first;
  return (tlt_decode_job){.samples = 1};
}
int tlt_session_groups_most(const tlt_session *s, bool evaluation) {
  (void)s, (void)evaluation;
  return 4;
}
void tlt_session_after_rollout(tlt_session *s) {
  (void)s;
}
void tlt_session_begin_account(tlt_session *s, int64_t step, int worker, tlt_work state) {
  tlt_account_begin(&s->account, step, worker, state);
}
void tlt_session_finish_account(tlt_session *s) {
  tlt_account_finish(&s->account);
}
tlt_status tlt_session_publish(tlt_session *s, double seconds, tlt_err *e) {
  (void)s, (void)seconds, (void)e;
  publications++;
  return TLT_OK;
}

/* ---- the leader --------------------------------------------------------------------------------
 */

static tlt_crew crew;
static tlt_update update;
static int groups;

static tlt_status on_group(void *context, int from, const void *bytes, size_t n, tlt_err *e) {
  (void)context, (void)bytes, (void)from;
  if (n != 12) return tlt_fail(e, TLT_EINTERNAL, "group between workers: got too few bytes");
  groups++;
  return TLT_OK;
}

static void open_crew(void) {
  clear();
  assert_int_equal(tlt_crew_open(&crew, &cluster, &err), TLT_OK);
  crew.group = on_group;
  crew.update = &update;
  crew.worker[1].task = 3;
}

/* The body of a good account of this worker. */
static size_t make_report(int worker) {
  static tlt_account a;
  tlt_msg_report r = {.drafting = {.micro_steps = 9}};
  tlt_account_begin(&a, 1, worker, TLT_WORK_DECODING);
  tlt_account_stage(&a, TLT_STAGE_ROLLOUT);
  for (int i = 0; i < 20; i++) {
    tlt_account_enter_for(&a, i % 2 ? TLT_WORK_GRADIENT : TLT_WORK_DECODING, i);
    tlt_account_decoded(&a, 3, 4);
    tlt_account_aside(&a, TLT_ASIDE_GROUP, 0, i, a.begin, a.begin + i);
  }
  tlt_account_finish(&a);
  memcpy(body, &r, sizeof r);
  return sizeof r + tlt_account_pack(&a, body + sizeof r);
}

static void test_leader_takes_what_is_right(void **state) {
  (void)state;
  tlt_msg_ended ended = {.done = {1, 2, 3}, .reward = {.items = 4}};
  open_crew();
  say(1, TLT_TAG_WANT, NULL, 0);
  say(2, TLT_TAG_FREE, NULL, 0);
  say(1, TLT_TAG_RESULT, body, 8);
  say(2, TLT_TAG_GROUP, body, 12);
  say(1, TLT_TAG_PROGRESS, &ended.done, sizeof ended.done);
  say(2, TLT_TAG_ENDED, &ended, sizeof ended);
  say(1, TLT_TAG_ACCOUNT, body, make_report(1));
  assert_int_equal(tlt_crew_serve(&crew, &err), TLT_OK);
  assert_true(crew.worker[1].wants && crew.worker[1].free && crew.worker[2].free);
  assert_int_equal(crew.worker[1].task, -1);
  assert_int_equal(groups, 1);
  assert_int_equal(tlt_crew_progress(&crew).tokens, 4);
  assert_int_equal(crew.worker[2].sums.reward.items, 4);
  assert_int_equal(crew.worker[1].report.drafting.micro_steps, 9);
  assert_true(crew.worker[1].ended && crew.worker[2].ended);
  assert_int_equal(crew.account[1].n_asides, 20);
  tlt_crew_close(&crew);
}

/* The status of one message to a leader; a failure has to name its worker. */
static tlt_status leader_hears(int from, int tag, const void *data, size_t bytes) {
  open_crew();
  say(from, tag, data, bytes);
  tlt_status s = tlt_crew_serve(&crew, &err);
  if (s != TLT_OK) {
    assert_int_equal(s, err.status);
    assert_int_equal(strncmp(err.text, from == 2 ? "worker 2: " : "worker 1: ", 10), 0);
  }
  tlt_crew_close(&crew);
  return s;
}

static void test_leader_refuses_what_is_wrong(void **state) {
  (void)state;
  memset(body, 0, sizeof body);
  for (size_t n = 0; n < 40; n++) {
    assert_int_equal(leader_hears(1, TLT_TAG_PROGRESS, body, n),
                     n == sizeof(tlt_msg_progress) ? TLT_OK : TLT_EINTERNAL);
    assert_int_equal(leader_hears(1, TLT_TAG_RESULT, body, n), n == 8 ? TLT_OK : TLT_EINTERNAL);
    assert_int_equal(leader_hears(2, TLT_TAG_RESULT, body, n), TLT_EINTERNAL); /* has no task */
    assert_int_equal(leader_hears(2, TLT_TAG_GROUP, body, n), n == 12 ? TLT_OK : TLT_EINTERNAL);
  }
  for (size_t n = 0; n < sizeof(tlt_msg_ended) + 3; n += n < 20 ? 1 : 7)
    if (n != sizeof(tlt_msg_ended))
      assert_int_equal(leader_hears(2, TLT_TAG_ENDED, body, n), TLT_EINTERNAL);
  assert_int_equal(leader_hears(1, TLT_TAG_ACCOUNT, body, make_report(2)), TLT_EINTERNAL);
  assert_int_equal(leader_hears(1, TLT_TAG_HAND, NULL, 0), TLT_EINTERNAL);
  assert_int_equal(leader_hears(1, 30000, NULL, 0), TLT_EINTERNAL);
  open_crew();
  crew.group = NULL; /* no rollout */
  say(1, TLT_TAG_GROUP, body, 12);
  assert_int_equal(tlt_crew_serve(&crew, &err), TLT_EINTERNAL);
  tlt_crew_close(&crew);
  open_crew();
  say(3, TLT_TAG_WANT, NULL, 0); /* there is no such worker */
  assert_int_equal(tlt_crew_serve(&crew, &err), TLT_EINTERNAL);
  tlt_crew_close(&crew);
}

static void test_leader_hears_of_failures(void **state) {
  (void)state;
  tlt_msg_failed f = {.status = TLT_ENUMERIC};
  memset(f.text, 'x', sizeof f.text); /* not terminated */
  assert_int_equal(leader_hears(2, TLT_TAG_FAILED, &f, sizeof f), TLT_ENUMERIC);
  f.status = TLT_OK; /* it failed all the same */
  assert_int_equal(leader_hears(2, TLT_TAG_FAILED, &f, sizeof f), TLT_EWORKER);
  f.status = 12345;
  assert_int_equal(leader_hears(2, TLT_TAG_FAILED, &f, sizeof f), TLT_EWORKER);
  assert_int_equal(leader_hears(1, TLT_TAG_FAILED, &f, 5), TLT_EWORKER);
  assert_int_equal(leader_hears(1, TLT_TAG_FAILED, NULL, 0), TLT_EWORKER);
}

/* Worker 1 is on a host that started an hour later. */
static void test_accounts_by_the_leader_s_clock(void **state) {
  (void)state;
  open_crew();
  double from = crew.asked = tlt_now(), behind = 3600;
  size_t n = make_report(1);
  tlt_account a;
  tlt_msg_report r = {.now = tlt_now() - behind};
  assert_int_equal(tlt_account_unpack(&a, body + sizeof r, n - sizeof r, &err), TLT_OK);
  a.begin -= behind;
  a.end -= behind;
  memcpy(body, &r, sizeof r);
  tlt_account_pack(&a, body + sizeof r);
  say(1, TLT_TAG_ACCOUNT, body, n);
  assert_int_equal(tlt_crew_serve(&crew, &err), TLT_OK);
  const tlt_account *got = &crew.account[1];
  double most = tlt_now() - from; /* what the messages leave open */
  assert_true(fabs(got->begin - a.begin - behind) <= most);
  assert_true(fabs(got->end - got->begin - (a.end - a.begin)) < 1e-6);
  tlt_crew_close(&crew);
  r.now = NAN;
  memcpy(body, &r, sizeof r);
  assert_int_equal(leader_hears(1, TLT_TAG_ACCOUNT, body, n), TLT_EINTERNAL);
}

/* Damaged accounts: an error, or one that can be used. */
static void test_damaged_accounts(void **state) {
  (void)state;
  size_t n = make_report(1);
  unsigned char *good = malloc(n);
  memcpy(good, body, n);
  for (size_t cut = 0; cut < n; cut += 11)
    assert_int_not_equal(leader_hears(1, TLT_TAG_ACCOUNT, good, cut), TLT_OK);
  for (size_t i = 0; i < n; i++) {
    good[i] ^= 0x81;
    leader_hears(1, TLT_TAG_ACCOUNT, good, n);
    good[i] ^= 0x81;
  }
  assert_int_equal(leader_hears(1, TLT_TAG_ACCOUNT, good, n), TLT_OK);
  free(good);
}

static void test_noise(void **state) {
  (void)state;
  tlt_stream r = tlt_stream_open(3, TLT_PURPOSE_TASK, 0, 0, 0);
  for (int i = 0; i < 5000; i++) {
    size_t n = tlt_stream_below(&r, i % 10 ? 200 : 4000);
    for (size_t b = 0; b < n; b++) body[b] = (unsigned char)tlt_stream_below(&r, 256);
    leader_hears(1 + i % 2, (int)tlt_stream_below(&r, TLT_TAG_FAILED + 3), body, n);
  }
}

/* ---- a follower --------------------------------------------------------------------------------
 */

static tlt_status follow(void) {
  static tlt_session session;
  tlt_model model = {0};
  assert_int_equal(tlt_pool_create(1, &model.pool, &err), TLT_OK);
  session = (tlt_session){.cluster = &cluster, .model = &model};
  session.idle.account = &session.account;
  tlt_status s = tlt_follow(&session, 0, &err);
  tlt_pool_free(model.pool);
  return s;
}

static const mail *answer(int tag) {
  for (int i = 0; i < cluster.n_out; i++)
    if (cluster.out[i].tag == tag) return &cluster.out[i];
  return NULL;
}

static void test_follower_does_as_told(void **state) {
  (void)state;
  tlt_msg_rollout rollout = {.step = 1, .first = 8};
  tlt_msg_step step = {.scale = 1};
  tlt_msg_publish publish = {1.5};
  uint32_t index = 11;
  tlt_account got;
  clear();
  rollouts = steps = publications = 0;
  say(0, TLT_TAG_ROLLOUT, &rollout, sizeof rollout);
  say(0, TLT_TAG_HAND, &index, sizeof index);
  say(0, TLT_TAG_TASK, "12345678", 8);
  say(0, TLT_TAG_END, NULL, 0);
  say(0, TLT_TAG_STEP, &step, sizeof step);
  say(0, TLT_TAG_PUBLISH, &publish, sizeof publish);
  say(0, TLT_TAG_REPORT, NULL, 0);
  assert_int_equal(follow(), TLT_OK);
  assert_int_equal(taken, 11);
  assert_int_equal(rollouts * 100 + steps * 10 + publications, 111);
  assert_memory_equal(answer(TLT_TAG_RESULT)->body, "12345678", 8);
  assert_int_equal(answer(TLT_TAG_ENDED)->bytes, sizeof(tlt_msg_ended));
  const mail *m = answer(TLT_TAG_ACCOUNT);
  assert_int_equal(((const tlt_msg_report *)m->body)->drafting.micro_steps, 5);
  assert_int_equal(tlt_account_unpack(&got, m->body + sizeof(tlt_msg_report),
                                      m->bytes - sizeof(tlt_msg_report), &err),
                   TLT_OK);
  assert_int_equal(got.worker, 2);
  assert_null(answer(TLT_TAG_FAILED));
}

/* The follower fails, tells the leader why, and waits for the end. */
static void follower_refuses(int tag, const void *data, size_t bytes) {
  say(0, tag, data, bytes);
  assert_int_equal(follow(), TLT_EINTERNAL);
  const mail *m = answer(TLT_TAG_FAILED);
  assert_non_null(m);
  assert_int_equal(m->bytes, sizeof(tlt_msg_failed));
  assert_int_equal(((const tlt_msg_failed *)m->body)->status, TLT_EINTERNAL);
  assert_string_equal(((const tlt_msg_failed *)m->body)->text, err.text);
  assert_int_equal(cluster.next_in, cluster.n_in);
}

static void test_follower_refuses_what_is_wrong(void **state) {
  (void)state;
  const tlt_msg_rollout rollout = {.step = 1};
  const size_t size[] = {[TLT_TAG_ROLLOUT] = sizeof rollout,
                         [TLT_TAG_HAND] = sizeof(uint32_t),
                         [TLT_TAG_STEP] = sizeof(tlt_msg_step),
                         [TLT_TAG_PUBLISH] = sizeof(tlt_msg_publish)};
  const int tags[] = {TLT_TAG_ROLLOUT, TLT_TAG_HAND, TLT_TAG_STEP, TLT_TAG_PUBLISH};
  memset(body, 0, sizeof body);
  for (int i = 0; i < 4; i++)
    for (size_t n = 0; n < size[tags[i]] + 2; n++) {
      if (n == size[tags[i]]) continue;
      clear();
      if (tags[i] == TLT_TAG_HAND) say(0, TLT_TAG_ROLLOUT, &rollout, sizeof rollout);
      follower_refuses(tags[i], body, n);
    }
  clear();
  follower_refuses(TLT_TAG_HAND, body, sizeof(uint32_t)); /* outside a rollout */
  clear();
  follower_refuses(TLT_TAG_END, NULL, 0);
  clear();
  follower_refuses(TLT_TAG_TASK, NULL, 0);
  clear();
  follower_refuses(TLT_TAG_TASK, "short", 5);
  clear();
  say(0, TLT_TAG_TASK, "12345678", 8); /* a second one before the first is done */
  follower_refuses(TLT_TAG_TASK, "12345678", 8);
  clear();
  say(0, TLT_TAG_ROLLOUT, &rollout, sizeof rollout);
  follower_refuses(TLT_TAG_ROLLOUT, &rollout, sizeof rollout);
  clear();
  follower_refuses(TLT_TAG_RESULT, body, 8); /* a worker's word */
  clear();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_leader_takes_what_is_right),
      cmocka_unit_test(test_leader_refuses_what_is_wrong),
      cmocka_unit_test(test_leader_hears_of_failures),
      cmocka_unit_test(test_accounts_by_the_leader_s_clock),
      cmocka_unit_test(test_damaged_accounts),
      cmocka_unit_test(test_noise),
      cmocka_unit_test(test_follower_does_as_told),
      cmocka_unit_test(test_follower_refuses_what_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
