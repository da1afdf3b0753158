/* Speculation for an engine: draft sources, one tree per sequence, a policy that decides how much.
 *
 * Nothing here can change a token (engine/speculate.h); a policy that is wrong only costs time, and
 * the planner (plan/planner.h) is there so that it does not. */
#ifndef TLT_SPEC_SPECULATOR_H
#define TLT_SPEC_SPECULATOR_H

#include "model/drafter.h"
#include "model/model.h"
#include "plan/calibration.h"
#include "spec/source.h"

typedef enum tlt_draft_kind {
  TLT_DRAFT_OFF,
  TLT_DRAFT_SUFFIX,
  TLT_DRAFT_EAGLE, /* needs a drafter */
  TLT_DRAFT_AUTO   /* suffix, and eagle where there is a drafter */
} tlt_draft_kind;

typedef struct tlt_spec_options {
  tlt_draft_kind draft;
  const char *policy;  /* planner | beg-mab | eg | ucb1 | fixed:DEPTH_TOPK_VERIFY; NULL: planner */
  const char *drafter; /* directory of a learned drafter, or NULL */
  bool joins;          /* a learned drafter may come by tlt_spec_set_drafter: none is needed yet */
  int max_depth;       /* longest path that the planner drafts, 1 .. TLT_DRAFT_DEPTH; 0: 12 */
  int batch, max_positions; /* of the engine */
  uint32_t seed;            /* of sampling */
  bool origins;             /* remember where every token came from: tlt_spec_origins */
} tlt_spec_options;

enum { TLT_SPEC_DEPTHS = 16 }; /* depths told apart in statistics; deeper ones count as the last */

/* Sums since creation or tlt_spec_stats_reset. Edge sources as in plan/calibration.h. */
typedef struct tlt_spec_stats {
  int64_t steps;          /* decode steps */
  int64_t sequence_steps; /* sequences in them */
  int64_t tokens;         /* drawn in them */
  int64_t drafted_steps;  /* sequences that were verified with at least one node */
  int64_t drafted_step_tokens;
  int64_t planned_steps; /* steps in which the policy looked at drafts at all */
  int64_t drafted[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS];  /* nodes verified */
  int64_t tried[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS];    /* of these, behind an accepted parent */
  int64_t accepted[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS]; /* of these, accepted */
  int64_t plan_nodes[TLT_DRAFT_MAX + 1];               /* sequences by nodes verified for them */
  double expected, brier; /* sums over tried edges of p and (p - accepted)^2: calibration */
  int64_t bin_tried[10], bin_accepted[10]; /* tried edges by tenths of p */
  double bin_expected[10];
  double plan_seconds;               /* policy, tree building, everything not below */
  double draft_seconds[TLT_SOURCES]; /* inside the sources */
  double observe_seconds;            /* bookkeeping after steps */
  double verify_seconds;             /* forward and draws */
} tlt_spec_stats;

typedef struct tlt_spec tlt_spec;

/* "off", "suffix", "eagle", "auto"; anything else: TLT_EUSAGE. */
tlt_status tlt_draft_kind_find(const char *name, tlt_draft_kind *out, tlt_err *err);

/* Draft nodes per step to create the engine with (tlt_engine_options.draft_rows); 0 when off. */
int tlt_spec_draft_rows(const tlt_spec_options *o);

/* About what tlt_spec_create takes at most, a learned drafter's own weights included. The texts that
 * suffix remembers are counted at their caps; memory is taken as they grow. */
size_t tlt_spec_bytes(const tlt_model *m, const tlt_spec_options *o);

/* Check what can be wrong with the options alone: TLT_EUSAGE names the option. */
tlt_status tlt_spec_check(const tlt_spec_options *o, tlt_err *err);

/* Open sources and policy; with a drafter its directory is read: TLT_EDATA when it does not belong
 * to the model or is damaged. */
tlt_status tlt_spec_create(tlt_model *m, const tlt_spec_options *o, tlt_spec **out, tlt_err *err);
void tlt_spec_free(tlt_spec *s); /* NULL is harmless; after the engine */

/* Make e speculate (while it has nothing pending). */
tlt_status tlt_spec_attach(tlt_spec *s, tlt_engine *e, tlt_err *err);

/* Something else ran since the last step: the time until the next one is not a step's. */
void tlt_spec_interrupted(tlt_spec *s);

/* Between rollouts: the target's weights may have changed. */
void tlt_spec_refresh(tlt_spec *s);

/* Between rollouts: draft with a copy of d from now on, as a further source where none drafted so
 * far; what is known of the price and worth of learned drafts stays. e as attached; d may share
 * matrices with m only. TLT_ENOMEM: the source is as before, or gone. */
tlt_status tlt_spec_set_drafter(tlt_spec *s, tlt_model *m, tlt_engine *e, const tlt_drafter *d,
                                tlt_err *err);

/* Take a further source over: tests with hostile drafters. At most TLT_SOURCES together;
 * without memory it is freed. */
tlt_status tlt_spec_add(tlt_spec *s, const tlt_source *source, tlt_edge_source as, tlt_err *err);

void tlt_spec_stats_get(const tlt_spec *s, tlt_spec_stats *out);
void tlt_spec_stats_reset(tlt_spec *s);
void tlt_spec_stats_add(tlt_spec_stats *to, const tlt_spec_stats *from);
const char *tlt_edge_source_name(tlt_edge_source source);

/* Where the tokens of an answer came from, one character each: '.' drawn by the target alone, 's',
 * 'e' and 'b' a guess of suffix, eagle or both that was right. To be asked while the engine hands
 * the answer over; out [n], all '.' for an answer that was not followed. */
void tlt_spec_origins(const tlt_spec *s, uint32_t rollout, uint32_t sample, int n, char *out);

/* Totals over depths. */
int64_t tlt_spec_total(const int64_t by[TLT_EDGE_SOURCES][TLT_SPEC_DEPTHS]);
/* Tokens per sequence and step: 1 without speculation. */
double tlt_spec_accept_length(const tlt_spec_stats *s);

#endif
