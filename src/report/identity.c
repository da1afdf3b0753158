/* Whether two runs are the same bit for bit, and where they part. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "report/compare.h"
#include "report/plain.h"

/* ---- lines --------------------------------------------------------------------------------------
 */

typedef struct side {
  tlt_run_lines *lines;
  json_t *object; /* NULL: the end */
  int64_t step;
  tlt_notices unheard; /* what the log has told already */
} side;

static tlt_status open_side(side *s, const tlt_run_log *log, tlt_err *err) {
  *s = (side){.step = -1};
  return tlt_run_lines_open(log->path, "metrics.jsonl", NULL, NULL, &s->unheard, &s->lines, err);
}

static void close_side(side *s) {
  json_decref(s->object);
  tlt_run_lines_close(s->lines);
  tlt_notices_free(&s->unheard);
}

static tlt_status advance(side *s, tlt_err *err) {
  for (;;) {
    json_decref(s->object);
    s->object = NULL;
    tlt_status status = tlt_run_lines_next(s->lines, &s->object, err);
    if (status != TLT_OK || !s->object) return status;
    int64_t step =
        tlt_run_line_step(s->object, s->step, tlt_run_lines_number(s->lines), &s->unheard);
    if (step < 0) continue;
    s->step = step;
    return TLT_OK;
  }
}

/* ---- values -------------------------------------------------------------------------------------
 */

static bool same(const json_t *a, const json_t *b) {
  if (!json_is_number(a) || !json_is_number(b)) return json_equal(a, b);
  double x = json_number_value(a), y = json_number_value(b);
  return !memcmp(&x, &y, sizeof x);
}

