/* Multi-step arithmetic: a chain of terms joined by + - *, calculated one operation at a time,
 * products first, each step written out. */
#include <string.h>

#include "tasks/task_internal.h"

enum { OPT_TERMS_MIN, OPT_TERMS_MAX, OPT_DIGITS, OPT_PRODUCTS, OPT_FACTOR_DIGITS };

static const tlt_task_option options[] = {
    {"terms_min", "fewest terms", 2, 16, 2},
    {"terms_max", "most terms", 2, 16, 6},
    {"digits", "most digits of a term of a sum", 1, 6, 2},
    {"products", "percent of operations that are products", 0, 100, 25},
    {"factor_digits", "most digits of a second factor", 1, 3, 1},
    {NULL, NULL, 0, 0, 0},
};

enum { MAX_TERMS = 16 };

/* Products of a whole chain stay far from overflow: a product is only drawn while below this. */
static const int64_t PRODUCT_LIMIT = 1000000000;

typedef struct chain {
  int64_t terms[MAX_TERMS];
  char ops[MAX_TERMS]; /* ops[i] joins terms i and i + 1 */
  int n;
} chain;

static int64_t power10(int64_t digits) {
  int64_t r = 1;
  while (digits-- > 0) r *= 10;
  return r;
}

static const char *check(const int64_t *v) {
  return v[OPT_TERMS_MIN] > v[OPT_TERMS_MAX] ? "terms_min not above terms_max" : NULL;
}

/* Uniform over digit counts, then over the numbers with so many digits (0 among one digit). */
static int64_t draw_term(tlt_stream *s, int64_t digits) {
  int64_t n = tlt_stream_range(s, 1, digits);
  return tlt_stream_range(s, n == 1 ? 0 : power10(n - 1), power10(n) - 1);
}

static chain draw_chain(const int64_t *v, tlt_stream *s) {
  chain c = {.n = (int)tlt_stream_range(s, v[OPT_TERMS_MIN], v[OPT_TERMS_MAX])};
  c.terms[0] = draw_term(s, v[OPT_DIGITS]);
  int64_t product = c.terms[0];
  for (int i = 1; i < c.n; i++) {
    bool times = tlt_stream_below(s, 100) < (uint32_t)v[OPT_PRODUCTS] && product < PRODUCT_LIMIT;
    c.ops[i - 1] = times ? '*' : tlt_stream_below(s, 2) ? '+' : '-';
    c.terms[i] = draw_term(s, v[times ? OPT_FACTOR_DIGITS : OPT_DIGITS]);
    product = times ? product * c.terms[i] : c.terms[i];
  }
  return c;
}

/* The next operation by precedence: the leftmost product, else the leftmost. */
static int next_operation(const chain *c) {
  for (int i = 0; i + 1 < c->n; i++) {
    if (c->ops[i] == '*') return i;
  }
  return 0;
}

/* Do operation i; steps (may be NULL) gets "7*3=21". */
static void do_operation(chain *c, int i, tlt_fixed *steps) {
  int64_t a = c->terms[i], b = c->terms[i + 1];
  char op = c->ops[i];
  int64_t r = op == '*' ? a * b : op == '+' ? a + b : a - b;
  if (steps)
    tlt_fixed_add(steps, "%s%lld%c%lld=%lld", steps->n ? " " : "", (long long)a, op, (long long)b,
                  (long long)r);
  c->terms[i] = r;
  for (int k = i + 1; k + 1 < c->n; k++) {
    c->terms[k] = c->terms[k + 1];
    c->ops[k - 1] = c->ops[k];
  }
  c->n--;
}

static bool draw(const int64_t *v, tlt_stream *s, tlt_task_room *room, tlt_problem *p) {
  chain c = draw_chain(v, s);
  tlt_fixed text = tlt_fixed_in(room->canonical, sizeof room->canonical);
  for (int i = 0; i < c.n; i++) {
    if (i) tlt_fixed_add(&text, "%c", c.ops[i - 1]);
    tlt_fixed_add(&text, "%lld", (long long)c.terms[i]);
  }
  tlt_fixed prompt = tlt_fixed_in(room->prompt, sizeof room->prompt);
  tlt_fixed_add(&prompt, "%s\n", room->canonical);
  while (c.n > 1) do_operation(&c, next_operation(&c), NULL);
  p->target = c.terms[0];
  tlt_fixed answer = tlt_fixed_in(room->answer, sizeof room->answer);
  tlt_fixed_add(&answer, "%lld", (long long)p->target);
  tlt_fixed meta = tlt_fixed_in(room->meta, sizeof room->meta);
  tlt_fixed_add(&meta, "{\"task\":\"arithmetic\",\"expression\":\"%s\"}", room->canonical);
  return true;
}

/* Terms of the prompt are not negative, so every '-' in it is an operation. */
static chain read_chain(const char *text) {
  chain c = {.n = 1};
  for (; *text && *text != '\n'; text++) {
    if (*text >= '0' && *text <= '9') c.terms[c.n - 1] = c.terms[c.n - 1] * 10 + (*text - '0');
    else c.ops[c.n++ - 1] = *text;
  }
  return c;
}

static void trace(const int64_t *v, tlt_stream *s, const tlt_problem *p, tlt_task_room *room) {
  (void)v, (void)s, (void)p;
  chain c = read_chain(room->canonical);
  tlt_fixed out = tlt_fixed_in(room->completion, sizeof room->completion);
  while (c.n > 1) do_operation(&c, next_operation(&c), &out);
  tlt_fixed_add(&out, "\nanswer %lld", (long long)c.terms[0]);
}

const tlt_task_kind tlt_task_arithmetic = {
    .name = "arithmetic",
    .number = 2,
    .verifier = TLT_VERIFY_NUMERIC,
    .options = options,
    .check = check,
    .draw = draw,
    .trace = trace,
};
