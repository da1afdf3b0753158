/* Countdown: problems and worked traces.
 *
 * The trace is a search. Line k tries one way to bring the numbers down to two, drawn at random
 * among those not tried before, then lists what the last two give, in the order + - * /, up to a
 * hit: k 7*3=21 21+25=46 With three numbers there are about ten such ways, and the target is hit by
 * one or two of them.
 *
 * Patience. After a line without a hit the search may end, and the last thing tried is then given
 * as the (wrong) answer. The chance of that is `quit` percent, but `quit_peak` percent after line
 * `quit_at` and `quit_late` percent after later lines. A policy that imitates such traces
 *   - stops early often, so that its accuracy is middling although it can search and calculate;
 *   - stops at line quit_at even when it decodes greedily, as long as quit_peak is above 50;
 *   - has a long tail of lengths: most answers are a line or two, whoever is past quit_at goes on.
 * Lines are numbered so that a small model sees where it stands. Reward for right answers then
 * teaches persistence first, and better order and arithmetic later. Nothing wrong is ever
 * calculated in a trace, and a trace that ends with a hit is always right. */
#include <string.h>

#include "tasks/task_internal.h"

enum {
  OPT_NUMBERS,
  OPT_NUMBERS_MORE,
  OPT_MORE,
  OPT_MIN,
  OPT_MAX,
  OPT_TARGET_MIN,
  OPT_TARGET_MAX,
  OPT_LIMIT,
  OPT_TRIES,
  OPT_QUIT,
  OPT_QUIT_AT,
  OPT_QUIT_PEAK,
  OPT_QUIT_LATE,
};

static const tlt_task_option options[] = {
    {"numbers", "numbers given", 2, 6, 3},
    {"numbers_more", "numbers given in some problems", 2, 6, 4},
    {"more", "percent of problems with numbers_more", 0, 100, 20},
    {"min", "smallest number given", 1, 999, 2},
    {"max", "largest number given", 1, 999, 24},
    {"target_min", "smallest target", 1, 1000000, 10},
    {"target_max", "largest target", 1, 1000000, 100},
    {"limit", "largest value calculated on the way", 1, 1000000, 200},
    {"tries", "most lines of a trace", 1, 99, 16},
    {"quit", "percent of traces that end after a line without a hit", 0, 100, 30},
    {"quit_at", "line with a chance of its own to end", 1, 99, 3},
    {"quit_peak", "that chance in percent", 0, 100, 60},
    {"quit_late", "percent after later lines", 0, 100, 3},
    {NULL, NULL, 0, 0, 0},
};

enum { MAX_NUMBERS = 6, TERM_TEXT = 96, LINE_TEXT = 256, MAX_LINES = 99, REDRAWS = 400 };

/* A number in play and how it was made; values stay within 1 .. limit. */
typedef struct term {
  int64_t value;
  char text[TERM_TEXT]; /* "7" or "(7*3)" */
} term;

typedef struct hand {
  term terms[MAX_NUMBERS];
  int n;
} hand;

static const char ops[4] = {'+', '-', '*', '/'};

/* a op b for a >= b in - and /; 0 when the rules forbid it. */
static int64_t apply(char op, int64_t a, int64_t b, int64_t limit) {
  int64_t r = 0;
  if (op == '+') r = a + b;
  else if (op == '-') r = a - b;
  else if (op == '*') r = a * b;
  else if (b > 1 && a % b == 0) r = a / b;
  return r >= 1 && r <= limit ? r : 0;
}

/* Combine *a and *b, the larger first in - and /. false when forbidden. step (may be NULL) gets
 * "7*3=21". */
static bool combine(char op, const term *a, const term *b, int64_t limit, term *out,
                    tlt_fixed *step) {
  if ((op == '-' || op == '/') && a->value < b->value) {
    const term *swap = a;
    a = b;
    b = swap;
  }
  int64_t value = apply(op, a->value, b->value, limit);
  if (!value) return false;
  if (step)
    tlt_fixed_add(step, "%lld%c%lld=%lld", (long long)a->value, op, (long long)b->value,
                  (long long)value);
  tlt_fixed text = tlt_fixed_in(out->text, sizeof out->text);
  tlt_fixed_add(&text, "(%s%c%s)", a->text, op, b->text);
  out->value = value;
  return true;
}

