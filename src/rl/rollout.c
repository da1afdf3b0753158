#include "rl/rollout.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define REWARD_WAIT_S 0.1 /* between looks at progress while only scores are awaited */
#define SHORT_WAIT_S 0.01 /* the same with messages to look at */

typedef struct phase {
  const tlt_rollout_job *job;
  tlt_crew *crew;
  tlt_groups *groups;
  tlt_rollout_stats *stats;
  tlt_decode decode; /* this worker's own groups */
  const tlt_idle *idle;
  int quota;         /* groups that a worker may hold at once */
  int64_t answers;   /* of complete groups */
  int complete;      /* groups */
  int dull;          /* of these, constant or masked */
  tlt_status status; /* first failure inside a pause */
  tlt_err *err;
} phase;

tlt_status tlt_groups_make(int samples, int room, tlt_groups *out, tlt_err *err) {
  *out = (tlt_groups){.samples = samples, .room = room};
  out->group = tlt_calloc((size_t)room, sizeof *out->group);
  return out->group ? TLT_OK : tlt_fail_nomem(err, "groups", (size_t)room * sizeof *out->group);
}

/* ---- hand-out ------------------------------------------------------------------------------- */

/* The next index may go out: a pure function of what is known to be constant, so that the final set
 * does not depend on when that became known. */
static bool may_hand_out(const phase *p) {
  int dull = p->job->max_gen > 1 ? p->dull : 0;
  return p->groups->n < p->job->max_gen * p->job->prompts && p->groups->n - dull < p->job->prompts;
}

static bool is_over(const phase *p) {
  return p->complete == p->groups->n && !may_hand_out(p);
}

static tlt_status hand_out(phase *p, int to, tlt_err *err) {
  const tlt_decode_job *d = &p->job->decode;
  uint32_t rollout = d->first + (uint32_t)p->groups->n;
  p->groups->group[p->groups->n++] = tlt_group_of(d->problems, d->shuffle, d->first, rollout);
  p->crew->worker[to].open++;
  p->crew->worker[to].wants = false;
  p->crew->worker[to].free = false;
  if (to == 0) return tlt_decode_take(&p->decode, rollout, err);
  return tlt_cluster_send(p->crew->cluster, to, TLT_TAG_HAND, &rollout, sizeof rollout, err);
}

/* Groups that a worker may hold at once: what its engine can start and one more, but no more than
 * an even share, so that the first to ask does not take what another would be idle without. */
static int quota_of(const phase *p) {
  int share = (p->job->prompts + p->crew->size - 1) / p->crew->size;
  int samples = p->groups->samples, batch = tlt_engine_room(p->job->decode.engine);
  int fits = (batch + samples - 1) / samples + 1;
  return fits < share ? fits : share;
}

/* Everybody gets a first load. */
static tlt_status deal(phase *p) {
  tlt_status s = TLT_OK;
  for (int round = 0; round < p->quota; round++)
    for (int w = 0; s == TLT_OK && w < p->crew->size && may_hand_out(p); w++)
      s = hand_out(p, w, p->err);
  return s;
}

static tlt_status hand_out_more(phase *p, tlt_err *err) {
  tlt_status s = TLT_OK;
  p->crew->worker[0].wants = tlt_decode_wants(&p->decode);
  for (int w = 0; s == TLT_OK && w < p->crew->size && may_hand_out(p); w++)
    while (s == TLT_OK && p->crew->worker[w].wants && p->crew->worker[w].open < p->quota &&
           may_hand_out(p)) {
      s = hand_out(p, w, err);
      if (w == 0) p->crew->worker[0].wants = tlt_decode_wants(&p->decode);
    }
  return s;
}

/* ---- complete groups --------------------------------------------------------------------------
 */

static void keep_complete(phase *p, int from, int i) {
  tlt_group *g = &p->groups->group[i];
  p->crew->worker[from].open--;
  p->answers += p->groups->samples;
  p->complete++;
  if (g->constant || g->masked) p->dull++;
  if (p->job->update) tlt_update_offer(p->job->update, i);
}

static tlt_status own_complete(void *context, tlt_group *g, tlt_err *err) {
  phase *p = context;
  int i = (int)(g->rollout - p->job->decode.first);
  (void)err;
  p->groups->group[i] = *g;
  keep_complete(p, 0, i);
  return TLT_OK;
}

