/* What drafting did, for metrics.jsonl. */
#include <math.h>

#include "rl/drafting_internal.h"

/* Mean of both losses at the first step of a chain. */
static void put_loss(tlt_metrics *m, const tlt_draft_stats *s) {
  double rows = (double)s->rows[0];
  tlt_metrics_real(m, "drafter/loss_hidden", rows > 0 ? s->hidden[0] / rows : NAN);
  tlt_metrics_real(m, "drafter/loss_token", rows > 0 ? s->token[0] / rows : NAN);
  tlt_metrics_real(m, "drafter/overlap", rows > 0 ? s->overlap[0] / rows : NAN);
}

static void put_buffer(tlt_metrics *m, const tlt_drafting *d) {
  tlt_replay_count b = tlt_replay_counts(d->replay);
  tlt_metrics_count(m, "drafter/buffer_samples", b.samples);
  tlt_metrics_count(m, "drafter/buffer_held", b.held);
  tlt_metrics_count(m, "drafter/buffer_tokens", b.tokens);
  tlt_metrics_count(m, "drafter/buffer_bytes", (int64_t)b.bytes);
  tlt_metrics_count(m, "drafter/buffer_versions", b.versions);
  tlt_metrics_count(m, "drafter/lost", tlt_recorder_lost(d->recorder));
}

void tlt_drafting_metrics(tlt_drafting *d, tlt_metrics *m) {
  if (!d) return;
  tlt_drafting_counts *c = &d->counts;
  tlt_metrics_count(m, "drafter/micro_steps", c->steps);
  tlt_metrics_count(m, "drafter/micro_steps_total", d->total_steps);
  tlt_metrics_count(m, "drafter/tokens", c->tokens);
  tlt_metrics_count(m, "drafter/dropped", c->dropped);
  tlt_metrics_real(m, "drafter/seconds", c->seconds);
  tlt_metrics_real(m, "drafter/seconds_kept", c->kept_seconds);
  tlt_metrics_real(m, "drafter/seconds_eval", c->eval_seconds);
  put_loss(m, &c->loss);
  put_buffer(m, d);
  tlt_metrics_real(m, "drafter/chain_length_published", c->before);
  tlt_metrics_real(m, "drafter/chain_length_trained", c->after);
  tlt_metrics_count(m, "drafter/published", c->published);
  tlt_metrics_count(m, "drafter/resting", tlt_share_rests(&d->share));
  tlt_metrics_real(m, "drafter/seconds_save", d->writer.newest ? d->writer.seconds : NAN);
  tlt_metrics_count(m, "drafter/saves_skipped", d->writer.skipped);
  *c = (tlt_drafting_counts){.before = NAN, .after = NAN};
}
