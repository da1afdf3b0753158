/* Queue of items, hand-out to the children, retries, and what ends a run; see reward.h. */
#include "tasks/reward.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tasks/reward_internal.h"

static const double MASK_SHARE = 0.01;
enum { MASK_COUNTED_FROM = 100, RETRIES = 1 };

struct tlt_reward {
  tlt_reward_options options;
  char **argv; /* NULL: built-in verifier */
  tlt__child *children;
  tlt__item *queue, **queue_end; /* not handed over; retries first */
  size_t pending;                /* submitted and not yet returned */
  tlt_reward_result *done;       /* finished, not yet returned: done[first_done .. n_done) */
  size_t n_done, first_done, done_room;
  int restarts_in_row;
  bool opening;    /* hellos awaited: any failure is final */
  tlt_err failure; /* status TLT_OK until the run has ended */
  tlt_reward_stats stats;
};

/* ---- results ---- */

static tlt_status fail_run(tlt_reward *r, tlt_status status) {
  r->failure.status = status;
  return status;
}

static tlt_status add_result(tlt_reward *r, tlt_reward_result result) {
  if (r->first_done == r->n_done) r->first_done = r->n_done = 0;
  if (r->n_done == r->done_room) {
    enum { FIRST_ROOM = 64 };
    size_t room = r->done_room ? 2 * r->done_room : FIRST_ROOM;
    tlt_reward_result *grown = tlt_realloc(r->done, room * sizeof *grown);
    if (!grown) return fail_run(r, tlt_fail_nomem(&r->failure, "rewards", room * sizeof *grown));
    r->done = grown;
    r->done_room = room;
  }
  r->done[r->n_done++] = result;
  r->stats.items++;
  r->stats.masked += result.masked;
  if (!result.masked) {
    r->stats.seconds_sum += result.seconds;
    if (result.seconds > r->stats.seconds_max) r->stats.seconds_max = result.seconds;
  }
  return TLT_OK;
}

static void free_item(tlt__item *item) {
  if (item) tlt_free(item->line);
  tlt_free(item);
}

static tlt_status check_mask_share(tlt_reward *r) {
  double share = r->options.mask_share > 0 ? r->options.mask_share : MASK_SHARE;
  if (r->stats.items < MASK_COUNTED_FROM ||
      (double)r->stats.masked <= share * (double)r->stats.items)
    return TLT_OK;
  return tlt_fail(&r->failure, TLT_EREWARD,
                  "reward: got %llu of %llu items without a score, expected at most %g of them",
                  (unsigned long long)r->stats.masked, (unsigned long long)r->stats.items, share);
}

/* No score for this item: ends the run or masks it. Frees the item. */
static tlt_status give_up(tlt_reward *r, tlt__item *item, const char *why, const char *words) {
  tlt_status status;
  r->stats.errors++;
  if (r->options.on_error == TLT_REWARD_MASK) {
    tlt_reward_result masked = {.id = item->id, .masked = true};
    masked.seconds = tlt_now() - item->submitted;
    status = add_result(r, masked);
    if (status == TLT_OK) status = check_mask_share(r);
  } else {
    status = tlt_fail(&r->failure, TLT_EREWARD, "reward: item %llu (problem %s): %s%s%s",
                      (unsigned long long)item->id, item->problem, why, *words ? "; stderr: " : "",
                      words);
  }
  free_item(item);
  return status;
}

/* ---- children ---- */

static tlt_status start_child(tlt_reward *r, tlt__child *c) {
  tlt_err err = {0};
  tlt_status status = tlt__child_start(c, r->argv, r->options.timeout_s, &err);
  if (status == TLT_OK) return TLT_OK;
  return tlt_fail(&r->failure, status == TLT_ENOMEM ? status : TLT_EREWARD, "reward.command: %s",
                  err.text);
}

static void queue_first(tlt_reward *r, tlt__item *item) {
  item->next = r->queue;
  if (!r->queue) r->queue_end = &item->next;
  r->queue = item;
}

/* Items of a child that is gone: back to the front of the queue in their order, each to be alone
 * from now on. The oldest is blamed, and given up the second time. */
static tlt_status settle_items(tlt_reward *r, tlt__child *c, const char *words) {
  while (c->n_items) {
    tlt__item *item = tlt__child_take(c, c->n_items - 1);
    item->alone = true;
    item->failures += c->n_items == 0;
    if (item->failures > RETRIES) {
      tlt_status status = give_up(r, item, c->why, words);
      if (status != TLT_OK) return status;
    } else {
      queue_first(r, item);
    }
  }
  return TLT_OK;
}

