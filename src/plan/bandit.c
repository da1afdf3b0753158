#include "plan/bandit.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"

enum { GROUPS = 31 + 12 + 5, BUCKETS = 4, MOST_ROWS = 2048, FEW = 10 };

/* Several in every bucket; what the reference system ships, scaled to where the knee of a processor
 * lies (a dozen rows rather than hundreds). */
static const tlt_strategy built_in[] = {
    {8, 4, 32}, {8, 2, 16}, {12, 1, 13}, {6, 2, 12}, {6, 1, 7}, {4, 2, 8},
    {4, 1, 5},  {3, 2, 6},  {2, 2, 4},   {2, 1, 3},  {1, 2, 3}, {1, 1, 2},
};
static const int bucket_from[BUCKETS] = {1, 2, 5, 21};

typedef struct window {
  int n, next;
  float value[TLT_BANDIT_WINDOW];  /* ring, oldest at next when full */
  float sorted[TLT_BANDIT_WINDOW]; /* the same, ascending */
} window;

struct tlt_bandit {
  tlt_bandit_kind kind;
  int n;
  tlt_strategy strategy[TLT_BANDIT_STRATEGIES];
  int bucket[TLT_BANDIT_STRATEGIES];
  uint32_t seed, draws;
  window accepted[TLT_BANDIT_STRATEGIES];       /* accept lengths over all groups */
  window reward[GROUPS][TLT_BANDIT_STRATEGIES]; /* of one group of batch sizes */
};

bool tlt_strategy_parse(const char *text, size_t n, tlt_strategy *out) {
  static const int least[3] = {1, 1, 2}, most[3] = {32, 4, 64};
  int value[3] = {0}, field = 0, digits = 0;
  for (size_t i = 0; i <= n; i++) {
    bool digit = i < n && text[i] >= '0' && text[i] <= '9';
    if (digit && ++digits <= 3) {
      value[field] = 10 * value[field] + (text[i] - '0');
      continue;
    }
    if (digit || !digits || (i < n && text[i] != '_') || value[field] < least[field] ||
        value[field] > most[field])
      return false;
    digits = 0;
    if (++field == 3 && i < n) return false;
  }
  *out = (tlt_strategy){value[0], value[1], value[2]};
  return field == 3;
}

/* ---- windows -----------------------------------------------------------------------------------
 */

/* First place in ascending v [n] whose value is not below x. */
static int place(const float *v, int n, float x) {
  int low = 0;
  while (low < n) {
    int middle = (low + n) / 2;
    if (v[middle] < x) low = middle + 1;
    else n = middle;
  }
  return low;
}

static void push(window *w, float value) {
  if (w->n == TLT_BANDIT_WINDOW) {
    int old = place(w->sorted, w->n--, w->value[w->next]);
    memmove(&w->sorted[old], &w->sorted[old + 1], (size_t)(w->n - old) * sizeof *w->sorted);
  }
  int at = place(w->sorted, w->n, value);
  memmove(&w->sorted[at + 1], &w->sorted[at], (size_t)(w->n++ - at) * sizeof *w->sorted);
  w->sorted[at] = value;
  w->value[w->next] = value;
  w->next = (w->next + 1) % TLT_BANDIT_WINDOW;
}

static double median(const window *w) {
  return 0.5 * ((double)w->sorted[(w->n - 1) / 2] + (double)w->sorted[w->n / 2]);
}

static double trimmed_mean(const window *w) {
  int cut = w->n / FEW;
  double sum = 0;
  for (int i = cut; i < w->n - cut; i++) sum += (double)w->sorted[i];
  return sum / (w->n - 2 * cut);
}

/* ---- choice ------------------------------------------------------------------------------------
 */

static int group_of(int sequences) {
  if (sequences < 32) return sequences > 0 ? sequences - 1 : 0;
  if (sequences < 128) return 31 + (sequences - 32) / 8;
  int g = 43 + (sequences - 128) / 32;
  return g < GROUPS ? g : GROUPS - 1;
}

static int bucket_of(int sequences) {
  int i = 0;
  while (i < BUCKETS - 1 && sequences >= bucket_from[i + 1]) i++;
  return i;
}

