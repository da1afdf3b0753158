#include "report/saved.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FAR_OFF 10.0 /* times the median: the machine was away */
#define COVERED 0.9  /* of the time of steps with accepted guesses must have a plain price */

#define LOOKED_S 2e-4 /* shorter spans of decoding only looked for something to decode */

enum { PLAIN_MIN = 3 /* plain points that make a price */ };

typedef struct tlt_saved_point {
  int64_t batch; /* sequences per engine step, rounded down */
  double steps;
  double cost;   /* seconds per engine step */
  double tokens; /* per sequence and step */
} point;

typedef struct tlt_saved_piece {
  double begin, end;
} piece;

/* ---- collecting ---------------------------------------------------------------------------------
 */

static void add_point(tlt_saved *s, point p) {
  if (s->n == s->room) {
    int64_t room = s->room ? 2 * s->room : 1024;
    point *grown = tlt_realloc(s->point, (size_t)room * sizeof *grown);
    if (!grown) return;
    s->point = grown;
    s->room = room;
  }
  s->point[s->n++] = p;
}

static void add_points(tlt_saved *s, const tlt_account *a) {
  for (int i = 0; i + 1 < a->n_points; i++) {
    const tlt_point *p = &a->point[i];
    double seconds = a->point[i + 1].at - p->at;
    if (p->steps < 1 || p->sequences < p->steps || seconds <= 0) continue;
    add_point(s, (point){.batch = p->sequences / p->steps,
                         .steps = (double)p->steps,
                         .cost = seconds / (double)p->steps,
                         .tokens = (double)p->tokens / (double)p->sequences});
  }
}

static void add_piece(tlt_saved *s, const tlt_span *span) {
  if (s->n_pieces == s->piece_room) {
    int64_t room = s->piece_room ? 2 * s->piece_room : 256;
    piece *grown = tlt_realloc(s->piece, (size_t)room * sizeof *grown);
    if (!grown) return;
    s->piece = grown;
    s->piece_room = room;
  }
  s->piece[s->n_pieces++] = (piece){span->begin, span->end};
}

/* The step at hand is complete: how much of its gradients came before the end of its rollout. */
static void close_step(tlt_saved *s) {
  for (int64_t i = 0; i < s->n_pieces; i++) {
    const piece *p = &s->piece[i];
    s->gradient += p->end - p->begin;
    s->early += fmax(0, fmin(p->end, s->rollout_end) - p->begin);
  }
  s->n_pieces = 0;
  s->rollout_end = 0;
}

void tlt_saved_add(tlt_saved *s, const tlt_account *a) {
  if (a->step == 0) return; /* the evaluation before training: metrics.jsonl has no states of it */
  if (a->step != s->step) close_step(s);
  s->step = a->step;
  for (int i = 0; i < a->n_spans; i++) {
    const tlt_span *span = &a->span[i];
    if (span->state == TLT_WORK_GRADIENT) add_piece(s, span);
    if (span->state == TLT_WORK_DECODING && span->end - span->begin > LOOKED_S)
      s->rollout_end = fmax(s->rollout_end, span->end);
  }
  add_points(s, a);
  s->decoding += a->seconds[TLT_WORK_DECODING] + a->seconds[TLT_WORK_EVAL];
}

void tlt_saved_free(tlt_saved *s) {
  tlt_free(s->point);
  tlt_free(s->piece);
  *s = (tlt_saved){0};
}

/* ---- the price of a plain step ------------------------------------------------------------------
 */

/* Plain points first, by batch size and cost. */
static int by_batch(const void *a, const void *b) {
  const point *x = a, *y = b;
  bool p = x->tokens > 1, q = y->tokens > 1;
  if (p != q) return p ? 1 : -1;
  if (x->batch != y->batch) return x->batch < y->batch ? -1 : 1;
  return (x->cost > y->cost) - (x->cost < y->cost);
}

typedef struct price {
  int64_t batch;
  double cost;
} price;

/* Ascending batch sizes; returns their number. */
static int64_t plain_prices(const point *p, int64_t n_plain, price *out) {
  int64_t n = 0;
  for (int64_t from = 0, to; from < n_plain; from = to) {
    for (to = from; to < n_plain && p[to].batch == p[from].batch;) to++;
    if (to - from >= PLAIN_MIN) out[n++] = (price){p[from].batch, p[(from + to) / 2].cost};
  }
  return n;
}

/* Of the largest batch size that is not above this one; 0: there is none. */
static double price_of(const price *list, int64_t n, int64_t batch) {
  int64_t low = 0, high = n;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (list[middle].batch <= batch) low = middle + 1;
    else high = middle;
  }
  return low > 0 ? list[low - 1].cost : 0;
}

