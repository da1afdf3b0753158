#include "spec/suffix_rank.h"

/* Sharing out weight between contexts of different lengths, as compressors do, was measured on
 * samples of SmolLM2 and of a small model trained on traces: it lost up to 10 points of acceptance
 * against the plain order by length, so what a shorter context adds only stands in for an unseen
 * continuation: all of it together weighs NOVEL of one occurrence, and it never comes before
 * anything from a longer one. Contexts beyond the second shorter one added less than 0.2 points. */
enum { SHORTER = 2 };
#define LOG_NOVEL (-1.3862944f) /* NOVEL = 1/4 */
#define MEAN_NOISE 0.5772157f

typedef struct ranking {
  const tlt_automaton *a;
  const tlt_draw *draw; /* NULL: no noise */
  int n, room;
  tlt_candidate best[TLT_CANDIDATES];
} ranking;

static bool listed(const ranking *r, int n, int32_t token) {
  for (int i = 0; i < n; i++)
    if (r->best[i].token == token) return true;
  return false;
}

/* Descending behind the first `fixed`, lowest token on ties. */
static void put(ranking *r, int fixed, tlt_candidate c) {
  int i = r->n;
  while (i > fixed && (r->best[i - 1].score < c.score ||
                       (r->best[i - 1].score == c.score && r->best[i - 1].token > c.token)))
    i--;
  if (i == r->room) return;
  if (r->n < r->room) r->n++;
  for (int j = r->n - 1; j > i; j--) r->best[j] = r->best[j - 1];
  r->best[i] = c;
}

/* Candidates of one context behind those that are there. */
static void add_context(ranking *r, tlt_cursor at, float log_scale) {
  int32_t token[TLT_CONTINUATIONS];
  uint32_t count[TLT_CONTINUATIONS];
  int n = tlt_automaton_continuations(r->a, at.state, token, count), fixed = r->n;
  for (int i = 0; i < n; i++) {
    if (listed(r, fixed, token[i])) continue;
    float score = tlt_logf((float)count[i]) + log_scale;
    if (r->draw) score += tlt_sample_noise(r->draw, token[i]);
    if (fixed > 0 && score > r->best[fixed - 1].score) score = r->best[fixed - 1].score;
    put(r, fixed, (tlt_candidate){.token = token[i], .score = score, .match = at.match});
  }
}

static void add_shorter(ranking *r, tlt_cursor at) {
  for (int i = 0; i < SHORTER && r->n < r->room; i++) {
    at = tlt_automaton_shorter(r->a, at);
    if (!at.state || at.state == r->a->root) return;
    add_context(r, at, LOG_NOVEL - tlt_logf((float)tlt_automaton_state(r->a, at.state)->count));
  }
}

/* The rival of a continuation that is the only one: an unseen token with mean noise. */
static float rival(const ranking *r) {
  if (r->n > 1) return r->best[1].score;
  float unseen = LOG_NOVEL + (r->draw ? MEAN_NOISE : 0.0f);
  return unseen < r->best[0].score ? unseen : r->best[0].score;
}

int tlt_suffix_rank(const tlt_automaton *a, tlt_cursor at, const tlt_draw *draw, float temperature,
                    int k, tlt_candidate *out) {
  ranking r = {
      .a = a, .draw = temperature < TLT_GREEDY_BELOW ? NULL : draw, .room = TLT_CANDIDATES};
  at = tlt_automaton_continued(a, at);
  if (!at.state || at.state == a->root) return 0;
  add_context(&r, at, 0.0f);
  if (!r.n) return 0;
  float lead = r.best[0].score - rival(&r);
  if (r.n < k) add_shorter(&r, at);
  for (int i = 0; i < r.n && i < k; i++) {
    out[i] = r.best[i];
    out[i].gap = i ? r.best[0].score - r.best[i].score : lead;
    if (out[i].match > TLT_MATCH_CAP) out[i].match = TLT_MATCH_CAP;
  }
  return r.n < k ? r.n : k;
}