/* Strategies in descending order of rows fill the buckets from the smallest batches on. */
static void fill_buckets(tlt_bandit *b) {
  int order[TLT_BANDIT_STRATEGIES];
  for (int i = 0; i < b->n; i++) {
    int j = i;
    for (; j > 0 && b->strategy[order[j - 1]].verify < b->strategy[i].verify; j--)
      order[j] = order[j - 1];
    order[j] = i;
  }
  for (int i = 0; i < b->n; i++) b->bucket[order[i]] = b->n < BUCKETS ? i : i * BUCKETS / b->n;
  if (b->n < BUCKETS) /* too few for all: everybody is everywhere */
    for (int i = 0; i < b->n; i++) b->bucket[i] = -1;
}

static bool eligible(const tlt_bandit *b, int i, int sequences) {
  if (b->kind == TLT_BANDIT_BEG) return b->bucket[i] < 0 || b->bucket[i] == bucket_of(sequences);
  if (b->kind == TLT_BANDIT_FIXED) return i == 0;
  return b->strategy[i].verify * sequences <= MOST_ROWS;
}

static uint32_t draw(tlt_bandit *b) {
  return tlt_philox(b->seed, TLT_PURPOSE_BANDIT, b->draws++, 0, 0, 0).v[0];
}

static double score(const tlt_bandit *b, int group, int i, double top, double tries) {
  const window *w = &b->reward[group][i];
  if (!w->n) return INFINITY;
  if (b->kind != TLT_BANDIT_UCB1) return median(w);
  return trimmed_mean(w) / top + sqrt(2 * log(tries) / w->n);
}

static int best_of(const tlt_bandit *b, int sequences) {
  int group = group_of(sequences), best = -1;
  double top = 1e-30, tries = 1, best_score = -1;
  for (int i = 0; b->kind == TLT_BANDIT_UCB1 && i < b->n; i++) {
    const window *w = &b->reward[group][i];
    tries += w->n;
    if (w->n && (double)w->sorted[w->n - 1] > top) top = (double)w->sorted[w->n - 1];
  }
  for (int i = 0; i < b->n; i++) {
    if (!eligible(b, i, sequences)) continue;
    double s = score(b, group, i, top, tries);
    if (s <= best_score) continue;
    best_score = s;
    best = i;
  }
  return best;
}

static int any_of(tlt_bandit *b, int sequences) {
  int count = 0;
  for (int i = 0; i < b->n; i++) count += eligible(b, i, sequences);
  int pick = count ? (int)(draw(b) % (uint32_t)count) : 0;
  for (int i = 0; i < b->n; i++)
    if (eligible(b, i, sequences) && pick-- == 0) return i;
  return -1;
}

const tlt_strategy *tlt_bandit_choose(tlt_bandit *b, int sequences, int *index) {
  bool explore = b->kind != TLT_BANDIT_UCB1 && b->kind != TLT_BANDIT_FIXED &&
                 draw(b) % 100 < TLT_BANDIT_EPSILON_PERCENT;
  int i = explore ? any_of(b, sequences) : best_of(b, sequences);
  *index = i < 0 ? b->n - 1 : i; /* none is small enough: the last */
  return &b->strategy[*index];
}

void tlt_bandit_reward(tlt_bandit *b, int index, int sequences, int tokens, double seconds) {
  if (!(seconds > 0) || sequences < 1) return;
  push(&b->accepted[index], (float)tokens / (float)sequences);
  double length = median(&b->accepted[index]);
  push(&b->reward[group_of(sequences)][index], (float)(length * sequences / seconds));
}

tlt_status tlt_bandit_create(tlt_bandit_kind kind, const tlt_strategy *strategies, int n,
                             uint32_t seed, tlt_bandit **out, tlt_err *err) {
  *out = NULL;
  if (!strategies) {
    strategies = built_in;
    n = (int)(sizeof built_in / sizeof *built_in);
  }
  if (n < 1 || n > TLT_BANDIT_STRATEGIES)
    return tlt_fail(err, TLT_EUSAGE, "strategies: got %d, expected 1 .. %d", n,
                    TLT_BANDIT_STRATEGIES);
  tlt_bandit *b = tlt_calloc(1, sizeof *b);
  if (!b) return tlt_fail_nomem(err, "bandit", sizeof *b);
  b->kind = kind;
  b->n = n;
  b->seed = seed;
  memcpy(b->strategy, strategies, (size_t)n * sizeof *strategies);
  fill_buckets(b);
  *out = b;
  return TLT_OK;
}

void tlt_bandit_free(tlt_bandit *b) {
  tlt_free(b);
}