static tlt_status other_complete(void *context, int from, const void *bytes, size_t n,
                                 tlt_err *err) {
  phase *p = context;
  uint32_t rollout = 0;
  if (n >= sizeof rollout) memcpy(&rollout, bytes, sizeof rollout);
  int i = (int)(rollout - p->job->decode.first);
  if (i < 0 || i >= p->groups->n || p->groups->group[i].answer)
    return tlt_fail(err, TLT_EINTERNAL, "got group %u, which was not handed out", rollout);
  tlt_status s = tlt_group_unpack(bytes, n, &p->groups->group[i], p->groups->samples, err);
  if (s == TLT_OK) keep_complete(p, from, i);
  return s;
}

/* Every index beyond the first `prompts` replaced a constant group: those lowest in index go, so
 * that `prompts` groups remain. */
static void mark_replaced(phase *p) {
  int excess = p->groups->n - p->job->prompts;
  for (int i = 0; i < p->groups->n && excess > 0; i++) {
    tlt_group *g = &p->groups->group[i];
    if (!g->constant && !g->masked) continue;
    g->replaced = true;
    excess--;
  }
}

/* ---- what the leader does next ------------------------------------------------------------------
 */

static tlt_account *account(const phase *p) {
  return p->idle->account;
}

static void show(const phase *p) {
  const tlt_rollout_job *job = p->job;
  tlt_msg_progress others = tlt_crew_progress(p->crew);
  if (job->progress)
    job->progress(job->context, p->decode.answers + others.answers,
                  (int64_t)p->groups->n * p->groups->samples, p->decode.tokens + others.tokens);
}

static tlt_status attend(phase *p, tlt_err *err) {
  tlt_status s = tlt_crew_serve(p->crew, err);
  return s == TLT_OK ? hand_out_more(p, err) : s;
}

static tlt_status decode_step(phase *p, tlt_err *err) {
  tlt_account_enter(account(p), p->job->evaluation ? TLT_WORK_EVAL : TLT_WORK_DECODING);
  tlt_status s = tlt_decode_step(&p->decode, 0, err);
  tlt_account_decoded(account(p), p->decode.sequences, p->decode.drawn);
  return s;
}

/* Something better to do than idle work, or none of it for now. */
static bool is_interrupted(const phase *p) {
  return tlt_decode_busy(&p->decode) || (tlt_idle_rests(p->idle) && !is_over(p));
}

/* In the pauses of idle work: what others want, and groups that came meanwhile. */
static void look(phase *p) {
  if (p->status == TLT_OK) p->status = attend(p, p->err);
  show(p);
  if (p->status != TLT_OK || !is_interrupted(p)) return;
  int64_t detail = tlt_account_detail(account(p));
  tlt_work before = tlt_account_enter(account(p), TLT_WORK_IDLE);
  while (p->status == TLT_OK && is_interrupted(p)) {
    if (tlt_decode_busy(&p->decode)) p->status = decode_step(p, p->err);
    else p->status = tlt_crew_wait(p->crew, SHORT_WAIT_S, p->err);
    if (p->status == TLT_OK) p->status = attend(p, p->err);
    show(p);
  }
  tlt_account_enter_for(account(p), before, detail);
}

static bool look_in_gradient(void *context) {
  look(context);
  return true;
}

/* A micro-step of the drafter is dropped as soon as there is anything to decode. */
static bool look_in_draft(void *context) {
  phase *p = context;
  if (p->status == TLT_OK) p->status = attend(p, p->err);
  bool better = p->status != TLT_OK || tlt_decode_busy(&p->decode) || is_over(p);
  if (!better) look(p);
  return !better;
}

static tlt_status early_gradient(phase *p) {
  const tlt_idle *idle = p->idle;
  int task = tlt_update_take(p->job->update);
  tlt_account_enter_for(idle->account, TLT_WORK_GRADIENT, p->groups->group[task].rollout);
  tlt_pool_set_pause(idle->pool, look_in_gradient, p);
  tlt_status s = tlt_update_do(p->job->update, task, p->err);
  tlt_pool_set_pause(idle->pool, NULL, NULL);
  return s;
}