static tlt_status child_gone(tlt_reward *r, tlt__child *c) {
  char words[TLT__REWARD_WHY];
  tlt__words_print(c, words, sizeof words);
  c->state = TLT__CHILD_OFF;
  r->stats.timeouts += c->timed_out;
  if (r->opening || ++r->restarts_in_row > TLT_REWARD_RESTARTS)
    return tlt_fail(&r->failure, TLT_EREWARD, "reward.command: %s: %s%s%s%s", r->argv[0], c->why,
                    r->opening ? "" : ", again and again", *words ? "; stderr: " : "", words);
  tlt_status status = settle_items(r, c, words);
  if (status != TLT_OK) return status;
  r->stats.restarts++;
  return start_child(r, c);
}

static int find_item(const tlt__child *c, uint64_t id) {
  for (int i = 0; i < c->n_items; i++)
    if (c->items[i]->id == id) return i;
  return -1;
}

static tlt_status take_reply(tlt_reward *r, tlt__child *c, const char *line, size_t n) {
  tlt_err err = {0};
  tlt__reply reply;
  if (tlt__reply_read(line, n, &reply, &err) != TLT_OK) {
    tlt__child_stop(c, "%.400s", err.text);
    return TLT_OK;
  }
  tlt_status status = TLT_OK;
  int i = find_item(c, reply.id);
  if (i < 0) {
    tlt__child_stop(c, "it answered id %llu, which it was not asked", (unsigned long long)reply.id);
  } else {
    tlt__item *item = tlt__child_take(c, i);
    r->restarts_in_row = 0;
    tlt__child_tighten(c, r->options.timeout_s);
    if (reply.error) {
      char why[TLT__REWARD_WHY];
      snprintf(why, sizeof why, "the program says: %.500s", reply.error);
      status = give_up(r, item, why, "");
    } else {
      double now = tlt_now();
      tlt_reward_result result = {.id = item->id,
                                  .reward = reply.reward,
                                  .parsed = true,
                                  .seconds = now - item->submitted,
                                  .child = (int)(c - r->children),
                                  .began = item->handed > c->answered ? item->handed : c->answered,
                                  .ended = now};
      c->answered = now;
      status = add_result(r, result);
      free_item(item);
    }
  }
  tlt__reply_free(&reply);
  return status;
}

static void take_hello(tlt__child *c, const char *line, size_t n) {
  tlt_err err = {0};
  if (tlt__hello_check(line, n, &err) == TLT_OK) c->state = TLT__CHILD_READY;
  else tlt__child_stop(c, "no hello: %.400s", err.text);
}

static tlt_status take_lines(tlt_reward *r, tlt__child *c) {
  const char *line;
  size_t n;
  tlt_status status = TLT_OK;
  while (status == TLT_OK && tlt__child_line(c, &line, &n)) {
    if (c->state == TLT__CHILD_GREETING) take_hello(c, line, n);
    else status = take_reply(r, c, line, n);
  }
  return status;
}

/* The ready child with the fewest items that may take this one: an item that is to be
 * alone goes into an empty one. */
static tlt__child *choose_child(tlt_reward *r, const tlt__item *item) {
  tlt__child *best = NULL;
  for (int i = 0; i < r->options.workers; i++) {
    tlt__child *c = &r->children[i];
    int most = item->alone ? 1 : TLT__REWARD_DEPTH;
    if (c->state != TLT__CHILD_READY || c->n_items >= most) continue;
    if (c->n_items && c->items[0]->alone) continue;
    if (!best || c->n_items < best->n_items) best = c;
  }
  return best;
}

static tlt_status hand_out(tlt_reward *r) {
  tlt__child *c;
  while (r->queue && (c = choose_child(r, r->queue))) {
    tlt__item *item = r->queue;
    r->queue = item->next;
    if (!r->queue) r->queue_end = &r->queue;
    tlt_status status = tlt__child_give(c, item, r->options.timeout_s, &r->failure);
    if (status != TLT_OK) {
      queue_first(r, item);
      return fail_run(r, status);
    }
  }
  return TLT_OK;
}

