/* What sums over rows say. */
#include "train/drafter.h"

double tlt_drafter_chain_length(const tlt_draft_stats *s, int steps) {
  double length = 1, reach = 1;
  for (int j = 0; j < steps && s->rows[j]; j++) {
    reach *= s->overlap[j] / (double)s->rows[j];
    length += reach;
  }
  return length;
}

double tlt_drafter_mean_loss(const tlt_drafter_options *o, const tlt_draft_stats *s) {
  double sum = 0, rows = 0, weight = 1;
  for (int i = 0; i < o->unroll; i++, weight *= (double)o->decay) {
    sum +=
        weight * ((double)o->hidden_weight * s->hidden[i] + (double)o->token_weight * s->token[i]);
    rows += weight * (double)s->rows[i];
  }
  return rows > 0 ? sum / rows : 0;
}