static tlt_status wait(phase *p) {
  bool scoring = tlt_decode_scoring(&p->decode);
  tlt_account_enter(account(p), tlt_idle_wait(p->idle, scoring ? TLT_WORK_REWARD : TLT_WORK_IDLE));
  if (!scoring) return tlt_crew_wait(p->crew, SHORT_WAIT_S, p->err);
  double from = tlt_now();
  tlt_status s =
      tlt_decode_step(&p->decode, p->crew->size > 1 ? SHORT_WAIT_S : REWARD_WAIT_S, p->err);
  p->stats->reward_seconds += tlt_now() - from;
  return s;
}

static tlt_status be_idle(phase *p) {
  const tlt_idle *idle = p->idle;
  bool gradient = p->job->update && p->job->update->waiting > 0;
  if (tlt_decode_scoring(&p->decode)) {
    tlt_status s = tlt_decode_step(&p->decode, 0, p->err);
    if (s != TLT_OK || is_over(p)) return s;
  }
  if (tlt_idle_rests(idle)) return wait(p);
  if (gradient && !idle->drafter_first) return early_gradient(p);
  if (!p->job->evaluation && tlt_idle_draft(idle, look_in_draft, p)) return p->status;
  return gradient ? early_gradient(p) : wait(p);
}

static tlt_status run(phase *p) {
  const tlt_rollout_job *job = p->job;
  tlt_status s = deal(p);
  while (s == TLT_OK) {
    s = attend(p, p->err);
    if (s == TLT_OK && is_over(p)) return TLT_OK;
    if (s == TLT_OK && job->cancel && *job->cancel)
      s = tlt_fail(p->err, TLT_ESTOPPED, "stopped by signal %d", (int)*job->cancel);
    if (s == TLT_OK) s = tlt_decode_busy(&p->decode) ? decode_step(p, p->err) : be_idle(p);
    if (s == TLT_OK) s = p->status;
    show(p);
  }
  return s;
}

static tlt_status begin(phase *p) {
  const tlt_rollout_job *job = p->job;
  tlt_msg_rollout what = {job->step, job->decode.first, job->evaluation};
  p->decode = (tlt_decode){.complete = own_complete, .context = p};
  p->quota = quota_of(p);
  tlt_status s = tlt_decode_begin(&p->decode, &job->decode, p->groups->room, p->err);
  if (s == TLT_OK) s = tlt_crew_begin(p->crew, &what, p->err);
  p->crew->group = other_complete;
  p->crew->context = p;
  p->crew->update = job->update;
  return s;
}

static tlt_status end(phase *p, tlt_status s) {
  tlt_account_decoded(account(p), 0, 0);
  tlt_work before = tlt_account_enter(account(p), tlt_idle_wait(p->idle, TLT_WORK_WAITING));
  if (s == TLT_OK) s = tlt_crew_end(p->crew, TLT_TAG_END, p->err);
  else if (s == TLT_ESTOPPED) tlt_crew_end(p->crew, TLT_TAG_CANCEL, NULL);
  tlt_account_enter(account(p), before);
  p->crew->group = NULL; /* it would come too late */
  tlt_msg_progress others = tlt_crew_progress(p->crew);
  p->stats->tokens = p->decode.tokens + others.tokens;
  p->stats->prompt_tokens = p->decode.prompt_tokens + others.prompt_tokens;
  tlt_decode_end(&p->decode);
  if (s == TLT_OK) mark_replaced(p);
  return s;
}

tlt_status tlt_rollout_run(const tlt_rollout_job *job, tlt_groups *out, tlt_rollout_stats *stats,
                           tlt_err *err) {
  double from = tlt_now();
  tlt_crew_worker self = {.task = -1};
  tlt_crew alone = {.size = 1, .worker = &self};
  tlt_idle nothing = {.account = NULL};
  *stats = (tlt_rollout_stats){0};
  phase p = {.job = job,
             .crew = job->crew ? job->crew : &alone,
             .idle = job->idle ? job->idle : &nothing,
             .groups = out,
             .stats = stats,
             .err = err};
  tlt_status s = begin(&p);
  if (s == TLT_OK) s = run(&p);
  tlt_account_enter(account(&p), TLT_WORK_OTHER);
  s = end(&p, s);
  stats->seconds = tlt_now() - from;
  return s;
}
