#include "app/bench_policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/bench_side.h"

enum {
  SIDES_MAX = 200, /* off, the setting, and every fixed setting */
  LIFE = 5,        /* rounds of an engine */
  BEST = 5,        /* fixed settings that are measured again */
  POSITIONS = 1024,
};

typedef tlt_bench_side side;

typedef struct bench {
  tlt_model *m;
  const tlt_bench_policy_options *o;
  tlt_bench_texts texts;
  int batch;
  tlt_bench_text text;
  uint32_t rollout; /* next index: new noise for every round */
  int64_t tokens;
  tlt_err *err;
} bench;

/* ---- sides and rounds --------------------------------------------------------------------------
 */

static tlt_status open_side(bench *b, tlt_draft_kind draft, const char *policy, side *out) {
  tlt_model_info info;
  tlt_model_info_get(b->m, &info);
  bool hostile = b->text == TLT_TEXT_HOSTILE && draft != TLT_DRAFT_OFF;
  bool learned = !hostile && (draft == TLT_DRAFT_EAGLE || draft == TLT_DRAFT_AUTO);
  tlt_source enemy = tlt_bench_hostile(b->m);
  tlt_spec_options o = {
      .draft = hostile ? TLT_DRAFT_SUFFIX : draft,
      .policy = policy,
      .drafter = learned ? b->o->drafter : NULL,
      .batch = b->batch,
      .max_positions = info.max_positions < POSITIONS ? info.max_positions : POSITIONS,
      .seed = b->o->seed};
  return tlt_bench_side_open(b->m, &o, hostile ? &enemy : NULL, out, b->err);
}

/* Small batches take several answers, so that a round is more than one text. */
static int answers(const bench *b) {
  if (b->o->answers) return b->o->answers;
  return b->batch < 4 ? 4 : b->batch;
}

static tlt_status run_sides(bench *b, side *x, side *y, int first, double seconds[2]) {
  tlt_bench_round r = {.prompt = b->texts.prompt,
                       .prompts = answers(b),
                       .samples = 1,
                       .max_tokens = b->o->max_tokens,
                       .temperature = b->o->temperature,
                       .rollout = b->rollout};
  tlt_status status = tlt_bench_sides_run(x, y, first, &r, seconds, b->err);
  b->tokens += r.tokens;
  return status;
}

