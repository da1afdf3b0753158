#include <math.h>

#include "rl/step_metrics.h"

/* Keys by source and depth; a key must outlive the sink's call. */
#define KEYS(what, source)                                                                        \
  {                                                                                               \
    "spec/" what "/" source "/1", "spec/" what "/" source "/2", "spec/" what "/" source "/3",     \
        "spec/" what "/" source "/4", "spec/" what "/" source "/5", "spec/" what "/" source "/6", \
        "spec/" what "/" source "/7", "spec/" what "/" source "/8", "spec/" what "/" source "/9", \
        "spec/" what "/" source "/10", "spec/" what "/" source "/11",                             \
        "spec/" what "/" source "/12", "spec/" what "/" source "/13",                             \
        "spec/" what "/" source "/14", "spec/" what "/" source "/15",                             \
        "spec/" what "/" source "/16+"                                                            \
  }

typedef const char *const key_table[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS];

static key_table drafted_key = {KEYS("drafted", "suffix"), KEYS("drafted", "eagle"),
                                KEYS("drafted", "both")};
static key_table accepted_key = {KEYS("accepted", "suffix"), KEYS("accepted", "eagle"),
                                 KEYS("accepted", "both")};

static void put_edges(tlt_metrics *m, const tlt_spec_stats *s) {
  for (int i = 0; i < TLT_EDGE_SOURCES; i++)
    for (int d = 0; d < TLT_SPEC_DEPTHS; d++) {
      if (!s->drafted[i][d]) continue;
      tlt_metrics_count(m, drafted_key[i][d], s->drafted[i][d]);
      tlt_metrics_count(m, accepted_key[i][d], s->accepted[i][d]);
    }
}

static int64_t plan_size(const tlt_spec_stats *s, int percent) {
  int64_t below = 0, rank = (s->sequence_steps * percent + 99) / 100;
  for (int i = 0; i <= TLT_DRAFT_MAX; i++) {
    below += s->plan_nodes[i];
    if (below >= rank) return i;
  }
  return TLT_DRAFT_MAX;
}

void tlt_metrics_spec(tlt_metrics *m, const tlt_spec_stats *s) {
  double drafted = (double)tlt_spec_total(s->drafted), tried = (double)tlt_spec_total(s->tried);
  double accepted = (double)tlt_spec_total(s->accepted);
  tlt_metrics_real(m, "spec/accept_length", tlt_spec_accept_length(s));
  tlt_metrics_real(
      m, "spec/accept_length_drafted",
      s->drafted_steps ? (double)s->drafted_step_tokens / (double)s->drafted_steps : NAN);
  tlt_metrics_real(m, "spec/accept_rate", drafted > 0 ? accepted / drafted : NAN);
  tlt_metrics_count(m, "spec/drafted", (int64_t)drafted);
  tlt_metrics_count(m, "spec/accepted", (int64_t)accepted);
  tlt_metrics_count(m, "spec/steps", s->steps);
  tlt_metrics_count(m, "spec/planned_steps", s->planned_steps);
  tlt_metrics_real(m, "spec/drafted_ratio",
                   s->sequence_steps ? (double)s->drafted_steps / (double)s->sequence_steps : NAN);
  tlt_metrics_real(m, "spec/plan_nodes_mean",
                   s->sequence_steps ? drafted / (double)s->sequence_steps : NAN);
  tlt_metrics_count(m, "spec/plan_nodes_p50", plan_size(s, 50));
  tlt_metrics_count(m, "spec/plan_nodes_p90", plan_size(s, 90));
  tlt_metrics_real(m, "spec/expected_rate", tried > 0 ? s->expected / tried : NAN);
  tlt_metrics_real(m, "spec/reached_rate", tried > 0 ? accepted / tried : NAN);
  tlt_metrics_real(m, "spec/brier", tried > 0 ? s->brier / tried : NAN);
  tlt_metrics_real(m, "spec/seconds_plan", s->plan_seconds);
  tlt_metrics_real(m, "spec/seconds_draft_suffix", s->draft_seconds[TLT_SOURCE_SUFFIX]);
  tlt_metrics_real(m, "spec/seconds_draft_eagle", s->draft_seconds[TLT_SOURCE_EAGLE]);
  tlt_metrics_real(m, "spec/seconds_observe", s->observe_seconds);
  tlt_metrics_real(m, "spec/seconds_verify", s->verify_seconds);
  put_edges(m, s);
}