/* Everything that can be done without waiting. */
static tlt_status step(tlt_reward *r) {
  for (int i = 0; i < r->options.workers; i++) {
    tlt__child *c = &r->children[i];
    tlt_status status = TLT_OK;
    tlt__child_pump(c);
    status = take_lines(r, c);
    if (status == TLT_OK && tlt__child_check(c)) status = child_gone(r, c);
    if (status != TLT_OK) return status;
  }
  tlt_status status = hand_out(r);
  for (int i = 0; i < r->options.workers && status == TLT_OK; i++) tlt__child_pump(&r->children[i]);
  return status;
}

/* ---- waiting ---- */

/* Descriptors to wait for; returns how many. `fds` has room for three per child. */
static nfds_t collect(const tlt_reward *r, struct pollfd *fds) {
  nfds_t n = 0;
  for (int i = 0; i < r->options.workers; i++) {
    const tlt__child *c = &r->children[i];
    if (c->state == TLT__CHILD_OFF || c->state == TLT__CHILD_STOPPING) continue;
    fds[n++] = (struct pollfd){.fd = c->proc.out, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = c->proc.err, .events = POLLIN};
    if (c->written < c->out.n) fds[n++] = (struct pollfd){.fd = c->proc.in, .events = POLLOUT};
  }
  return n;
}

/* Wait until something moves, at most seconds (negative: no bound of the caller's). Deadlines and
 * ends of stopping children are looked at every TICK. */
static void wait_for_any(const tlt_reward *r, double seconds) {
  static const double TICK = 0.02;
  struct pollfd fds[3 * TLT_REWARD_WORKERS_MAX];
  nfds_t n = collect(r, fds);
  if (seconds < 0 || seconds > TICK) seconds = TICK;
  poll(fds, n, (int)ceil(seconds * 1000));
}

/* ---- the interface ---- */

static tlt_status check_options(const tlt_reward_options *o, tlt_err *err) {
  if (o->workers < 1 || o->workers > TLT_REWARD_WORKERS_MAX)
    return tlt_fail(err, TLT_EUSAGE, "reward.workers: got %d, expected 1 to %d", o->workers,
                    (int)TLT_REWARD_WORKERS_MAX);
  if (!(o->timeout_s > 0))
    return tlt_fail(err, TLT_EUSAGE, "reward.timeout_s: got %g, expected more than 0",
                    o->timeout_s);
  return TLT_OK;
}

static bool all_ready(const tlt_reward *r) {
  for (int i = 0; i < r->options.workers; i++)
    if (r->children[i].state != TLT__CHILD_READY) return false;
  return true;
}

static tlt_status open_children(tlt_reward *r) {
  r->children = tlt_calloc((size_t)r->options.workers, sizeof *r->children);
  if (!r->children)
    return tlt_fail_nomem(&r->failure, "reward children",
                          (size_t)r->options.workers * sizeof *r->children);
  tlt_status status = TLT_OK;
  for (int i = 0; i < r->options.workers; i++)
    r->children[i].proc = (tlt_proc){.pid = 0, .in = -1, .out = -1, .err = -1};
  for (int i = 0; i < r->options.workers && status == TLT_OK; i++)
    status = start_child(r, &r->children[i]);
  r->opening = true;
  while (status == TLT_OK && !all_ready(r)) {
    wait_for_any(r, -1);
    status = step(r);
  }
  r->opening = false;
  return status;
}

tlt_status tlt_reward_open(const tlt_reward_options *options, tlt_reward **out, tlt_err *err) {
  *out = NULL;
  tlt_status status = check_options(options, err);
  if (status != TLT_OK) return status;
  tlt_reward *r = tlt_calloc(1, sizeof *r);
  if (!r) return tlt_fail_nomem(err, "reward", sizeof *r);
  r->options = *options;
  r->options.command = NULL; /* the caller's text need not outlive this call */
  r->queue_end = &r->queue;
  if (!options->command) r->options.workers = 0;
  else status = tlt__command_split(options->command, &r->argv, &r->failure);
  if (status == TLT_OK && r->argv) status = open_children(r);
  if (status != TLT_OK) {
    if (err) *err = r->failure;
    tlt_reward_close(r);
    return status;
  }
  *out = r;
  return TLT_OK;
}

static tlt_status submit_verified(tlt_reward *r, uint64_t id, const tlt_problem *p,
                                  const char *completion, size_t bytes) {
  double start = tlt_now();
  tlt_verdict v = tlt_verify(r->options.verifier, p, completion, bytes);
  tlt_reward_result result = {.id = id, .reward = v.score, .parsed = v.parsed};
  result.seconds = tlt_now() - start;
  return add_result(r, result);
}