/* Replace a random pair by what a random legal operation makes of it; the result goes first. A sum
 * within the limit may not exist, nor any other operation: then false. */
static bool reduce_once(hand *h, int64_t limit, tlt_stream *s, tlt_fixed *step) {
  int i = (int)tlt_stream_below(s, (uint32_t)h->n);
  int j = (int)tlt_stream_below(s, (uint32_t)h->n - 1);
  j += j >= i;
  const term a = h->terms[i < j ? i : j], b = h->terms[i < j ? j : i];
  term made;
  uint32_t first = tlt_stream_below(s, 4);
  /* Rejection over the four operations keeps the choice uniform among the legal ones. */
  for (int tries = 0; tries < 16; tries++, first = tlt_stream_below(s, 4)) {
    if (!combine(ops[first], &a, &b, limit, &made, step)) continue;
    hand next = {.terms = {made}, .n = 1};
    for (int k = 0; k < h->n; k++) {
      if (k != i && k != j) next.terms[next.n++] = h->terms[k];
    }
    *h = next;
    return true;
  }
  return false;
}

static hand start_hand(const int64_t *numbers, int n) {
  hand h = {.n = n};
  for (int i = 0; i < n; i++) {
    h.terms[i].value = numbers[i];
    tlt_fixed text = tlt_fixed_in(h.terms[i].text, TERM_TEXT);
    tlt_fixed_add(&text, "%lld", (long long)numbers[i]);
  }
  return h;
}

/* Bring the hand down to two terms; the steps, each after a blank, go into line (may be NULL). */
static bool reduce_to_two(hand *h, int64_t limit, tlt_stream *s, tlt_fixed *line) {
  while (h->n > 2) {
    if (line) tlt_fixed_add(line, " ");
    if (!reduce_once(h, limit, s, line)) return false;
  }
  return true;
}

/* The expression of a term without its outer parentheses. */
static void bare_text(const term *t, char *to, size_t room) {
  size_t n = strlen(t->text);
  bool wrapped = t->text[0] == '(';
  tlt_fixed text = tlt_fixed_in(to, room);
  tlt_fixed_add(&text, "%.*s", (int)(wrapped ? n - 2 : n), t->text + wrapped);
}

static const char *check(const int64_t *v) {
  if (v[OPT_MIN] > v[OPT_MAX]) return "min not above max";
  if (v[OPT_TARGET_MIN] > v[OPT_TARGET_MAX]) return "target_min not above target_max";
  if (v[OPT_LIMIT] < v[OPT_TARGET_MIN]) return "limit not below target_min";
  return NULL;
}

static void write_canonical(const tlt_problem *p, tlt_task_room *room) {
  int64_t sorted[MAX_NUMBERS];
  for (int i = 0; i < p->n_numbers; i++) {
    int at = i;
    for (; at > 0 && sorted[at - 1] > p->numbers[i]; at--) sorted[at] = sorted[at - 1];
    sorted[at] = p->numbers[i];
  }
  tlt_fixed text = tlt_fixed_in(room->canonical, sizeof room->canonical);
  for (int i = 0; i < p->n_numbers; i++) tlt_fixed_add(&text, "%lld ", (long long)sorted[i]);
  tlt_fixed_add(&text, "= %lld", (long long)p->target);
}

static void write_problem(const tlt_problem *p, tlt_task_room *room) {
  tlt_fixed prompt = tlt_fixed_in(room->prompt, sizeof room->prompt);
  tlt_fixed meta = tlt_fixed_in(room->meta, sizeof room->meta);
  tlt_fixed_add(&meta, "{\"task\":\"countdown\",\"numbers\":[");
  for (int i = 0; i < p->n_numbers; i++) {
    tlt_fixed_add(&prompt, "%lld ", (long long)p->numbers[i]);
    tlt_fixed_add(&meta, "%s%lld", i ? "," : "", (long long)p->numbers[i]);
  }
  tlt_fixed_add(&prompt, "= %lld\n", (long long)p->target);
  tlt_fixed_add(&meta, "],\"target\":%lld}", (long long)p->target);
  write_canonical(p, room);
}

