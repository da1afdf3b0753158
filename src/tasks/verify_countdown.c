/* Countdown answers: an expression over the given numbers, evaluated by operator precedence with
 * two explicit stacks (Dijkstra's shunting yard), so nothing recurses on input. */
#include <ctype.h>
#include <string.h>

#include "tasks/verifier_internal.h"

enum {
  MAX_DEPTH = 64, /* open parentheses */
  /* On each level at most its parenthesis and one operator of each precedence wait, each operator
   * with one value, and one value is on top. */
  MAX_STACK = 3 * (MAX_DEPTH + 1),
};

typedef struct evaluation {
  tlt_rational values[MAX_STACK];
  char ops[MAX_STACK]; /* operators and '(' */
  int n_values, n_ops, depth;
  bool valid; /* no division by zero and no overflow so far */
  const tlt_problem *p;
  bool used[TLT_PROBLEM_MAX_NUMBERS];
  int n_used;
  bool foreign; /* a number that was not given, or given less often */
} evaluation;

static void use_number(evaluation *e, tlt_rational number) {
  for (int i = 0; i < e->p->n_numbers; i++) {
    if (!e->used[i] && number.q == 1 && number.p == e->p->numbers[i]) {
      e->used[i] = true;
      e->n_used++;
      return;
    }
  }
  e->foreign = true;
}

static int precedence(char op) {
  return op == '(' ? 0 : op == '+' || op == '-' ? 1 : 2;
}

/* Carry out operators of at least this precedence that wait on the stack. */
static void settle(evaluation *e, int least) {
  while (e->n_ops && precedence(e->ops[e->n_ops - 1]) >= least) {
    char op = e->ops[--e->n_ops];
    tlt_rational b = e->values[--e->n_values], *a = &e->values[e->n_values - 1];
    if (e->valid && !tlt_rational_apply(op, *a, b, a)) e->valid = false;
  }
}

/* Operator at the start of a, its byte count in *n; 0 when there is none. */
static char read_operator(tlt_span a, size_t *n) {
  static const struct {
    const char *text;
    char op;
  } known[] = {{"+", '+'},
               {"-", '-'},
               {"*", '*'},
               {"/", '/'},
               {"\xe2\x88\x92", '-'},
               {"\xc3\x97", '*'},
               {"\xc3\xb7", '/'},
               {"\\times", '*'},
               {"\\cdot", '*'},
               {"\\div", '/'}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    *n = strlen(known[i].text);
    if (a.n >= *n && !memcmp(a.s, known[i].text, *n)) return known[i].op;
  }
  return 0;
}

/* One operand or opening parenthesis; bytes read, 0 when the text is malformed. */
static size_t take_operand(evaluation *e, tlt_span a) {
  if (a.s[0] == '(') {
    if (++e->depth > MAX_DEPTH) return 0;
    e->ops[e->n_ops++] = '(';
    return 1;
  }
  if (!isdigit((unsigned char)a.s[0])) return 0;
  tlt_rational number;
  bool exact;
  size_t n = tlt_number_read(a, &number, &exact);
  if (exact) use_number(e, number);
  e->foreign |= !exact;
  e->values[e->n_values++] = number;
  return n;
}

/* One operator or closing parenthesis; *operand says what is expected next. */
static size_t take_operator(evaluation *e, tlt_span a, bool *operand) {
  if (a.s[0] == ')') {
    if (!e->depth) return 0;
    settle(e, 1);
    e->n_ops--;
    e->depth--;
    return 1;
  }
  size_t n;
  char op = read_operator(a, &n);
  if (!op) return 0;
  settle(e, precedence(op));
  e->ops[e->n_ops++] = op;
  *operand = true;
  return n;
}

/* Whether the text is a well-formed expression; its value in e->values[0] when e->valid. */
static bool evaluate(evaluation *e, tlt_span text) {
  bool operand = true;
  while (text.n) {
    if (isspace((unsigned char)text.s[0])) {
      text.s++, text.n--;
      continue;
    }
    bool was_operand = operand;
    size_t n = operand ? take_operand(e, text) : take_operator(e, text, &operand);
    if (!n) return false;
    if (was_operand && text.s[0] != '(') operand = false;
    text.s += n, text.n -= n;
  }
  if (operand || e->depth) return false;
  settle(e, 1);
  return true;
}

/* Text before a final "= number", or all of it. */
static tlt_span left_side(tlt_span a) {
  const char *sign = a.n ? memchr(a.s, '=', a.n) : NULL;
  tlt_rational number;
  if (!sign) return a;
  tlt_span right = {sign + 1, a.n - (size_t)(sign + 1 - a.s)};
  return tlt_number_whole(right, &number) ? (tlt_span){a.s, (size_t)(sign - a.s)} : a;
}

tlt_verdict tlt_verify_countdown(const tlt_problem *p, tlt_span text) {
  tlt_span answer = left_side(tlt_find_answer(text));
  evaluation e = {.p = p, .valid = true};
  if (!answer.n || !evaluate(&e, answer)) return (tlt_verdict){0.0, false};
  bool right = e.valid && !e.foreign && e.n_used == p->n_numbers &&
               tlt_rational_equal(e.values[0], (tlt_rational){p->target, 1});
  return (tlt_verdict){right ? 1.0 : 0.0, true};
}
