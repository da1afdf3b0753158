/* What drafting did, for metrics.jsonl. */
#include <math.h>

#include "rl/drafting_internal.h"

tlt_drafting_sums tlt_drafting_take(tlt_drafting *d) {
  if (!d) return (tlt_drafting_sums){0};
  tlt_drafting_counts *c = &d->counts;
  tlt_replay_count b = tlt_replay_counts(d->replay);
  d->others_steps -= c->steps;
  tlt_drafting_sums sums = {.micro_steps = c->steps,
                            .tokens = c->tokens,
                            .dropped = c->dropped,
                            .seconds = c->seconds,
                            .seconds_kept = c->kept_seconds,
                            .seconds_eval = c->eval_seconds,
                            .rows = c->loss.rows[0],
                            .loss_hidden = c->loss.hidden[0],
                            .loss_token = c->loss.token[0],
                            .overlap = c->loss.overlap[0],
                            .samples = b.samples,
                            .held = b.held,
                            .buffer_tokens = b.tokens,
                            .bytes = (int64_t)b.bytes,
                            .versions = b.versions,
                            .lost = tlt_recorder_lost(d->recorder)};
  *c = (tlt_drafting_counts){.published = c->published, .before = c->before, .after = c->after};
  return sums;
}

void tlt_drafting_sums_add(tlt_drafting_sums *to, const tlt_drafting_sums *from) {
  to->micro_steps += from->micro_steps;
  to->tokens += from->tokens;
  to->dropped += from->dropped;
  to->seconds += from->seconds;
  to->seconds_kept += from->seconds_kept;
  to->seconds_eval += from->seconds_eval;
  to->rows += from->rows;
  to->loss_hidden += from->loss_hidden;
  to->loss_token += from->loss_token;
  to->overlap += from->overlap;
  to->samples += from->samples;
  to->held += from->held;
  to->buffer_tokens += from->buffer_tokens;
  to->bytes += from->bytes;
  to->lost += from->lost;
  if (from->versions > to->versions) to->versions = from->versions;
}

static void put_sums(tlt_metrics *m, const tlt_drafting_sums *s) {
  double rows = (double)s->rows;
  tlt_metrics_count(m, "drafter/micro_steps", s->micro_steps);
  tlt_metrics_count(m, "drafter/tokens", s->tokens);
  tlt_metrics_count(m, "drafter/dropped", s->dropped);
  tlt_metrics_real(m, "drafter/seconds", s->seconds);
  tlt_metrics_real(m, "drafter/seconds_kept", s->seconds_kept);
  tlt_metrics_real(m, "drafter/seconds_eval", s->seconds_eval);
  tlt_metrics_real(m, "drafter/loss_hidden", rows > 0 ? s->loss_hidden / rows : NAN);
  tlt_metrics_real(m, "drafter/loss_token", rows > 0 ? s->loss_token / rows : NAN);
  tlt_metrics_real(m, "drafter/overlap", rows > 0 ? s->overlap / rows : NAN);
  tlt_metrics_count(m, "drafter/buffer_samples", s->samples);
  tlt_metrics_count(m, "drafter/buffer_held", s->held);
  tlt_metrics_count(m, "drafter/buffer_tokens", s->buffer_tokens);
  tlt_metrics_count(m, "drafter/buffer_bytes", s->bytes);
  tlt_metrics_count(m, "drafter/buffer_versions", s->versions);
  tlt_metrics_count(m, "drafter/lost", s->lost);
}

void tlt_drafting_metrics(tlt_drafting *d, const tlt_drafting_sums *all, tlt_metrics *m) {
  if (!d) return;
  tlt_drafting_counts *c = &d->counts;
  put_sums(m, all);
  d->others_steps += all->micro_steps;
  tlt_metrics_count(m, "drafter/micro_steps_total", d->total_steps + d->others_steps);
  tlt_metrics_real(m, "drafter/chain_length_published", c->before);
  tlt_metrics_real(m, "drafter/chain_length_trained", c->after);
  tlt_metrics_count(m, "drafter/published", c->published);
  tlt_metrics_real(m, "drafter/lr", (double)tlt__drafting_rate(d));
  tlt_metrics_count(m, "drafter/resting", tlt_share_rests(&d->share));
  tlt_metrics_real(m, "drafter/seconds_save", d->writer.newest ? d->writer.seconds : NAN);
  tlt_metrics_count(m, "drafter/saves_skipped", d->writer.skipped);
  c->published = false;
  c->before = c->after = NAN;
}