/* The target is what a random way through the numbers gives, so every problem has a solution that
 * a trace can find. */
static bool draw(const int64_t *v, tlt_stream *s, tlt_task_room *room, tlt_problem *p) {
  bool more = tlt_stream_below(s, 100) < (uint32_t)v[OPT_MORE];
  p->n_numbers = (int)v[more ? OPT_NUMBERS_MORE : OPT_NUMBERS];
  for (int i = 0; i < p->n_numbers; i++)
    p->numbers[i] = tlt_stream_range(s, v[OPT_MIN], v[OPT_MAX]);
  hand h = start_hand(p->numbers, p->n_numbers);
  term made;
  if (!reduce_to_two(&h, v[OPT_LIMIT], s, NULL) ||
      !combine(ops[tlt_stream_below(s, 4)], &h.terms[0], &h.terms[1], v[OPT_LIMIT], &made, NULL) ||
      made.value < v[OPT_TARGET_MIN] || made.value > v[OPT_TARGET_MAX])
    return false;
  p->target = made.value;
  bare_text(&made, room->answer, sizeof room->answer);
  write_problem(p, room);
  return true;
}

/* One line: steps to two terms, then what they give up to a hit. *last: the last term made. */
static bool try_line(const int64_t *v, const tlt_problem *p, const hand *two, tlt_fixed *line,
                     term *last) {
  for (int i = 0; i < 4; i++) {
    term made;
    size_t before = line->n;
    tlt_fixed_add(line, " ");
    if (!combine(ops[i], &two->terms[0], &two->terms[1], v[OPT_LIMIT], &made, line)) {
      line->n = before;
      line->at[before] = 0;
      continue;
    }
    *last = made;
    if (made.value == p->target) return true;
  }
  return false;
}

/* Steps of a way not tried yet (compared by text; lines of `tried` are its first n). */
static bool draw_way(const int64_t *v, const tlt_problem *p, tlt_stream *s, char tried[][LINE_TEXT],
                     int n, hand *two) {
  for (int redraw = 0; redraw < REDRAWS; redraw++) {
    *two = start_hand(p->numbers, p->n_numbers);
    tlt_fixed steps = tlt_fixed_in(tried[n], LINE_TEXT);
    if (!reduce_to_two(two, v[OPT_LIMIT], s, &steps)) continue;
    int i = 0;
    while (i < n && strcmp(tried[i], tried[n])) i++;
    if (i == n) return true;
  }
  return false;
}

static bool loses_patience(const int64_t *v, int line, tlt_stream *s) {
  int64_t percent = line < v[OPT_QUIT_AT]    ? v[OPT_QUIT]
                    : line == v[OPT_QUIT_AT] ? v[OPT_QUIT_PEAK]
                                             : v[OPT_QUIT_LATE];
  return line >= v[OPT_TRIES] || tlt_stream_below(s, 100) < (uint32_t)percent;
}

static void trace(const int64_t *v, tlt_stream *s, const tlt_problem *p, tlt_task_room *room) {
  tlt_fixed out = tlt_fixed_in(room->completion, sizeof room->completion);
  char tried[MAX_LINES][LINE_TEXT];
  term last = {0, "0"};
  for (int line = 1; line <= MAX_LINES && out.n + TLT_FIXED_RESERVE < out.room; line++) {
    hand two;
    if (!draw_way(v, p, s, tried, line - 1, &two)) break;
    tlt_fixed_add(&out, "%d%s", line, tried[line - 1]);
    bool hit = try_line(v, p, &two, &out, &last);
    tlt_fixed_add(&out, "\n");
    if (hit || loses_patience(v, line, s)) break;
  }
  char answer[TERM_TEXT];
  bare_text(&last, answer, sizeof answer);
  tlt_fixed_add(&out, "answer %s", answer);
}

const tlt_task_kind tlt_task_countdown = {
    .name = "countdown",
    .number = 1,
    .verifier = TLT_VERIFY_COUNTDOWN,
    .options = options,
    .check = check,
    .draw = draw,
    .trace = trace,
};