static tlt_status submit_item(tlt_reward *r, uint64_t id, const tlt_problem *p,
                              const char *completion, size_t bytes) {
  tlt__item *item = tlt_calloc(1, sizeof *item);
  if (!item) return fail_run(r, tlt_fail_nomem(&r->failure, "reward item", sizeof *item));
  tlt_err err = {0};
  item->id = id;
  item->submitted = tlt_now();
  snprintf(item->problem, sizeof item->problem, "%s", p->id);
  tlt_status status = tlt__request_line(id, p, completion, bytes, &item->line, &item->n, &err);
  if (status == TLT_EREWARD) return give_up(r, item, err.text, "");
  if (status != TLT_OK) {
    free_item(item);
    r->failure = err;
    return status;
  }
  *r->queue_end = item;
  r->queue_end = &item->next;
  return TLT_OK;
}

static tlt_status pass_on(const tlt_reward *r, tlt_err *err) {
  if (r->failure.status != TLT_OK && err) *err = r->failure;
  return r->failure.status;
}

tlt_status tlt_reward_submit(tlt_reward *r, uint64_t id, const tlt_problem *p,
                             const char *completion, size_t bytes, tlt_err *err) {
  if (r->failure.status != TLT_OK) return pass_on(r, err);
  r->pending++;
  if (r->argv) submit_item(r, id, p, completion, bytes);
  else submit_verified(r, id, p, completion, bytes);
  return pass_on(r, err);
}

tlt_status tlt_reward_poll(tlt_reward *r, double timeout_s, tlt_reward_result *results, size_t max,
                           size_t *count, tlt_err *err) {
  double end = tlt_now() + timeout_s;
  *count = 0;
  while (r->failure.status == TLT_OK) {
    if (step(r) != TLT_OK || r->first_done < r->n_done || !r->pending) break;
    double left = timeout_s < 0 ? -1 : end - tlt_now();
    if (timeout_s >= 0 && left <= 0) break;
    wait_for_any(r, left);
  }
  if (r->failure.status != TLT_OK) return pass_on(r, err);
  while (*count < max && r->first_done < r->n_done) results[(*count)++] = r->done[r->first_done++];
  r->pending -= *count;
  return TLT_OK;
}

size_t tlt_reward_pending(const tlt_reward *r) {
  return r->pending;
}
tlt_reward_stats tlt_reward_totals(const tlt_reward *r) {
  return r->stats;
}

/* ---- the end ---- */

static bool all_ended(tlt_reward *r) {
  bool all = true;
  for (int i = 0; i < r->options.workers; i++)
    all &= tlt_proc_ended(&r->children[i].proc, false, NULL);
  return all;
}

/* Up to `seconds` for all children to end. */
static bool wait_for_end(tlt_reward *r, double seconds) {
  enum { TICK_MS = 5 };
  double end = tlt_now() + seconds;
  while (!all_ended(r)) {
    if (tlt_now() > end) return false;
    poll(NULL, 0, TICK_MS);
  }
  return true;
}

/* The end of stdin asks an idle child to end; one that is in the middle of something is told. */
static void end_children(tlt_reward *r) {
  static const double GRACE_S = 2.0;
  for (int i = 0; r->children && i < r->options.workers; i++) {
    tlt__child *c = &r->children[i];
    if (c->n_items || c->state != TLT__CHILD_READY) tlt_proc_signal(&c->proc, SIGTERM);
    tlt_proc_close(&c->proc);
  }
  const int signals[] = {SIGTERM, SIGKILL};
  for (int i = 0; i < 2 && r->children && !wait_for_end(r, GRACE_S); i++)
    for (int k = 0; k < r->options.workers; k++) tlt_proc_signal(&r->children[k].proc, signals[i]);
  for (int i = 0; r->children && i < r->options.workers; i++)
    tlt_proc_ended(&r->children[i].proc, true, NULL);
}

void tlt_reward_close(tlt_reward *r) {
  if (!r) return;
  end_children(r);
  for (int i = 0; r->children && i < r->options.workers; i++) {
    tlt__child *c = &r->children[i];
    while (c->n_items) free_item(tlt__child_take(c, 0));
    tlt__child_clear(c);
  }
  while (r->queue) {
    tlt__item *next = r->queue->next;
    free_item(r->queue);
    r->queue = next;
  }
  tlt_free(r->children);
  tlt_free(r->done);
  tlt_free(r->argv);
  tlt_free(r);
}