static void show(const json_t *value, char out[80]) {
  if (json_is_string(value)) {
    const char *text = json_string_value(value);
    char shown[20];
    tlt_plain_text(text, shown, sizeof shown);
    snprintf(out, 80, strlen(shown) < strlen(text) ? "%s..." : "%s", shown);
  } else if (json_is_integer(value)) {
    snprintf(out, 80, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    snprintf(out, 80, "%.17g", json_real_value(value));
  } else {
    snprintf(out, 80, "%s", json_is_null(value) ? "null" : "no number");
  }
}

static bool is_hash(const char *key) {
  return !strcmp(key, "rollout/sha256") || !strcmp(key, "weights/sha256");
}

static void compare_hashes(tlt_identity *i, const json_t *a, const json_t *b, int64_t step) {
  static const char *const keys[] = {"rollout/sha256", "weights/sha256"};
  bool found = false, differs = false;
  for (int k = 0; k < 2; k++) {
    const json_t *x = json_object_get(a, keys[k]), *y = json_object_get(b, keys[k]);
    if (!json_is_string(x) || !json_is_string(y)) continue;
    found = true;
    differs |= !same(x, y);
  }
  i->hashed += found;
  if (differs && i->hash_step < 0) i->hash_step = step;
}

/* The key to name: what a person knows rather than a hash, where both differ. */
static void note(tlt_identity *i, const char *key, const json_t *x, const json_t *y, int64_t step) {
  bool first = i->step < 0, better = i->step == step && is_hash(i->key) && !is_hash(key);
  if (i->step == step) i->more++;
  if (!first && !better) return;
  i->step = step;
  tlt_plain_text(key, i->key, sizeof i->key);
  show(x, i->a);
  show(y, i->b);
}

static void compare_lines(tlt_identity *i, const json_t *a, const json_t *b, int64_t step) {
  const char *key;
  json_t *x;
  if (i->steps++ == 0) i->first_step = step;
  i->last_step = step;
  compare_hashes(i, a, b, step);
  json_object_foreach((json_t *)a, key, x) {
    const json_t *y = json_object_get(b, key);
    if (!y || tlt_run_is_timed(key)) continue;
    i->values++;
    if (!same(x, y) && (i->step < 0 || i->step == step)) note(i, key, x, y, step);
  }
}

static tlt_status compare_metrics(const tlt_run_log *a, const tlt_run_log *b, tlt_identity *out,
                                  tlt_err *err) {
  side x, y = {0};
  tlt_status s = open_side(&x, a, err);
  if (s == TLT_OK) s = open_side(&y, b, err);
  if (s == TLT_OK) s = advance(&x, err);
  if (s == TLT_OK) s = advance(&y, err);
  while (s == TLT_OK && x.object && y.object) {
    int64_t p = x.step, q = y.step;
    if (p == q) compare_lines(out, x.object, y.object, p);
    if (p <= q) s = advance(&x, err);
    if (s == TLT_OK && q <= p) s = advance(&y, err);
  }
  close_side(&x);
  close_side(&y);
  return s;
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static tlt_status compare_answers(tlt_run_log *a, tlt_run_log *b, int64_t from, tlt_identity *out,
                                  tlt_err *err) {
  int64_t *steps[2] = {NULL, NULL};
  int n[2] = {0, 0};
  tlt_status s = tlt_run_answer_steps(a->path, &steps[0], &n[0], err);
  if (s == TLT_OK) s = tlt_run_answer_steps(b->path, &steps[1], &n[1], err);
  for (int i = 0, j = 0; s == TLT_OK && i < n[0] && j < n[1] && out->answer_step < 0;) {
    int64_t p = steps[0][i], q = steps[1][j];
    if (p == q && p >= from) {
      s = tlt_run_answers_differ(a->path, b->path, p, &a->notices, &b->notices, &out->answer, err);
      if (out->answer.differs) out->answer_step = p;
      else if (out->answer.compared) out->answers_to = p;
    }
    i += p <= q;
    j += q <= p;
  }
  tlt_free(steps[0]);
  tlt_free(steps[1]);
  return s;
}

tlt_status tlt_identity_find(tlt_run_log *a, tlt_run_log *b, tlt_identity *out, tlt_err *err) {
  *out = (tlt_identity){.hash_step = -1, .step = -1, .answer_step = -1, .answers_to = -1};
  tlt_status s = compare_metrics(a, b, out, err);
  int64_t from = out->hash_step >= 0 ? out->hash_step : out->hashed ? -1 : out->step;
  if (s == TLT_OK && from >= 0) s = compare_answers(a, b, from, out, err);
  return s;
}

/* ---- sentences ----------------------------------------------------------------------------------
 */

static void say_token(tlt_text *out, int64_t id) {
  if (id >= 0) tlt_text_printf(out, "id %lld", (long long)id);
  else tlt_text_add(out, "the end of the answer");
}

static void say_answer(const tlt_identity *i, tlt_text *out) {
  const tlt_answer_difference *d = &i->answer;
  if (i->answer_step < 0 && i->answers_to >= 0)
    tlt_text_add(out, " The answers that both kept agree in every token.");
  if (i->answer_step < 0 && i->answers_to < 0)
    tlt_text_add(out, " No answers were kept in both that could be compared.");
  if (i->answer_step < 0) return;
  tlt_text_printf(out, " First kept answer that differs: step %lld, rollout %lld, sample %lld",
                  (long long)i->answer_step, (long long)d->rollout, (long long)d->sample);
  if (d->token >= 0) {
    tlt_text_printf(out, ", token %lld (", (long long)d->token);
    say_token(out, d->token_a);
    tlt_text_add(out, " against ");
    say_token(out, d->token_b);
    tlt_text_add(out, ")");
  }
  if (d->text_a[0] || d->text_b[0])
    tlt_text_printf(out, ": \"%s\" against \"%s\"", d->text_a, d->text_b);
  tlt_text_add(out, ".");
}

static void say_where(const tlt_identity *i, tlt_text *out) {
  tlt_text_printf(out, "at step %lld: %s is %s against %s", (long long)i->step, i->key, i->a, i->b);
  if (i->more > 0)
    tlt_text_printf(out, ", and %lld other key%s differ%s there", (long long)i->more,
                    i->more > 1 ? "s" : "", i->more > 1 ? "" : "s");
  tlt_text_add(out, ".");
}

void tlt_identity_say(const tlt_identity *i, const char *a, const char *b, tlt_text *out) {
  tlt_text_printf(out, "%s and %s ", a, b);
  if (i->steps == 0) {
    tlt_text_add(out, "have no step in common.");
  } else if (i->step < 0 && i->hashed) {
    tlt_text_printf(out,
                    "are bit-identical: %lld values of %lld common steps (%lld to %lld) agree, "
                    "with the hashes of tokens, log-probabilities and weights of %s.",
                    (long long)i->values, (long long)i->steps, (long long)i->first_step,
                    (long long)i->last_step, i->hashed < i->steps ? "some" : "each");
  } else if (i->step < 0) {
    tlt_text_printf(out,
                    "agree in %lld values of %lld common steps; without hashes in both this does "
                    "not prove the same bits.",
                    (long long)i->values, (long long)i->steps);
  } else if (i->hash_step < 0 && i->hashed) {
    tlt_text_printf(out,
                    "have the same tokens, log-probabilities and weights in all %lld common steps "
                    "by their hashes, but other values differ, first ",
                    (long long)i->steps);
    say_where(i, out);
  } else {
    tlt_text_add(out, "differ, first ");
    say_where(i, out);
    say_answer(i, out);
  }
}