static tlt_status next_round(bench *b) {
  b->rollout += (uint32_t)answers(b);
  return tlt_bench_texts_fill(&b->texts, b->text, b->rollout, answers(b), b->err);
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

static tlt_status warm_up(bench *b, side *x, side *y) {
  double ignored[2];
  tlt_status s = next_round(b);
  return s == TLT_OK ? run_sides(b, x, y, 0, ignored) : s;
}

static tlt_status renew(bench *b, side *x, side *y, bool other_way) {
  int64_t tokens = b->tokens;
  tlt_status s = tlt_bench_sides_renew(other_way ? y : x, other_way ? x : y, b->err);
  if (s == TLT_OK) s = warm_up(b, x, y);
  b->tokens = tokens;
  return s;
}

/* Speed of a over that of the other, sides taking turns at going first. */
static tlt_status compare(bench *b, side *a, side *against, tlt_bench_cell *c) {
  double log_ratio[TLT_BENCH_PAIRS_MAX], seconds[2] = {1, 1}, all = 0;
  tlt_status s = warm_up(b, a, against);
  if (a->spec) tlt_spec_stats_reset(a->spec);
  b->tokens = 0;
  for (int i = 0; s == TLT_OK && i < b->o->pairs; i++) {
    if (i && i % LIFE == 0) s = renew(b, a, against, i / LIFE % 2);
    if (s == TLT_OK) s = next_round(b);
    if (s == TLT_OK) s = run_sides(b, a, against, i % 2, seconds);
    log_ratio[i] = log(seconds[1] / seconds[0]);
    all += seconds[1];
  }
  if (s != TLT_OK) return s;
  tlt_bench_interval(log_ratio, b->o->pairs, &c->ratio, &c->low, &c->high);
  c->tokens = b->tokens / 2 / b->o->pairs;
  c->off_rate = (double)b->tokens / 2 / all;
  c->accept_length = 1;
  if (!a->spec) return TLT_OK;
  tlt_spec_stats stats;
  tlt_spec_stats_get(a->spec, &stats);
  c->accept_length = tlt_spec_accept_length(&stats);
  double spent =
      stats.plan_seconds + stats.observe_seconds + stats.draft_seconds[0] + stats.draft_seconds[1];
  c->overhead = spent / (spent + stats.verify_seconds);
  return TLT_OK;
}

static tlt_bench_cell cell_of(const bench *b) {
  return (tlt_bench_cell){
      .text = tlt_bench_text_name(b->text), .batch = b->batch, .against = "off"};
}

/* ---- the best fixed setting --------------------------------------------------------------------
 */

typedef struct fixed {
  tlt_draft_kind draft;
  char policy[24];
  double speed; /* relative to off, from one round */
} fixed;

/* Whether half of these rows do not verify all nodes anyway: settings that verify all are one. */
static bool is_another(tlt_draft_kind draft, int depth, int topk, int verify) {
  int sources = draft == TLT_DRAFT_AUTO ? 2 : 1;
  int nodes = sources * (topk + (depth - 1) * topk * topk);
  return verify / 2 <= nodes;
}

static int list_fixed(const bench *b, fixed *out) {
  static const int depth[] = {1, 2, 4, 8, 12}, topk[] = {1, 2, 4}, verify[] = {2, 4, 8, 16, 32};
  int n = 0;
  for (int d = TLT_DRAFT_SUFFIX; d <= TLT_DRAFT_AUTO; d++) {
    if (!b->o->fixed[d] || (d >= TLT_DRAFT_EAGLE && !b->o->drafter)) continue;
    for (int i = 0; i < 5; i++)
      for (int k = 0; k < 3; k++)
        for (int v = 0; v < 5; v++) {
          fixed f = {.draft = (tlt_draft_kind)d};
          if (!is_another(f.draft, depth[i], topk[k], verify[v])) continue;
          snprintf(f.policy, sizeof f.policy, "fixed:%d_%d_%d", depth[i], topk[k], verify[v]);
          out[n++] = f;
        }
  }
  return n;
}

static tlt_status screen(bench *b, fixed *f, side *off) {
  side s;
  double seconds[2] = {1, 1};
  tlt_status st = next_round(b);
  if (st == TLT_OK) st = open_side(b, f->draft, f->policy, &s);
  if (st == TLT_OK) st = run_sides(b, &s, off, 0, seconds);
  f->speed = seconds[1] / seconds[0];
  tlt_bench_side_close(&s);
  return st;
}

static void sort_fixed(fixed *f, int n) {
  for (int i = 1; i < n; i++)
    for (int j = i; j > 0 && f[j].speed > f[j - 1].speed; j--) {
      fixed swap = f[j];
      f[j] = f[j - 1];
      f[j - 1] = swap;
    }
}

static const char *draft_name(tlt_draft_kind d) {
  static const char *const name[] = {"off", "suffix", "eagle", "auto"};
  return name[d];
}

static tlt_status against_fixed(bench *b, side *mine, side *off,
                                void (*put)(void *context, const tlt_bench_cell *c),
                                void *context) {
  fixed f[SIDES_MAX + 40];
  int n = list_fixed(b, f);
  tlt_status st = TLT_OK;
  for (int i = 0; st == TLT_OK && i < n; i++) st = screen(b, &f[i], off);
  sort_fixed(f, n);
  for (int i = 0; st == TLT_OK && i < BEST && i < n; i++) {
    side s;
    tlt_bench_cell c = cell_of(b);
    snprintf(c.against, sizeof c.against, "%s %s", draft_name(f[i].draft), f[i].policy + 6);
    st = open_side(b, f[i].draft, f[i].policy, &s);
    if (st == TLT_OK) st = compare(b, mine, &s, &c);
    tlt_bench_side_close(&s);
    if (st == TLT_OK) put(context, &c);
  }
  return st;
}

/* ---- all cells ---------------------------------------------------------------------------------
 */

static tlt_status run_cell(bench *b, void (*put)(void *context, const tlt_bench_cell *c),
                           void *context) {
  side off = {0}, mine = {0};
  tlt_bench_cell c = cell_of(b);
  tlt_status s = open_side(b, TLT_DRAFT_OFF, NULL, &off);
  if (s == TLT_OK) s = open_side(b, b->o->draft, b->o->policy, &mine);
  if (s == TLT_OK) s = compare(b, &mine, &off, &c);
  if (s == TLT_OK) put(context, &c);
  if (s == TLT_OK && b->o->against_fixed && b->text != TLT_TEXT_HOSTILE)
    s = against_fixed(b, &mine, &off, put, context);
  tlt_bench_side_close(&off);
  tlt_bench_side_close(&mine);
  return s;
}

tlt_status tlt_bench_policy(tlt_model *m, const tlt_tokenizer *t, const tlt_bench_policy_options *o,
                            void (*cell)(void *context, const tlt_bench_cell *c), void *context,
                            tlt_err *err) {
  bench b = {.m = m, .o = o, .rollout = 1, .err = err};
  tlt_status s = tlt_bench_texts_open(&b.texts, m, t, o, err);
  for (int text = 0; s == TLT_OK && text < TLT_BENCH_TEXTS; text++)
    for (int i = 0; s == TLT_OK && o->text[text] && i < o->n_batches; i++) {
      b.text = (tlt_bench_text)text;
      b.batch = o->batch[i];
      s = run_cell(&b, cell, context);
    }
  tlt_bench_texts_close(&b.texts);
  return s;
}