typedef struct found {
  double saved;            /* worker seconds in the steps that were kept */
  double priced, unpriced; /* seconds of steps with accepted guesses, with and without a price */
  int64_t plain;           /* points */
} found;

static found weigh(tlt_saved *s) {
  found f = {0};
  if (s->n == 0) return f;
  qsort(s->point, (size_t)s->n, sizeof *s->point, by_batch);
  while (f.plain < s->n && s->point[f.plain].tokens <= 1) f.plain++;
  price *list = tlt_malloc((size_t)(f.plain + 1) * sizeof *list);
  if (!list) return f;
  int64_t n = plain_prices(s->point, f.plain, list);
  for (int64_t i = f.plain; i < s->n; i++) {
    const point *p = &s->point[i];
    double plain = price_of(list, n, p->batch);
    if (plain <= 0) f.unpriced += p->steps * p->cost;
    if (plain <= 0 || p->cost > FAR_OFF * plain) continue;
    f.priced += p->steps * p->cost;
    f.saved += p->steps * (p->tokens * plain - p->cost);
  }
  tlt_free(list);
  return f;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

static void explain(tlt_saved_row *row, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void explain(tlt_saved_row *row, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(row->method, sizeof row->method, format, args);
  va_end(args);
}

static double total_or_0(const tlt_run_log *log, const char *key) {
  double total = tlt_run_total(log, key);
  return isnan(total) ? 0 : total;
}

static double mean_workers(const tlt_run_log *log) {
  const tlt_run_column *c = tlt_run_find(log, "workers/count");
  return c && c->n && c->sum >= (double)c->n ? c->sum / (double)c->n : 1;
}

static void put_seconds(tlt_saved_row *row, const tlt_run_log *log, double seconds) {
  double wall = tlt_run_total(log, "time/step");
  row->seconds = seconds;
  row->share = wall + seconds > 0 ? seconds / (wall + seconds) : NAN;
}

static void estimate_speculation(tlt_saved *s, const tlt_run_log *log, tlt_saved_row *row) {
  double decoding = tlt_run_total(log, "workers/decoding") + total_or_0(log, "workers/eval");
  *row = (tlt_saved_row){.what = "speculation", .seconds = NAN, .share = NAN};
  if (!tlt_run_find(log, "spec/accept_length")) {
    explain(row, "Speculation was off, or the run does not tell.");
    return;
  }
  found f = weigh(s);
  if (isnan(decoding) || s->decoding <= 0 || s->n == 0) {
    explain(row, "Cannot be known: trace.json has no measured decode steps.");
  } else if (f.unpriced > (1 - COVERED) * (f.priced + f.unpriced)) {
    explain(
        row,
        "Cannot be known: %.0f %% of the time of steps with accepted guesses was spent at batch "
        "sizes at which no plain step was measured.",
        100 * f.unpriced / (f.priced + f.unpriced));
  } else {
    double training =
        total_or_0(log, "drafter/seconds_kept") + total_or_0(log, "drafter/seconds_eval");
    double workers = mean_workers(log);
    put_seconds(row, log, f.saved * decoding / s->decoding / workers - training);
    explain(row,
            "Estimate: engine steps that accepted guesses against as many plain steps as their "
            "tokens would have needed, at the median time of the %lld plain measurements of this "
            "run with no more sequences (guesses that all failed count as plain); from %.0f %% of "
            "the decoding time, which trace.json details, carried over to all of it; less %.1f s "
            "taken from steps for the drafter; divided by %.3g worker%s.",
            (long long)f.plain, 100 * fmin(1, s->decoding / decoding), training, workers,
            workers > 1 ? "s" : "");
  }
}

static void estimate_idle_work(tlt_saved *s, const tlt_run_log *log, tlt_saved_row *row) {
  double gradient = tlt_run_total(log, "workers/gradient"), workers = mean_workers(log);
  *row = (tlt_saved_row){.what = "idle work", .seconds = NAN, .share = NAN};
  close_step(s);
  if (isnan(gradient) || s->gradient <= 0) {
    explain(row, "Cannot be known: trace.json has no gradients.");
    return;
  }
  put_seconds(row, log, s->early / s->gradient * gradient / workers);
  explain(row,
          "Estimate: gradients computed while some worker still decoded, which the update would "
          "have had to do; in the steps that trace.json details these were %.1f %% of all gradient "
          "seconds, carried over to all steps and divided by %.3g worker%s; not subtracted: "
          "what they slowed decoding by. Training the drafter in idle time shows under "
          "speculation.",
          100 * s->early / s->gradient, workers, workers > 1 ? "s" : "");
}

void tlt_saved_estimate(tlt_saved *s, const tlt_run_log *log, tlt_saved_row row[TLT_SAVED_ROWS]) {
  estimate_speculation(s, log, &row[0]);
  estimate_idle_work(s, log, &row[1]);
}
